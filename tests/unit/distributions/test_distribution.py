"""Wheels and sdists that are accepted, and invalid and unsafe ones that are refused."""

from __future__ import annotations

import errno
import gzip
import io
import os
import stat
import tarfile
import tracemalloc
import zipfile
from pathlib import Path

import pytest
from support import wheels
from support.generated import given, st

from ppmctl.distributions import archive, budget, distribution, names
from ppmctl.distributions.distribution import InvalidDistribution


@pytest.fixture
def _small_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lower the limits to an eighth, or what is too large takes seconds to make; a test below shows the real ones."""
    monkeypatch.setattr(budget, "BOMB_FLOOR", budget.BOMB_FLOOR // 8)


def inspect(folder: Path, made: tuple[str, bytes], *, filename: str | None = None) -> distribution.Dist:
    return distribution.inspect(wheels.write(folder, made), filename or made[0])


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
def test_filenames_are_parsed(filename: str, project: str, version: str, kind: str) -> None:
    name = distribution.parse_filename(filename)
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
def test_invalid_filenames_are_refused(filename: str) -> None:
    with pytest.raises(InvalidDistribution):
        distribution.parse_filename(filename)


@pytest.mark.parametrize(
    ("filename", "project", "version"),
    [
        ("functools32-3.2.3-1.tar.gz", "functools32", "3.2.3.post1"),
        ("Pillow-3.1.0-rc1.tar.gz", "pillow", "3.1.0rc1"),
        ("a.b-c-1.0-2.zip", "a-b-c", "1.0.post2"),
        ("a-b-c-1.0.tar.gz", "a-b-c", "1.0"),
        ("a-b-c-1.0.tar.gz", "a", None),
        ("a-2-1.0.tar.gz", "a", None),
    ],
)
def test_an_old_sdists_name_is_split_after_its_project(filename: str, project: str, version: str | None) -> None:
    """As pip and uv do; a name that is not of this project and a version is split at its last dash."""
    name = distribution.parse_filename(filename, project=project)
    if version is None:
        assert name == distribution.parse_filename(filename)
    else:
        assert (name.project, str(name.version)) == (project, version)
        assert project in distribution.projects_of(filename)


def test_the_projects_that_a_filename_can_belong_to() -> None:
    assert list(distribution.projects_of("a-2-1.tar.gz")) == ["a-2", "a"]
    assert list(distribution.projects_of("a-2-rc1.tar.gz")) == ["a"]
    assert list(distribution.projects_of("a-2-1-py3-none-any.whl")) == ["a"]
    assert list(distribution.projects_of("a-2.txt")) == []
    assert list(distribution.projects_of("-".join("a" * 90) + "-1.zip")) == ["-".join("a" * 90)]


@given(st.text(max_size=60))
def test_any_text_is_parsed_or_refused_as_a_filename(text: str) -> None:
    """No filename causes another exception, and an accepted one can't leave its folder."""
    for filename in (text, f"{text}-1.0.tar.gz", f"{text}-py3-none-any.whl"):
        try:
            name = distribution.parse_filename(filename)
        except InvalidDistribution:
            continue
        assert names.is_normalised(name.project)
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
    assert inspect(tmp_path, made).name.version == distribution.Version("2.0")


def old_sdist(filename: str, name: str, version: str, **members: bytes) -> tuple[str, bytes]:
    pack = wheels.zip_of if filename.endswith(".zip") else wheels.tar_of
    top = filename.removesuffix(".zip").removesuffix(".tar.gz")
    return filename, pack({f"{top}/PKG-INFO": wheels.metadata(name, version, metadata_version="1.1"), **members})


DOTTED = {"./": b"", "./x-1.0/PKG-INFO": wheels.metadata("x", "1.0"), "./x-1.0/x.py": b""}
OLD_SDISTS = {
    "a dash in the version": (old_sdist("x-1.0-2.tar.gz", "X", "1.0-2"), "1.0.post2"),
    "a dash before rc": (old_sdist("x-1.0-rc1.zip", "x", "1.0-rc1"), "1.0rc1"),
    "a .zip with ./ before names": (("x-1.0.zip", wheels.zip_of(DOTTED)), "1.0"),
    "a .zip with a backslash": (old_sdist("x-1.0.zip", "x", "1.0", **{"x-1.0/a\\x2db.service": b""}), "1.0"),
}


@pytest.mark.parametrize(("made", "version"), OLD_SDISTS.values(), ids=OLD_SDISTS)
def test_what_only_old_sdists_have_is_accepted_in_old_ones(
    tmp_path: Path, made: tuple[str, bytes], version: str
) -> None:
    path = wheels.write(tmp_path, made)
    name = distribution.inspect(path, made[0], old=True).name
    assert (name.filename, name.project, str(name.version)) == (made[0], "x", version)
    with pytest.raises(InvalidDistribution):
        distribution.inspect(path, made[0])


def test_an_old_sdist_has_the_project_and_version_of_its_metadata(tmp_path: Path) -> None:
    for made, reason in (
        (old_sdist("x-1.0-2.tar.gz", "x", "1.0"), "has the version 1.0 in its metadata"),
        (old_sdist("x-1.0-rc1.tar.gz", "y", "1.0rc1"), "does not name a project and a version"),
        (old_sdist("x-1.0.tar.gz", "", "1.0"), "holds the metadata of the project ''"),
    ):
        with pytest.raises(InvalidDistribution, match=reason):
            distribution.inspect(wheels.write(tmp_path, made), made[0], old=True)


def test_a_backslash_in_an_sdist_is_a_part_of_a_name(tmp_path: Path) -> None:
    """As systemd escapes names of units; Windows takes it for a separator, so such a path may not leave either."""
    inspect(tmp_path, old_sdist("x-1.0.tar.gz", "x", "1.0", **{"x-1.0/a\\x2db.service": b""}))


@pytest.mark.parametrize("version", ["1.0", "1.1", "1.2", "2.0", "2.1", "2.2", "2.3", "2.4", "2.5", "2.6", "2.7"])
def test_every_metadata_version_is_accepted(tmp_path: Path, version: str) -> None:
    meta = wheels.metadata("x", "1.0", metadata_version=version)
    assert inspect(tmp_path, wheels.wheel("x", "1.0", meta=meta)).metadata == meta


def without(member: str) -> bytes:
    """Return a wheel of x 1.0 without one of its files."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(wheels.wheel("x", "1.0")[1])) as whole, zipfile.ZipFile(buffer, "w") as packed:
        for name in whole.namelist():
            if not name.endswith(member):
                packed.writestr(name, whole.read(name))
    return buffer.getvalue()


def damaged(method: int) -> bytes:
    """Return a wheel whose METADATA is compressed with `method` and damaged."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(wheels.wheel("x", "1.0")[1])) as whole, zipfile.ZipFile(buffer, "w") as packed:
        for name in whole.namelist():
            packed.writestr(name, whole.read(name) * (50 if name.endswith("METADATA") else 1), method)
        at = packed.getinfo("x-1.0.dist-info/METADATA").header_offset
    content = bytearray(buffer.getvalue())
    for offset in range(at + 60, at + 100):
        content[offset] ^= 0x55
    return bytes(content)


def twice() -> bytes:
    buffer = io.BytesIO(wheels.wheel("x", "1.0")[1])
    with pytest.warns(UserWarning, match="Duplicate"), zipfile.ZipFile(buffer, "a") as packed:
        packed.writestr("x.py", "other = True")
    return buffer.getvalue()


def linked(name: str) -> bytes:
    """Return a wheel with a symbolic link."""
    buffer = io.BytesIO(wheels.wheel("x", "1.0")[1])
    with zipfile.ZipFile(buffer, "a") as packed:
        link = zipfile.ZipInfo(name)
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        packed.writestr(link, "/etc/passwd")
    return buffer.getvalue()


def lying_about_its_size() -> bytes:
    """Return a wheel whose directory has a size for METADATA that is too small."""
    content = described(wheels.metadata("x", "1.0") + b"x" * (1 << 20))
    position = content.index(b"PK\x01\x02", content.rindex(b"x-1.0.dist-info/METADATA") - 46)
    return content[: position + 24] + (100).to_bytes(4, "little") + content[position + 28 :]


def fields(lines: bytes) -> bytes:
    """Return metadata with further lines of fields."""
    return wheels.metadata("x", "1.0").replace(b"\n\n", b"\n" + lines + b"\n", 1)


def described(meta: bytes) -> bytes:
    """Return a wheel x 1.0 with this METADATA."""
    return wheels.wheel("x", "1.0", meta=meta)[1]


WHEEL = "x-1.0-py3-none-any.whl"
LEAVES = ": its member '{}' would leave the folder that it is unpacked into."
BOMB = ": it unpacks to more than 50 times its size, which is what a decompression bomb does."
BAD_WHEELS = {
    "empty": (lambda: b"", "not a readable archive"),
    "half of one": (lambda: wheels.wheel("x", "1.0")[1][:300], "not a readable archive"),
    "an sdist": (lambda: wheels.sdist("x", "1.0")[1], "not a readable archive"),
    "damaged": (lambda: damaged(zipfile.ZIP_DEFLATED), "not a readable archive"),
    "a size that is too small": (lying_about_its_size, "has other sizes than in its directory"),
    "garbage": (lambda: b"not a zip at all", "not a readable archive"),
    "truncated": (lambda: wheels.wheel("x", "1.0")[1][:-30], "not a readable archive"),
    "no METADATA": (lambda: without("METADATA"), ": it has no x-1.0.dist-info/METADATA."),
    "no WHEEL": (lambda: without("WHEEL"), ": it has no x-1.0.dist-info/WHEEL."),
    "no RECORD": (lambda: without("RECORD"), ": it has no x-1.0.dist-info/RECORD."),
    "no dist-info": (
        lambda: wheels.zip_of({"x.py": b""}),
        ": it has 0 .dist-info folders at its top, a wheel has one.",
    ),
    "two dist-infos": (
        lambda: wheels.wheel("x", "1.0", files={"y-1.0.dist-info/METADATA": b"Name: y"})[1],
        ": it has 2 .dist-info folders at its top, a wheel has one.",
    ),
    **{
        f"{folder!r} on Windows": (
            lambda folder=folder: wheels.wheel("x", "1.0", files={f"{folder}/METADATA": b"Name: y"})[1],
            ": it has 2 .dist-info folders at its top, a wheel has one.",
        )
        for folder in ("y-1.0.DIST-INFO", "y-1.0.dist-info.", "y-1.0.dist-info::$INDEX_ALLOCATION")
    },
    "other metadata on Windows": (
        lambda: wheels.wheel("x", "1.0", files={"x-1.0.dist-info/METADATA::$DATA": b"Name: y"})[1],
        "are the same file on Windows or macOS.",
    ),
    "only metadata for Windows": (
        lambda: wheels.zip_of({f"x-1.0.dist-info./{name}": b"" for name in ("METADATA", "WHEEL", "RECORD")}),
        ": it has no x-1.0.dist-info/METADATA.",
    ),
    **{
        f"metadata in {folder}": (
            lambda folder=folder: wheels.wheel("x", "1.0", files={f"x-1.0.data/{folder}/METADATA": b""})[1],
            " would be installed as the metadata of a distribution.",
        )
        for folder in (
            "purelib/x-1.0.dist-info",
            "platlib/y-2.0.dist-info",
            "PURELIB/x-1.0.Dist-Info",
            "data/lib/python3.12/site-packages/x-1.0.dist-info",
            "data/Lib/site-packages/y-2.0.dist-info",
            "data/lib/python3/dist-packages/y-2.0.dist-info",
            "data/local/lib/python3.12/dist-packages/y-2.0.dist-info",
            "data/lib64/python3.12/site-packages/y-2.0.dist-info",
            "data/lib/pypy3.10/site-packages/y-2.0.dist-info",
            "data/Python312/site-packages/y-2.0.dist-info",
            "data/site-packages/y-2.0.dist-info",
            "purelib/x-1.0.dist-info.",
            "purelib/x-1.0.dist-info::$INDEX_ALLOCATION",
            "data/Lib./site-packages /y-2.0.dist-info",
        )
    },
    **{
        f"a folder {folder}": (
            lambda folder=folder: wheels.wheel("x", "1.0", files={f"{folder}/purelib/x.py": b""})[1],
            f": its folder '{folder}' is not named x-1.0.data.",
        )
        for folder in ("y-1.0.data", "x-1.0.DATA", "x-1.1.data", "x-1.0-one.data", "x-y-1.0.data", "x.data", ".data")
    },
    "another project": (
        lambda: wheels.wheel("y", "1.0")[1],
        ": its y-1.0.dist-info is that of another distribution.",
    ),
    "another version": (
        lambda: wheels.wheel("x", "1.1")[1],
        ": its x-1.1.dist-info is that of another distribution.",
    ),
    "metadata of another project": (
        lambda: wheels.wheel("x", "1.0", meta=wheels.metadata("y", "1.0"))[1],
        " holds the metadata of the project 'y', not of 'x'.",
    ),
    "metadata of another version": (
        lambda: wheels.wheel("x", "1.0", meta=wheels.metadata("x", "2.0"))[1],
        " has the version 2.0 in its metadata.",
    ),
    "metadata of a version that is none": (
        lambda: wheels.wheel("x", "1.0", meta=wheels.metadata("x", "one"))[1],
        " has the version 'one' in its metadata, which is invalid (PEP 440).",
    ),
    "metadata without a version": (
        lambda: wheels.wheel("x", "1.0", meta=b"Metadata-Version: 2.1\nName: x\n")[1],
        " has the version None in its metadata, which is invalid (PEP 440).",
    ),
    "metadata without a name": (
        lambda: wheels.wheel("x", "1.0", meta=b"Metadata-Version: 2.1\nVersion: 1.0\n")[1],
        " holds the metadata of the project '', not of 'x'.",
    ),
    "metadata of a name that is none": (
        lambda: wheels.wheel("x", "1.0", meta=wheels.metadata("x ü", "1.0"))[1],
        " holds the metadata of the project 'x ü', not of 'x'.",
    ),
    "metadata version to come": (
        lambda: wheels.wheel("x", "1.0", meta=wheels.metadata("x", "1.0", metadata_version="3.0"))[1],
        " has Metadata-Version '3.0'; this index knows up to 2.6.",
    ),
    "a long metadata version": (
        lambda: wheels.wheel("x", "1.0", meta=wheels.metadata("x", "1.0", metadata_version="2" * 30))[1],
        f" has Metadata-Version '{'2' * 20}'; this",
    ),
    "no metadata version": (
        lambda: wheels.wheel("x", "1.0", meta=b"Name: x\nVersion: 1.0\n")[1],
        " has metadata without a Metadata-Version.",
    ),
    "parent folder": (lambda: wheels.wheel("x", "1.0", files={"../x.py": b""})[1], LEAVES.format("../x.py")),
    "deep parent folder": (
        lambda: wheels.wheel("x", "1.0", files={"a/../../x.py": b""})[1],
        LEAVES.format("a/../../x.py"),
    ),
    "absolute": (lambda: wheels.wheel("x", "1.0", files={"/etc/x.py": b""})[1], LEAVES.format("/etc/x.py")),
    "backslash": (lambda: wheels.wheel("x", "1.0", files={"..\\x.py": b""})[1], LEAVES.format("..\\\\x.py")),
    "a small drive": (lambda: wheels.wheel("x", "1.0", files={"c:x.py": b""})[1], LEAVES.format("c:x.py")),
    "a long name that leaves": (
        lambda: wheels.wheel("x", "1.0", files={"../" + "y" * 300: b""})[1],
        LEAVES.format("../" + "y" * 197),
    ),
    "a link": (lambda: linked("x-link"), ": its member 'x-link' is a symbolic link."),
    "a link of a long name": (lambda: linked("y" * 201), f": its member '{'y' * 200}' is a symbolic link."),
    "drive": (lambda: wheels.wheel("x", "1.0", files={"C:x.py": b""})[1], LEAVES.format("C:x.py")),
    "bomb": (lambda: wheels.wheel("x", "1.0", files={"zeros": bytes(budget.BOMB_FLOOR + 1)})[1], BOMB),
    "another metadata version to come": (
        lambda: described(wheels.metadata("x", "1.0", metadata_version="9.9")),
        " has Metadata-Version '9.9'; this index knows up to 2.6.",
    ),
    "noise as metadata": (lambda: described(bytes(range(256)) * 4), "metadata"),
    "empty metadata": (lambda: described(b""), " has metadata without a Metadata-Version."),
    "too many fields": (
        lambda: described(wheels.metadata("x", "1.0", **{f"x_{number}": "1" for number in range(98)})),
        " has metadata that can't be parsed: it has more than 100 different fields.",
    ),
    **{
        f"too many fields after {text}": (
            lambda line=line: described(fields(line + b"".join(b"X-%d: 1\n" % each for each in range(3000)))),
            " has metadata that can't be parsed: line 4 has no field's name.",
        )
        for text, line in (("a colon", b":\n"), ("an envelope", b"From x\n"))
    },
    "too many lines of fields": (
        lambda: described(fields(b"a:\n" * 10_000)),
        " has metadata that can't be parsed: it has more than 10000 fields.",
    ),
    "nested metadata": (
        lambda: described(wheels.metadata("x", "1.0", content_type="multipart/mixed; boundary=b")),
        " has metadata that can't be parsed: it has the field Content-Type of e-mails.",
    ),
    "a long Requires-Python": (
        lambda: described(wheels.metadata("x", "1.0", requires_python=">=3" + " " * 300 + ",<4" * 100)),
        " has a Requires-Python of more than 300 characters.",
    ),
    "a long version": (
        lambda: described(wheels.metadata("x", "9" * 5000)),
        f" has the version '{'9' * 200}' in its metadata, which is invalid (PEP 440).",
    ),
    "huge metadata": (
        lambda: wheels.wheel("x", "1.0", meta=wheels.metadata("x", "1.0") + b"x" * budget.MAX_METADATA)[1],
        ": its metadata is over 1048576 bytes.",
    ),
    "damaged LZMA": (lambda: damaged(zipfile.ZIP_LZMA), "is neither stored nor deflated"),
    "damaged bzip2": (lambda: damaged(zipfile.ZIP_BZIP2), "is neither stored nor deflated"),
    "a member twice": (twice, ": it has two members of the name 'x.py'."),
}


@pytest.mark.usefixtures("_small_limits")
@pytest.mark.parametrize("case", BAD_WHEELS)
def test_an_invalid_wheel_is_refused(tmp_path: Path, case: str) -> None:
    make, reason = BAD_WHEELS[case]
    with pytest.raises(InvalidDistribution) as refusal:
        inspect(tmp_path, (WHEEL, make()))
    assert refusal.value.message.startswith(WHEEL)
    assert reason in refusal.value.message
    assert "\n" not in refusal.value.message


def tar_with(*members: tarfile.TarInfo, own: bool = True) -> bytes:
    """Return an sdist of x 1.0 with more members, or without its `own` PKG-INFO only with those."""
    buffer = io.BytesIO()
    content = wheels.metadata("x", "1.0")
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as packed:
        info = tarfile.TarInfo("x-1.0/PKG-INFO")
        info.size = len(content)
        if own:
            packed.addfile(info, io.BytesIO(content))
        for member in members:
            packed.addfile(member, io.BytesIO(bytes(member.size)))
    return gzip.compress(buffer.getvalue())


def pax_header(size: int) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(
        fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT, pax_headers={"comment": "x" * size}
    ) as packed:
        packed.addfile(tarfile.TarInfo("x-1.0/PKG-INFO"))
    return gzip.compress(buffer.getvalue())


def member(name: str, kind: bytes = tarfile.REGTYPE, target: str = "", size: int = 0) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.size = kind, target, size
    return info


def sdist_with(*paths: str, **content: bytes) -> bytes:
    """Return an sdist x 1.0 with more files; `content` by path has some."""
    members = {"x-1.0/PKG-INFO": wheels.metadata("x", "1.0"), **dict.fromkeys(paths, b""), **content}
    return wheels.tar_of(members)


@pytest.mark.parametrize("made", [wheels.wheel("x", "1.0"), wheels.sdist("x", "1.0")], ids=["wheel", "sdist"])
def test_an_archive_has_a_maximal_number_of_members(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, made: tuple[str, bytes]
) -> None:
    count = 4 if made[0].endswith(".whl") else 1
    monkeypatch.setattr(budget, "MAX_MEMBERS", count)
    inspect(tmp_path, made)
    monkeypatch.setattr(budget, "MAX_MEMBERS", count - 1)
    with pytest.raises(InvalidDistribution, match=f"it has more than {count - 1} members"):
        inspect(tmp_path, made)


def test_an_archive_has_a_maximal_number_of_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each member may have 64 of its own, and each has to be kept and compared."""
    members = {f"{'/'.join(f'{member}-{depth}' for depth in range(6))}/x.py": b"" for member in range(3)}
    monkeypatch.setattr(budget, "MAX_MEMBERS", 19)  # 18, and .dist-info
    inspect(tmp_path, wheels.wheel("x", "1.0", files=members))
    monkeypatch.setattr(budget, "MAX_MEMBERS", 18)
    with pytest.raises(InvalidDistribution, match="its members are in more than 18 folders"):
        inspect(tmp_path, wheels.wheel("x", "1.0", files=members))


@pytest.mark.parametrize(
    ("headers", "reason"),
    [
        ({"size": str(10**18)}, "it unpacks to more than 50 times its size"),
        ({"size": str(10**6)}, "not a readable archive: it ends too early"),
        ({"size": "-1000000"}, "not a readable archive"),
        ({"GNU.sparse.map": "0,0"}, "is a device or a sparse file"),
    ],
    ids=["huge", "too large", "negative", "sparse"],
)
def test_a_member_of_a_false_size_is_refused(tmp_path: Path, headers: dict[str, str], reason: str) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as packed:
        info = member("x-1.0/x")
        info.pax_headers = headers
        packed.addfile(info)
    with pytest.raises(InvalidDistribution, match=reason):
        inspect(tmp_path, ("x-1.0.tar.gz", gzip.compress(buffer.getvalue())))


LACKS = ": it has {} PKG-INFO files one folder deep, an sdist has one."
POINTS_OUT = ": its link '{}' points out of the folder that it is unpacked into."
DEVICE = ": its member 'x-1.0/d' is a device or a sparse file."
BAD_SDISTS = {
    "empty": (lambda: b"", " is not a readable archive: "),
    "a gzip of text": (lambda: gzip.compress(b"This is text.\n" * 100), " is not a readable archive: "),
    "half of one": (
        lambda: sdist_with(**{"x-1.0/x.py": bytes(range(256)) * 200})[:300],
        " is not a readable archive: ",
    ),
    "another version": (
        lambda: wheels.sdist("x", "1.0", meta=wheels.metadata("x", "2.0"))[1],
        " has the version 2.0 in its metadata.",
    ),
    "metadata version to come": (
        lambda: wheels.sdist("x", "1.0", meta=wheels.metadata("x", "1.0", metadata_version="3.0"))[1],
        " has Metadata-Version '3.0'; this index knows up to 2.6.",
    ),
    "deep parent folder": (lambda: sdist_with("x-1.0/../../x"), LEAVES.format("x-1.0/../../x")),
    "drive": (lambda: sdist_with("C:/x"), LEAVES.format("C:/x")),
    "backslash": (lambda: sdist_with("x-1.0\\..\\..\\x"), LEAVES.format("x-1.0\\\\..\\\\..\\\\x")),
    "a bomb after its end": (
        lambda: wheels.sdist("x", "1.0")[1] + gzip.compress(bytes(budget.BOMB_FLOOR + 1)),
        BOMB,
    ),
    "garbage": (lambda: b"nothing", " is not a readable archive: "),
    "truncated": (lambda: wheels.sdist("x", "1.0")[1][:-12], " is not a readable archive: "),
    "checksum": (lambda: wheels.sdist("x", "1.0")[1][:-8] + bytes(8), " is not a readable archive: "),
    "a zip": (lambda: wheels.wheel("x", "1.0")[1], " is not a readable archive: "),
    "no PKG-INFO": (lambda: wheels.tar_of({"x-1.0/setup.py": b""}), LACKS.format(0)),
    "PKG-INFO at the top": (lambda: wheels.tar_of({"PKG-INFO": b""}), LACKS.format(0)),
    "PKG-INFO too deep": (lambda: wheels.tar_of({"x-1.0/a/PKG-INFO": b""}), LACKS.format(0)),
    "PKG-INFO of another ending": (lambda: wheels.tar_of({"x-1.0/XPKG-INFO": b""}), LACKS.format(0)),
    "PKG-INFO is a folder": (
        lambda: tar_with(member("y-1.0/PKG-INFO", tarfile.DIRTYPE), own=False),
        LACKS.format(0),
    ),
    "two of them": (lambda: tar_with(member("y-1.0/PKG-INFO")), LACKS.format(2)),
    "huge metadata": (
        lambda: tar_with(member("y-1.0/PKG-INFO", size=budget.MAX_METADATA + 1)),
        ": its metadata is over 1048576 bytes.",
    ),
    "another project": (
        lambda: wheels.sdist("x", "1.0", meta=wheels.metadata("y", "1.0"))[1],
        " holds the metadata of the project 'y', not of 'x'.",
    ),
    "parent folder": (lambda: tar_with(member("../x")), LEAVES.format("../x")),
    "absolute": (lambda: tar_with(member("/x")), LEAVES.format("/x")),
    "a long name": (
        lambda: tar_with(member("../" + "y" * 200)),
        LEAVES.format(f"../{'y' * 197}"),
    ),
    **{
        f"{kind} {target}": (
            lambda code=code, target=target: tar_with(member("x-1.0/l", code, target)),
            POINTS_OUT.format("x-1.0/l"),
        )
        for kind, code, targets in (
            ("link to", tarfile.SYMTYPE, ("/etc/passwd", "../../x", "../..", "..\\..\\x", "\\x")),
            ("hard link to", tarfile.LNKTYPE, ("/etc/passwd", "../x", "x-1.0/../../x", "C:x", "..\\x")),
        )
        for target in targets
    },
    "a link whose name ends with a slash": (
        lambda: tar_with(member("x-1.0/l/", tarfile.SYMTYPE, "../../x")),
        POINTS_OUT.format("x-1.0/l/"),
    ),
    "a link of a long name": (
        lambda: tar_with(member("y" * 201, tarfile.SYMTYPE, "/x")),
        POINTS_OUT.format(f"{'y' * 200}"),
    ),
    **{
        f"through a link: {name}": (
            lambda more=more: tar_with(*more),
            f": its path {way!r} goes through a link.",
        )
        for name, way, more in (
            (
                "two links",
                "x-1.0/a/b/d/../..",
                (
                    member("x-1.0/a/b/d", tarfile.SYMTYPE, "../.."),
                    member("x-1.0/up", tarfile.SYMTYPE, "a/b/d/../.."),
                    member("x-1.0/up/pwned"),
                ),
            ),
            (
                "a member before its link",
                "x-1.0/up/pwned",
                (member("x-1.0/up/pwned"), member("x-1.0/up", tarfile.SYMTYPE, "x")),
            ),
            (
                "a member in another spelling",
                "x-1.0/up/pwned",
                (member("./x-1.0//up", tarfile.SYMTYPE, "x"), member("x-1.0/./up/pwned")),
            ),
            (
                "a member in the spelling of Windows",
                "x-1.0/up/pwned",
                (member("x-1.0/up", tarfile.SYMTYPE, "x"), member("x-1.0\\up\\pwned")),
            ),
            (
                "at the top",
                "up/pwned",
                (member("up", tarfile.SYMTYPE, "x"), member("up/pwned")),
            ),
            (
                "a hard link",
                "x-1.0/up/pwned",
                (member("x-1.0/up", tarfile.SYMTYPE, "x"), member("h", tarfile.LNKTYPE, "x-1.0/up/pwned")),
            ),
        )
    },
    "a huge header": (
        lambda: pax_header(budget.MAX_TAR_HEADER + 1),
        " is not a readable archive: a header is over 65536 bytes.",
    ),
    "a huge name": (
        lambda: tar_with(member("x-1.0/" + "y" * budget.MAX_TAR_HEADER)),
        " is not a readable archive: a header is over 65536 bytes.",
    ),
    "a huge link": (
        lambda: tar_with(member("x-1.0/l", tarfile.SYMTYPE, "y" * (budget.MAX_TAR_HEADER + 1))),
        " is not a readable archive: a header is over 65536 bytes.",
    ),
    "device": (lambda: tar_with(member("x-1.0/d", tarfile.CHRTYPE)), DEVICE),
    "pipe": (lambda: tar_with(member("x-1.0/d", tarfile.FIFOTYPE)), DEVICE),
    "bomb": (lambda: tar_with(member("x-1.0/z", size=budget.BOMB_FLOOR + 1)), BOMB),
    "an invalid header between members": (
        lambda: gzip.compress(tarfile.TarInfo("x-1.0/a").tobuf() + b"x" * 512 + gzip.decompress(sdist_with())),
        " is not a readable archive: a header is invalid: ",
    ),
    "bomb behind the end": (
        lambda: gzip.compress(gzip.decompress(wheels.sdist("x", "1.0")[1]) + bytes(budget.BOMB_FLOOR)),
        BOMB,
    ),
}


@pytest.mark.usefixtures("_small_limits")
@pytest.mark.parametrize("case", BAD_SDISTS)
def test_an_invalid_sdist_is_refused(tmp_path: Path, case: str) -> None:
    make, reason = BAD_SDISTS[case]
    with pytest.raises(InvalidDistribution) as refusal:
        inspect(tmp_path, ("x-1.0.tar.gz", make()))
    assert refusal.value.message.startswith("x-1.0.tar.gz")
    assert reason in refusal.value.message


def zip_sdist(*, version: str = "1.0", **more: bytes) -> bytes:
    return wheels.zip_of({"x-1.0/PKG-INFO": wheels.metadata("x", version), **more})


BAD_ZIP_SDISTS = {
    "truncated": (lambda: zip_sdist()[:-10], "not a readable archive"),
    "no PKG-INFO": (lambda: wheels.zip_of({"x-1.0/x.py": b""}), "0 PKG-INFO"),
    "another version": (lambda: zip_sdist(version="2.0"), "version 2.0"),
    "parent folder": (lambda: zip_sdist(**{"../x": b""}), "leave the folder"),
    "bomb": (lambda: zip_sdist(**{"x-1.0/zeros": bytes(budget.BOMB_FLOOR + 1)}), "bomb"),
}


@pytest.mark.usefixtures("_small_limits")
@pytest.mark.parametrize("case", BAD_ZIP_SDISTS)
def test_an_invalid_zip_sdist_is_refused(tmp_path: Path, case: str) -> None:
    make, reason = BAD_ZIP_SDISTS[case]
    with pytest.raises(InvalidDistribution, match=reason):
        inspect(tmp_path, ("x-1.0.zip", make()))


WHOLE = wheels.wheel("x", "1.0"), wheels.sdist("x", "1.0")


@given(st.binary(max_size=2000), st.integers(0, 400))
def test_damaged_archives_are_refused_and_never_crash(
    tmp_path_factory: pytest.TempPathFactory, noise: bytes, at: int
) -> None:
    """A damaged file is refused, or read if only a module is damaged; nothing else is raised."""
    folder = tmp_path_factory.getbasetemp() / "damaged"
    for name, content in WHOLE:
        try:
            dist = inspect(folder, (name, content[:at] + noise + content[at + len(noise) :]))
        except InvalidDistribution:
            continue
        assert dist.name.project == "x"


def test_an_sdist_may_have_safe_links_and_long_names(tmp_path: Path) -> None:
    """Links that stay inside, folders, names in another spelling, and a path of the maximal length."""
    content = tar_with(
        member("x-1.0", tarfile.DIRTYPE),
        member("x-1.0/a/b", size=3),
        member("x-1.0/a/l", tarfile.SYMTYPE, "../../x-1.0/a/b"),
        member("x-1.0/top", tarfile.SYMTYPE, ".."),
        member("x-1.0/h", tarfile.LNKTYPE, "x-1.0/a/b"),
        member("x-1.0/a/PKG-INFO", size=3),
        member("./x-1.0/..dots/name", size=3),
        member("x-1.0/" + "y" * (budget.MAX_PATH - 6)),
    )
    assert inspect(tmp_path, ("x-1.0.tar.gz", content)).metadata == wheels.metadata("x", "1.0")
    content = gzip.compress(gzip.decompress(wheels.sdist("x", "1.0")[1]) + bytes(5000))
    assert inspect(tmp_path, ("x-1.0.tar.gz", content)).metadata == wheels.metadata("x", "1.0")


@pytest.mark.parametrize(
    ("filename", "info"),
    [
        ("My_Pkg-1.0.post1-py3-none-any.whl", "my.pkg-1.0_1"),
        ("my_pkg-1.0-py3-none-any.whl", "My_Pkg-1.0.0"),
        ("my_pkg-1.0+cpu.1-py3-none-any.whl", "my_pkg-1.0+cpu_1"),
    ],
)
def test_the_dist_info_folder_may_be_spelled_differently(tmp_path: Path, filename: str, info: str) -> None:
    version = distribution.parse_filename(filename).version
    meta = wheels.metadata("my-pkg", str(version))
    members = {f"{info}.dist-info/METADATA": meta, f"{info}.dist-info/WHEEL": b"", f"{info}.dist-info/RECORD": b""}
    assert inspect(tmp_path, (filename, wheels.zip_of(members))).metadata == meta


def test_a_dist_info_folder_without_the_version_is_refused(tmp_path: Path) -> None:
    for info in ("x.dist-info", "x-.dist-info", "x-one.dist-info", "x-y-1.0.dist-info"):
        made = wheels.zip_of({f"{info}/{name}": b"" for name in ("METADATA", "WHEEL", "RECORD")})
        with pytest.raises(InvalidDistribution) as refusal:
            inspect(tmp_path, (WHEEL, made))
        assert refusal.value.message == f"{WHEEL}: its {info} is that of another distribution."


@pytest.mark.parametrize(("members", "count"), [({}, 0), ({"x-1.0/PKG-INFO": b"", "y/PKG-INFO": b""}, 2)])
def test_a_zip_sdist_has_one_pkg_info(tmp_path: Path, members: dict[str, bytes], count: int) -> None:
    with pytest.raises(InvalidDistribution) as refusal:
        inspect(tmp_path, ("x-1.0.zip", wheels.zip_of({"x-1.0/a/PKG-INFO": b"", "PKG-INFO": b""} | members)))
    assert refusal.value.message == f"x-1.0.zip{LACKS.format(count)}"


def test_values_of_the_limits() -> None:
    assert (budget.MAX_MEMBERS, budget.MAX_PATH, budget.MAX_DEPTH) == (100_000, 1024, 64)
    assert (budget.MAX_METADATA, budget.MAX_TAR_HEADER) == (1 << 20, 64 << 10)
    assert (budget.BOMB_RATIO, budget.BOMB_FLOOR) == (50, 64 << 20)


def test_sizes_up_to_the_limits_are_accepted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wheel, sdist = wheels.wheel("x", "1.0", files={"x.py": os.urandom(5000)}), wheels.sdist("x", "1.0")
    length = len(wheels.metadata("x", "1.0"))
    with zipfile.ZipFile(io.BytesIO(wheel[1])) as packed:
        unpacked = sum(info.file_size for info in packed.infolist())
    for made, whole in ((wheel, unpacked), (sdist, len(gzip.decompress(sdist[1])))):
        for name, least in (("MAX_METADATA", length), ("BOMB_FLOOR", whole)):
            with monkeypatch.context() as limits:
                limits.setattr(budget, "BOMB_RATIO", 0)
                limits.setattr(budget, name, least)
                inspect(tmp_path, made)
                limits.setattr(budget, name, least - 1)
                with pytest.raises(InvalidDistribution):
                    inspect(tmp_path, made)
    # the ratio counts where it allows more than the floor
    monkeypatch.setattr(budget, "BOMB_FLOOR", 0)
    inspect(tmp_path, wheel)
    monkeypatch.setattr(budget, "BOMB_RATIO", 1)
    with pytest.raises(InvalidDistribution, match="more than 1 times its size"):
        inspect(tmp_path, sdist)


def test_a_wheel_may_vendor_other_dist_info_folders(tmp_path: Path) -> None:
    """Vendored packages have their own .dist-info folders inside a package."""
    vendored = "x/_vendor/y-2.0.dist-info/METADATA"
    folders = ("", "x-1.0.data/purelib/", "x-1.0-2.data/data/share/")
    made = wheels.wheel("x", "1.0", files={"x/": b"", **{folder + vendored: b"Name: y" for folder in folders}})
    assert inspect(tmp_path, made).name.project == "x"


@pytest.mark.parametrize(
    ("version", "folder"),
    [
        ("1.0", "my-tool-1.0.data"),  # poetry-core up to 1.4
        ("1.0", "My.Tool-1.0-2.data"),
        ("1.0+cu118", "my_tool-1.0.data"),  # `wheel pack` with a new version
        ("1.0+cu118", "my_tool-1.0+cu118-1.data"),
        ("1.0.post1", "my_tool-1.0_1.data"),
    ],
)
def test_the_data_folder_may_be_spelled_differently(tmp_path: Path, version: str, folder: str) -> None:
    made = wheels.wheel("my-tool", version, files={f"{folder}/scripts/my-tool": b"#!python\n"})
    assert inspect(tmp_path, made).name.project == "my-tool"
    hidden = wheels.wheel("my-tool", version, files={f"{folder}/purelib/y-1.0.dist-info/METADATA": b"Name: y"})
    with pytest.raises(InvalidDistribution, match="would be installed as the metadata"):
        inspect(tmp_path, hidden)


def test_a_wheel_may_hold_a_whole_environment(tmp_path: Path) -> None:
    folders = ("share/app/venv/lib/python3.12", "opt/app/Lib", "share/app")
    files = {f"x-1.0.data/data/{folder}/site-packages/y-2.0.dist-info/METADATA": b"Name: y" for folder in folders}
    assert inspect(tmp_path, wheels.wheel("x", "1.0", files=files)).name.project == "x"


@pytest.mark.usefixtures("_small_limits")
@pytest.mark.parametrize("size", [0, 5 << 20], ids=["behind the end", "metadata"])
def test_a_decompression_bomb_is_refused_before_it_is_in_memory(tmp_path: Path, size: int) -> None:
    end = bytes(0 if size else budget.BOMB_FLOOR)
    content = gzip.compress(gzip.decompress(tar_with(member("y-1.0/PKG-INFO", size=size))) + end)
    path = wheels.write(tmp_path, ("x-1.0.tar.gz", content))
    tracemalloc.start()
    try:
        with pytest.raises(InvalidDistribution):
            distribution.inspect(path, path.name)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < budget.BOMB_FLOOR, "the metadata alone may be 2 MB, three times while they are joined"


@pytest.mark.parametrize("raised", [ValueError("why\nso"), UnicodeError("why so"), LookupError("why so")])
def test_metadata_that_cannot_be_parsed_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, raised: Exception
) -> None:
    """No such file is known, but an exception of packaging must not become a bug for the client."""

    def fails(_metadata: bytes) -> None:
        raise raised

    monkeypatch.setattr(distribution, "parse_email", fails)
    assert distribution.core_metadata(b"") == {}
    with pytest.raises(InvalidDistribution) as refusal:
        inspect(tmp_path, wheels.wheel("x", "1.0"))
    assert refusal.value.message == f"{WHEEL} has metadata that can't be parsed: why so."


def test_an_error_of_the_disk_is_not_an_invalid_archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(FileNotFoundError):
        distribution.inspect(tmp_path / "not-here", "x-1.0.tar.gz")

    def fails(*_arguments: object, **_options: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(archive, "wheel_metadata", fails)
    with pytest.raises(OSError, match="Input/output error"):
        distribution.inspect(tmp_path / "not-here", WHEEL)


NO_FILENAME = "is not a filename for a distribution: letters, digits and . _ + ! - only, 200 characters at most."


@pytest.mark.parametrize(
    ("filename", "message"),
    [
        ("x y-1.0.tar.gz", f"'x y-1.0.tar.gz' {NO_FILENAME}"),
        (f"x-{'1' * 300}.tar.gz", f"'x-{'1' * 198}' {NO_FILENAME}"),
        ("x-1.0.egg", "x-1.0.egg is neither a wheel (.whl) nor an sdist (.tar.gz, .zip)."),
        ("six-one.tar.gz", "six-one.tar.gz does not name a project and a version: Invalid"),
        ("six-1.0-py3-none.whl", "six-1.0-py3-none.whl does not name a project and a version: Invalid"),
        ("x.-1.0.tar.gz", "x.-1.0.tar.gz does not start with a valid name of a project."),
    ],
)
def test_a_filename_is_refused_with_the_reason(filename: str, message: str) -> None:
    with pytest.raises(InvalidDistribution) as refusal:
        distribution.parse_filename(filename)
    assert refusal.value.message.startswith(message)
    assert refusal.value.message.endswith(".")
    assert not refusal.value.message.endswith("..")


def test_names_and_filenames_have_a_maximal_length() -> None:
    """200 characters; docs/volume.md explains why."""
    longest = "x-" + "1" * (200 - len("x-.tar.gz")) + ".tar.gz"
    assert distribution.parse_filename(longest).project == "x"
    with pytest.raises(InvalidDistribution):
        distribution.parse_filename(longest.replace("x-", "xx-"))
    for known in (names.is_name, names.is_normalised):
        assert known("x" * 200)
        assert not known("x" * 201)
        assert not known("")
        assert not known("-x")
    assert names.is_name("X.y_Z")
    assert not names.is_normalised("X.y_Z")
    assert distribution.normalise("X.y__Z") == "x-y-z"


def test_summary_and_requires_python_are_on_one_line(tmp_path: Path) -> None:
    meta = b"Metadata-Version: 2.1\nName: x\nVersion: 1.0\nSummary: one\n  and\ttwo\nRequires-Python: >=3.9,\n  <4\n"
    dist = inspect(tmp_path, wheels.wheel("x", "1.0", meta=meta))
    assert (dist.summary, dist.requires_python) == ("one and two", ">=3.9, <4")
    assert distribution.summary(meta) == "one and two"
    dist = inspect(tmp_path, wheels.wheel("x", "1.0", meta=b"Metadata-Version: 2.1\nName: x\nVersion: 1.0\n"))
    assert (dist.summary, dist.requires_python) == ("", None)
    assert distribution.summary(b"Name: x") == ""
    assert distribution.core_metadata(meta)["name"] == "x"


def test_one_line_is_printable_without_a_full_stop() -> None:
    assert distribution.one_line("a\n b..") == "a b"
    assert distribution.one_line("a\x1b[31mb\u2028c") == "a?[31mb c"
    assert distribution.one_line("x" * 400) == "x" * 300
    assert distribution.one_line(ValueError("why.")) == "why"
