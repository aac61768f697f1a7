"""A revision of an environment and its wheel: values, bytes, and invalid ones that are refused."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from dataclasses import replace
from itertools import count

import pytest
import yaml
from packaging.metadata import Metadata

from ppmctl.distributions import environment_revision as formats
from ppmctl.distributions import small_wheel
from ppmctl.distributions.environment_revision import Revision
from ppmctl.distributions.environment_wheel import NotARevision, from_wheel, to_wheel
from ppmctl.errors import UsageError

LOCK = """\
lock-version = "1.0"
created-by = "a test"

[[packages]]
name = "flask"
version = "3.1.0"

[[packages.wheels]]
url = "https://files.example.com/flask-3.1.0-py3-none-any.whl"
hashes = {sha256 = "HASH"}

[[packages]]
name = "numpy"
version = "1.26.0"
marker = "python_version < '3.9'"

[packages.sdist]
url = "https://files.example.com/numpy-1.26.0.tar.gz"
hashes = {sha256 = "HASH"}
""".replace("HASH", "a" * 64)
CHECKOUT = """
[[packages]]
name = "away"
vcs = {type = "git", url = "https://host.example.com/away.git", commit-id = "abc"}
"""
LISTED = formats.ordered(
    [
        'sea-maps[draw,print]>=2,<3; python_version >= "3.9"',
        "Flask",
        "numpy==2.1.0",
        "local @ https://files.example.com/local-1.0-py3-none-any.whl#sha256=ab",
        'numpy==1.26; python_version < "3.9"',
    ]
)
REVISION = Revision(
    name="ml-base", number=3, requirements=LISTED, change="add “numpy”", shared=True, base=2, lock=LOCK
)


def members(wheel: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(wheel)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def packed(contents: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in contents.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def test_a_wheel_gives_back_its_revision() -> None:
    assert from_wheel(to_wheel(REVISION)) == REVISION
    bare = Revision(name="x", number=1, requirements=(), change="create")
    assert from_wheel(to_wheel(bare)) == bare


def test_the_same_values_make_the_same_bytes() -> None:
    assert to_wheel(REVISION) == to_wheel(replace(REVISION))
    assert to_wheel(REVISION) != to_wheel(replace(REVISION, change="another"))


def test_the_wheel_has_no_code_and_depends_on_the_requirements() -> None:
    contents = members(to_wheel(REVISION))
    info = "ppm_env_ml_base-3.dist-info"
    assert REVISION.filename == "ppm_env_ml_base-3-py3-none-any.whl"
    assert {name.partition("/")[0] for name in contents} == {info}
    metadata = Metadata.from_email(contents[f"{info}/METADATA"])  # validates
    assert (metadata.name, str(metadata.version), metadata.metadata_version) == ("ppm-env-ml-base", "3", "2.4")
    assert [str(one) for one in metadata.requires_dist or ()] == [str(formats.requirement(one)) for one in LISTED]
    assert formats.change_of(metadata.summary or "") == REVISION.change
    recorded = [line.split(",")[0] for line in contents[f"{info}/RECORD"].decode().splitlines()]
    assert sorted(recorded) == sorted(contents)


def test_the_files_of_a_revision() -> None:
    texts = {name: content.decode() for name, content in formats.rendered(REVISION).items()}
    assert set(texts) == set(formats.FILES)
    assert texts["requirements.txt"].splitlines() == ["# ppm-env-ml-base, revision 3", *LISTED]
    conda = yaml.safe_load(texts["environment.yml"])
    assert conda == {"name": "ml-base", "dependencies": ["python", "pip", {"pip": list(LISTED)}]}
    assert json.loads(texts["env.json"]) == {
        "format": 2,
        "name": "ml-base",
        "revision": 3,
        "shared": True,
        "base": 2,
        "change": "add “numpy”",
    }
    assert texts["pylock.toml"] == "# ppm-env-ml-base, revision 3\n" + LOCK


def test_a_locked_revision_has_the_versions_of_its_lock() -> None:
    """As constraints, and as a requirements.txt with hashes; a checkout has no hash, so no other package has one."""
    pinned = formats.rendered(REVISION)
    numpy = "numpy==1.26.0 ; python_version < '3.9'"
    assert pinned["constraints.txt"].decode().splitlines()[1:] == ["flask==3.1.0", numpy]
    hashed = [f"{text} --hash=sha256:{'a' * 64}" for text in ("flask==3.1.0", numpy)]
    assert pinned["requirements-locked.txt"].decode().splitlines()[1:] == hashed
    checkout = formats.rendered(replace(REVISION, lock=LOCK + CHECKOUT))
    assert checkout["constraints.txt"] == pinned["constraints.txt"]
    comment, *texts = checkout["requirements-locked.txt"].decode().splitlines()[1:]
    assert comment.startswith("#")
    assert texts == ["flask==3.1.0", numpy, "away @ git+https://host.example.com/away.git@abc"]


@pytest.mark.parametrize("digest", ["a" * 64 + " --index-url https://evil.example.com/", "b" * 63, "", "x" * 64])
def test_a_hash_that_is_none_is_left_out(digest: str) -> None:
    """It would be a part of a line that pip reads."""
    text = formats.rendered(replace(REVISION, lock=LOCK.replace("a" * 64, digest)))["requirements-locked.txt"]
    assert b"--" not in text
    assert text.splitlines()[2] == b"flask==3.1.0"


def test_a_revision_without_a_lock_has_the_constraints_of_its_list() -> None:
    texts = formats.rendered(replace(REVISION, lock=None))
    assert texts.keys() == set(formats.FILES) - formats.OF_LOCKS
    assert json.loads(texts["env.json"])["format"] == 1
    assert texts["constraints.txt"].decode().splitlines()[1:] == [
        'numpy==1.26; python_version < "3.9"',
        "numpy==2.1.0",
        'sea-maps>=2,<3; python_version >= "3.9"',
    ]


def test_a_locked_revision_of_the_first_format_is_read() -> None:
    """Its constraints are those of the list. Without a lock there is only the first format."""
    old = formats.rendered(REVISION, 1)
    assert old["constraints.txt"] == formats.rendered(replace(REVISION, lock=None))["constraints.txt"]
    assert from_wheel(wheel_of(REVISION, old)) == REVISION
    with pytest.raises(NotARevision):
        from_wheel(wheel_of(REVISION, {**old, "env.json": formats.rendered(REVISION)["env.json"]}))
    bare = replace(REVISION, lock=None)
    with pytest.raises(NotARevision, match="format '2'"):
        from_wheel(wheel_of(bare, formats.rendered(bare, 2)))


def wheel_of(revision: Revision, forms: dict[str, bytes]) -> bytes:
    metadata = members(to_wheel(revision))[f"{INFO}/METADATA"]
    contents = {f"{INFO}/ppm-env/{name}": content for name, content in forms.items()}
    return small_wheel.pack(small_wheel.members(INFO, metadata, contents))


@pytest.mark.parametrize(
    ("name", "normal"), [("ML_Base", "ml-base"), ("a--b", "a-b"), ("a.-_b", "a-b"), ("x" * 60, "x" * 60)]
)
def test_names_are_normalised(name: str, normal: str) -> None:
    assert formats.normalise(name) == normal


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", "../x", "a/b", "a\\b", "-a", "a-", "a b", "a\n", "ä", "%2e%2e", "a\0", "x" * 61, "x" * 300],
)
def test_invalid_names_are_refused(name: str) -> None:
    with pytest.raises(UsageError, match="can't be the name of an environment"):
        formats.normalise(name)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "numpy>=>1",
        "-r other.txt",
        "--index-url https://evil.example.com/",
        "a\nb",
        "a @ https://x.example.com/\\",
        'a; platform_version == "x # y"',
        "a @ https://x.example.com/${CI_DEPLOY_KEY}/a.whl",
        "a @ https://me:secret@x.example.com/a.whl",
        "a @ git+https://secret@x.example.com/a.git",
        "a" * 3000,
    ],
)
def test_requirements_that_cannot_be_shared_are_refused(text: str) -> None:
    with pytest.raises(UsageError) as refused:
        formats.requirement(text)
    assert "secret" not in refused.value.message


def test_direct_urls_without_a_secret_are_accepted() -> None:
    text = "a @ git+ssh://git@x.example.com/a.git@v1"
    assert formats.ordered([f" {text} "]) == (text,)


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": "ML"},
        {"number": 0},
        {"number": True},
        {"number": 10**9},
        {"base": 3},
        {"base": 0},
        {"change": ""},
        {"change": "two\nlines"},
        {"change": "x" * 301},
        {"requirements": ("b", "a")},
        {"requirements": ("a", "a")},
        {"lock": "lock-version = 1"},
        {"lock": "nonsense"},
        {"shared": 1},
    ],
)
def test_a_revision_with_invalid_values_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        replace(REVISION, **wrong)  # type: ignore[arg-type]  # on purpose


def test_two_thousand_requirements_are_a_small_wheel() -> None:
    large = replace(REVISION, requirements=formats.ordered(f"package-{number}=={number}.0" for number in range(2000)))
    wheel = to_wheel(large)
    assert from_wheel(wheel) == large
    assert len(wheel) < 100_000


def test_a_list_has_a_limited_size() -> None:
    for texts in (map("a{}".format, count()), (f"a{number}; os_name == '{'x' * 1_000}'" for number in count())):
        with pytest.raises(UsageError, match="10000 requirements, of 1 MB at most"):
            formats.ordered(texts)


INFO = "ppm_env_ml_base-3.dist-info"


@pytest.mark.parametrize(
    ("member", "content"),
    [
        ("ml_base.py", b"print('code')\n"),
        ("ppm_env_ml_base-3.data/scripts/run", b"#!python\n"),
        (f"{INFO}/entry_points.txt", b"[console_scripts]\nx = os:abort\n"),
        (f"{INFO}/ppm-env/requirements.txt", b"--index-url https://evil.example.com/\nnumpy\n"),
        (f"{INFO}/ppm-env/requirements.txt", b"# ppm-env-ml-base, revision 3\nother\n"),
        (f"{INFO}/ppm-env/requirements.txt", b"\xff"),
        (f"{INFO}/ppm-env/constraints.txt", b"numpy==1\n"),
        (f"{INFO}/ppm-env/requirements-locked.txt", b"numpy==1\n"),
        (f"{INFO}/ppm-env/env.json", b"[]"),
        (f"{INFO}/ppm-env/env.json", b"[" * 100_000),
        (f"{INFO}/ppm-env/env.json", b'{"format": 2}'),
        (f"{INFO}/ppm-env/env.json", b"{}"),
        (f"{INFO}/ppm-env/pylock.toml", b"nonsense"),
        (f"{INFO}/ppm-env/other.txt", b""),
        (f"{INFO}/METADATA", b"Metadata-Version: 2.4\nName: ppm-env-ml-base\nVersion: 3\n"),
        (f"{INFO}/WHEEL", b"Wheel-Version: 1.0\nRoot-Is-Purelib: false\nTag: py3-none-any\n"),
        (f"{INFO}/RECORD", b""),
    ],
)
def test_a_wheel_whose_files_do_not_agree_is_refused(member: str, content: bytes) -> None:
    """The wheel has code, or a file that does not match the others."""
    contents = members(to_wheel(REVISION))
    assert from_wheel(packed(contents)) == REVISION
    with pytest.raises(NotARevision):
        from_wheel(packed({**contents, member: content}))


def test_a_wheel_with_damaged_data_is_refused() -> None:
    """Each decoder has its own kind of error; `0e` is the number of LZMA, and `08` the one of deflate."""
    content = to_wheel(REVISION)
    start = content.index(b"METADATA") + len(b"METADATA")
    damaged = content[:start] + b"\xff" * 20 + content[start + 20 :]
    for method in (8, 9, 12, 14, 99):
        changed = damaged.replace(b"\x14\0\0\0\x08\0", b"\x14\0\0\0" + bytes([method, 0]))
        with pytest.raises(NotARevision):
            from_wheel(changed)


def test_a_wheel_without_one_of_its_files_is_refused() -> None:
    contents = members(to_wheel(REVISION))
    for name in contents:
        with pytest.raises(NotARevision):
            from_wheel(packed({other: content for other, content in contents.items() if other != name}))
    for none in (b"", b"PK", b"\0" * 100):
        with pytest.raises(NotARevision):
            from_wheel(none)


def test_the_bytes_of_format_1_do_not_change() -> None:
    """A change of what is written needs a format 2, and format 1 has to remain readable."""
    revision = Revision(
        name="ml-base",
        number=7,
        requirements=(
            "numpy>=2",
            'uvicorn[standard]==0.30; python_version >= "3.11"',
            "x @ https://files.test/x.whl",
        ),
        change="add ü, x",
        shared=True,
        base=6,
    )
    with zipfile.ZipFile(io.BytesIO(to_wheel(revision))) as archive:
        members = "".join(f"{name}\n{archive.read(name).decode()}\n" for name in archive.namelist())
    assert (
        hashlib.sha256(members.encode()).hexdigest()
        == "53434cc1fb438a9daa4db992da9a8b46df110d736d4cf2bce110cf340e3cbd60"
    ), members
