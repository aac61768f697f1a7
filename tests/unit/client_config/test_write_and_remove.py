"""`client-config --write` and `--remove`: refused files, changes by others, links, netrc, JSON."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.client_files import SIMPLE, UPLOAD, URL, WHERE, Place, read

from ppmctl.cli import commands


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


def test_remove_ignores_other_environments_and_projects_below(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards against a --remove that restored the file of a virtual environment that was not active."""
    files = {name: place.home / name / "pip.conf" for name in ("one", "two")}
    for name, file in files.items():
        file.parent.mkdir()
        monkeypatch.setenv("VIRTUAL_ENV", str(file.parent))
        place.write("pip", "--venv", form="single")
        assert file.exists(), name
    for active in ("", str(place.home / "three")):
        monkeypatch.setenv("VIRTUAL_ENV", active)
        printed = place.run("pip", "--remove")
        assert "There is nothing to remove" in printed
        assert all(f"{file}" in printed for file in files.values())
    assert all(file.exists() for file in files.values())
    monkeypatch.setenv("VIRTUAL_ENV", str(files["one"].parent))
    assert str(files["two"]) in place.run("--remove")
    assert [file.exists() for file in files.values()] == [False, True]
    (place.home / WHERE["poetry"]).touch()
    place.write("poetry", form="explicit")
    (place.home / "project" / "other").mkdir()
    (place.home / "project" / "other" / "pyproject.toml").touch()
    monkeypatch.chdir(place.home / "project" / "other")  # its clients read its own file
    assert "There is nothing to remove" in place.run("poetry", "--remove")
    assert "internal" in (place.home / WHERE["poetry"]).read_text()


def test_the_overview_shows_what_is_written_now(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not what the record remembers: the file may be deleted, edited, or that of another environment."""

    def overview() -> dict[str, tuple[str, bool]]:
        assert commands.run(["client-config", "--index", URL, "--form", "single", "--json"]) == 0
        clients = json.loads(place.capsys.readouterr().out)["clients"]
        return {each["client"]: (each["file"], each["is_written"]) for each in clients}

    path, venv = place.home / WHERE["pip"], place.home / "venv"
    venv.mkdir()
    place.write("pip", form="single")
    assert overview()["pip"] == (str(path), True)
    written = path.read_text()
    path.write_text("[global]\ntimeout = 1\n")
    assert overview()["pip"] == (str(path), False)
    path.write_text(written)
    assert overview()["pip"] == (str(path), True)
    path.unlink()
    assert overview()["pip"] == (str(path), False)
    monkeypatch.setenv("VIRTUAL_ENV", str(venv))
    place.write("pip", "--venv", form="single")
    assert overview()["pip"] == (str(venv / "pip.conf"), True)
    monkeypatch.delenv("VIRTUAL_ENV")
    assert overview()["pip"] == (str(path), False)


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
    assert "is not a regular file" in place.write("pip", form="single", expect=1)


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
