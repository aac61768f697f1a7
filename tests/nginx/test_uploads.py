"""Uploads through nginx: files on the volume during and after them, limits, and real clients over TLS."""

from __future__ import annotations

import hashlib
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import requests
from requests_toolbelt import MultipartEncoder
from support import clients, debian, large, namespaces, raw, webserver, wheels
from support.clients import Installer, Machine
from support.debian import Tree
from support.evidence import nothing_is_left, until
from support.raw import Target
from support.servers import PPMCTL, ppmctl
from support.webserver import Site

MB = 1 << 20


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """Make a folder for large files. It is removed after the test, unlike pytest's tmp_path."""
    path = tmp_path / "large"
    path.mkdir()
    yield path
    shutil.rmtree(path)


@pytest.fixture
def machine(site: Site, tmp_path: Path) -> Machine:
    """Make a user's machine that trusts the site's CA and has a credential."""
    made = clients.machine(tmp_path / "home", site)
    netrc = made.home / ".netrc"
    netrc.write_text(f"machine localhost login {site.user} password {site.secret}\n")
    trusted = dict.fromkeys(("REQUESTS_CA_BUNDLE", "SSL_CERT_FILE", "CURL_CA_BUNDLE", "PIP_CERT"), str(site.ca))
    return replace(made, environ={**made.environ, **trusted})


def target(site: Site) -> Target:
    return Target(
        address="127.0.0.1",
        name="localhost",
        user=site.user,
        secret=site.secret,
        project="none",
        file="none",
        port=site.port,
        ca=site.ca,
    )


def prepared(site: Site, made: tuple[str, bytes]) -> bytes:
    """Return the bytes of an upload request, with its headers."""
    form = requests.Request("POST", site.url, data={":action": "file_upload"}, files={"content": made}).prepare()
    assert isinstance(form.body, bytes)
    headers = [f"{name}: {value}" for name, value in form.headers.items()]
    return raw.request(target(site), "POST /", *headers) + form.body


def incompressible(name: str, version: str, size: int) -> tuple[str, bytes]:
    """Make a wheel whose upload takes about `size` bytes, because its content can't be compressed."""
    content = hashlib.shake_256(name.encode()).digest(size)
    return wheels.wheel(name, version, files={"data.bin": content})


def test_an_upload_is_buffered_on_the_volume_until_it_is_complete(site: Site) -> None:
    """A slow client occupies no thread of the application, and no client sees a partial file."""
    made = incompressible("arriving", "1.0", 2 * MB)
    sent = prepared(site, made)
    with raw.connect(target(site)) as connection:
        connection.sendall(sent[: len(sent) // 2])
        until(site.bodies, "the body on the volume", seconds=10)
        assert [path for path in (site.root / "incoming").rglob("*") if path.is_file() and path.name != ".lock"] == []
        assert site.get("/simple/arriving/").status_code == 302, "nobody has seen it yet"
        connection.sendall(sent[len(sent) // 2 :])
        assert raw.answers(connection.recv(1 << 16))[0].status == 200
    until(lambda: site.bodies() == [], "no body on the volume any more", seconds=10)
    assert site.filenames("arriving") == {made[0]}
    nothing_is_left(site.root)


@pytest.mark.parametrize("part", [0.1, 0.5, 0.999])
def test_an_interrupted_upload_leaves_nothing(site: Site, part: float) -> None:
    """It leaves neither a body nor a partial file, and the filename can still be published."""
    made = incompressible(f"broken-{str(part)[2:]}", "1.0", 2 * MB)
    sent = prepared(site, made)
    with raw.connect(target(site)) as connection:
        connection.sendall(sent[: int(len(sent) * part)])
        if part > 0.2:
            until(site.bodies, "the body on the volume", seconds=10)
    until(lambda: site.bodies() == [], "no body on the volume any more", seconds=10)
    nothing_is_left(site.root)
    assert site.get(f"/simple/broken-{str(part)[2:]}/").status_code == 302
    assert site.upload(made).status_code == 200


@debian.only(12)
def test_a_200_mb_upload_and_download(site: Site, folder: Path) -> None:
    """The download has the hash of the upload, and no copy stays on the volume."""
    path = large.wheel(folder, "two_hundred", "1.0", size=200 * MB)
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    with path.open("rb") as file:
        fields = {":action": "file_upload", "content": (path.name, file, "application/octet-stream")}
        form = MultipartEncoder(fields=fields)
        headers = {"Content-Type": form.content_type}
        answer = site.request("POST", "/", data=form, headers=headers, timeout=300)
    assert (answer.status_code, answer.text) == (200, "")
    assert site.bodies() == []
    assert [file["hashes"]["sha256"] for file in site.page("two-hundred")["files"]] == [digest]
    with site.get(f"/packages/two-hundred/{path.name}", stream=True, timeout=300) as download:
        got = hashlib.sha256()
        for chunk in download.iter_content(1 << 20):
            got.update(chunk)
    assert got.hexdigest() == digest
    nothing_is_left(site.root)
    shutil.rmtree(site.root / "packages" / "two-hundred")


def test_only_requests_with_a_credential_are_stored_where_reads_are_public(new_site: Callable[..., Site]) -> None:
    """A read needs no credential, so a client could fill the volume with the body of a GET."""
    site = new_site(ppm_read_access="public")
    for path in ("/", "/legacy/", "/upload"):
        assert site.upload(incompressible(f"public-{len(path)}", "1.0", 2 * MB), path=path).status_code == 200
        for method in ("GET", "POST", "PUT"):
            refused = site.request(method, path, data=bytes(MB), auth=None)
            assert (refused.status_code, refused.headers["WWW-Authenticate"]) == (401, 'Basic realm="ppm"')
    front = site.get("/", auth=None)
    assert front.status_code == 200
    assert "Python package index" in front.text
    assert site.get("/simple/public-1/", auth=None).status_code == 200
    assert site.bodies() == []


def test_an_upload_over_the_limit_gets_413(new_site: Callable[..., Site]) -> None:
    """The answer names the limit, with and without Content-Length; a file just below the limit is accepted."""
    site = new_site(ppm_max_upload_size="2M")
    for headers in ({}, {"Expect": "100-continue"}):
        refused = site.upload(incompressible("too-large", "1.0", 3 * MB), headers=headers)
        assert refused.status_code == 413
        assert (
            refused.text == "The request is over this index's limit; for uploads that is 2M (ppm_max_upload_size).\n"
        )
        assert refused.headers["Content-Type"] == "text/plain; charset=utf-8"
        assert "Strict-Transport-Security" in refused.headers
    form = requests.Request("POST", site.url, files={"content": incompressible("too-large", "1.0", 3 * MB)}).prepare()
    assert isinstance(form.body, bytes)
    pieces = (form.body[at : at + 65536] for at in range(0, len(form.body), 65536))
    refused = site.request("POST", "/", data=pieces, headers={"Content-Type": form.headers["Content-Type"]})
    assert refused.status_code == 413
    for auth in (None, ("admin", "ppm_wrong")):
        assert site.upload(incompressible("too-large", "1.0", 3 * MB), auth=auth).status_code == 401
    assert site.upload(incompressible("fits", "1.0", 2 * MB - 10_000)).status_code == 200
    assert site.bodies() == []
    nothing_is_left(site.root)
    assert "too-large" not in (site.root / "audit.jsonl").read_text()


@dataclass(frozen=True)
class SmallTree(Tree):
    """A release whose nginx stores bodies on a disk of 1 MB."""

    bodies: Path

    @property
    def nginx(self) -> list[str]:
        mount = f"mount -t tmpfs -o size=1m,mode=0777 tmpfs '{self.bodies}'"
        return [*namespaces.command(mount), *super().nginx]


def test_an_upload_that_nginx_can_not_store_gets_507(
    tree: Tree, rendered: Callable[..., Path], tmp_path: Path
) -> None:
    """nginx stores an upload before the application gets it, and answers 500 if it can't."""
    root = tmp_path / "root"
    site = webserver.start(rendered(), SmallTree(release=tree.release, root=tree.root, bodies=root / "bodies"), root)
    try:
        for auth, status in ((site.auth, 507), (None, 401)):
            refused = site.upload(incompressible("no-room", "1.0", 3 * MB), auth=auth)
            assert (refused.status_code, refused.headers["Content-Type"]) == (status, "text/plain; charset=utf-8")
            assert "Strict-Transport-Security" in refused.headers
            assert ("no space left" in refused.text) == (status == 507)
        assert site.get("/simple/no-room/").status_code == 302
        assert site.upload(wheels.wheel("has-room", "1.0")).status_code == 200
        nothing_is_left(root)
    finally:
        site.close()


def test_a_refused_upload_has_the_reason_in_the_status_line(site: Site) -> None:
    """twine shows only the status line, so nginx must not replace the reason there."""
    made = wheels.wheel("twice", "1.0")
    assert site.upload(made).status_code == 200
    again = site.upload(wheels.wheel("twice", "1.0", files={"twice.py": b"other"}))
    assert (again.status_code, again.reason + "\n") == (409, again.text)
    other = site.upload((made[0], made[1] + b"\0"), fields={"sha256_digest": "0" * 64})
    assert other.status_code == 400
    assert "sha256" in other.reason
    assert "sha256" in other.text
    secret = ppmctl("user", "add", "only-reads", "--role", "reader", "--root", str(site.root)).stdout.strip()
    until(lambda: site.get("/simple/", auth=("only-reads", secret)).status_code == 200, "the new credential")
    may_not = site.upload(wheels.wheel("not-mine", "1.0"), auth=("only-reads", secret))
    assert (may_not.status_code, may_not.reason + "\n") == (403, may_not.text)
    assert "only-reads" in may_not.reason


def test_a_post_to_another_url_is_told_where_uploads_go(site: Site) -> None:
    """As without nginx, which can't change a status line; so the application answers."""
    for path, size in (("/simple/", 10), ("/simple/", 3 * MB), ("/nothing/here", 3 * MB), ("/packages/x", 200_000)):
        told = raw.misplaced(site.port, site.auth, path, size, site.ca)
        assert told == (f"405 Uploads go to /legacy/, not to {path}", True), (path, size, told)
    assert site.bodies() == []
    assert site.request("POST", "/simple/", auth=None, data=b"x" * 200_000).status_code == 401


@debian.with_each("client", {12: ["twine", "curl"], 13: ["uv", "hatch"]})
def test_clients_publish_over_tls(site: Site, machine: Machine, folder: Path, client: str) -> None:
    """They use a private CA, as in a company, named by the usual environment variables."""
    name = f"published-by-{client}"
    files = [wheels.write(folder, wheels.wheel(name, version)) for version in ("1.0", "2.0")]
    clients.publish(client, machine, site, f"{site.url}/legacy/", *files)
    assert site.filenames(name) == {file.name for file in files}


@debian.only(13)
def test_ppmctl_publishes_over_tls(site: Site, machine: Machine, folder: Path) -> None:
    """`ppmctl publish` builds, uploads, and checks that the index lists the files."""
    project = clients.flit_project(folder / "project", "published-by-ppmctl", "1.0")
    machine.run(*PPMCTL, "publish", project, "--index", f"{site.url}/", cwd=folder)
    assert len(site.filenames("published-by-ppmctl")) == 2


@debian.with_each("name", {12: ["pip"], 13: ["uv"]})
def test_installers_install_over_tls(site: Site, machine: Machine, folder: Path, name: str) -> None:
    """nginx serves the page, the metadata and the file from disk; pip sends no credential with its first request."""
    project = f"installed-by-{name}"
    if site.get(f"/simple/{project}/").status_code != 200:
        assert site.upload(wheels.wheel(project, "1.0")).status_code == 200
    library = clients.pip_library() if name == "pip" else None
    installer = Installer(name=name, machine=machine, library=library)
    site.clear_logs()
    with site.without_application():
        installer.install(project, index=f"{site.url}/simple/")
    assert installer.version(project) == "1.0"
    assert '"status":5' not in site.access_log()


def test_an_upload_over_http2(site: Site, machine: Machine, folder: Path) -> None:
    """An HTTP/2 client sends its body in frames, possibly without a length."""
    made = wheels.write(folder, incompressible("by-http2", "1.0", 2 * MB))
    sent = ("-F", ":action=file_upload", "-F", f"content=@{made}")
    done = machine.run(
        *(
            "curl",
            "-sS",
            "--http2",
            "--netrc",
            "--cacert",
            site.ca,
            "--write-out",
            "%{http_version} %{http_code}",
            *sent,
        ),
        f"{site.url}/",
    )
    assert done.output.strip() == "2 200"
    assert site.filenames("by-http2") == {made.name}


def test_a_stalled_upload_times_out(new_site: Callable[..., Site]) -> None:
    """A stalled body is dropped after a minute (2 s in this test) and leaves nothing."""
    site = new_site(faster={"client_body_timeout 60s;": "client_body_timeout 2s;"})
    sent = prepared(site, incompressible("stalled", "1.0", 2 * MB))
    with raw.connect(target(site)) as connection:
        connection.sendall(sent[: len(sent) // 2])
        until(site.bodies, "the body on the volume", seconds=10)
        started = time.monotonic()
        until(lambda: site.bodies() == [], "no body on the volume any more", seconds=10)
        assert time.monotonic() - started < 8
    nothing_is_left(site.root)
