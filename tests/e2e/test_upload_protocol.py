"""Tests of the answers to uploads, and that refused ones leave nothing behind."""

from __future__ import annotations

import gzip
import hashlib
import io
import itertools
import json
import os
import re
import socket
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import urljoin

import pytest
import requests
from support import raw, servers, wheels
from support.clients import Machine, publish
from support.servers import Server, ppmctl

WHEEL_NAME = "x-1.0-py3-none-any.whl"
SDIST_NAME = "x-1.0.tar.gz"


def snapshot(server: Server) -> dict[str, str]:
    """Return all that an upload could leave behind: files, side files, incoming files, pages, marks."""
    files = {}
    for folder in ("packages", "incoming", "drop", "index"):
        for path in (server.root / folder).rglob("*"):
            name = str(path.relative_to(server.root))
            # written independently of this upload: the list of projects, the search index, and the notes of a start
            others = ("index/boot", "index/.boot", "index/search.sqlite3")
            if path.parent.name == "simple" or "/.root" in name or name.startswith(others):
                continue
            if path.is_dir():
                if folder != "incoming":
                    files[name] = "folder"
            elif path.name != ".lock":
                files[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    return files


def assert_refused(answer: requests.Response, status: int, *words: str) -> None:
    """Assert the status, and the reason in the status line (all that twine shows) and as one line of text."""
    assert answer.status_code == status, f"{answer.status_code} {answer.reason}: {answer.text}"
    assert answer.headers["Content-Type"].startswith("text/plain")
    line = answer.text
    assert line.endswith("\n")
    assert line.count("\n") == 1, line
    assert answer.reason == line.strip().encode("ascii", "replace").decode()
    for word in words:
        assert word in line, line
    assert "overwrite" not in line, "no advice to break what others rely on"
    assert "/incoming" not in line, "no path of the server's"


@pytest.fixture(scope="module")
def server(index: Server) -> Server:
    """Return the shared index with a project."""
    for made in (wheels.wheel("present", "1.0"), wheels.sdist("present", "1.0")):
        assert index.upload(made).status_code == 200
    return index


@pytest.fixture
def unchanged(server: Server) -> Iterator[Server]:
    """Yield the server; assert that the test has changed nothing on its volume."""
    before = snapshot(server)
    yield server
    assert snapshot(server) == before


# invalid archives


def linking(name: str, target: str) -> bytes:
    """Return an sdist 1.0 of project `name` with a symbolic link to `target`."""
    buffer, content = io.BytesIO(), wheels.metadata(name, "1.0")
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        info = tarfile.TarInfo(f"{name}-1.0/PKG-INFO")
        info.size = len(content)
        archive.addfile(info, io.BytesIO(content))
        info = tarfile.TarInfo(f"{name}-1.0/link")
        info.type, info.linkname = tarfile.SYMTYPE, target
        archive.addfile(info)
    return gzip.compress(buffer.getvalue(), mtime=0)


def zip_sdist(*, version: str = "1.0", **more: bytes) -> bytes:
    return wheels.zip_of({"x-1.0/PKG-INFO": wheels.metadata("x", version), **more})


def test_an_invalid_distribution_is_refused(unchanged: Server) -> None:
    """pypiserver accepts any file with a valid name; installers fail with it, or worse.

    The reasons come unchanged from `dists.inspect`: tests/unit/distributions/test_distribution.py has all of them.
    """
    for filename, content, reason in (
        (WHEEL_NAME, b"", "not a readable archive"),
        (WHEEL_NAME, wheels.wheel("x", "1.0")[1][:-30], "not a readable archive"),
        (WHEEL_NAME, wheels.wheel("x", "1.0", meta=wheels.metadata("y", "1.0"))[1], "'y'"),
        (WHEEL_NAME, wheels.wheel("x", "1.0", files={"../evil.py": b""})[1], "leave the folder"),
        (WHEEL_NAME, wheels.wheel("x", "1.0", files={"zeros": bytes(80 << 20)})[1], "decompression bomb"),
        (WHEEL_NAME, wheels.wheel("x", "1.0", requires_python="3.7")[1], "Requires-Python is '3.7'"),
        (WHEEL_NAME, wheels.wheel("x", "1.0", metadata_version="3.0")[1], "Metadata-Version '3.0'"),
        (SDIST_NAME, wheels.wheel("x", "1.0")[1], "not a readable archive"),
        (SDIST_NAME, wheels.sdist("x", "1.0", meta=wheels.metadata("x", "2.0"))[1], "version 2.0"),
        (SDIST_NAME, linking("x", "../../etc/passwd"), "points out of the folder"),
        ("x-1.0.zip", zip_sdist()[:-10], "not a readable archive"),
        ("x-1.0.zip", wheels.zip_of({"x-1.0/x.py": b""}), "0 PKG-INFO files"),
        ("x-1.0.zip", zip_sdist(version="2.0"), "version 2.0"),
        ("x-1.0.zip", zip_sdist(**{"../evil": b""}), "leave the folder"),
        ("x-1.0.zip", zip_sdist(**{"x-1.0/zeros": bytes(80 << 20)}), "decompression bomb"),
    ):
        assert_refused(unchanged.upload((filename, content)), 400, filename, reason)


def test_valid_distributions_of_every_kind_are_accepted(server: Server) -> None:
    """As real builds make them: every metadata version, links within the archive, zips, odd versions."""
    taken = []
    for number, version in enumerate(("1.0", "1.1", "1.2", "2.0", "2.1", "2.2", "2.3", "2.4", "2.5", "2.6")):
        taken.append(wheels.wheel("good", f"0.{number}", metadata_version=version))
    for version in ("1!2.0", "3.0+cpu.1", "3.0rc1.post2.dev3", "2024.11.21"):
        taken += [wheels.wheel("good", version), wheels.sdist("good", version)]
    meta = wheels.metadata("good", "4.0")
    taken.append(("good-4.0.zip", wheels.zip_of({"good-4.0/PKG-INFO": meta})))
    taken.append(("inside-1.0.tar.gz", linking("inside", "PKG-INFO")))
    taken.append(wheels.wheel("Good", "5.0", tag="cp311-abi3-manylinux_2_17_x86_64.manylinux2014_x86_64"))
    taken.append(wheels.wheel("good", "6.0", files={"data": bytes(32 << 20)}))  # compresses well, and is no bomb
    for made in taken:
        answer = server.upload(made)
        assert answer.status_code == 200, (made[0], answer.text)
    assert server.filenames("good") | server.filenames("inside") == {name for name, _content in taken}


def test_a_newer_metadata_version_is_accepted_with_a_note(server: Server) -> None:
    made = wheels.wheel("newer", "1.0", metadata_version="2.99")
    answer = server.upload(made)
    note = "Metadata-Version 2.99 is newer than 2.6, so its new fields were not checked"
    assert (answer.status_code, answer.text) == (200, f"{note}\n")
    assert json.loads((server.root / "audit.jsonl").read_text().splitlines()[-1])["result"] == f"done: {note}"


def test_digests_of_another_length_are_refused_except_those_of_old_setuptools(server: Server) -> None:
    """`python setup.py sdist upload` sends BLAKE2b with 64 bytes in the field of the one with 32."""
    made = wheels.sdist("digested", "1.0")
    longer = hashlib.blake2b(made[1]).hexdigest()
    for field, value in (("blake2_256", "0" * 64), ("sha256", longer), ("md5", longer)):
        assert_refused(server.upload(made, fields={f"{field}_digest": value}), 400, f"its {field} is not")
    assert server.upload(made, fields={"blake2_256_digest": longer}).status_code == 200


# names


BAD_NAMES = [
    "",
    ".",
    "..",
    "x",
    "x.whl",
    "x.tar.gz",
    "x-1.0.whl",
    "x-1.0.tar.bz2",
    "x-1.0.tar",
    "x-1.0.egg",
    "x-1.0-py3.11.egg",
    "x-1.0.win32.exe",
    "x-1.0.linux-x86_64.tar.gz.exe",
    "x-1.0.tgz",
    "x-one-py3-none-any.whl",
    "x-one.tar.gz",
    "-1.0.tar.gz",
    "x-1.0-py3-none-any.WHL",
    ".x-1.0.tar.gz",
    "_x-1.0.tar.gz",
    "x 1-1.0.tar.gz",
    "x-1.0 (1).tar.gz",
    "é-1.0.tar.gz",
    "x-1.0-py3-none-any\u200b.whl",
    "x-1.0\n.tar.gz",
    "x-1.0\0.tar.gz",
    "../x-1.0.tar.gz",
    "../../drop/x-1.0.tar.gz",
    "/etc/x-1.0.tar.gz",
    "y/x-1.0.tar.gz",
    "..\\x-1.0.tar.gz",
    "C:\\x-1.0.tar.gz",
    "x-1.0.tar.gz/",
    f"{'x' * 300}-1.0.tar.gz",
    f"x-1.0+{'9' * 200}.tar.gz",
    *(
        f"x-1.0.tar.gz{suffix}"
        for suffix in (".upload", ".yanked", ".removed", ".attestations", ".metadata", ".rejected")
    ),
    *(f"{WHEEL_NAME}{suffix}" for suffix in (".upload", ".yanked", ".removed", ".attestations", ".metadata")),
    "x-1.0.tar.gz.asc",
    "x-1.0.tar.gz.tmp",
    ".status",
]


# pypiserver's reason, ours, and one for names that the form's parser drops
OF_THE_NAME = "^Bad filename|is not a filename|is neither a wheel|does not name a project|no file in its field"


def test_a_bad_filename_is_refused(unchanged: Server) -> None:
    """Names that are not those of a wheel or sdist, above all names of side files or with a path."""
    content = wheels.sdist("x", "1.0")[1]
    boundary = "a-boundary-that-nothing-has-in-it"
    top = f'--{boundary}\r\nContent-Disposition: form-data; name=":action"\r\n\r\nfile_upload\r\n--{boundary}\r\n'
    for filename in BAD_NAMES:
        escaped = filename.replace("\\", "\\\\").replace('"', '\\"')
        body = f'{top}Content-Disposition: form-data; name="content"; filename="{escaped}"\r\n\r\n'
        sent = body.encode() + content + f"\r\n--{boundary}--\r\n".encode()
        answer = post(unchanged, sent, f"multipart/form-data; boundary={boundary}")
        assert answer.status_code == 400, f"{filename!r}: {answer.status_code} {answer.text}"
        assert_refused(answer, 400)
        assert re.search(OF_THE_NAME, answer.text), f"{filename!r} is refused for something else: {answer.text}"


def test_a_name_too_long_for_its_side_files_is_refused(server: Server) -> None:
    """A file system allows names of 255 bytes; a valid file with a longer name could not have its record."""
    for made in (
        wheels.wheel("x" * 190, "1.0"),
        wheels.sdist("x", f"1.0+{'9' * 200}"),
        wheels.sdist("x" * 250, "1.0"),
    ):
        before = snapshot(server)
        assert_refused(server.upload(made), 400, "200")
        assert snapshot(server) == before
    longest = wheels.sdist("x" * 189, "1.0")
    assert len(longest[0]) == 200
    assert server.upload(longest).status_code == 200
    assert server.filenames("x" * 189) == {longest[0]}


# other fields of the form


@pytest.mark.parametrize("digest", ["md5", "sha256", "blake2_256"])
def test_every_digest_that_is_sent_is_checked(digest: str, unchanged: Server) -> None:
    """A file that changed on its way is refused; pypiserver ignores the digests."""
    made = wheels.wheel("x", "1.0")
    values = {"md5": ("0" * 32, "nonsense", "0"), "sha256": ("0" * 64, "nonsense", "0"), "blake2_256": ("0" * 64,)}
    for wrong in values[digest]:
        assert_refused(
            unchanged.upload(made, fields={f"{digest}_digest": wrong}), 400, WHEEL_NAME, digest, "upload it again"
        )


def test_right_digests_are_accepted(server: Server) -> None:
    """All three, in either case."""
    name, content = wheels.wheel("digested", "1.0")
    fields = {
        "md5_digest": hashlib.md5(content, usedforsecurity=False).hexdigest(),
        "sha256_digest": hashlib.sha256(content).hexdigest().upper(),
        "blake2_256_digest": hashlib.blake2b(content, digest_size=32).hexdigest(),
    }
    answer = server.upload((name, content), fields=fields)
    assert answer.status_code == 200, answer.text


def test_another_name_in_the_form_is_refused(unchanged: Server) -> None:
    """The form and the file name the project; a difference is an error."""
    assert_refused(unchanged.upload(wheels.wheel("x", "1.0"), fields={"name": "y"}), 400, "'y'", WHEEL_NAME)


def test_attestations_are_stored_byte_for_byte(server: Server) -> None:
    """PEP 740: they are stored as the client sent them."""
    made = wheels.wheel("attested", "1.0")
    sent = wheels.attestations(made).replace("[{", '[ {"more":\n "\u00e9", ')
    assert server.upload(made, fields={"attestations": sent}).status_code == 200
    kept = server.root / "packages" / "attested" / "attested-1.0-py3-none-any.whl.attestations"
    assert kept.read_bytes() == sent.encode()
    (listed,) = server.page("attested")["files"]
    assert listed["provenance"] == f"{listed['url']}.provenance"
    assert f'data-provenance="{listed["provenance"]}"' in server.get("/simple/attested/").text
    answer = server.get(urljoin("/simple/attested/", listed["provenance"]))
    assert answer.headers["Content-Type"] == "application/vnd.pypi.integrity.v1+json"
    bundle = {"publisher": {"kind": "ppm"}, "attestations": json.loads(sent)}
    assert answer.json() == {"version": 1, "attestation_bundles": [bundle]}


OF_ANOTHER = wheels.attestations(wheels.wheel("x", "1.0", summary="another file"))


@pytest.mark.parametrize("sent", ["", "nonsense", "{}", '"text"', "[", "null", '["text"]', OF_ANOTHER])
def test_invalid_attestations_are_refused(sent: str, unchanged: Server) -> None:
    """The file is refused with them: there is no partial upload."""
    answer = unchanged.upload(wheels.wheel("x", "1.0"), fields={"attestations": sent})
    assert_refused(answer, 400, "attestations")


def test_a_signature_is_ignored(server: Server) -> None:
    """Old twine sends `gpg_signature`; it must neither be stored nor fail the upload."""
    made = wheels.wheel("signed", "1.0")
    answer = requests.post(
        server.url,
        data={":action": "file_upload"},
        files={"content": made, "gpg_signature": (made[0] + ".asc", b"-----BEGIN PGP SIGNATURE-----")},
        auth=server.auth,
        timeout=60,
    )
    assert answer.status_code == 200, answer.text
    kept = {path.name for path in (server.root / "packages" / "signed").iterdir()}
    assert kept == {made[0], made[0] + ".metadata", made[0] + ".upload"}


# forms


def post(server: Server, body: bytes | Iterator[bytes], content_type: str) -> requests.Response:
    return requests.post(server.url, data=body, headers={"Content-Type": content_type}, auth=server.auth, timeout=60)


def test_forms_without_a_file_are_refused(unchanged: Server) -> None:
    """The answer names the missing field."""
    action = {":action": (None, "file_upload")}
    for files in (action, {**action, "content": (None, "text")}, {**action, "other": wheels.wheel("x", "1.0")}):
        answer = requests.post(unchanged.url, files=files, auth=unchanged.auth, timeout=60)
        assert_refused(answer, 400, "'content'")
    urlencoded = requests.post(unchanged.url, data={":action": "file_upload"}, auth=unchanged.auth, timeout=60)
    assert_refused(urlencoded, 400, "'content'")


def test_two_files_in_a_form_are_refused(unchanged: Server) -> None:
    """Otherwise one of them would be lost silently."""
    files = [
        (":action", (None, "file_upload")),
        ("content", wheels.wheel("x", "1.0")),
        ("content", wheels.sdist("x", "1.0")),
    ]
    answer = requests.post(unchanged.url, files=files, auth=unchanged.auth, timeout=60)
    assert_refused(answer, 400, "more than one file")


def test_malformed_bodies_are_refused(unchanged: Server) -> None:
    """None is a 500, and none leaves a file in incoming/."""
    for body, content_type in (
        (b"", "multipart/form-data; boundary=x"),
        (b"garbage", "multipart/form-data; boundary=x"),
        (b"garbage", "multipart/form-data"),
        (b"--x\r\ngarbage\r\n--x--\r\n", "multipart/form-data; boundary=x"),
        (
            b'--x\r\nContent-Disposition: form-data; name="content"; filename="x-1.0.tar.gz"\r\n\r\nhalf',
            "multipart/form-data; boundary=x",
        ),
        (b"{}", "application/json"),
        (b"\x00\xff" * 1000, "application/octet-stream"),
        (b"\xff=\xfe&:action=file_upload", "application/x-www-form-urlencoded"),
        (b"", ""),
    ):
        assert_refused(post(unchanged, body, content_type), 400)


def test_a_form_with_a_huge_field_is_refused(unchanged: Server) -> None:
    """Fields are held in memory, so they have a limit; a long README is within it."""
    answer = unchanged.upload(wheels.wheel("x", "1.0"), fields={"description": "x" * (17 << 20)})
    assert_refused(answer, 413, "16 MB of text")
    many = requests.post(unchanged.url, files=[("f", (None, "v"))] * 10_001, auth=unchanged.auth, timeout=60)
    assert_refused(many, 413, "10000 fields")


def test_an_unknown_action_is_refused(unchanged: Server) -> None:
    """doc_upload is pypiserver's, and stores nothing; the others do not exist."""
    for action in ("doc_upload", "list_classifiers", "nonsense", "é\n"):
        assert_refused(unchanged.upload(wheels.wheel("x", "1.0"), fields={":action": action}), 400, ":action")


def test_old_registrations_are_answered(unchanged: Server) -> None:
    """Old setuptools sends `submit` before it uploads; the answer is 200, and nothing is changed."""
    for action in ("submit", "verify"):
        answer = requests.post(unchanged.url, data={":action": action, "name": "x"}, auth=unchanged.auth, timeout=60)
        assert (answer.status_code, answer.text) == (200, "")


# limits


@pytest.fixture(scope="module")
def limited(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Yield an index with a limit of 1 MB."""
    options = ("--max-upload-size", "1M", "--upstream", "none")
    server = servers.start(tmp_path_factory.mktemp("limited") / "root", options=options)
    yield server
    server.kill()


@pytest.mark.parametrize("chunked", [False, True], ids=["with its length", "chunked"])
def test_an_upload_over_the_limit_is_refused(chunked: bool, limited: Server) -> None:
    """413 with or without Content-Length; an upload at the limit is accepted."""
    before = snapshot(limited)
    for size, status in ((3 << 20, 413), (1 << 20, 413), ((1 << 20) - 4096, 200)):
        made = wheels.wheel("x", f"{int(chunked)}.0", files={"noise": os.urandom(size - 1024)})
        request = requests.Request("POST", limited.url, data={":action": "file_upload"}, files={"content": made})
        prepared = request.prepare()
        body = prepared.body
        assert isinstance(body, bytes)
        chunks = (body[start : start + 65536] for start in range(0, len(body), 65536)) if chunked else body
        answer = post(limited, chunks, prepared.headers["Content-Type"])
        if status == 200:
            assert answer.status_code == 200, answer.text
        else:
            assert_refused(answer, 413, "limit of 1048576 bytes (max_upload_size)")
            assert snapshot(limited) == before


def test_a_post_to_another_url_is_told_where_uploads_go(server: Server) -> None:
    """In the status line, which is all that twine shows. The connection is closed if the body was not read."""
    for path, size in itertools.product(
        ("/simple/", "/simple/present/", "/nothing/here", "/packages/x"), (10, 3 << 20)
    ):
        answers = raw.misplaced(server.port, server.auth, path, size)
        assert answers == (f"405 Uploads go to /legacy/, not to {path}", True), (path, size, answers)


def test_a_refused_client_that_sends_more_reads_the_reason(server: Server) -> None:
    """A reset instead of an answer would hide the reason; the rest of the body is read and dropped, up to a limit."""
    ppmctl("user", "add", "eve", "--role", "reader", "--root", str(server.root))
    large = (WHEEL_NAME, os.urandom(20 << 20))
    for _attempt in range(3):
        answer = server.upload(large, auth=("eve", "wrong"))
        assert_refused(answer, 401)


# access


def test_who_may_publish_and_remove(server: Server) -> None:
    """A reader gets 403; only an admin may remove; a wrong secret gets 401. Refused requests change nothing."""
    secrets = {
        role: ppmctl("user", "add", role, "--role", role, "--root", str(server.root)).stdout.strip()
        for role in ("reader", "publisher")
    }
    made = wheels.wheel("owned", "1.0")
    before = snapshot(server)
    a_reader = "The credential reader may not publish: it has only a reader's rights"
    assert_refused(server.upload(made, auth=("reader", secrets["reader"])), 403, a_reader)
    assert_refused(server.upload(made, auth=("publisher", secrets["reader"])), 401, "The credential is wrong")
    assert_refused(server.upload(made, auth=("nobody", "x")), 401)
    assert_refused(server.upload(made, auth=None), 401)
    assert snapshot(server) == before
    assert server.upload(made, auth=("publisher", secrets["publisher"])).status_code == 200
    published = snapshot(server)
    removal = {":action": "remove_pkg", "name": "owned", "version": "1.0"}

    def remove(auth: tuple[str, str], **more: str) -> requests.Response:
        return requests.post(server.url, data={**removal, **more}, auth=auth, timeout=60)

    assert_refused(remove(("reader", secrets["reader"])), 403)
    assert_refused(remove(("publisher", secrets["publisher"])), 403, "admin")
    assert_refused(remove(server.auth, version="9"), 404, "9")
    assert_refused(remove(server.auth, name="y"), 404, "y")
    assert_refused(remove(server.auth, version=""), 400)
    assert snapshot(server) == published
    assert remove(server.auth).status_code == 200
    assert server.filenames("owned") == set()
    assert server.get(f"/packages/owned/{made[0]}").status_code == 404
    assert_refused(server.upload(made), 409, "was removed from this index and its name can't be used again", made[0])
    lines = [json.loads(line) for line in (server.root / "audit.jsonl").read_text().splitlines()]
    audited = [(line["by"], line["action"], line["what"], line["result"] == "done") for line in lines]
    assert ("publisher", "publish", made[0], True) in audited
    assert ("admin", "remove", made[0], True) in audited
    assert ("admin", "publish", made[0], False) in audited
    assert any(by == "reader" and not done for by, _action, _what, done in audited)


def test_over_tcp_forwarded_addresses_are_ignored(server: Server) -> None:
    """The address in the audit is the connection's, not a header's."""
    made = wheels.wheel("origins", "1.0")
    assert server.upload(made, headers={"X-Real-IP": "192.0.2.7"}).status_code == 200
    line = json.loads((server.root / "audit.jsonl").read_text().splitlines()[-1])
    assert (line["what"], line["from"]) == (made[0], "127.0.0.1")


# used names


def test_a_name_is_used_once(server: Server) -> None:
    """Other content: 409 with what to do. The same content is a success that says so, also in the audit."""
    made = wheels.wheel("present", "1.0")
    other = wheels.wheel("present", "1.0", files={"present.py": b"other"})
    before = snapshot(server)
    assert_refused(server.upload(other), 409, made[0], "other content", "publish a new version")
    form = {"content": made, "gpg_signature": (f"{made[0]}.asc", b"signed")}
    again = requests.post(server.url, files=form, auth=server.auth, timeout=60)
    note = f"{made[0]} is already in this index, with the same content; nothing was changed"
    assert (again.status_code, again.text) == (200, f"{note}\n")
    assert again.headers["Content-Type"].startswith("text/plain")
    assert json.loads((server.root / "audit.jsonl").read_text().splitlines()[-1])["result"] == f"done: {note}"
    assert snapshot(server) == before
    scope = ("--role", "publisher", "--project", "other-*")
    secret = ppmctl("user", "add", "elsewhere", *scope, "--root", str(server.root)).stdout.strip()
    assert_refused(server.upload(made, auth=("elsewhere", secret)), 403, "may not publish present")


@pytest.mark.parametrize("state", ["archived", "quarantined"])
def test_a_closed_project_refuses_uploads(state: str, server: Server) -> None:
    """PEP 792: 403 with the status's reason; a deprecated project accepts uploads."""
    project = f"closed-{state}"
    assert server.upload(wheels.wheel(project, "1.0")).status_code == 200
    root = ("--root", str(server.root))
    ppmctl("package", "status", project, state, "--reason", "moved to newer", *root)
    before = snapshot(server)
    assert_refused(server.upload(wheels.wheel(project, "2.0")), 403, state, "moved to newer")
    assert snapshot(server) == before
    ppmctl("package", "status", project, "deprecated", *root)
    assert server.upload(wheels.wheel(project, "2.0")).status_code == 200


# what clients show


def test_twine_shows_the_reason_of_a_refusal(
    limited: Server, new_machine: Callable[..., Machine], tmp_path: Path
) -> None:
    """Without --verbose twine prints only the status line, which has the reason.

    It sends the same file again without a complaint. The answers come after the body, in the middle of it and before.
    """
    made, other = wheels.wheel("printed", "1.0"), wheels.wheel("printed", "1.0", files={"printed.py": b"other"})
    assert limited.upload(made).status_code == 200
    publish("twine", new_machine(), limited, limited.url + "/", wheels.write(tmp_path, made))
    stranger = replace(limited, secret="wrong")
    for server, tried, reason in (
        (limited, other, f"{made[0]} is already in this index with other content"),
        (
            limited,
            wheels.wheel("printed", "2.0", files={"noise": os.urandom(2 << 20)}),
            "over this index's limit of 1048576 bytes",
        ),
        (stranger, wheels.wheel("printed", "3.0"), "The credential is wrong"),
    ):
        path = wheels.write(tmp_path, tried)
        done = publish("twine", new_machine(), server, server.url + "/", path, expect=1)
        assert reason in " ".join(done.output.split())
        assert "overwrite" not in done.output


@pytest.mark.parametrize("client", ["uv", "hatch", "curl"])
def test_other_clients_show_the_reason_of_a_refusal(
    client: str, server: Server, new_machine: Callable[..., Machine], tmp_path: Path
) -> None:
    """Each client shows the reason from the status line or the body."""
    made = wheels.wheel("present", "1.0", files={"present.py": client.encode()})
    path = wheels.write(tmp_path, made)
    printed = publish(client, new_machine(server), server, server.url + "/", path, expect=None)
    assert printed.code != 0
    assert "already in this index with other content" in printed.output
    assert "overwrite" not in printed.output


def test_a_body_that_ends_early_leaves_nothing(unchanged: Server) -> None:
    """A client that disconnects in the middle of its body, or whose head arrives byte by byte."""
    request = requests.Request(
        "POST", unchanged.url, auth=unchanged.auth, files={"content": wheels.wheel("x", "1.0")}
    )
    prepared = request.prepare()
    assert isinstance(prepared.body, bytes)
    head = f"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {len(prepared.body)}\r\n"
    for name in ("Content-Type", "Authorization"):
        head += f"{name}: {prepared.headers[name]}\r\n"
    with socket.create_connection(("127.0.0.1", unchanged.port), timeout=60) as connection:
        for byte in head.encode() + b"\r\n":
            connection.send(bytes([byte]))
        connection.sendall(prepared.body[:-100])
        connection.shutdown(socket.SHUT_WR)
        answer = b""
        while chunk := connection.recv(4096):
            answer += chunk
    assert answer.startswith(b"HTTP/1.1 400 The upload ended too early")
