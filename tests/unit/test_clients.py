"""What is printed for pip, uv, twine and netrc: read back with the parsers that those programs use."""

from __future__ import annotations

import configparser
import netrc
import tomllib
from pathlib import Path

import pytest

from ppmctl import cli
from ppmctl.address import Address, resolve
from ppmctl.clients import Form, IndexTarget, pip, twine, uv
from ppmctl.clients import netrc as netrc_line
from ppmctl.credential import Credential, Secret
from ppmctl.errors import PpmError

HOME = Path("/nowhere")


def address(url: str = "https://index.test/team") -> Address:
    return resolve(url, environ={}, home=HOME)


def target(url: str = "https://index.test/team", form: Form = "single", username: str | None = None) -> IndexTarget:
    return IndexTarget(name="internal", address=address(url), form=form, username=username)


def ini(text: str) -> configparser.RawConfigParser:
    parser = configparser.RawConfigParser()
    parser.read_string(text)
    return parser


def header(text: str) -> str:
    first = text.splitlines()[0]
    assert first.startswith("# ")
    return first


@pytest.mark.parametrize(("form", "key"), [("single", "index-url"), ("extra", "extra-index-url")])
def test_pip(form: Form, key: str) -> None:
    text = pip.render(target(form=form))
    assert "pip.conf" in header(text)
    assert dict(ini(text)["global"]) == {key: "https://index.test/team/simple/"}


@pytest.mark.parametrize(
    ("url", "trusted"),
    [
        ("http://index.test:8080", "index.test:8080"),
        ("http://10.0.0.1", "10.0.0.1"),
        ("http://127.0.0.1:8080", None),
        ("http://localhost", None),
        ("https://index.test:8080", None),
    ],
)
def test_pip_trusts_a_host_only_where_it_must(url: str, trusted: str | None) -> None:
    assert ini(pip.render(target(url)))["global"].get("trusted-host") == trusted


def test_uv_for_a_user() -> None:
    text = uv.render(target())
    assert "uv.toml" in header(text)
    assert tomllib.loads(text) == {
        "index": [{"name": "internal", "url": "https://index.test/team/simple/", "default": True}]
    }


def test_uv_beside_another_index_takes_only_what_is_sent_there() -> None:
    text = uv.render(target(form="extra"))
    assert "pyproject.toml" in header(text)
    entry = {"name": "internal", "url": "https://index.test/team/simple/", "explicit": True}
    assert tomllib.loads(text) == {"tool": {"uv": {"index": [entry]}}}


@pytest.mark.parametrize("username", [None, "ops"])
def test_twine(username: str | None, tmp_path: Path) -> None:
    from twine.utils import get_repository_from_config

    text = twine.render(target(username=username))
    assert ".pypirc" in header(text)
    (tmp_path / ".pypirc").write_text(text)
    config = get_repository_from_config(str(tmp_path / ".pypirc"), "internal")
    assert config["repository"] == "https://index.test/team/legacy/"
    assert (config["username"], config["password"]) == (username, None)
    # and ppmctl itself reads it
    assert resolve("internal", environ={}, home=tmp_path).base == "https://index.test/team"


def test_netrc(tmp_path: Path) -> None:
    credential = Credential(username="ops+ci", secret=Secret("ppm_s3-cr_et"), source="a test")
    line = netrc_line.render(target("https://index.test:8443"), credential)
    (tmp_path / "netrc").write_text(line + "\n")
    assert netrc.netrc(str(tmp_path / "netrc")).hosts == {"index.test": ("ops+ci", "", "ppm_s3-cr_et")}


@pytest.mark.parametrize("secret", ["two words", 'quo"te', "back\\slash", "has#hash", "new\nline"])
def test_netrc_refuses_what_programs_read_differently(secret: str) -> None:
    credential = Credential(username="ops", secret=Secret(secret), source="a test")
    with pytest.raises(PpmError, match="can't stand in a") as caught:
        netrc_line.render(target(), credential)
    assert secret not in caught.value.message


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = cli.run(["client-config", *arguments])
    said = capsys.readouterr()
    return code, said.out, said.err


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("PPMCTL_INDEX", "PPMCTL_USERNAME", "PPMCTL_TOKEN", "TWINE_USERNAME", "TWINE_PASSWORD", "NETRC"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "credential").write_text("ops:s3cret\n")
    return tmp_path


@pytest.mark.usefixtures("home")
@pytest.mark.parametrize("client", ["pip", "uv"])
@pytest.mark.parametrize("form", ["single", "extra"])
def test_the_extra_form_warns_of_dependency_confusion(
    client: str, form: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = run(capsys, client, "--index", "https://index.test", "--form", form)
    assert code == 0
    assert "https://index.test/simple/" in out
    assert ("ependency confusion" in err) is (form == "extra")
    assert err.count("\n") == (form == "extra")


@pytest.mark.parametrize("client", ["pip", "uv", "twine"])
def test_no_configuration_has_the_secret(client: str, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(
        capsys, client, "--index", "https://index.test", "--credential-file", str(home / "credential")
    )
    assert code == 0
    assert "s3cret" not in out + err
    assert ("username = ops" in out) is (client == "twine")


def test_the_netrc_command_prints_the_line_alone_on_stdout(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(
        capsys, "netrc", "--index", "https://index.test", "--credential-file", str(home / "credential")
    )
    assert (code, out) == (0, "machine index.test login ops password s3cret\n")
    assert "umask 077" in err
    assert "s3cret" not in err


@pytest.mark.usefixtures("home")
def test_netrc_without_a_credential_is_an_error_of_credentials(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, "netrc", "--index", "https://index.test")
    assert (code, out) == (4, "")
    assert "--credential-file" in err


@pytest.mark.usefixtures("home")
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("pip",), "which index"),
        (("twine", "--index", "https://index.test", "--form", "extra"), "--form is for pip and uv"),
        (("uv", "--index", "https://index.test", "--name", 'a"b'), "not a name for an index"),
        (("conda", "--index", "https://index.test"), "conda"),
    ],
)
def test_mistakes_of_usage(arguments: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, *arguments)
    assert (code, out) == (2, "")
    assert said in err


def test_a_section_names_the_index(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (home / ".pypirc").write_text("[acme]\nrepository = https://index.test/legacy/\n")
    _, out, _ = run(capsys, "uv", "--index", "acme")
    assert 'name = "acme"' in out
    _, out, _ = run(capsys, "uv", "--index", "acme", "--name", "other")
    assert 'name = "other"' in out
