"""The printed text for each client and the path of its file, read with the parsers that those programs use."""

from __future__ import annotations

import configparser
import json
import netrc
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from ppmctl.cli import commands
from ppmctl.client import discovery, netrc_file
from ppmctl.client.credential import Credential
from ppmctl.client.index_url import Address, resolve
from ppmctl.client_config import file_edit, file_locations, index_target
from ppmctl.client_config.file_edit import snippet
from ppmctl.client_config.index_target import Form, IndexTarget, Machine, Scope
from ppmctl.errors import PpmError, Unreachable, UsageError
from ppmctl.index.discovery import Offer
from ppmctl.secret import Secret

HOME = Path("/nowhere")
TEAM = "https://index.test/team"
FOREIGN = (
    "UV_NO_CONFIG",
    *("NETRC", "PIP_CONFIG_FILE", "UV_CONFIG_FILE", "VIRTUAL_ENV", "XDG_CONFIG_HOME"),
    *("REQUESTS_CA_BUNDLE", "SSL_CERT_FILE", "HATCH_CONFIG"),
)


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
    text = snippet("pip", target(form=form), "~/.config/pip/pip.conf", "user").text
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
    assert ini(snippet("pip", target(url), "pip.conf", "user").text)["global"].get("trusted-host") == trusted


def test_uv_for_a_user() -> None:
    text = snippet("uv", target(), "~/.config/uv/uv.toml", "user").text
    assert "uv.toml" in header(text)
    assert tomllib.loads(text) == {
        "index": [{"name": "internal", "url": f"{TEAM}/simple/", "publish-url": f"{TEAM}/legacy/", "default": True}]
    }


def test_uv_explicit_form_for_a_project() -> None:
    text = snippet("uv", target(form="explicit"), "pyproject.toml", "project").text
    assert "pyproject.toml" in header(text)
    entry = {"name": "internal", "url": f"{TEAM}/simple/", "publish-url": f"{TEAM}/legacy/", "explicit": True}
    assert tomllib.loads(text) == {"tool": {"uv": {"index": [entry]}}}


@pytest.mark.parametrize("username", [None, "ops"])
def test_twine(username: str | None, tmp_path: Path) -> None:
    from twine.utils import get_repository_from_config

    text = snippet("twine", target(username=username), "~/.pypirc", "user").text
    assert ".pypirc" in header(text)
    (tmp_path / ".pypirc").write_text(text)
    config = get_repository_from_config(str(tmp_path / ".pypirc"), "internal")
    assert config["repository"] == "https://index.test/team/legacy/"
    assert (config["username"], config["password"]) == (username, None)
    # ppmctl itself reads it too
    assert resolve("internal", environ={}, home=tmp_path).base == "https://index.test/team"


def test_netrc(tmp_path: Path) -> None:
    credential = Credential(username="ops+ci", secret=Secret("ppm_s3-cr_et"), source="a test")
    line = netrc_file.line("index.test", credential)
    (tmp_path / "netrc").write_text(line + "\n")
    assert netrc.netrc(str(tmp_path / "netrc")).hosts == {"index.test": ("ops+ci", "", "ppm_s3-cr_et")}


@pytest.mark.parametrize("secret", ["two words", 'quo"te', "back\\slash", "has#hash", "new\nline"])
def test_netrc_refuses_characters_that_programs_read_differently(secret: str) -> None:
    credential = Credential(username="ops", secret=Secret(secret), source="a test")
    with pytest.raises(PpmError, match="can't hold the credential") as caught:
        netrc_file.line("index.test", credential)
    assert secret not in caught.value.message


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = commands.run(["client-config", *arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("PPMCTL_INDEX", "PPMCTL_USERNAME", "PPMCTL_TOKEN", "TWINE_USERNAME", "TWINE_PASSWORD", *FOREIGN):
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
    assert err.count("ependency confusion") == (form == "extra")


@pytest.mark.parametrize("client", ["pip", "uv", "twine"])
def test_no_configuration_has_the_secret(client: str, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    form = () if client == "twine" else ("--form", "single")
    code, out, err = run(
        capsys, client, "--index", "https://index.test", "--credential-file", str(home / "credential"), *form
    )
    assert code == 0
    assert "s3cret" not in out + err
    assert ("username = ops" in out) is (client == "twine")


def test_netrc_prints_only_the_line_on_stdout(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(
        capsys, "netrc", "--index", "https://index.test", "--credential-file", str(home / "credential")
    )
    assert (code, out) == (0, "machine index.test login ops password s3cret\n")
    assert "umask 077" in err
    assert "s3cret" not in err


@pytest.mark.usefixtures("home")
def test_netrc_without_a_credential_exits_with_4(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, "netrc", "--index", "https://index.test")
    assert (code, out) == (4, "")
    assert "--credential-file" in err


@pytest.mark.usefixtures("home")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("pip",), "No index is specified"),
        (("pip", "--index", "https://index.test", "--form", "explicit"), "pip has no explicit form"),
        (
            ("twine", "--index", "https://index.test", "--form", "extra"),
            "--form is for clients that install packages",
        ),
        (("uv", "--index", "https://index.test", "--name", 'a"b'), "not a name for an index"),
        (("conda", "--index", "https://index.test"), "conda"),
    ],
)
def test_usage_errors(arguments: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, *arguments)
    assert (code, out) == (2, "")
    assert message in err


@pytest.mark.parametrize("name", ["pypi", "PyPI", "testpypi", "distutils", "main"])
def test_a_name_that_clients_use_for_another_index_is_refused(
    name: str, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, err = run(capsys, "twine", "--index", "https://index.test", "--name", name)
    assert (code, "another index" in err) == (2, True)
    if name != "distutils":
        (home / ".pypirc").write_text(f"[{name}]\nrepository = https://index.test/legacy/\n")
        _, out, _ = run(capsys, "twine", "--index", name)
        assert "[internal]" in out


def test_a_section_names_the_index(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (home / ".pypirc").write_text("[acme]\nrepository = https://index.test/legacy/\n")
    _, out, _ = run(capsys, "uv", "--form", "extra", "--index", "acme")
    assert 'name = "acme"' in out
    _, out, _ = run(capsys, "uv", "--form", "extra", "--index", "acme", "--name", "other")
    assert 'name = "other"' in out


EVERY = [(client, form) for client, known in index_target.CLIENTS.items() for form in known.forms] + [("twine", None)]


@pytest.mark.parametrize(("client", "form"), EVERY)
def test_printed_text_can_be_parsed(
    client: str, form: str | None, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It also names the index and the private certificate authority, and has no secret."""
    (home / "ca.pem").write_text("a file\n")
    arguments = ["--credential-file", str(home / "credential"), "--ca", str(home / "ca.pem")]
    arguments += ["--form", form] if form else []
    code, out, err = run(capsys, client, "--index", "https://index.test/a$(b)c", *arguments)
    assert code == 0
    assert "s3cret" not in out + err
    assert str(home / "ca.pem") in out + err
    assert "https://index.test/a$(b)c/" in out
    if client in ("uv", "poetry", "pdm", "hatch", "pipenv"):
        tomllib.loads(out)
    elif client in ("pip", "twine"):
        ini(out)
    elif client in ("github", "gitlab"):
        yaml.safe_load(out)
    elif client == "env":
        script = f'{out}\nprintf %s "$PIP_CERT $TWINE_PASSWORD"'
        done = subprocess.run(
            ["bash", "-euc", script],
            capture_output=True,
            text=True,
            env={"PPMCTL_TOKEN": "t", "PPMCTL_USERNAME": "u"},
        )
        assert (done.returncode, done.stdout) == (0, f"{home / 'ca.pem'} t"), done.stderr


def test_several_clients_at_once(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "pip", "twine", "--index", "https://index.test", "--form", "single")
    assert code == 0
    assert "[distutils]" in out
    code, out, _ = run(capsys, "pip", "uv", "--index", "https://index.test", "--form", "single")
    assert code == 0
    assert out.index("index-url = ") < out.index("\n\n# ~/.config/uv/uv.toml") < out.index("default = true")


@pytest.mark.usefixtures("home")
def test_overview_without_a_client(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "--index", "https://index.test", "--form", "single")
    assert code == 0
    assert [line.split()[0] for line in out.splitlines()[1:]] == list(index_target.CLIENTS)


def test_json_of_printed_clients_and_overview(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Several clients, the overview and an error are one document each."""
    index = ("--index", "https://index.test", "--form", "single", "--json")
    code, out, _ = run(capsys, "pip", "env", *index)
    document = json.loads(out)
    assert (code, document["index"], document["name"]) == (0, "https://index.test", "internal")
    of_pip, of_env = document["clients"]
    assert (of_pip["client"], of_pip["form"], of_env["file"]) == ("pip", "single", None)
    assert of_pip["file"] == str(home / ".config" / "pip" / "pip.conf")
    assert "index-url = https://index.test/simple/" in of_pip["text"]
    assert any("--netrc" in note for note in of_pip["notes"])
    code, out, _ = run(capsys, *index)
    clients = {each["client"]: each for each in json.loads(out)["clients"]}
    assert list(clients) == list(index_target.CLIENTS)
    assert (clients["uv"]["is_writable"], clients["pdm"]["is_writable"], clients["uv"]["is_written"]) == (
        True,
        False,
        False,
    )
    assert clients["docker"]["file"] is None
    code, out, _ = run(capsys, "pdm", "--write", *index)
    assert (code, json.loads(out)["error"]["exit_code"]) == (2, 2)


@pytest.mark.parametrize(
    ("client", "scope", "environ", "platform", "path"),
    [
        ("pip", "user", {}, "linux", "home/.config/pip/pip.conf"),
        ("pip", "user", {"XDG_CONFIG_HOME": "/x"}, "linux", "/x/pip/pip.conf"),
        ("pip", "user", {"XDG_CONFIG_HOME": "relative"}, "linux", "home/.config/pip/pip.conf"),
        ("pip", "user", {"PIP_CONFIG_FILE": "/p.conf"}, "linux", "/p.conf"),
        ("pip", "user", {"PIP_CONFIG_FILE": "/dev/null"}, "linux", "home/.config/pip/pip.conf"),
        ("pip", "user", {"PIP_CONFIG_FILE": "p.conf"}, "linux", "project/p.conf"),
        ("pip", "user", {"XDG_CONFIG_HOME": "/x"}, "darwin", "home/.config/pip/pip.conf"),
        ("pip", "venv", {"VIRTUAL_ENV": "/venv"}, "linux", "/venv/pip.conf"),
        ("uv", "user", {"XDG_CONFIG_HOME": "/x"}, "darwin", "/x/uv/uv.toml"),
        ("uv", "user", {"UV_CONFIG_FILE": "/u.toml"}, "linux", "/u.toml"),
        ("uv", "project", {"UV_CONFIG_FILE": "/u.toml"}, "linux", "project/pyproject.toml"),
        ("poetry", "project", {}, "linux", "project/pyproject.toml"),
        ("pipenv", "project", {}, "linux", "project/Pipfile"),
        ("hatch", "user", {}, "darwin", "home/Library/Application Support/hatch/config.toml"),
        ("twine", "user", {"XDG_CONFIG_HOME": "/x"}, "linux", "home/.pypirc"),
        ("netrc", "user", {"NETRC": "/n"}, "linux", "/n"),
    ],
)
def test_path_of_a_clients_file(
    client: str, scope: Scope, environ: dict[str, str], platform: str, path: str, tmp_path: Path
) -> None:
    machine = Machine(environ=environ, home=tmp_path / "home", cwd=tmp_path / "project", platform=platform)
    assert file_locations.path(client, scope, machine) == tmp_path / path


def test_pip_on_macos_uses_the_library_folder_if_it_exists(tmp_path: Path) -> None:
    machine = Machine(environ={}, home=tmp_path, cwd=tmp_path, platform="darwin")
    path = file_locations.path("pip", "user", machine, exists=lambda _path: True)
    assert path == tmp_path / "Library" / "Application Support" / "pip" / "pip.conf"


@pytest.mark.parametrize(
    ("client", "scope", "environ", "hint"),
    [
        ("pip", "project", {}, "--user, --venv"),
        ("pip", "venv", {}, "Activate"),
        ("poetry", "user", {}, "--project"),
        ("twine", "venv", {}, "--user"),
    ],
)
def test_a_scope_without_a_file_is_refused(
    client: str, scope: Scope, environ: dict[str, str], hint: str, tmp_path: Path
) -> None:
    with pytest.raises(UsageError) as caught:
        file_locations.path(client, scope, Machine(environ=environ, home=tmp_path, cwd=tmp_path))
    assert hint in caught.value.hint


@pytest.mark.parametrize("client", [name for name, client in index_target.CLIENTS.items() if client.forms])
def test_default_form_depends_on_redirects(client: str) -> None:
    assert index_target.form_for(client, given=None, redirects=True) == "single"
    default = index_target.form_for(client, given=None, redirects=False)
    assert default == ("explicit" if client in ("uv", "poetry", "pdm", "pipenv") else "extra")


@pytest.mark.usefixtures("home")
@pytest.mark.parametrize(
    ("client", "variable", "value"), [("pip", "PIP_CONFIG_FILE", "/dev/null"), ("uv", "UV_NO_CONFIG", "1")]
)
def test_a_client_that_reads_no_file_is_reported(
    client: str, variable: str, value: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(variable, value)
    code, _, err = run(capsys, client, "--index", "https://index.test", "--form", "single")
    assert (code, variable in err) == (0, True)


@pytest.mark.usefixtures("home")
@pytest.mark.parametrize(
    ("offer", "form"),
    [
        (Offer(upstream="redirect", read_access="public"), "single"),
        (Offer(upstream="none", read_access="authenticated"), "explicit"),
        (None, "explicit"),
    ],
)
def test_the_discovery_document_decides_the_form(
    offer: Offer | None, form: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(discovery, "discover", lambda _address, _transport: offer)
    code, out, _ = run(capsys, "poetry", "--index", "https://index.test")
    assert code == 0
    assert tomllib.loads(out)["tool"]["poetry"]["source"][0]["priority"] == {"single": "primary"}.get(form, form)


def test_an_unreachable_index_gets_the_extra_form_and_nothing_is_written(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(_address: object, _transport: object) -> None:
        raise Unreachable("Nothing listens there.")

    monkeypatch.setattr(discovery, "discover", fail)
    code, out, err = run(capsys, "pip", "--index", "https://index.test")
    assert (code, "extra-index-url" in out, "Nothing listens there" in err) == (0, True, True)
    code, out, err = run(capsys, "pip", "--index", "https://index.test", "--write")
    assert (code, out, "--form" in err) == (1, "", True)
    assert not (home / ".config").exists()
    code, _, _ = run(capsys, "pip", "--index", "https://index.test", "--write", "--form", "single")
    assert code == 0


@pytest.mark.parametrize("client", ["github", "gitlab"])
def test_a_ci_job_writes_its_own_netrc(client: str, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The step runs as in the service; the secret is not in the committed file and not an argument."""
    _, out, _ = run(capsys, client, "--index", "https://index.test:8443", "--form", "single")
    job = yaml.safe_load(out)
    steps = job["jobs"]["release"]["steps"] if client == "github" else []
    script = next((step["run"] for step in steps if "NETRC=" in step.get("run", "")), "")
    script = script or "\n".join(job["default"]["before_script"])
    environ = {
        "PPMCTL_USERNAME": "ann+ci",
        "PPMCTL_TOKEN": "ppm_secret",
        "RUNNER_TEMP": str(home),
        "GITHUB_ENV": str(home / "env"),
        "CI_PROJECT_DIR": str(home / "checkout"),
        "PATH": os.environ["PATH"],
    }
    done = subprocess.run(["bash", "-euxc", script], env=environ, capture_output=True, text=True, cwd=home)
    assert done.returncode == 0, done.stderr
    (path,) = [path for path in home.iterdir() if "netrc" in path.name]
    assert netrc.netrc(str(path)).hosts == {"index.test": ("ann+ci", "", "ppm_secret")}
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("form", ["single", "extra"])
def test_hadolint_accepts_the_dockerfile(form: str, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (home / "ca.pem").write_text("a file\n")
    arguments = ("--index", "https://index.test", "--form", form, "--ca", str(home / "ca.pem"))
    _, out, _ = run(capsys, "docker", *arguments)
    syntax, rest = out.split("\n", maxsplit=1)
    hadolint = Path(sys.executable).with_name("hadolint")
    done = subprocess.run(
        [hadolint, "-"], input=f"{syntax}\nFROM python:3.13-slim\n{rest}", capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (0, "")
    assert "id=netrc,target=/root/.netrc" in rest
    assert f"--secret id=ca,src={home}/ca.pem" in rest


def test_a_private_certificate_authority_alone_is_warned_about_once(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (home / "ca.pem").write_text("-----BEGIN CERTIFICATE-----\n")
    arguments = ("--index", "https://index.test", "--ca", str(home / "ca.pem"))
    _, _, err = run(capsys, "pip", "uv", *arguments, "--form", "single")
    assert err.count("add the public certificate authorities") == 1
    _, _, err = run(capsys, "pip", *arguments, "--form", "extra")
    assert "add the public certificate authorities" not in err


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("+password = hunter2", "+password = ***"),
        ("-# (ppmctl twine internal) password: hunter2", "-# (ppmctl twine internal) password: ***"),
        (" # PASSWORD=hunter2", " # PASSWORD= ***"),
        (' api-token = "hunter2"', " api-token = ***"),
        (" index-url = https://me:hunter2@a.test/simple/", " index-url = https://***@a.test/simple/"),
        (" index-url = https://hunter2@a.test/simple/", " index-url = https://***@a.test/simple/"),
        ("+index-url = https://ann%2Bci@a.test/simple/", "+index-url = https://ann%2Bci@a.test/simple/"),
        (" # \x1b[2Jgone\x07", " # ?[2Jgone?"),
        (" timeout = 60", " timeout = 60"),
    ],
)
def test_a_diff_masks_secrets(line: str, shown: str) -> None:
    assert file_edit.mask(line, "ann%2Bci") == shown
