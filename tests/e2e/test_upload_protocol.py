"""What an upload is answered, and that what is refused leaves nothing behind."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import socket
import stat
import tarfile
import warnings
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
import requests
from support import wheels
from support.clients import Machine, publish
from support.servers import Server, ppmctl

META = "x-1.0.dist-info/METADATA"
WHEEL_NAME = "x-1.0-py3-none-any.whl"
SDIST_NAME = "x-1.0.tar.gz"


def snapshot(server: Server) -> dict[str, str]:
    """Everything that an upload could leave behind: files, their side files, what is under way, pages, marks."""
    found = {}
    for folder in ("packages", "incoming", "drop", "index"):
        for path in (server.root / folder).rglob("*"):
            name = str(path.relative_to(server.root))
            # the list of projects follows by itself, and so does what a start notes
            if path.parent.name == "simple" or "/.root" in name or name.startswith(("index/boot", "index/.boot")):
                continue
            if path.is_dir():
                if folder != "incoming":
                    found[name] = "folder"
            elif path.name != ".lock":
                found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def assert_refused(answer: requests.Response, status: int, *words: str) -> None:
    """The status, and the reason in the status line (all that twine shows) and as one line of text."""
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
    """The shared index with something in it."""
    for made in (wheels.wheel("present", "1.0"), wheels.sdist("present", "1.0")):
        assert index.upload(made).status_code == 200
    return index


@pytest.fixture
def unchanged(server: Server) -> Iterator[Server]:
    """The server; nothing on its volume is another at the end of the test."""
    before = snapshot(server)
    yield server
    assert snapshot(server) == before


# archives that are not what they should be


def wheel_of(**more: bytes | None) -> bytes:
    """A wheel x 1.0; members by path are added, or left out with None. `__` in a name stands for `/`."""
    members: dict[str, bytes | None] = {
        "x.py": b"",
        META: wheels.metadata("x", "1.0"),
        "x-1.0.dist-info/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        "x-1.0.dist-info/RECORD": b"",
    }
    members |= more
    return wheels.zip_of({path: content for path, content in members.items() if content is not None})


def with_member(*extra: tuple[zipfile.ZipInfo, bytes]) -> bytes:
    buffer = io.BytesIO(wheel_of())
    with warnings.catch_warnings(action="ignore"), zipfile.ZipFile(buffer, "a") as archive:
        for info, content in extra:
            archive.writestr(info, content, zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def zip_link(target: str) -> bytes:
    info = zipfile.ZipInfo("x/link")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    return with_member((info, target.encode()))


def sdist_with(*members: tarfile.TarInfo, content: Mapping[str, bytes] | None = None) -> bytes:
    """An sdist x 1.0 with more members."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for path, data in ({"x-1.0/PKG-INFO": wheels.metadata("x", "1.0")} | dict(content or {})).items():
            info = tarfile.TarInfo(path)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
        for member in members:
            archive.addfile(member)
    return gzip.compress(buffer.getvalue(), mtime=0)


def member(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type = kind
    info.linkname = target
    return info


def damaged(content: bytes, at: int) -> bytes:
    return content[:at] + bytes([content[at] ^ 0xFF]) + content[at + 1 :]


def lying_about_its_size() -> bytes:
    """A zip whose directory says that a member is small; its data unpack to far more."""
    content = wheel_of(**{META: wheels.metadata("x", "1.0") + b"x" * (1 << 20)})
    position = content.index(b"PK\x01\x02", content.rindex(META.encode()) - 46)
    return content[: position + 24] + (100).to_bytes(4, "little") + content[position + 28 :]


BAD_WHEELS: dict[str, Callable[[], tuple[bytes, str]]] = {
    "empty": lambda: (b"", "not a readable archive"),
    "no zip": lambda: (b"This is no zip file at all, but text.\n" * 50, "not a readable archive"),
    "half of a zip": lambda: (wheel_of()[:300], "not a readable archive"),
    "without its last bytes": lambda: (wheel_of()[:-30], "not a readable archive"),
    "an sdist": lambda: (wheels.sdist("x", "1.0")[1], "not a readable archive"),
    "damaged metadata": lambda: (damaged(wheel_of(), wheel_of().index(b"METADATA") + 20), "not a readable archive"),
    "another project's metadata": lambda: (wheel_of(**{META: wheels.metadata("y", "1.0")}), "'y'"),
    "another version's metadata": lambda: (wheel_of(**{META: wheels.metadata("x", "1.1")}), "version 1.1"),
    "a version that is none": lambda: (wheel_of(**{META: wheels.metadata("x", "one")}), "'one'"),
    "metadata without a name": lambda: (wheel_of(**{META: b"Metadata-Version: 2.1\nVersion: 1.0\n"}), "project ''"),
    "metadata without a version": lambda: (wheel_of(**{META: b"Metadata-Version: 2.1\nName: x\n"}), "version"),
    "metadata without its version": lambda: (wheel_of(**{META: b"Name: x\nVersion: 1.0\n"}), "Metadata-Version"),
    "metadata that is noise": lambda: (wheel_of(**{META: bytes(range(256)) * 4}), "etadata"),
    "empty metadata": lambda: (wheel_of(**{META: b""}), "Metadata-Version"),
    "no METADATA": lambda: (wheel_of(**{META: None}), "METADATA"),
    "no WHEEL": lambda: (wheel_of(**{"x-1.0.dist-info/WHEEL": None}), "WHEEL"),
    "no RECORD": lambda: (wheel_of(**{"x-1.0.dist-info/RECORD": None}), "RECORD"),
    "two dist-infos": lambda: (wheel_of(**{"y-1.0.dist-info/METADATA": b""}), "2 .dist-info"),
    "another dist-info": lambda: (
        wheels.zip_of(
            {f"y-1.0.dist-info/{name}": wheels.metadata("x", "1.0") for name in ("METADATA", "WHEEL", "RECORD")}
        ),
        "another distribution",
    ),
    "climbs": lambda: (wheel_of(**{"../evil.py": b""}), "leave the folder"),
    "climbs inside": lambda: (wheel_of(**{"x/../../evil.py": b""}), "leave the folder"),
    "climbs with backslashes": lambda: (
        with_member((zipfile.ZipInfo("x\\..\\..\\evil.py"), b"")),
        "leave the folder",
    ),
    "absolute": lambda: (wheel_of(**{"/etc/evil": b""}), "leave the folder"),
    "a drive": lambda: (wheel_of(**{"C:/evil": b""}), "leave the folder"),
    "a symbolic link": lambda: (zip_link("/etc/passwd"), "symbolic link"),
    "a member twice": lambda: (with_member((zipfile.ZipInfo(META), wheels.metadata("x", "9"))), "two members"),
    "a bomb": lambda: (wheel_of(**{"x/zeros": bytes(80 << 20)}), "decompression bomb"),
    "says less than it holds": lambda: (lying_about_its_size(), "not a readable archive"),
    "metadata beyond all measure": lambda: (
        wheel_of(**{META: wheels.metadata("x", "1.0") + b"x" * (17 << 20)}),
        "metadata is over 16 MB",
    ),
    "a Metadata-Version to come": lambda: (
        wheel_of(**{META: wheels.metadata("x", "1.0", metadata_version="2.6")}),
        "'2.6'",
    ),
    "a Metadata-Version of fancy": lambda: (
        wheel_of(**{META: wheels.metadata("x", "1.0", metadata_version="9.9")}),
        "'9.9'",
    ),
}

BAD_SDISTS: dict[str, Callable[[], tuple[bytes, str]]] = {
    "empty": lambda: (b"", "not a readable archive"),
    "no gzip": lambda: (b"This is text.\n" * 100, "not a readable archive"),
    "a gzip of text": lambda: (gzip.compress(b"This is text.\n" * 100), "not a readable archive"),
    "a wheel": lambda: (wheel_of(), "not a readable archive"),
    "half of it": lambda: (
        sdist_with(content={"x-1.0/x.py": bytes(range(256)) * 200})[:300],
        "not a readable archive",
    ),
    "without its last bytes": lambda: (sdist_with()[:-4], "not a readable archive"),
    "a wrong checksum": lambda: (damaged(sdist_with(), len(sdist_with()) - 6), "not a readable archive"),
    "no PKG-INFO": lambda: (wheels.tar_of({"x-1.0/setup.py": b""}), "0 PKG-INFO"),
    "a PKG-INFO too deep": lambda: (
        wheels.tar_of({"x-1.0/x.egg-info/PKG-INFO": wheels.metadata("x", "1.0")}),
        "0 PKG-INFO",
    ),
    "two PKG-INFOs": lambda: (sdist_with(content={"y-1.0/PKG-INFO": wheels.metadata("x", "1.0")}), "2 PKG-INFO"),
    "another project's": lambda: (wheels.sdist("x", "1.0", meta=wheels.metadata("y", "1.0"))[1], "'y'"),
    "another version's": lambda: (wheels.sdist("x", "1.0", meta=wheels.metadata("x", "2.0"))[1], "version 2.0"),
    "climbs": lambda: (sdist_with(content={"../evil": b""}), "unpacked"),
    "climbs inside": lambda: (sdist_with(content={"x-1.0/../../evil": b""}), "unpacked"),
    "absolute": lambda: (sdist_with(content={"/etc/evil": b""}), "unpacked"),
    "a drive": lambda: (sdist_with(content={"C:/evil": b""}), "unpacked"),
    "backslashes": lambda: (sdist_with(content={"x-1.0\\..\\..\\evil": b""}), "unpacked"),
    "a link out": lambda: (sdist_with(member("x-1.0/link", tarfile.SYMTYPE, "../../etc/passwd")), "unpacked safely"),
    "an absolute link": lambda: (sdist_with(member("x-1.0/link", tarfile.SYMTYPE, "/etc/passwd")), "unpacked safely"),
    "a hard link out": lambda: (
        sdist_with(member("x-1.0/link", tarfile.LNKTYPE, "../etc/passwd")),
        "unpacked safely",
    ),
    "a device": lambda: (sdist_with(member("x-1.0/null", tarfile.CHRTYPE)), "unpacked safely"),
    "a pipe": lambda: (sdist_with(member("x-1.0/pipe", tarfile.FIFOTYPE)), "unpacked safely"),
    "a bomb": lambda: (sdist_with(content={"x-1.0/zeros": bytes(80 << 20)}), "decompression bomb"),
    "a bomb after its end": lambda: (sdist_with() + gzip.compress(bytes(80 << 20)), "decompression bomb"),
    "a Metadata-Version to come": lambda: (
        wheels.sdist("x", "1.0", meta=wheels.metadata("x", "1.0", metadata_version="2.6"))[1],
        "'2.6'",
    ),
}


@pytest.mark.parametrize("case", BAD_WHEELS)
def test_what_is_no_wheel_is_refused(case: str, unchanged: Server) -> None:
    """pypiserver took anything of the right name; installers fail on it, or worse."""
    content, reason = BAD_WHEELS[case]()
    assert_refused(unchanged.upload((WHEEL_NAME, content)), 400, WHEEL_NAME, reason)


@pytest.mark.parametrize("case", BAD_SDISTS)
def test_what_is_no_sdist_is_refused(case: str, unchanged: Server) -> None:
    """As for wheels; what leaves its folder when it is unpacked is refused by tarfile's own rules (PEP 706)."""
    content, reason = BAD_SDISTS[case]()
    assert_refused(unchanged.upload((SDIST_NAME, content)), 400, SDIST_NAME, reason)


def test_what_is_no_zip_sdist_is_refused(unchanged: Server) -> None:
    """The same of `.zip`, which old sdists are."""
    good = wheels.zip_of({"x-1.0/PKG-INFO": wheels.metadata("x", "1.0")})
    for content in (
        good[:-10],
        wheels.zip_of({"x-1.0/x.py": b""}),
        wheels.zip_of({"x-1.0/PKG-INFO": wheels.metadata("x", "2.0")}),
        wheels.zip_of({"x-1.0/PKG-INFO": wheels.metadata("x", "1.0"), "../evil": b""}),
        wheels.zip_of({"x-1.0/PKG-INFO": wheels.metadata("x", "1.0"), "x-1.0/zeros": bytes(80 << 20)}),
    ):
        assert_refused(unchanged.upload(("x-1.0.zip", content)), 400, "x-1.0.zip")


def test_good_ones_of_every_kind_are_taken(server: Server) -> None:
    """What real builds make: every version of the metadata, links that stay inside, zips, odd versions."""
    taken = []
    for number, version in enumerate(("1.0", "1.1", "1.2", "2.0", "2.1", "2.2", "2.3", "2.4", "2.5")):
        taken.append(wheels.wheel("good", f"0.{number}", metadata_version=version))
    for version in ("1!2.0", "3.0+cpu.1", "3.0rc1.post2.dev3", "2024.11.21"):
        taken += [wheels.wheel("good", version), wheels.sdist("good", version)]
    meta = wheels.metadata("good", "4.0")
    inside = member("x-1.0/link", tarfile.SYMTYPE, "PKG-INFO")
    top = sdist_with(inside)
    taken.append(("good-4.0.zip", wheels.zip_of({"good-4.0/PKG-INFO": meta})))
    taken.append((SDIST_NAME.replace("x", "inside"), _renamed(top)))
    taken.append(wheels.wheel("Good", "5.0", tag="cp311-abi3-manylinux_2_17_x86_64.manylinux2014_x86_64"))
    taken.append(wheels.wheel("good", "6.0", files={"data": bytes(32 << 20)}))  # packs well, and is no bomb
    for made in taken:
        answer = server.upload(made)
        assert answer.status_code == 200, (made[0], answer.text)
    assert server.filenames("good") | server.filenames("inside") == {name for name, _content in taken}


def _renamed(sdist: bytes) -> bytes:
    """The sdist as one of the project `inside`; its link stays."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=io.BytesIO(sdist)) as old, tarfile.open(fileobj=buffer, mode="w") as new:
        for info in old:
            data = wheels.metadata("inside", "1.0") if info.isfile() else b""
            info.name = info.name.replace("x-1.0", "inside-1.0")
            info.size = len(data)
            new.addfile(info, io.BytesIO(data))
    return gzip.compress(buffer.getvalue())


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


@pytest.mark.parametrize("filename", BAD_NAMES, ids=[ascii(name)[:40] for name in BAD_NAMES])
def test_a_bad_filename_is_refused(filename: str, unchanged: Server) -> None:
    """What is no name of a wheel or sdist, and above all what would be a side file or lie elsewhere."""
    content = wheels.sdist("x", "1.0")[1]
    boundary = "a-boundary-that-nothing-has-in-it"
    body = f'--{boundary}\r\nContent-Disposition: form-data; name=":action"\r\n\r\nfile_upload\r\n--{boundary}\r\n'
    escaped = filename.replace("\\", "\\\\").replace('"', '\\"')
    body += f'Content-Disposition: form-data; name="content"; filename="{escaped}"\r\n\r\n'
    sent = body.encode() + content + f"\r\n--{boundary}--\r\n".encode()
    answer = requests.post(
        unchanged.url,
        data=sent,
        auth=unchanged.auth,
        headers={"Content-Type": f"multipart/form-data; boundary={boundary}"},
        timeout=60,
    )
    assert_refused(answer, 400)


def test_a_name_with_no_room_for_its_side_files_is_refused(server: Server) -> None:
    """A file system has 255 bytes for a name; a good wheel or sdist of a longer one could not have its record."""
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


# what was sent with it


@pytest.mark.parametrize("digest", ["md5", "sha256", "blake2_256"])
def test_every_digest_that_is_sent_is_checked(digest: str, unchanged: Server) -> None:
    """A file that changed on its way is refused; pypiserver ignored what clients send."""
    made = wheels.wheel("x", "1.0")
    sizes = {"md5": 32, "sha256": 64, "blake2_256": 64}
    for wrong in ("0" * sizes[digest], "nonsense", "0"):
        assert_refused(
            unchanged.upload(made, fields={f"{digest}_digest": wrong}), 400, WHEEL_NAME, digest, "upload it again"
        )


def test_right_digests_are_taken(server: Server) -> None:
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
    """The form and the file say which project it is; where they differ, something is wrong."""
    assert_refused(unchanged.upload(wheels.wheel("x", "1.0"), fields={"name": "y"}), 400, "'y'", WHEEL_NAME)


def test_attestations_are_kept_byte_for_byte(server: Server) -> None:
    """PEP 740: what the client sent is kept as it came."""
    sent = '[ {"version": 1,\n "envelope": {"statement": "\u00e9"} } ]'
    assert server.upload(wheels.wheel("attested", "1.0"), fields={"attestations": sent}).status_code == 200
    kept = server.root / "packages" / "attested" / "attested-1.0-py3-none-any.whl.attestations"
    assert kept.read_bytes() == sent.encode()


@pytest.mark.parametrize("sent", ["", "nonsense", "{}", '"text"', "[", "null"])
def test_attestations_that_are_none_are_refused(sent: str, unchanged: Server) -> None:
    """They are refused with the file: half of an upload is none."""
    answer = unchanged.upload(wheels.wheel("x", "1.0"), fields={"attestations": sent})
    assert_refused(answer, 400, "attestations")


def test_a_signature_is_passed_over(server: Server) -> None:
    """Old twine sends `gpg_signature`; nobody reads it, and it must neither be stored nor fail the upload."""
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
    """Whatever comes instead of a file is answered with what is missing."""
    action = {":action": (None, "file_upload")}
    for files in (action, {**action, "content": (None, "text")}, {**action, "other": wheels.wheel("x", "1.0")}):
        answer = requests.post(unchanged.url, files=files, auth=unchanged.auth, timeout=60)
        assert_refused(answer, 400, "'content'")
    urlencoded = requests.post(unchanged.url, data={":action": "file_upload"}, auth=unchanged.auth, timeout=60)
    assert_refused(urlencoded, 400, "'content'")


def test_two_files_in_a_form_are_refused(unchanged: Server) -> None:
    """One of them would be lost without a word."""
    files = [
        (":action", (None, "file_upload")),
        ("content", wheels.wheel("x", "1.0")),
        ("content", wheels.sdist("x", "1.0")),
    ]
    answer = requests.post(unchanged.url, files=files, auth=unchanged.auth, timeout=60)
    assert_refused(answer, 400, "more than one file")


def test_garbage_is_refused(unchanged: Server) -> None:
    """Not one of them is a 500, and none leaves a part of itself in incoming/."""
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


def test_a_form_with_a_field_beyond_measure_is_refused(unchanged: Server) -> None:
    """Fields are held in memory, so there is a limit to them; a long README is within it."""
    answer = unchanged.upload(wheels.wheel("x", "1.0"), fields={"description": "x" * (17 << 20)})
    assert_refused(answer, 413, "16 MB of text")
    many = requests.post(unchanged.url, files=[("f", (None, "v"))] * 10_001, auth=unchanged.auth, timeout=60)
    assert_refused(many, 413, "10000 fields")


def test_an_unknown_action_is_refused(unchanged: Server) -> None:
    """doc_upload is pypiserver's, and stores nothing; the others are nobody's."""
    for action in ("doc_upload", "list_classifiers", "nonsense", "é\n"):
        assert_refused(unchanged.upload(wheels.wheel("x", "1.0"), fields={":action": action}), 400, ":action")


def test_old_registrations_are_answered(unchanged: Server) -> None:
    """setuptools of old sends `submit` before it uploads; it is said yes to and changes nothing."""
    for action in ("submit", "verify"):
        answer = requests.post(unchanged.url, data={":action": action, "name": "x"}, auth=unchanged.auth, timeout=60)
        assert (answer.status_code, answer.text) == (200, "")


# limits


@pytest.mark.parametrize("chunked", [False, True], ids=["with its length", "chunked"])
def test_an_upload_over_the_limit_is_refused(chunked: bool, serve: Callable[..., Server]) -> None:
    """413 whether the client says its length or not; one at the limit is taken."""
    server = serve("--max-upload-size", "1M", "--upstream", "none")
    before = snapshot(server)
    for size, status in ((3 << 20, 413), (1 << 20, 413), ((1 << 20) - 4096, 200)):
        made = wheels.wheel("x", "1.0", files={"noise": _noise(size - 1024)})
        request = requests.Request("POST", server.url, data={":action": "file_upload"}, files={"content": made})
        prepared = request.prepare()
        body = prepared.body
        assert isinstance(body, bytes)
        chunks = (body[start : start + 65536] for start in range(0, len(body), 65536)) if chunked else body
        answer = post(server, chunks, prepared.headers["Content-Type"])
        if status == 200:
            assert answer.status_code == 200, answer.text
        else:
            assert_refused(answer, 413, "limit of 1048576 bytes")
            assert snapshot(server) == before


def _noise(size: int) -> bytes:
    return b"".join(hashlib.sha256(number.to_bytes(4)).digest() for number in range(size // 32))


def test_a_refused_client_that_sends_more_reads_the_reason(serve: Callable[..., Server]) -> None:
    """A reset instead of an answer would hide why; the rest of a body within limits is read and thrown away."""
    server = serve("--upstream", "none")
    ppmctl("user", "add", "eve", "--role", "reader", "--root", str(server.root))
    large = wheels.wheel("x", "1.0", files={"noise": _noise(20 << 20)})
    for _attempt in range(3):
        answer = server.upload(large, auth=("eve", "wrong"))
        assert_refused(answer, 401)


# who


def test_who_may_publish_and_remove(serve: Callable[..., Server]) -> None:
    """A reader 403; a publisher may not remove, an admin may; a wrong secret 401. What is refused leaves nothing."""
    server = serve("--upstream", "none")
    secrets = {
        role: ppmctl("user", "add", role, "--role", role, "--root", str(server.root)).stdout.strip()
        for role in ("reader", "publisher")
    }
    made = wheels.wheel("x", "1.0")
    before = snapshot(server)
    assert_refused(server.upload(made, auth=("reader", secrets["reader"])), 403, "reader")
    assert_refused(server.upload(made, auth=("publisher", secrets["reader"])), 401)
    assert_refused(server.upload(made, auth=("nobody", "x")), 401)
    assert_refused(server.upload(made, auth=None), 401)
    assert snapshot(server) == before
    assert server.upload(made, auth=("publisher", secrets["publisher"])).status_code == 200
    published = snapshot(server)
    removal = {":action": "remove_pkg", "name": "x", "version": "1.0"}

    def remove(auth: tuple[str, str], **more: str) -> requests.Response:
        return requests.post(server.url, data={**removal, **more}, auth=auth, timeout=60)

    assert_refused(remove(("reader", secrets["reader"])), 403)
    assert_refused(remove(("publisher", secrets["publisher"])), 403, "admin")
    assert_refused(remove(server.auth, version="9"), 404, "9")
    assert_refused(remove(server.auth, name="y"), 404, "y")
    assert_refused(remove(server.auth, version=""), 400)
    assert snapshot(server) == published
    assert remove(server.auth).status_code == 200
    assert server.filenames("x") == set()
    assert server.get(f"/packages/x/{made[0]}").status_code == 404
    assert_refused(server.upload(made), 409, "removed", made[0])
    lines = [json.loads(line) for line in (server.root / "audit.jsonl").read_text().splitlines()]
    said = [(line["by"], line["action"], line["what"], line["result"] == "done") for line in lines]
    assert ("publisher", "publish", made[0], True) in said
    assert ("admin", "remove", made[0], True) in said
    assert ("admin", "publish", made[0], False) in said
    assert any(by == "reader" and not done for by, _action, _what, done in said)


# names that are taken


def test_a_name_is_used_once(server: Server) -> None:
    """409 with what to do; for twine 400, which is what it takes for a duplicate, as pypiserver has it."""
    made = wheels.wheel("present", "1.0")
    other = wheels.wheel("present", "1.0", files={"present.py": b"other"})
    before = snapshot(server)
    for agent, status in (("curl/8", 409), ("uv/0.13", 409), ("twine/7.0.0 rich requests", 400)):
        headers = {"User-Agent": agent}
        assert_refused(server.upload(made, headers=headers), status, made[0], "already in this index", "same content")
        assert_refused(
            server.upload(other, headers=headers), status, made[0], "other content", "publish a new version"
        )
    assert snapshot(server) == before


@pytest.mark.parametrize("state", ["archived", "quarantined"])
def test_a_closed_project_takes_no_uploads(state: str, server: Server) -> None:
    """PEP 792: 403 with the reason that was given; a project that is only deprecated takes them."""
    project = f"closed-{state}"
    assert server.upload(wheels.wheel(project, "1.0")).status_code == 200
    root = ("--root", str(server.root))
    ppmctl("package", "status", project, state, "--reason", "moved to newer", *root)
    before = snapshot(server)
    assert_refused(server.upload(wheels.wheel(project, "2.0")), 403, state, "moved to newer")
    assert snapshot(server) == before
    ppmctl("package", "status", project, "deprecated", *root)
    assert server.upload(wheels.wheel(project, "2.0")).status_code == 200


# what people see


def test_people_understand_what_twine_says(
    serve: Callable[..., Server], new_machine: Callable[..., Machine], tmp_path: Path
) -> None:
    """Without --verbose twine prints the status line alone: the reason stands there."""
    server = serve("--max-upload-size", "1M", "--upstream", "none")
    machine = new_machine()

    def said(made: tuple[str, bytes]) -> str:
        done = publish("twine", machine, server, server.url + "/", wheels.write(tmp_path, made), expect=1)
        return " ".join(done.output.split())

    publish("twine", machine, server, server.url + "/", wheels.write(tmp_path, wheels.wheel("x", "1.0")))
    again = said(wheels.wheel("x", "1.0"))
    assert "x-1.0-py3-none-any.whl is already in this index, with the same content" in again
    assert "overwrite" not in again
    other = said(wheels.wheel("x", "1.0", files={"x.py": b"other"}))
    assert "already in this index with other content; a published file never changes, publish a new version" in other
    assert "overwrite" not in other
    broken = said(
        (
            "x-2.0-py3-none-any.whl",
            wheel_of(**{"../evil": b""}).replace(b"x-1.0", b"x-2.0").replace(b"Version: 1.0", b"Version: 2.0"),
        )
    )
    assert "would leave the folder" in broken
    large = said(wheels.wheel("x", "3.0", files={"noise": _noise(2 << 20)}))
    assert "over this index's limit of 1048576 bytes" in large
    ppmctl("package", "remove", "x", "1.0", "--yes", "--root", str(server.root))
    assert "was removed from this index and its name can't be used again" in said(wheels.wheel("x", "1.0"))
    ppmctl("package", "status", "x", "archived", "--reason", "use y", "--root", str(server.root))
    assert "The project x is archived and takes no uploads: use y" in said(wheels.wheel("x", "4.0"))
    reader = ppmctl("user", "add", "eve", "--role", "reader", "--root", str(server.root)).stdout.strip()
    server.user, server.secret = "eve", reader
    assert "The credential eve is a reader's: it may install, not publish" in said(wheels.wheel("y", "1.0"))
    server.secret = "wrong"
    assert "The credential is wrong" in said(wheels.wheel("y", "1.0"))


@pytest.mark.parametrize("client", ["uv", "hatch", "curl"])
def test_people_understand_what_other_clients_say(
    client: str, server: Server, new_machine: Callable[..., Machine], tmp_path: Path
) -> None:
    """The reason of a refusal reaches the person, by whichever of its two places the client shows."""
    made = wheels.wheel("present", "1.0", files={"present.py": client.encode()})
    path = wheels.write(tmp_path, made)
    said = publish(client, new_machine(server), server, server.url + "/", path, expect=None)
    assert said.code != 0
    assert "already in this index with other content" in said.output
    assert "overwrite" not in said.output


def test_a_body_that_ends_early_leaves_nothing(unchanged: Server) -> None:
    """A client that goes away in the middle of its body, or whose head comes byte by byte."""
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
    assert answer.startswith(b"HTTP/1.1 400 The upload broke off before its end")
