"""What is a distribution, and what is refused: the archive is real, the filename is the claim."""

from __future__ import annotations

import gzip
import io
import stat
import tarfile
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import wheels

from ppmctl import archives, dists
from ppmctl.dists import InvalidDistribution


def inspect(folder: Path, made: tuple[str, bytes], *, filename: str | None = None) -> dists.Dist:
    return dists.inspect(wheels.write(folder, made), filename or made[0])


@pytest.mark.parametrize(
    ("filename", "project", "version", "kind"),
    [
        ("six-1.17.0-py2.py3-none-any.whl", "six", "1.17.0", "wheel"),
        ("ruamel_yaml-0.19.1-py3-none-any.whl", "ruamel-yaml", "0.19.1", "wheel"),
        ("Foo.Bar-1!2.0+cpu.1-cp311-cp311-linux_x86_64.whl", "foo-bar", "1!2.0+cpu.1", "wheel"),
        ("foo-1.0-3-py3-none-any.whl", "foo", "1.0", "wheel"),
        ("zope.interface-5.0.tar.gz", "zope-interface", "5.0", "sdist"),
        ("a-b-c-1.0rc1.zip", "a-b-c", "1.0rc1", "sdist"),
    ],
)
def test_filenames(filename: str, project: str, version: str, kind: str) -> None:
    name = dists.parse_filename(filename)
    assert (name.project, str(name.version), name.kind) == (project, version, kind)


@pytest.mark.parametrize(
    "filename",
    [
        "",
        ".hidden-1.0.tar.gz",
        "../six-1.0.tar.gz",
        "a/six-1.0.tar.gz",
        "six-1.0.tar.gz\n",
        "six.tar.gz",
        "six-one.tar.gz",
        "six-1.0.egg",
        "six-1.0.exe",
        "six-1.0-py3-none-any.whl.upload",
        "six-1.0.tar.gz.metadata",
        "six-1.0.tar.bz2",
        "-1.0.tar.gz",
        "six-1.0-py3-none.whl",
        "sïx-1.0.tar.gz",
        "six-" + "1" * 300 + ".tar.gz",
    ],
)
def test_a_filename_that_is_none_is_refused(filename: str) -> None:
    with pytest.raises(InvalidDistribution):
        dists.parse_filename(filename)


@given(st.text(max_size=60))
def test_no_text_makes_the_parser_fail_otherwise(text: str) -> None:
    """Whatever a client sends as a filename is answered, not a crash; what is accepted can't leave its folder."""
    for filename in (text, f"{text}-1.0.tar.gz", f"{text}-py3-none-any.whl"):
        try:
            name = dists.parse_filename(filename)
        except InvalidDistribution:
            continue
        assert dists.is_normalised(name.project)
        assert Path(filename).name == filename
        assert not filename.startswith(".")


def test_a_wheel_is_read(tmp_path: Path) -> None:
    dist = inspect(tmp_path, wheels.wheel("my.pkg", "1.0", requires_python=">=3.9", summary="Does it."))
    assert dist.requires_python == ">=3.9"
    assert dist.summary == "Does it."
    assert b"Name: my.pkg" in dist.metadata


def test_an_sdist_is_read(tmp_path: Path) -> None:
    assert inspect(tmp_path, wheels.sdist("thing", "2.0")).name.project == "thing"


def test_a_zip_sdist_is_read(tmp_path: Path) -> None:
    made = "thing-2.0.zip", wheels.zip_of({"thing-2.0/PKG-INFO": wheels.metadata("thing", "2.0")})
    assert inspect(tmp_path, made).name.version == dists.Version("2.0")


@pytest.mark.parametrize("version", dists.METADATA_VERSIONS)
def test_every_metadata_version_up_to_the_newest(tmp_path: Path, version: str) -> None:
    meta = wheels.metadata("x", "1.0", metadata_version=version)
    assert inspect(tmp_path, wheels.wheel("x", "1.0", meta=meta)).metadata == meta


def without(member: str) -> bytes:
    """A wheel of x 1.0 that lacks one of its files."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(wheels.wheel("x", "1.0")[1])) as whole, zipfile.ZipFile(buffer, "w") as archive:
        for name in whole.namelist():
            if not name.endswith(member):
                archive.writestr(name, whole.read(name))
    return buffer.getvalue()


def damaged(method: int) -> bytes:
    """A wheel whose METADATA is packed by `method`, and damaged."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(wheels.wheel("x", "1.0")[1])) as whole, zipfile.ZipFile(buffer, "w") as archive:
        for name in whole.namelist():
            archive.writestr(name, whole.read(name) * (50 if name.endswith("METADATA") else 1), method)
        at = archive.getinfo("x-1.0.dist-info/METADATA").header_offset
    content = bytearray(buffer.getvalue())
    for offset in range(at + 60, at + 100):
        content[offset] ^= 0x55
    return bytes(content)


def twice() -> bytes:
    buffer = io.BytesIO(wheels.wheel("x", "1.0")[1])
    with pytest.warns(UserWarning, match="Duplicate"), zipfile.ZipFile(buffer, "a") as archive:
        archive.writestr("x.py", "other = True")
    return buffer.getvalue()


def with_symbolic_link() -> bytes:
    buffer = io.BytesIO(wheels.wheel("x", "1.0")[1])
    info = zipfile.ZipInfo("x/link")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(buffer, "a") as archive:
        archive.writestr(info, "/etc/passwd")
    return buffer.getvalue()


def lying_about_its_size() -> bytes:
    """Return a wheel whose directory says that METADATA is small; it unpacks to far more."""
    content = described(wheels.metadata("x", "1.0") + b"x" * (1 << 20))
    position = content.index(b"PK\x01\x02", content.rindex(b"x-1.0.dist-info/METADATA") - 46)
    return content[: position + 24] + (100).to_bytes(4, "little") + content[position + 28 :]


def described(meta: bytes) -> bytes:
    """Return a wheel x 1.0 with this METADATA."""
    return wheels.wheel("x", "1.0", meta=meta)[1]


WHEEL = "x-1.0-py3-none-any.whl"
BAD_WHEELS = {
    "empty": (lambda: b"", "not a readable archive"),
    "half of one": (lambda: wheels.wheel("x", "1.0")[1][:300], "not a readable archive"),
    "an sdist": (lambda: wheels.sdist("x", "1.0")[1], "not a readable archive"),
    "damaged": (lambda: damaged(zipfile.ZIP_DEFLATED), "not a readable archive"),
    "says less than it holds": (lying_about_its_size, "not a readable archive"),
    "garbage": (lambda: b"not a zip at all", "not a readable archive"),
    "truncated": (lambda: wheels.wheel("x", "1.0")[1][:-30], "not a readable archive"),
    "no METADATA": (lambda: without("METADATA"), "METADATA"),
    "no WHEEL": (lambda: without("WHEEL"), "WHEEL"),
    "no RECORD": (lambda: without("RECORD"), "RECORD"),
    "no dist-info": (lambda: wheels.zip_of({"x.py": b""}), "0 .dist-info"),
    "two dist-infos": (
        lambda: wheels.wheel("x", "1.0", files={"y-1.0.dist-info/METADATA": b"Name: y"})[1],
        "2 .dist-info",
    ),
    "another project": (lambda: wheels.wheel("y", "1.0")[1], "another distribution"),
    "another version": (lambda: wheels.wheel("x", "1.1")[1], "another distribution"),
    "metadata of another project": (
        lambda: wheels.wheel("x", "1.0", meta=wheels.metadata("y", "1.0"))[1],
        "the project 'y'",
    ),
    "metadata of another version": (
        lambda: wheels.wheel("x", "1.0", meta=wheels.metadata("x", "2.0"))[1],
        "version 2.0",
    ),
    "metadata version to come": (
        lambda: wheels.wheel("x", "1.0", meta=wheels.metadata("x", "1.0", metadata_version="2.6"))[1],
        "knows up to 2.5",
    ),
    "another metadata version to come": (
        lambda: described(wheels.metadata("x", "1.0", metadata_version="9.9")),
        "Metadata-Version '9.9'",
    ),
    "metadata with another version than there are": (
        lambda: described(wheels.metadata("x", "one")),
        "the version 'one' in its metadata, which is none",
    ),
    "metadata without a name": (lambda: described(b"Metadata-Version: 2.1\nVersion: 1.0\n"), "the project ''"),
    "metadata without a version": (lambda: described(b"Metadata-Version: 2.1\nName: x\n"), "the version None"),
    "noise as metadata": (lambda: described(bytes(range(256)) * 4), "metadata"),
    "empty metadata": (lambda: described(b""), "Metadata-Version"),
    "no metadata version": (lambda: wheels.wheel("x", "1.0", meta=b"Name: x\nVersion: 1.0\n")[1], "Metadata-Version"),
    "parent folder": (lambda: wheels.wheel("x", "1.0", files={"../x.py": b""})[1], "leave the folder"),
    "deep parent folder": (lambda: wheels.wheel("x", "1.0", files={"a/../../x.py": b""})[1], "leave the folder"),
    "absolute": (lambda: wheels.wheel("x", "1.0", files={"/etc/x.py": b""})[1], "leave the folder"),
    "backslash": (lambda: wheels.wheel("x", "1.0", files={"..\\x.py": b""})[1], "leave the folder"),
    "drive": (lambda: wheels.wheel("x", "1.0", files={"C:x.py": b""})[1], "leave the folder"),
    "bomb": (lambda: wheels.wheel("x", "1.0", files={"zeros": bytes(archives.BOMB_FLOOR + 1)})[1], "bomb"),
    "huge metadata": (
        lambda: wheels.wheel("x", "1.0", meta=wheels.metadata("x", "1.0") + b"x" * archives.MAX_METADATA)[1],
        "metadata is over",
    ),
    "damaged LZMA": (lambda: damaged(zipfile.ZIP_LZMA), "not a readable archive"),
    "damaged bzip2": (lambda: damaged(zipfile.ZIP_BZIP2), "not a readable archive"),
    "a member twice": (twice, "two members"),
    "a symbolic link": (with_symbolic_link, "symbolic link"),
}


@pytest.mark.parametrize("case", BAD_WHEELS)
def test_a_wheel_that_is_none_is_refused(tmp_path: Path, case: str) -> None:
    make, reason = BAD_WHEELS[case]
    with pytest.raises(InvalidDistribution, match="(?i)" + reason) as refusal:
        inspect(tmp_path, (WHEEL, make()))
    assert WHEEL in refusal.value.message
    assert "\n" not in refusal.value.message


def tar_with(*members: tarfile.TarInfo) -> bytes:
    buffer = io.BytesIO()
    content = wheels.metadata("x", "1.0")
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        info = tarfile.TarInfo("x-1.0/PKG-INFO")
        info.size = len(content)
        archive.addfile(info, io.BytesIO(content))
        for member in members:
            archive.addfile(member, io.BytesIO(bytes(member.size)))
    return gzip.compress(buffer.getvalue())


def pax_header(size: int) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(
        fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT, pax_headers={"comment": "x" * size}
    ) as archive:
        archive.addfile(tarfile.TarInfo("x-1.0/PKG-INFO"))
    return gzip.compress(buffer.getvalue())


def member(name: str, kind: bytes = tarfile.REGTYPE, target: str = "", size: int = 0) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.size = kind, target, size
    return info


def sdist_with(*paths: str, **content: bytes) -> bytes:
    """Return an sdist x 1.0 with more files; `content` by path has some."""
    members = {"x-1.0/PKG-INFO": wheels.metadata("x", "1.0"), **dict.fromkeys(paths, b""), **content}
    return wheels.tar_of(members)


BAD_SDISTS = {
    "empty": (lambda: b"", "not a readable archive"),
    "a gzip of text": (lambda: gzip.compress(b"This is text.\n" * 100), "not a readable archive"),
    "half of one": (
        lambda: sdist_with(**{"x-1.0/x.py": bytes(range(256)) * 200})[:300],
        "not a readable archive",
    ),
    "two PKG-INFOs": (lambda: sdist_with(**{"y-1.0/PKG-INFO": wheels.metadata("x", "1.0")}), "2 PKG-INFO"),
    "another version": (lambda: wheels.sdist("x", "1.0", meta=wheels.metadata("x", "2.0"))[1], "version 2.0"),
    "metadata version to come": (
        lambda: wheels.sdist("x", "1.0", meta=wheels.metadata("x", "1.0", metadata_version="2.6"))[1],
        "knows up to 2.5",
    ),
    "deep parent folder": (lambda: sdist_with("x-1.0/../../x"), "unpacked safely"),
    "absolute": (lambda: sdist_with("/etc/x"), "unpacked safely"),
    "drive": (lambda: sdist_with("C:/x"), "unpacked safely"),
    "backslash": (lambda: sdist_with("x-1.0\\..\\..\\x"), "unpacked safely"),
    "a pipe": (lambda: tar_with(member("x-1.0/p", tarfile.FIFOTYPE)), "unpacked safely"),
    "a bomb after its end": (
        lambda: wheels.sdist("x", "1.0")[1] + gzip.compress(bytes(archives.BOMB_FLOOR + 1)),
        "bomb",
    ),
    "garbage": (lambda: b"nothing", "not a readable archive"),
    "truncated": (lambda: wheels.sdist("x", "1.0")[1][:-12], "not a readable archive"),
    "checksum": (lambda: wheels.sdist("x", "1.0")[1][:-8] + bytes(8), "not a readable archive"),
    "a zip": (lambda: wheels.wheel("x", "1.0")[1], "not a readable archive"),
    "no PKG-INFO": (lambda: wheels.tar_of({"x-1.0/setup.py": b""}), "0 PKG-INFO"),
    "PKG-INFO too deep": (lambda: wheels.tar_of({"x-1.0/a/PKG-INFO": b""}), "0 PKG-INFO"),
    "another project": (lambda: wheels.sdist("x", "1.0", meta=wheels.metadata("y", "1.0"))[1], "the project 'y'"),
    "parent folder": (lambda: tar_with(member("../x")), "unpacked safely"),
    "absolute link": (lambda: tar_with(member("x-1.0/l", tarfile.SYMTYPE, "/etc/passwd")), "unpacked safely"),
    "link outside": (lambda: tar_with(member("x-1.0/l", tarfile.SYMTYPE, "../../x")), "unpacked safely"),
    "hard link outside": (lambda: tar_with(member("x-1.0/l", tarfile.LNKTYPE, "../x")), "unpacked safely"),
    "through a link": (
        lambda: tar_with(
            member("x-1.0/a/b/d", tarfile.SYMTYPE, "../.."),
            member("x-1.0/up", tarfile.SYMTYPE, "a/b/d/../.."),
            member("x-1.0/up/pwned"),
        ),
        "through a link",
    ),
    "a huge header": (lambda: pax_header(archives.MAX_HEADER + 1), "not a readable archive: a header is over"),
    "device": (lambda: tar_with(member("x-1.0/d", tarfile.CHRTYPE)), "unpacked safely"),
    "bomb": (lambda: tar_with(member("x-1.0/z", size=archives.BOMB_FLOOR + 1)), "bomb"),
}


@pytest.mark.parametrize("case", BAD_SDISTS)
def test_an_sdist_that_is_none_is_refused(tmp_path: Path, case: str) -> None:
    make, reason = BAD_SDISTS[case]
    with pytest.raises(InvalidDistribution, match="(?i)" + reason):
        inspect(tmp_path, ("x-1.0.tar.gz", make()))


def zip_sdist(*, version: str = "1.0", **more: bytes) -> bytes:
    return wheels.zip_of({"x-1.0/PKG-INFO": wheels.metadata("x", version), **more})


BAD_ZIP_SDISTS = {
    "truncated": (lambda: zip_sdist()[:-10], "not a readable archive"),
    "no PKG-INFO": (lambda: wheels.zip_of({"x-1.0/x.py": b""}), "0 PKG-INFO"),
    "another version": (lambda: zip_sdist(version="2.0"), "version 2.0"),
    "parent folder": (lambda: zip_sdist(**{"../x": b""}), "leave the folder"),
    "bomb": (lambda: zip_sdist(**{"x-1.0/zeros": bytes(archives.BOMB_FLOOR + 1)}), "bomb"),
}


@pytest.mark.parametrize("case", BAD_ZIP_SDISTS)
def test_a_zip_sdist_that_is_none_is_refused(tmp_path: Path, case: str) -> None:
    make, reason = BAD_ZIP_SDISTS[case]
    with pytest.raises(InvalidDistribution, match=reason):
        inspect(tmp_path, ("x-1.0.zip", make()))


@given(st.binary(max_size=2000), st.integers(0, 400))
def test_damaged_archives_are_refused_and_never_crash(noise: bytes, at: int) -> None:
    """A damaged file is refused or (where the damage is in a module's bytes) read; nothing else is raised."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        for name, content in (wheels.wheel("x", "1.0"), wheels.sdist("x", "1.0")):
            damaged = content[:at] + noise + content[at + len(noise) :]
            try:
                dist = inspect(Path(folder), (name, damaged))
            except InvalidDistribution:
                continue
            assert dist.name.project == "x"
