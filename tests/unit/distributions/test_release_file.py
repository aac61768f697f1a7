"""Which filenames are names of one file of a release, and which file could be installed instead of another."""

from __future__ import annotations

import pytest

from ppmctl.distributions.release_file import is_same, may_replace

WHEEL = "foo_bar-1.0-py3-none-any.whl"
LINUX = "foo_bar-1.0-cp311-cp311-manylinux_2_17_x86_64.manylinux2014_x86_64.whl"
WINDOWS = "foo_bar-1.0-cp311-cp311-win_amd64.whl"
LOCAL_LINUX = "foo_bar-1.0+cu118-cp311-cp311-manylinux2014_x86_64.whl"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("foo_bar-1.0.tar.gz", "Foo.Bar-1.0.tar.gz"),
        ("foo_bar-1.0.tar.gz", "foo-bar-1.0.0.tar.gz"),
        ("foo_bar-1.0.tar.gz", "FOO-BAR-v1.0.tar.gz"),
        ("foo_bar-1.0.tar.gz", "foo_bar-1.0.zip"),
        ("foo_bar-1.0.post1.tar.gz", "foo_bar-1.0post1.tar.gz"),
        ("foo_bar-1.0+ours.1.tar.gz", "foo_bar-1.0+ours_1.tar.gz"),
        ("foo_bar-1.0rc1.tar.gz", "foo_bar-1.0.0c1.tar.gz"),
        (WHEEL, "Foo_Bar-1.0-py3-none-any.whl"),
        (WHEEL, "foo.bar-1.0.0-py3-none-any.whl"),
        (WHEEL, "foo_bar-v1-PY3-None-ANY.whl"),
        ("foo_bar-1.0-py2.py3-none-any.whl", "foo_bar-1.0-py3.py2-none-any.whl"),
        ("foo_bar-1.0-1-py3-none-any.whl", "foo_bar-1.0-01-py3-none-any.whl"),
        (LINUX, "foo_bar-1.0-cp311-cp311-manylinux2014_x86_64.manylinux_2_17_x86_64.whl"),
    ],
)
def test_two_names_of_one_file(one: str, other: str) -> None:
    for first, second in ((one, other), (other, one)):
        assert is_same(first, second)
        assert may_replace(first, second)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (WHEEL, "foo_bar-1.0-1-py3-none-any.whl"),
        ("foo_bar-1.0-2-py3-none-any.whl", "foo_bar-1.0-1-py3-none-any.whl"),
        ("foo_bar-1.0-1a-py3-none-any.whl", "foo_bar-1.0-1b-py3-none-any.whl"),
        (WHEEL, "foo_bar-1.0-py2.py3-none-any.whl"),
        (LINUX, "foo_bar-1.0-cp310.cp311-cp311-manylinux2014_x86_64.whl"),
    ],
)
def test_another_build_may_be_installed_instead(one: str, other: str) -> None:
    for first, second in ((one, other), (other, one)):
        assert not is_same(first, second)
        assert may_replace(first, second)


@pytest.mark.parametrize("public", [WHEEL, LINUX, "foo_bar-1.0.tar.gz", "foo_bar-1.tar.gz"])
@pytest.mark.parametrize("local", ["foo_bar-1.0+ours-py3-none-any.whl", "Foo.Bar-1.0.0+ours.1.zip"])
def test_a_local_version_is_installed_instead_of_the_release(local: str, public: str) -> None:
    """Whatever its tags: installers compare versions first."""
    assert may_replace(local, public)
    assert not may_replace(public, local)
    assert not is_same(local, public)


@pytest.mark.parametrize(
    ("old", "local", "expected"),
    [
        (WINDOWS, LOCAL_LINUX, False),
        (LINUX, LOCAL_LINUX, True),
        ("foo_bar-1.0.tar.gz", LOCAL_LINUX, True),
        (WINDOWS, "foo_bar-1.0+ours.tar.gz", True),
    ],
)
def test_a_local_version_of_other_tags_replaces_no_wheel_of_a_live_release(
    old: str, local: str, expected: bool
) -> None:
    """An installer of another platform would not have taken that wheel."""
    assert may_replace(local, old, live=["nonsense", "foo_bar-1-1-cp311-cp311-macosx_11_0_arm64.whl"]) is expected
    assert may_replace(local, old, live=["foo_bar-1.0.1.tar.gz", "foo_bar-1.0+ours-py3-none-any.whl"])


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (WHEEL, "foo_bar-1.0.tar.gz"),
        (WHEEL, "foo_bar-1.0.1-py3-none-any.whl"),
        (WHEEL, "foo_bar-1!1.0-py3-none-any.whl"),
        ("foo_bar-1.0+ours-py3-none-any.whl", "foo_bar-1.0+other-py3-none-any.whl"),
        (WHEEL, "foo_bar-1.0-py2-none-any.whl"),
        (LINUX, "foo_bar-1.0-cp311-cp311-musllinux_1_1_x86_64.whl"),
        (LINUX, "foo_bar-1.0-cp311-abi3-manylinux2014_x86_64.whl"),
        ("foo_bar-1.0.tar.gz", "foo_bar-1.0.post1.tar.gz"),
        ("foo_bar-1.0.tar.gz", "foo_bar-1.0rc1.tar.gz"),
        ("foo_bar-1.0.tar.gz", "nonsense"),
        ("nonsense", "nonsense"),
        ("foo_bar-1.0.tar.gz", "foo_bar-1.0.tar.gz.upload"),
    ],
)
def test_other_files(one: str, other: str) -> None:
    for first, second in ((one, other), (other, one)):
        assert not is_same(first, second)
        assert not may_replace(first, second)
