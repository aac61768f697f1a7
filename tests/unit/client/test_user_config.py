"""Which index is meant where a command names none: the environment, a project, a user, a login, a machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from ppmctl.client import index_url, login_store, user_config
from ppmctl.errors import UsageError


@pytest.fixture
def cwd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder within a project; the machine's file is in `tmp_path` too."""
    monkeypatch.setattr(user_config, "SYSTEM", tmp_path / "etc" / "config.toml")
    (tmp_path / "etc").mkdir()
    (tmp_path / "project" / "src").mkdir(parents=True)
    (tmp_path / "project" / "pyproject.toml").write_text("[project]\nname = 'x'\n")
    return tmp_path / "project" / "src"


def user_file(home: Path) -> Path:
    path = home / ".config" / "ppmctl" / "config.toml"
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def test_the_nearest_word_counts(cwd: Path, tmp_path: Path) -> None:
    """Each place is taken away in turn, the strongest first: DESIGN's order, with a login after the user's file."""
    project = tmp_path / "project" / "pyproject.toml"
    project.write_text('[tool.ppmctl]\nindex = "https://project.test/simple/"\n[tool.ppmctl.publish]\nx = 1\n')
    user_file(tmp_path).write_text('index = "https://user.test/"\n')
    user_config.SYSTEM.write_text('index = "https://machine.test/"\n')
    login_store.read({}, tmp_path).changed([], login_store.Login(index="https://login.test", username="ann"))
    environ = {"PPMCTL_INDEX": "https://environ.test/"}

    def meant() -> str:
        return index_url.resolve(None, environ=environ, home=tmp_path, cwd=cwd).base

    assert index_url.resolve("https://flag.test", environ=environ, home=tmp_path, cwd=cwd).base == "https://flag.test"
    assert meant() == "https://environ.test"
    environ.clear()
    assert meant() == "https://project.test"
    project.write_text("[project]\nname = 'x'\n")
    assert meant() == "https://user.test"
    user_file(tmp_path).unlink()
    assert meant() == "https://login.test"
    known = login_store.read({}, tmp_path)
    known.changed(known.all)
    assert meant() == "https://machine.test"
    user_config.SYSTEM.unlink()
    with pytest.raises(UsageError, match="not said which index"):
        meant()


def test_who_says_it_is_said(cwd: Path, tmp_path: Path) -> None:
    user_file(tmp_path).write_text('index = "no-such-section"\n')
    with pytest.raises(UsageError, match="'no-such-section' is neither a URL nor a section"):
        index_url.resolve(None, environ={}, home=tmp_path, cwd=cwd)
    user_file(tmp_path).write_text('index = "https://ann:s3cret@user.test/"\n')
    with pytest.raises(UsageError, match=r"config\.toml has a URL with a credential in it") as caught:
        index_url.resolve(None, environ={}, home=tmp_path, cwd=cwd)
    assert "s3cret" not in caught.value.message + caught.value.hint


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('indx = "https://x.test/"\n', "says 'indx', which ppmctl does not know"),
        ("index = 7\n", "has an index that is not a text"),
        ("index = \n", "can't be read: it is not TOML"),
        ('token = "x"\n', "says 'token', which ppmctl does not know"),
    ],
)
def test_a_file_of_a_user_makes_sense(text: str, said: str, cwd: Path, tmp_path: Path) -> None:
    user_file(tmp_path).write_text(text)
    with pytest.raises(UsageError, match=said):
        index_url.said(environ={}, home=tmp_path, cwd=cwd)
    assert index_url.said(environ={"PPMCTL_INDEX": "x"}, home=tmp_path, cwd=cwd) == ("x", "PPMCTL_INDEX"), "unread"


@pytest.mark.parametrize("text", ["[tool\n", "[tool.ppmctl]\n", "tool = 1\n", "[tool]\nppmctl = 'x'\n", "\xff\n"])
def test_a_project_may_be_about_something_else(text: str, cwd: Path, tmp_path: Path) -> None:
    (tmp_path / "project" / "pyproject.toml").write_text(text, encoding="latin-1")
    assert index_url.said(environ={}, home=tmp_path, cwd=cwd) is None
