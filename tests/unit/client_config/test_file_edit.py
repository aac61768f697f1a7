"""`client-config --write` and `--remove` keep every other byte of users' files."""

from __future__ import annotations

import configparser
import json
import os
import tomllib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from support.generated import given, settings, st

from ppmctl.cli import commands
from ppmctl.client.index_url import resolve
from ppmctl.client_config import lines, pip
from ppmctl.client_config.file_edit import EDITORS
from ppmctl.client_config.index_target import Form, IndexTarget
from ppmctl.client_config.lines import Unreadable
from ppmctl.client_config.toml_tables import TomlEdit

URL = "https://index.test/team"
SIMPLE = f"{URL}/simple/"
UPLOAD = f"{URL}/legacy/"
FORMS: dict[str, tuple[Form, ...]] = {
    "pip": ("single", "extra"),
    "uv": ("single", "extra", "explicit"),
    "poetry": ("single", "extra", "explicit"),
    "twine": ("single",),
}

PIP = {
    "no file": None,
    "empty": b"",
    "a comment": b"# mine\n",
    "others": b"[global]\ntimeout = 60\nindex-url = https://other.test/simple/\n",
    "comments and blank lines": b"; top\n\n[global]\n# why\ntimeout = 60\n\n# end\n\n[install]\nno-deps = true\n",
    "CRLF": b"[global]\r\nindex-url = https://other.test/simple/\r\ntimeout=60\r\n",
    "a mark": b"\xef\xbb\xbf[global]\ntimeout = 60\n",
    "no end": b"[global]\ntimeout = 60",
    "no end, CRLF": b"[global]\r\nextra-index-url = https://other.test/simple/",
    "percent signs": b"[global]\nindex-url = https://other.test/%7Eme/simple/\nextra-index-url = https://a.test/%(x)s/\n",
    "other indexes": b"[global]\nextra-index-url =\n    https://a.test/simple/\n\n    # b is slow\n    https://b.test/simple/\n\n[x]\n",
    "names as people write them": b"[global]\nIndex_URL : https://other.test/simple/\nTrusted-Host = a.test\n",
    "indented": b"[global]\n  timeout = 60\n  index-url = https://other.test/simple/\n  extra-index-url = https://a.test/\n",
    "a command's own": b"[install]\nindex-url = https://other.test/simple/\nextra-index-url = https://a.test/simple/\n",
    "ours already": f"[global]\nindex-url = {SIMPLE}\nextra-index-url = {SIMPLE}\n".encode(),
    "latin-1": b"# caf\xe9\n[global]\ntimeout = 60\n",
    "a folded index": b"[global]\nindex-url =\n    https://other.test/simple/\n# and\ntimeout = 60\n",
    "no global": b"[list]\nformat = columns",
    "a secret": b"[global]\nindex-url = https://me:hunter2@other.test/simple/\n",
    "blank lines at the end": b"[global]\ntimeout = 60\n\n\n\n",
    "ours in a command's own": f"[x]\nextra-index-url = {SIMPLE}\nindex-url = {SIMPLE}\n[global]\npre = 1\n".encode(),
    "sections that look alike": b"[Global]\nindex-url = https://other.test/simple/\n[global ]\ntimeout = 1\n",
}
TWINE = {
    "no file": None,
    "empty": b"",
    "a comment": b"# mine\n",
    "a list": b"[distutils]\nindex-servers =\n    pypi\n    acme\n\n[pypi]\npassword = hunter2\n",
    "a line": b"[distutils]\nindex-servers = pypi acme\n[acme]\nrepository = https://other.test/legacy/\n",
    "no list": b"[pypi]\nusername = __token__\npassword = hunter%2\n",
    "no servers": b"[distutils]\nfoo = 1\n\n[pypi]\nusername = x\n",
    "CRLF": b"[distutils]\r\nindex-servers =\r\n  pypi\r\n\r\n[pypi]\r\nusername = x",
    "ours by hand": f"[internal]\nrepository = {URL}/\nusername = ann\npassword = hunter2\n".encode(),
    "empty list": b"[distutils]\nindex-servers =\n",
}
UV = {
    "no file": None,
    "empty": b"",
    "a comment": b"# mine\n",
    "keys": b'# top\nnative-tls = true # why\npython-preference = "system"\n\n[pip]\nno-deps = true\n',
    "another default": b'[[index]]\nname = "other"\nurl = "https://other.test/"\ndefault = true\n\n# end\n',
    "another": b"[[index]]\nname = 'other'\nurl = 'https://a.test/%7E'\n[pip]\nextra = [\n  'a', # b\n  'c',\n]\n",
    "CRLF": b'index-url = "https://other.test/"\r\n\r\n[[index]]\r\nurl = "https://a.test/"\r\n',
    "a mark": b"\xef\xbb\xbfnative-tls = true\n",
    "no end": b"native-tls = true",
    "no end, a table": b"[pip]\nno-deps = true",
    "many lines": b'x = """\n[[index]]\nname = "no"\n"""\n[pip]\nextra = [\n]\n',
    "a keyring": b'keyring-provider = "disabled"\n',
}
PYPROJECT = {
    "empty": b"",
    "a project": b"[project]\nname = \"x\" # y\nversion = '1'\ndependencies = [\n  'a', # b\n]\n\n[tool.x]\ny = 1\n",
    "tables of ours": b"[tool.uv]\ndev = 1\n[[tool.uv.index]]\nname = 'o'\nurl = 'https://o.test/'\ndefault = true\n"
    b"[tool.poetry]\nname = 'x'\n[[tool.poetry.source]]\nname = 'o'\nurl = 'https://o.test/'\npriority = 'primary'\n",
    "CRLF": b"[project]\r\nname = 'x'\r\n[tool.uv]\r\nindex-url = 'https://o.test/'",
    "dotted": b"tool.uv.dev = 1\n[project]\nname = 'x'\n",
}


@dataclass(frozen=True)
class Place:
    home: Path
    capsys: pytest.CaptureFixture[str]

    def run(self, *arguments: str, expect: int = 0) -> str:
        code = commands.run(["client-config", *arguments])
        printed = self.capsys.readouterr()
        assert (code, printed.out) == (expect, ""), printed.err
        return printed.err

    def write(self, client: str, *arguments: str, form: str | None = None, expect: int = 0, url: str = URL) -> str:
        chosen = (
            ("--form", form)
            if form and client != "twine"
            else ("--form", "single")
            if client in FORMS and client != "twine"
            else ()
        )
        return self.run(client, "--write", "--index", url, *chosen, *arguments, expect=expect)

    @property
    def files(self) -> dict[str, bytes]:
        return {
            str(path.relative_to(self.home)): path.read_bytes() for path in self.home.rglob("*") if path.is_file()
        }

    @property
    def everything(self) -> set[str]:
        return {str(path.relative_to(self.home)) for path in self.home.rglob("*")}

    @property
    def record(self) -> str:
        return (self.home / ".config" / "ppmctl" / "clients.json").read_text()


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Place:
    for name in list(os.environ):
        if name.startswith(
            ("PIP_", "UV_", "TWINE_", "PPMCTL_", "XDG_", "REQUESTS_", "SSL_", "CURL_", "NETRC", "VIRTUAL_ENV")
        ):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "project").mkdir()
    monkeypatch.chdir(tmp_path / "project")
    return Place(tmp_path, capsys)


WHERE = {
    "pip": ".config/pip/pip.conf",
    "twine": ".pypirc",
    "uv": ".config/uv/uv.toml",
    "poetry": "project/pyproject.toml",
}


def cases() -> list[Any]:
    params = []
    for client, kinds in (("pip", PIP), ("twine", TWINE), ("uv", UV)):
        for name, content in kinds.items():
            params += [
                pytest.param(client, (), form, WHERE[client], content, id=f"{client}, {form}, {name}")
                for form in FORMS[client]
                if not (client == "uv" and form == "explicit")
            ]
    for name, content in PYPROJECT.items():
        for client in ("uv", "poetry"):
            params += [
                pytest.param(
                    client, ("--project",), form, WHERE["poetry"], content, id=f"{client}, project, {form}, {name}"
                )
                for form in FORMS[client]
            ]
    return [
        pytest.param(client, (*scope, *(("--user",) if client == "uv" and not scope else ())), *rest, id=case.id)
        for case in params
        for client, scope, *rest in [case.values]
    ]


def read(client: str, content: bytes) -> Any:
    text = content.decode("utf-8-sig", "surrogateescape")
    if client in ("uv", "poetry"):
        return tomllib.loads(text.replace("\r\n", "\n"))
    parser = configparser.RawConfigParser()
    if client == "pip":
        parser.optionxform = lambda name: name.lower().replace("_", "-")  # type: ignore[method-assign, assignment]
    parser.read_string(text)
    return {name: dict(parser.items(name)) for name in parser.sections()}


def says(client: str, form: str, scope: tuple[str, ...], content: bytes) -> bool:
    """Return whether the client reads the wanted values from the file."""
    values = read(client, content)
    if client == "pip":
        if form == "extra":
            return SIMPLE in values["global"]["extra-index-url"].split()
        return all(options["index-url"] == SIMPLE for options in values.values() if "index-url" in options) and (
            values["global"]["index-url"] == SIMPLE
        )
    if client == "twine":
        return (
            values["internal"]["repository"] in (f"{URL}/legacy/", f"{URL}/")
            and "internal" in values["distutils"]["index-servers"].split()
            and ("acme" not in values or "acme" in values["distutils"]["index-servers"].split())
        )
    if client == "poetry":
        (ours,) = [source for source in values["tool"]["poetry"]["source"] if source["name"] == "internal"]
        priority = {"single": "primary", "extra": "supplemental", "explicit": "explicit"}[form]
        return bool(ours == {"name": "internal", "url": SIMPLE, "priority": priority})
    above = values["tool"]["uv"] if "--project" in scope else values
    (ours,) = [index for index in above["index"] if index.get("name") == "internal"]
    flags = {"single": {"default": True}, "extra": {}, "explicit": {"explicit": True}}[form]
    only = form != "single" or (
        "index-url" not in above and [i for i in above["index"] if i.get("default")] == [ours]
    )
    return bool(ours == {"name": "internal", "url": SIMPLE, "publish-url": UPLOAD, **flags}) and only


@pytest.mark.parametrize(("client", "scope", "form", "where", "content"), cases())
def test_remove_restores_a_file_that_was_written_twice(
    client: str, scope: tuple[str, ...], form: str, where: str, content: bytes | None, place: Place
) -> None:
    path = place.home / where
    if content is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        path.chmod(0o640)
    before, paths = place.files, place.everything
    shown = place.write(client, *scope, "--dry-run", form=form)
    assert place.files == before
    printed = place.write(client, *scope, form=form)
    assert "hunter" not in printed + shown
    written = path.read_bytes()
    assert says(client, form, scope, written)
    if content is not None and written != content:
        replaced = [line for line in content.splitlines() if line not in written.splitlines()]
        assert all(b"# (ppmctl %s internal) " % client.encode() + line in written for line in replaced)
        assert path.stat().st_mode & 0o777 == 0o640
        assert content.count(b"\r\n") == 0 or written.count(b"\n") == written.count(b"\r\n")
        assert "+" in shown
        (backup,) = (place.home / ".config" / "ppmctl" / "backups").iterdir()
        assert (backup.read_bytes(), backup.stat().st_mode & 0o777) == (content, 0o600)
        assert str(backup) in printed
    if (place.home / ".config" / "ppmctl").exists():
        assert "hunter" not in place.record
    after = place.files
    assert "unchanged" in place.write(client, *scope, form=form)
    assert place.files == after
    place.run(client, "--remove")
    assert place.files == before
    assert place.everything == paths
    assert "There is nothing to remove" in place.run(client, "--remove")


@pytest.mark.parametrize(
    ("client", "content", "message"),
    [
        ("pip", b"[global]\ntimeout = 1\ntimeout = 2\n", "line 3: this stands there twice"),
        ("pip", b"[global]\nindex-url = a\nindex_url = b\n", "line 3: this stands there twice"),
        ("pip", b"[global]\n[global]\n", "line 2: this stands there twice"),
        ("pip", b"timeout = 1\n", "line 1: there is no [section] before it"),
        ("pip", b"[global]\nhunter2\n", "line 2: it is neither"),
        ("pip", b"[global]\ntimeout = 1\rindex-url = x\n", "line 2: a carriage return"),
        ("pip", "[global]\n".encode("utf-16"), "line 1: it is not text, or it is UTF-16"),
        ("pip", b"[global]\nx = \0\n", "line 2: it is not text"),
        (
            "twine",
            b"[internal]\nrepository = https://other.test/legacy/\n",
            "line 1: [internal] is another index",
        ),
        ("twine", b"[distutils]\nx = 1\rindex-servers = x\n", "line 2: a carriage return"),
        ("uv", b"[[index]]\nname = \n", "line 2: it is not TOML"),
        ("uv", b"a = 1\na = 2\n", "line 2: it is not TOML: Cannot overwrite a value"),
        ("uv", b"index = [{name = 'other', url = 'https://o.test/'}]\n", "index is not written as [[index]]"),
        (
            "uv",
            b"[[index]]\nname = 'internal'\nurl = 'https://o.test/'\n",
            "line 1: 'internal' is another index there",
        ),
        ("uv", b"a = 1\rb = 2\n", "line 1: a carriage return"),
        ("uv", b"x = " + b"[" * 5000 + b"]" * 5000 + b"\n", "nested too deeply"),
        ("poetry", b"[tool.poetry]\nsource = 1\n", "is not written as [[tool.poetry.source]]"),
        ("poetry", b"[tool\nx", "it is not TOML"),
    ],
)
def test_an_unreadable_file_is_refused_with_the_line(client: str, content: bytes, message: str, place: Place) -> None:
    path = place.home / WHERE[client]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    before = place.files
    err = place.write(client, form="single", expect=1)
    assert message in err
    assert str(path) in err
    assert "hunter" not in err
    assert place.files == before


@pytest.mark.parametrize(
    ("client", "before", "change", "after", "message"),
    [
        pytest.param(
            "pip",
            b"",
            lambda text: text + b"timeout = 5\n",
            b"[global]\ntimeout = 5\n",
            "",
            id="an option in the section that was made",
        ),
        pytest.param(
            "pip",
            b"[global]\nindex-url = https://other.test/\n",
            lambda text: (
                b"# new\n" + text.replace(b"[global]\n", b"[global]\nproxy = x\n") + b"[install]\npre = true\n"
            ),
            b"# new\n[global]\nproxy = x\nindex-url = https://other.test/\n[install]\npre = true\n",
            "",
            id="options around ours",
        ),
        pytest.param(
            "pip",
            b"[global]\nindex-url = https://other.test/\n",
            lambda text: text.replace(f"index-url = {SIMPLE}".encode(), b"index-url = https://third.test/"),
            b"[global]\nindex-url = https://third.test/\n# (ppmctl pip internal) index-url = https://other.test/\n",
            "what was commented out stays commented out",
            id="another index instead of ours",
        ),
        pytest.param(
            "twine",
            b"",
            lambda text: text.replace(b"    internal\n", b"    internal\n    acme\n") + b"\n[acme]\nrepository = x\n",
            b"[distutils]\nindex-servers =\n    pypi\n    testpypi\n    acme\n\n[acme]\nrepository = x\n",
            "other lines depend on it now",
            id="another server in the list",
        ),
        pytest.param(
            "twine",
            b"[distutils]\nindex-servers = pypi\n",
            lambda text: text + b"password = hunter2\n",
            b"[distutils]\nindex-servers = pypi\n\n[internal]\npassword = hunter2\n",
            "",
            id="a password in the section that was made",
        ),
        pytest.param(
            "uv",
            b"native-tls = true\n",
            lambda text: (
                text.replace(b"default = true", b'authenticate = "always"\ndefault = true\n# mine') + b"[pip]\n"
            ),
            b"native-tls = true\n# mine\n[pip]\n",
            "",
            id="a key in our table",
        ),
        pytest.param(
            "uv",
            b'[[index]]\nname = "o"\nurl = "https://o.test/"\ndefault = true\n',
            lambda text: text.replace(SIMPLE.encode(), b"https://new.test/"),
            b"# (ppmctl uv internal) [[index]]\n"
            b'# (ppmctl uv internal) name = "o"\n'
            b'# (ppmctl uv internal) url = "https://o.test/"\n'
            b"# (ppmctl uv internal) default = true\n\n"
            b'[[index]]\nname = "internal"\nurl = "https://new.test/"\n'
            b'publish-url = "https://index.test/team/legacy/"\ndefault = true\n',
            "was changed or removed since then",
            id="another URL in our table",
        ),
        pytest.param(
            "poetry",
            b"[project]\nname = 'x'\n",
            lambda text: text.replace(b"\n\n[[", b"\nversion = '1'\n[["),
            b"[project]\nname = 'x'\nversion = '1'\n",
            "",
            id="a key instead of the blank line",
        ),
        pytest.param(
            "poetry",
            b"x = 1\n",
            lambda _text: b"x = 2\n",
            b"x = 2\n",
            "was changed or removed since then",
            id="all of ours gone",
        ),
    ],
)
def test_remove_keeps_what_others_changed_since(
    client: str, before: bytes, change: Callable[[bytes], bytes], after: bytes, message: str, place: Place
) -> None:
    path = place.home / WHERE[client]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(before)
    place.write(client, form="single")
    changed = change(path.read_bytes())
    assert changed != path.read_bytes()
    path.write_bytes(changed)
    err = place.run(client, "--remove")
    assert path.read_bytes() == after
    assert message in err
    assert "hunter" not in err
    assert not (place.home / ".config" / "ppmctl" / "clients.json").exists()


def test_remove_deletes_a_created_file_unless_others_wrote_into_it(place: Place) -> None:
    path = place.home / WHERE["uv"]
    place.write("uv", form="single")
    path.write_bytes(path.read_bytes() + b"# mine\n")
    place.run("uv", "--remove")
    assert path.read_bytes() == b"# mine\n"
    place.write("pip", form="single")
    (place.home / WHERE["pip"]).unlink()
    assert "no longer exists" in place.run("pip", "--remove")


def test_writing_another_form_replaces_the_first(place: Place) -> None:
    path = place.home / WHERE["pip"]
    path.parent.mkdir(parents=True)
    path.write_bytes(b"[global]\nindex-url = https://other.test/simple/\n")
    before = place.files
    place.write("pip", form="single")
    place.write("pip", form="extra")
    assert read("pip", path.read_bytes())["global"] == {
        "index-url": "https://other.test/simple/",
        "extra-index-url": SIMPLE,
    }
    place.write("pip", form="single", url="https://second.test/")
    place.write("pip", form="single", url="https://third.test/")
    values = read("pip", path.read_bytes())["global"]
    assert values == {"index-url": "https://third.test/simple/", "extra-index-url": SIMPLE}
    place.run("pip", "--remove", "--index", "https://third.test/")
    assert read("pip", path.read_bytes())["global"]["index-url"] == "https://other.test/simple/"
    place.run("--remove")
    assert place.files == before


def test_two_indexes_and_two_clients_in_one_file(place: Place) -> None:
    path = place.home / WHERE["poetry"]
    path.write_bytes(b"[project]\nname = 'x'")
    before = place.files
    place.write("uv", form="explicit")
    place.write("poetry", form="explicit")
    place.write("uv", "--name", "second", form="explicit", url="https://second.test")
    values = read("uv", path.read_bytes())["tool"]
    assert [index["name"] for index in values["uv"]["index"]] == ["internal", "second"]
    place.run("uv", "--remove", "--index", URL)
    values = read("uv", path.read_bytes())["tool"]
    assert [index["name"] for index in values["uv"]["index"]] == ["second"]
    assert len(values["poetry"]["source"]) == 1
    place.run("poetry", "uv", "--remove")
    assert place.files == before


def test_an_added_line_is_indented_like_the_others(place: Place) -> None:
    path = place.home / WHERE["pip"]
    path.parent.mkdir(parents=True)
    path.write_bytes(b"[global]\n  timeout = 1\n")
    place.write("pip", form="single")
    assert f"\n  index-url = {SIMPLE}\n" in path.read_text()


def test_remove_ignores_other_projects(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """A project's file is the next one above, as its clients find it; without one, none is created."""
    assert "no pyproject.toml here, or above" in place.write("poetry", form="explicit", expect=2)
    assert "only in projects that define the index" in place.write("uv", "--user", form="explicit", expect=2)
    (place.home / WHERE["poetry"]).touch()
    (place.home / "project" / "deep").mkdir()
    monkeypatch.chdir(place.home / "project" / "deep")
    place.write("poetry", form="explicit")
    assert "unchanged" in place.write("poetry", form="explicit")
    monkeypatch.chdir(place.home)
    assert "There is nothing to remove" in place.run("poetry", "--remove")
    assert "internal" in (place.home / WHERE["poetry"]).read_text()
    monkeypatch.chdir(place.home / "project" / "deep")
    place.run("poetry", "--remove")
    assert (place.home / WHERE["poetry"]).read_text() == ""


@pytest.mark.parametrize("name", ["pip.conf", "other/pip.conf"])
def test_the_target_of_a_symbolic_link_is_edited(name: str, place: Place) -> None:
    (place.home / "dotfiles" / "other").mkdir(parents=True)
    target = place.home / "dotfiles" / name
    target.write_bytes(b"[global]\ntimeout = 1\n")
    path = place.home / WHERE["pip"]
    path.parent.mkdir(parents=True)
    path.symlink_to(target)
    err = place.write("pip", form="single")
    assert f"~/dotfiles/{name}" in err
    assert path.is_symlink()
    assert SIMPLE in target.read_text()
    place.run("pip", "--remove")
    assert (path.is_symlink(), target.read_bytes()) == (True, b"[global]\ntimeout = 1\n")


def test_circular_symbolic_links_are_refused(place: Place) -> None:
    path = place.home / WHERE["pip"]
    path.parent.mkdir(parents=True)
    path.symlink_to(path.with_name("other"))
    path.with_name("other").symlink_to(path)
    assert str(path) in place.write("pip", form="single", expect=1)


def test_a_read_only_file_and_a_folder_are_refused(place: Place) -> None:
    path = place.home / WHERE["pip"]
    path.parent.mkdir(parents=True)
    path.write_bytes(b"[global]\n")
    path.chmod(0o444)
    before = place.files
    assert "is read-only" in place.write("pip", form="single", expect=1)
    assert place.files == before
    path.unlink()
    path.mkdir()
    assert "is no file" in place.write("pip", form="single", expect=1)


@pytest.mark.parametrize("refused", ["read", "write"])
def test_a_permission_error_is_reported_and_nothing_is_changed(
    refused: str, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Root may do everything, so the test itself raises the error where the bytes are read or renamed."""
    path = place.home / WHERE["pip"]
    path.parent.mkdir(parents=True)
    path.write_bytes(b"[global]\n")
    before = place.files

    def refuse(self: Path, *_arguments: object) -> None:
        if self.parent == path.parent:
            raise PermissionError(13, "Permission denied", str(self))
        original(self, *_arguments)

    name = {"read": "read_bytes", "write": "replace"}[refused]
    original = getattr(Path, name)
    with monkeypatch.context() as patch:
        patch.setattr(Path, name, refuse)
        err = place.write("pip", form="single", expect=1)
    assert f"{path}" in err
    assert "Permission denied" in err
    assert {name: content for name, content in place.files.items() if "backups" not in name} == before


def test_netrc(place: Place) -> None:
    path = place.home / ".netrc"
    (place.home / "credential").write_text("ann:ppm_secret\n")
    credential = ("--credential-file", str(place.home / "credential"))
    for content in (None, b"machine other.test login x password hunter2\n", b"default login a password hunter2"):
        if content is not None:
            path.write_bytes(content)
        before = place.files
        err = place.write("netrc", *credential, "--dry-run")
        assert place.files == before
        err += place.write("netrc", *credential)
        assert path.read_bytes() == b"machine index.test login ann password ppm_secret\n" + (content or b"")
        assert path.stat().st_mode & 0o777 == 0o600
        again = place.write("netrc", *credential)
        assert "unchanged" in again
        assert "+machine index.test login ann password ***" in err
        err += again + place.run("netrc", "--remove")
        assert place.files == before
        assert "ppm_secret" not in err
        assert "hunter" not in err


def test_the_netrc_entry_of_another_user_stays(place: Place) -> None:
    (place.home / ".netrc").write_bytes(b"machine index.test login ben password hunter2\n")
    (place.home / "credential").write_text("ann:ppm_secret\n")
    before = place.files
    err = place.write("netrc", "--credential-file", str(place.home / "credential"), expect=2)
    assert "has an entry for index.test already, of 'ben'" in err
    assert place.files == before


def test_a_login_at_another_index_of_the_host_keeps_its_netrc_entry(place: Place) -> None:
    """Netrc has one entry for a host; a login's entry at this index is replaced."""
    path = place.home / ".netrc"
    path.write_bytes(b"machine index.test login ann password ppm_of_login\n")
    (place.home / "credential").write_text("ann:ppm_secret\n")
    folder = place.home / ".config" / "ppmctl"
    folder.mkdir(parents=True)
    credential = ("--credential-file", str(place.home / "credential"))
    for index, expect in (("https://index.test/other", 2), (URL, 0)):
        login = {"index": index, "username": "ann", "netrc": str(path)}
        (folder / "logins.json").write_text(json.dumps({"logins": [login]}))
        err = place.write("netrc", *credential, expect=expect)
        assert ("of the login at https://index.test/other" in err) == (expect == 2)
        assert b"ppm_of_login" in path.read_bytes() or expect == 0
    assert path.read_bytes() == b"machine index.test login ann password ppm_secret\n"


def test_a_new_secret_replaces_the_written_one(place: Place) -> None:
    for secret in ("ppm_one", "ppm_two"):
        (place.home / "credential").write_text(f"ann:{secret}\n")
        place.write("netrc", "--credential-file", str(place.home / "credential"))
        assert (place.home / ".netrc").read_text() == f"machine index.test login ann password {secret}\n"
    place.run("netrc", "--remove")
    assert not (place.home / ".netrc").exists()


def test_keyring_and_certificate_authority_are_written(place: Place) -> None:
    folder = place.home / ".config" / "ppmctl"
    folder.mkdir(parents=True)
    login = {"index": URL, "username": "ann+desk", "keyring": [SIMPLE]}
    (folder / "logins.json").write_text(json.dumps({"logins": [login]}))
    (place.home / "ca.pem").write_text("a file\n")
    before = place.files
    named = SIMPLE.replace("//", "//ann%2Bdesk@")
    for client in ("pip", "uv", "twine"):
        err = place.write(client, "--ca", str(place.home / "ca.pem"), form="single")
        assert client == "twine" or named in err
    assert read("pip", place.files[WHERE["pip"]])["global"] == {"index-url": named, "cert": f"{place.home}/ca.pem"}
    assert read("uv", place.files[WHERE["uv"]]) == {
        "keyring-provider": "subprocess",
        "index": [{"name": "internal", "url": named, "publish-url": UPLOAD, "default": True}],
    }
    assert read("twine", place.files[WHERE["twine"]])["internal"] == {
        "repository": f"{URL}/legacy/",
        "username": "ann+desk",
        "ca_cert": f"{place.home}/ca.pem",
    }
    place.run("--remove")
    assert place.files == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("pdm", "--write"), "pdm is only printed"),
        (("--write",), "name one of them"),
        (("pip", "--write", "--remove"), "--write and --remove can't be used together"),
        (("pip", "--write", "--project"), "no file of its own for --project"),
    ],
)
def test_usage_errors(arguments: tuple[str, ...], message: str, place: Place) -> None:
    assert message in place.run(*arguments, "--index", URL, "--form", "single", expect=2)


def test_a_variable_that_overrides_the_file_is_reported(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "https://o.test/")
    assert "PIP_INDEX_URL is set, and wins over the file" in place.write("pip", form="single")
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    assert "would not read the file" in place.write("pip", form="single", expect=2)


@pytest.mark.parametrize(
    ("at", "text"),
    [(2, "  and more"), (1, "timeout = 2"), (1, "[other]"), (1, "[a")],
)
def test_an_edit_that_would_change_something_else_is_not_made(at: int, text: str) -> None:
    """The check does not depend on how the edit was planned."""
    edit = pip.File(lines.read(b"[global]\ntimeout = 1\nproxy = x\n"))
    edit.add(at, text)
    with pytest.raises(Unreadable):
        edit.finish()


@pytest.mark.parametrize(
    ("added", "muted"), [([(1, "[other]")], []), ([], [2]), ([(4, "[x]")], [2]), ([(1, "b = 3")], [])]
)
def test_an_edit_that_would_move_a_key_to_another_table_is_not_made(
    added: list[tuple[int, str]], muted: list[int]
) -> None:
    edit = TomlEdit(lines.read(b"a = 1\nb = 2\n[c]\nd = 3\n"))
    for at, text in added:
        edit.add(at, text)
    for at in muted:
        edit.comment_out(at, at + 1)
    with pytest.raises(Unreadable):
        edit.verified()


COMMENT = st.sampled_from(["# a", "", "   # b", "; c"])
OPTION = st.sampled_from(
    [
        "timeout = 1",
        "index-url = https://o.test/",
        "extra-index-url =\n    https://a.test/\n\n  https://b.test/",
        "proxy: x%y",
    ]
)
SECTION = st.builds(
    lambda name, parts, indent: [f"[{name}]", *(indent + line for part in parts for line in part.split("\n"))],
    st.sampled_from(["global", "install", "list"]),
    st.lists(st.one_of(COMMENT, OPTION), max_size=5, unique=True),
    st.sampled_from(["", "  "]),
)
INI = st.builds(
    lambda *parts: [line for part in parts for line in part], st.lists(COMMENT, max_size=2), *[SECTION] * 2
)
TABLE = st.sampled_from(
    [
        "[pip]\nno-deps = true",
        "[[index]]\nname = 'o'\nurl = 'https://o.test/'\ndefault = true",
        "[x.y]\nz = [\n 'a',\n]",
        "# c",
        "",
    ]
)
TOML = st.builds(
    lambda top, values: [line for part in [*top, *values] for line in part.split("\n")],
    st.lists(st.sampled_from(["a = 1", "index-url = 'https://o.test/'", "# top", ""]), max_size=3, unique=True),
    st.lists(TABLE, max_size=4, unique=True),
)


@pytest.mark.parametrize(("client", "files"), [("pip", INI), ("uv", TOML)])
@settings(max_examples=50, deadline=None)  # each runs the command several times
@given(st.data())
def test_undo_restores_any_file_and_keeps_lines_of_others(client: str, files: Any, data: st.DataObject) -> None:
    end = data.draw(st.sampled_from(["\n", "\r\n"]))
    before = lines.read("".join(line + end for line in data.draw(files)).encode())
    form: Form = data.draw(st.sampled_from(["single", "extra"]))
    target = IndexTarget(name="internal", address=resolve(URL, environ={}, home=Path("/nowhere")), form=form)
    try:
        edit = EDITORS[client].plan(before, target, "user")
    except Unreadable:
        return  # a section appears twice
    mark = lines.marker(client, "internal")
    after, puts = edit.apply(mark)
    assert EDITORS[client].plan(after, target, "user").is_empty
    assert says(client, form, (), after.to_bytes())
    form_of_file = EDITORS[client].File
    assert lines.undo(form_of_file, after, puts, mark) == (before, ())
    inside = {at for put in puts for at in range(put.at + 1, put.at + len(put.texts))}
    at = data.draw(st.sampled_from([at for at in range(len(after.lines) + 1) if at not in inside]))
    earlier = at - sum(len(put.texts) for put in puts if put.at < at)
    theirs = f"# of another user{end}"
    changed = replace(after, lines=(*after.lines[:at], theirs, *after.lines[at:]))
    expected = replace(before, lines=(*before.lines[:earlier], theirs, *before.lines[earlier:]))
    try:
        EDITORS[client].plan(changed, target, "user")
    except Unreadable:
        return  # the line is inside a value of several lines
    assert lines.undo(form_of_file, changed, puts, mark) == (expected, ())


@pytest.mark.parametrize("other", ["pip", "poetry"])
def test_of_several_clients_all_are_written_or_none(place: Place, other: str) -> None:
    """A refused file is found before the first file is changed, in any order."""
    pip_conf = place.home / ".config" / "pip" / "pip.conf"
    if other == "pip":
        pip_conf.parent.mkdir(parents=True)
        pip_conf.write_text("[global]\ntimeout = 1\ntimeout = 2\n")
    before = place.files
    for clients in (("uv", "twine", other), (other, "uv", "twine")):
        place.run(*clients, "--write", "--index", URL, "--form", "single", expect=1 if other == "pip" else 2)
        assert place.files == before


def test_json_of_written_and_removed_files(place: Place) -> None:
    """Each command prints one document, with notes and without secrets."""
    path = place.home / WHERE["pip"]
    path.parent.mkdir(parents=True)
    path.write_bytes(b"[global]\nindex-url = https://me:hunter2@other.test/simple/\n")

    def run(*arguments: str) -> Any:
        assert commands.run(["client-config", *arguments, "--index", URL, "--json"]) == 0
        out = place.capsys.readouterr().out
        assert "hunter" not in out
        return json.loads(out)

    (tried,) = run("pip", "--form", "single", "--dry-run")
    assert (tried["outcome"], tried["dry_run"], tried["backup"]) == ("written", True, None)
    assert b"hunter2" in path.read_bytes()
    pip_conf, pypirc = run("pip", "twine", "--form", "single", "--write")
    assert (pip_conf["client"], pip_conf["file"], pip_conf["outcome"]) == ("pip", str(path), "written")
    assert f"+index-url = {SIMPLE}" in tried["diff"]
    assert Path(pip_conf["backup"]).exists()
    assert any("To publish" in note for note in pypirc["notes"])
    assert [each["outcome"] for each in run("pip", "--form", "extra", "--write")] == ["written"]
    assert {each["client"]: each["outcome"] for each in run("--remove")} == {"pip": "written", "twine": "deleted"}
    assert run("--remove") == []


def test_write_prints_the_commands_to_type_next(place: Place) -> None:
    assert f"ppmctl login {URL} --netrc" in place.write("pip", form="single")
    printed = place.write("twine")
    assert "twine upload --repository internal" in printed
    assert f"keyring set {UPLOAD} USER" in printed
