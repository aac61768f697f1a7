"""Comparing a virtual environment with a list: markers, extras, and indirect requirements."""

from __future__ import annotations

import pytest

from ppmctl.distributions import lock
from ppmctl.environments import check
from ppmctl.environments.venv import Content, Installed

HERE = {"python_version": "3.12", "python_full_version": "3.12.1", "sys_platform": "linux", "os_name": "posix"}
HERE |= {"platform_machine": "x86_64", "platform_system": "Linux", "platform_python_implementation": "CPython"}
HERE |= {
    "implementation_name": "cpython",
    "implementation_version": "3.12.1",
    "platform_release": "6",
    "platform_version": "1",
}


def content(**versions: str | Installed) -> Content:
    packages = {
        name.replace("_", "-"): one
        if isinstance(one, Installed)
        else Installed(name=name.replace("_", "-"), version=one)
        for name, one in versions.items()
    }
    return Content(installed=packages, environment=HERE)


def states(requirements: list[str], installed: Content, *, exact: bool = False) -> list[tuple[str, str]]:
    items = check.compare(requirements, installed, lock=None, exact=exact)
    return [(item.state, item.name) for item in items]


FLASK = Installed(
    name="flask",
    version="3.1",
    requires=("jinja2>=3", 'async-thing; extra == "async"', "old; python_version<'3'", "!?"),
)


@pytest.mark.parametrize(
    ("requirements", "installed", "expected"),
    [
        (["six"], content(six="1.17"), []),
        (["Six>=1.17,<2"], content(six="1.17"), []),
        (["six>=2"], content(six="1.17"), [("differs", "six")]),
        (["six"], content(), [("missing", "six")]),
        (["six; sys_platform=='win32'"], content(), []),
        (["six>=2a1"], content(six="2.0b1"), []),
        (["flask"], content(flask=FLASK, jinja2="3.1"), []),
        (["flask"], content(flask=FLASK, jinja2="2.0"), [("differs", "jinja2")]),
        (["flask[async]"], content(flask=FLASK, jinja2="3.1"), [("missing", "async-thing")]),
        (["flask[async]"], content(flask=FLASK, jinja2="3.1", async_thing="1"), []),
        (["x @ https://h/x.whl"], content(x=Installed(name="x", version="1", url="https://h/x.whl")), []),
        (["x @ https://h/x.whl#sha256=a"], content(x=Installed(name="x", version="1", url="https://h/x.whl")), []),
        (
            ["x @ https://h/x.whl"],
            content(x=Installed(name="x", version="1", url="https://h/y.whl")),
            [("differs", "x")],
        ),
        (["x @ https://h/x.whl"], content(x="1"), [("differs", "x")]),
        (
            ["x @ git+https://h/x.git@v1"],
            content(x=Installed(name="x", version="1", url="git+https://h/x.git@0123")),
            [],
        ),
    ],
)
def test_installed_versions_are_compared_with_the_list(
    requirements: list[str], installed: Content, expected: list[tuple[str, str]]
) -> None:
    assert states(requirements, installed) == expected


def test_a_circle_of_requirements_ends() -> None:
    installed = content(
        a=Installed(name="a", version="1", requires=("b",)), b=Installed(name="b", version="1", requires=("a", "c"))
    )
    assert states(["a"], installed) == [("missing", "c")]


def test_exact_lists_extra_packages_but_no_tools() -> None:
    """pip is a tool that makes environments, so it is not extra."""
    installed = content(flask=FLASK, jinja2="3.1", pip="26", left_over="1")
    assert states(["flask"], installed, exact=True) == [("extra", "left-over")]
    assert check.extras(["flask"], installed, lock=None) == ["left-over"]


def test_a_lock_requires_its_versions() -> None:
    text = """
lock-version = "1.0"
created-by = "a test"
[[packages]]
name = "six"
version = "1.17.0"
wheels = [{ url = "https://host/six-1.17.0-py3-none-any.whl", hashes = { sha256 = "HASH" } }]
[[packages]]
name = "elsewhere"
version = "1"
marker = "sys_platform == 'win32'"
wheels = [{ url = "https://host/elsewhere-1-py3-none-any.whl", hashes = { sha256 = "HASH" } }]
""".replace("HASH", "a" * 64)
    held = lock.read(text, where="it")
    for version, expected in (("1.17.0", []), ("1.18", [("differs", "six")])):
        items = check.compare(["six"], content(six=version), lock=held, exact=True)
        assert [(item.state, item.name) for item in items] == expected
