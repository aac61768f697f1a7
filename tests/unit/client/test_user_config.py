"""The default index: from the environment, a project, a user, a login or a machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from ppmctl.client import index_url, login_store, user_config
from ppmctl.errors import UsageError


@pytest.fixture
def cwd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder in a project; the machine's file is in `tmp_path` too."""
    monkeypatch.setattr(user_config, "SYSTEM", tmp_path / "etc" / "config.toml")
    (tmp_path / "etc").mkdir()
    (tmp_path / "project" / "src").mkdir(parents=True)
    (tmp_path / "project" / "pyproject.toml").write_text("[project]\nname = 'x'\n")
    return tmp_path / "project" / "src"


def user_file(home: Path) -> Path:
    path = home / ".config" / "ppmctl" / "config.toml"
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def test_the_order_of_the_places_for_the_default_index(cwd: Path, tmp_path: Path) -> None:
    """Remove the places one by one, the first first; a login comes after the user's file."""
    project = tmp_path / "project" / "pyproject.toml"
    project.write_text('[tool.ppmctl]\nindex = "https://project.test/simple/"\n[tool.ppmctl.publish]\nx = 1\n')
    user_file(tmp_path).write_text('index = "https://user.test/"\n')
    user_config.SYSTEM.write_text('index = "https://machine.test/"\n')
    login_store.read({}, tmp_path).changed([], login_store.Login(index="https://login.test", username="ann"))
    environ = {"PPMCTL_INDEX": "https://environ.test/"}

    def default() -> str:
        return index_url.resolve(None, environ=environ, home=tmp_path, cwd=cwd).base

    assert index_url.resolve("https://flag.test", environ=environ, home=tmp_path, cwd=cwd).base == "https://flag.test"
    assert default() == "https://environ.test"
    environ.clear()
    assert default() == "https://project.test"
    project.write_text("[project]\nname = 'x'\n")
    assert default() == "https://user.test"
    user_file(tmp_path).unlink()
    assert default() == "https://login.test"
    known = login_store.read({}, tmp_path)
    known.changed(known.all)
    assert default() == "https://machine.test"
    user_config.SYSTEM.unlink()
    with pytest.raises(UsageError, match="No index is specified"):
        default()


def test_errors_about_the_default_index_name_its_file(cwd: Path, tmp_path: Path) -> None:
    user_file(tmp_path).write_text('index = "no-such-section"\n')
    with pytest.raises(UsageError, match="'no-such-section' is neither a URL nor a section"):
        index_url.resolve(None, environ={}, home=tmp_path, cwd=cwd)
    user_file(tmp_path).write_text('index = "https://ann:s3cret@user.test/"\n')
    with pytest.raises(UsageError, match=r"config\.toml has a URL with a credential in it") as caught:
        index_url.resolve(None, environ={}, home=tmp_path, cwd=cwd)
    assert "s3cret" not in caught.value.message + caught.value.hint


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('indx = "https://x.test/"\n', "has the unknown setting 'indx'"),
        ("index = 7\n", "has an index that is not a string"),
        ("index = \n", "can't be read: it is not TOML"),
        ('token = "x"\n', "has the unknown setting 'token'"),
    ],
)
def test_an_invalid_configuration_file_of_a_user_is_an_error(
    text: str, message: str, cwd: Path, tmp_path: Path
) -> None:
    user_file(tmp_path).write_text(text)
    with pytest.raises(UsageError, match=message):
        index_url.default_index(environ={}, home=tmp_path, cwd=cwd)
    assert index_url.default_index(environ={"PPMCTL_INDEX": "x"}, home=tmp_path, cwd=cwd) == ("x", "PPMCTL_INDEX"), (
        "unread"
    )


@pytest.mark.parametrize("text", ["[tool\n", "[tool.ppmctl]\n", "tool = 1\n", "[tool]\nppmctl = 'x'\n", "\xff\n"])
def test_a_pyproject_without_our_table_is_ignored(text: str, cwd: Path, tmp_path: Path) -> None:
    (tmp_path / "project" / "pyproject.toml").write_text(text, encoding="latin-1")
    assert index_url.default_index(environ={}, home=tmp_path, cwd=cwd) is None
