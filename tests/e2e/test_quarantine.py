"""Tests that nothing offers or serves a quarantined file, and that only a pin gets a yanked one."""

from __future__ import annotations

import json
import xmlrpc.client
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests
from support import wheels
from support.clients import Installer
from support.environments import revision
from support.servers import JSON, Server, ppmctl

from ppmctl.access.audit_query import read as read_audit
from ppmctl.distributions.environment_revision import FILES
from ppmctl.index.layout import Volume

WHEEL, SDIST = wheels.wheel("Ev.il", "1.0"), wheels.sdist("Ev.il", "1.0")
NEWER = wheels.wheel("Ev.il", "2.0")


def status(server: Server, project: str, state: str) -> None:
    """Set a status over HTTP, as an admin does."""
    url = f"{server.url}/api/packages/{project}/status"
    answer = requests.put(url, json={"status": state, "reason": "malware"}, auth=server.auth, timeout=60)
    assert (answer.status_code, answer.json()["status"]) == (200, state)


def requested(project: str, filename: str) -> Iterator[str]:
    """Yield every spelling of a file's URL that an index could answer."""
    for name in (filename, f"{filename}.metadata"):
        for folder in (project, "Ev.il", "ev_il", "EV-IL", "ev%2Dil"):
            yield f"/packages/{folder}/{name}"
        yield f"/packages/{name}"
        yield f"/packages//{project}/{name}"
        yield f"/packages/./{project}/{name}"
        yield f"/packages/{project}%2F{name}"
        yield f"/packages/{project}/{name.replace('.', '%2E')}"
        yield f"/packages/{project}/{name}?download=1"
        yield f"//packages/{project}/{name}"
        yield f"/quarantine/{project}/{name}"
        yield f"/packages/../quarantine/{project}/{name}"
        yield f"/packages/%2e%2e/quarantine/{project}/{name}"
        yield f"/packages/.quarantine/{project}/{name}"
    yield f"/packages/{project}/{filename}.attestations"
    yield f"/packages/{project}/{filename}.provenance"
    yield f"/packages/{project}/{filename}.upload"


@pytest.fixture
def server(serve: Callable[..., Server]) -> Server:
    index = serve("--upstream", "none")
    for made in (WHEEL, SDIST, NEWER, wheels.wheel("good", "1.0")):
        assert index.upload(made, fields={"attestations": wheels.attestations(made)}).status_code == 200
    return index


def offers(server: Server, project: str) -> dict[str, str]:
    """Return what each of the index's answers offers of a project, as text."""
    url = server.url.replace("://", f"://{server.user}:{server.secret}@")
    with xmlrpc.client.ServerProxy(f"{url}/RPC2") as proxy:
        matching = proxy.search({"name": project})
    assert isinstance(matching, list)
    return {
        "page": json.dumps(server.page(project)["files"]),
        "html": server.get(f"/simple/{project}/").text.partition("<h1>")[2],
        "find-links": "".join(
            line for line in server.get("/packages/").text.splitlines(keepends=True) if f'"{project}/' in line
        ),
        "json": server.get(f"/{project}/json").text,
        "search": json.dumps([item["version"] for item in matching]),
    }


def test_nothing_offers_or_serves_a_quarantined_file(server: Server) -> None:
    """No page, no search and no URL; the name stays in use; and all is as before when the quarantine ends."""
    before = offers(server, "ev-il")
    assert all("1.0" in text for text in before.values()), before
    paths = [path for made in (WHEEL, SDIST) for path in requested("ev-il", made[0])]
    was_served = [path for path in paths if server.get(path).status_code in (200, 301)]
    assert len(was_served) > 10
    status(server, "ev-il", "quarantined")
    for where, text in offers(server, "ev-il").items():
        assert not any(word in text.lower() for word in ("1.0", "2.0", "whl")), (where, text)
    for path in paths:
        for method in ("GET", "HEAD"):
            for headers in ({}, {"Range": "bytes=0-9"}, {"If-None-Match": '"x"'}, {"If-None-Match": "*"}):
                answer = requests.request(
                    method, server.url + path, headers=headers, auth=server.auth, timeout=60, allow_redirects=True
                )
                assert answer.status_code in (400, 404), (method, path, headers, answer.status_code)
                assert b"PK" not in answer.content
    assert "ev-il" in server.get("/simple/", headers={"Accept": JSON}).text
    search = server.get("/api/packages?q=ev-il").json()
    assert search["projects"] == [{"name": "ev-il", "version": None, "summary": ""}]
    (numbers,) = [one for one in server.get("/api/stats").json()["by_project"] if one["name"] == "ev-il"]
    assert (numbers["version"], numbers["files"]) == (None, 0)
    status(server, "ev-il", "active")
    assert offers(server, "ev-il") == before
    assert [path for path in paths if server.get(path).status_code in (200, 301)] == was_served
    ppmctl("index", "check", "--root", str(server.root))


def test_installers_get_no_quarantined_file(
    server: Server, new_installer: Callable[..., Installer], tmp_path: Path
) -> None:
    """Not from the index, not from its list of files, and not from a URL in an old lock file."""
    client = new_installer(server)
    client.install("good", "ev-il==1.0", index=server.simple)
    digest = server.page("ev-il")["files"][0]["hashes"]["sha256"]
    lock = tmp_path / "requirements.txt"
    lock.write_text(f"ev-il @ {server.url}/packages/ev-il/{WHEEL[0]}#sha256={digest}\n")
    status(server, "ev-il", "quarantined")
    fresh = new_installer(server)
    for what in (
        ["--index-url", server.simple, "ev-il"],
        ["--index-url", server.simple, "ev-il==1.0"],
        ["--no-index", "--find-links", f"{server.url}/packages/", "ev-il"],
        ["--no-index", "--find-links", f"{server.url}/packages/", "ev-il==1.0"],
        ["--no-index", "-r", str(lock)],
    ):
        done = fresh.run("install", *(["--no-cache-dir"] if fresh.library else ["--no-cache"]), *what, expect=None)
        assert done.code != 0, done.output
        assert fresh.version("ev-il") is None
    status(server, "ev-il", "active")
    fresh.install("ev-il", index=server.simple)


def test_installers_get_a_yanked_release_only_by_a_pin(
    server: Server, new_installer: Callable[..., Installer]
) -> None:
    """From its page, which marks it (PEP 592); the lists that can't mark it do not name it."""
    ppmctl("package", "yank", "ev-il", "2.0", "--reason", "it's <broken>", "--root", str(server.root))
    offered = offers(server, "ev-il")
    assert json.loads(offered["json"])["info"] == {"version": "1.0"}
    assert sorted(json.loads(offered["json"])["releases"]) == ["1.0"]
    assert json.loads(offered["search"]) == ["1.0", "1.0"]
    assert (WHEEL[0] in offered["find-links"], NEWER[0] in offered["find-links"]) == (True, False)
    links = ("--no-index", "--find-links", f"{server.url}/packages/")
    for source, what, expected in (
        (("--index-url", server.simple), "ev-il", "1.0"),
        (("--index-url", server.simple), "ev-il==2.0", "2.0"),
        (links, "ev-il", "1.0"),
    ):
        client = new_installer(server)
        client.run("install", *source, what)
        assert client.version("ev-il") == expected, (what, source)
    ppmctl("package", "yank", "ev-il", "1.0", "--root", str(server.root))
    assert server.get("/ev-il/json").status_code == 404


def test_a_removal_form_reaches_yanked_and_quarantined_files(server: Server) -> None:
    """An admin with an old client cleans a project before its quarantine ends."""
    ppmctl("package", "yank", "ev-il", "2.0", "--root", str(server.root))
    status(server, "ev-il", "quarantined")
    for version in ("2.0", "1.0"):
        form = {":action": "remove_pkg", "name": "Ev.il", "version": version}
        assert requests.post(f"{server.url}/", data=form, auth=server.auth, timeout=60).status_code == 200
    assert list((server.root / "quarantine").iterdir()) == []
    status(server, "ev-il", "active")
    assert server.page("ev-il")["files"] == []
    ppmctl("index", "check", "--root", str(server.root))


def test_an_administrator_on_the_host_reads_the_file(server: Server) -> None:
    """As docs/packages.md has it. Nobody else: the folder is the server's user's alone."""
    status(server, "ev-il", "quarantined")
    folder = server.root / "quarantine" / "ev-il"
    assert (folder / WHEEL[0]).read_bytes() == WHEEL[1]
    assert (folder.stat().st_mode & 0o777, folder.parent.stat().st_mode & 0o777) == (0o700, 0o700)
    done = [entry.values for entry in read_audit(Volume(root=server.root)).entries if entry.action == "status"]
    assert [entry["what"] for entry in done] == ["ev-il quarantined"]


def test_a_quarantined_environment_is_offered_nowhere(server: Server) -> None:
    lock = 'lock-version = "1.0"\ncreated-by = "a test"\npackages = []\n'
    assert server.upload(revision("team", 1, "good", lock=lock)).status_code == 200
    paths = [f"/env/team/{part}{file}" for part in ("", "1/") for file in FILES]
    paths += ["/packages/ppm-env-team/ppm_env_team-1-py3-none-any.whl"]
    assert [server.get(path).status_code for path in paths] == [200] * len(paths)
    status(server, "ppm-env-team", "quarantined")
    assert [server.get(path).status_code for path in paths] == [404] * len(paths)
    assert server.get("/env/").json()["environments"] == []
    log = server.get("/env/team/").json()
    assert (log["status"], log["latest"], log["owner"]) == ("quarantined", None, server.user)
    status(server, "ppm-env-team", "active")
    assert [server.get(path).status_code for path in paths] == [200] * len(paths)


def test_a_project_that_an_older_release_quarantined_is_not_served_after_the_upgrade(server: Server) -> None:
    """Its files are still in packages/, and the volume has no note of its layout."""
    server.stop()
    (server.root / "packages" / "ev-il" / ".status").write_text('{"state": "quarantined", "reason": "malware"}\n')
    (server.root / "index" / "layout").unlink()
    server.start_again()
    assert server.get(f"/packages/ev-il/{WHEEL[0]}").status_code == 404
    assert server.page("ev-il")["files"] == []
    assert server.get(f"/packages/good/{wheels.wheel('good', '1.0')[0]}").status_code == 200
    ppmctl("index", "check", "--root", str(server.root))
