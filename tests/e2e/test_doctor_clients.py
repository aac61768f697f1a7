"""Tests of `ppmctl doctor` with real clients: each planted fault is found, and its printed repair removes it."""

from __future__ import annotations

import hashlib
import json
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from venv import create as make_venv

import pytest
from support import clients, faulty, servers, wheels
from support.clients import BIN, Machine
from support.evidence import until
from support.faulty import Response
from support.servers import JSON, PPMCTL, Server, run_ppmctl
from support.tls import Authority

# variables that keep clients from reading their own files
MACHINES = (
    "PIP_CONFIG_FILE",
    "UV_NO_CONFIG",
    "PIP_CERT",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
)
OURS = ("pip", "uv", "keyring", "secrets", "twine", "poetry", "pdm", "pipenv", "hatch", "resolve", "confusion")
KEYRING = "keyrings.alt.file.PlaintextKeyring"
OLDEST_PIP = "23.0.1"  # what Debian 12 ships


@dataclass(frozen=True)
class Indexes:
    """An index, and the one that it redirects other names to, which stands for the public one."""

    ours: Server
    public: Server


@pytest.fixture(scope="module")
def indexes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Indexes]:
    folder = tmp_path_factory.mktemp("indexes")
    public = servers.start(folder / "public", options=("--upstream", "none", "--read-access", "public"))
    ours = servers.start(folder / "ours", options=("--upstream-url", public.simple))
    for made in (wheels.wheel("acme-core", "1.0"), wheels.wheel("copied", "1.0")):
        assert ours.upload(made).ok
    for made in (wheels.wheel("copied", "1.0"), wheels.wheel("elsewhere", "1.0")):
        assert public.upload(made).ok
    for index, name in ((ours, "acme-core"), (ours, "copied"), (public, "copied"), (public, "elsewhere")):
        listed = partial(lists, index, name)
        until(listed, f"{name} is in the list of all projects, which may follow within two seconds")
    yield Indexes(ours=ours, public=public)
    ours.kill()
    public.kill()


def lists(index: Server, name: str) -> bool:
    return name in {one["name"] for one in index.get("/simple/", headers={"Accept": JSON}).json()["projects"]}


@dataclass
class Findings:
    """The findings of each check."""

    all: list[dict[str, str]]
    machine: Machine = field(repr=False)

    def one(self, check: str, state: str, *words: str) -> str:
        """Return the repair of the only finding with this check, state and words."""
        findings = [
            each
            for each in self.all
            if (each["check"], each["state"]) == (check, state) and all(word in each["found"] for word in words)
        ]
        assert len(findings) == 1, json.dumps(self.all, indent=1)
        return findings[0]["repair"]

    def bad(self) -> list[dict[str, str]]:
        return [each for each in self.all if each["check"] in OURS and each["state"] in ("warn", "fail")]


@dataclass
class Desk:
    """A user's machine with only pip and uv, and the user's settings."""

    machine: Machine
    index: Server
    environ: dict[str, str] = field(default_factory=dict)

    @property
    def home(self) -> Path:
        return self.machine.home

    @property
    def pip_conf(self) -> Path:
        return self.home / ".config" / "pip" / "pip.conf"

    @property
    def uv_toml(self) -> Path:
        return self.home / ".config" / "uv" / "uv.toml"

    def write(self, path: Path, text: str) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def has_only(self, *names: str) -> None:
        """Remove other clients from the machine: doctor runs each of them, which is slow."""
        venv = self.home / "venv"
        (library,) = venv.glob("lib/python*/site-packages/pip.pth")
        files = {"pip": (venv / "bin" / "pip", library), "uv": (venv / "bin" / "uv",)}
        for name in files.keys() - names:
            for path in files[name]:
                path.unlink()

    def doctor(self, expect: int, url: str = "") -> Findings:
        """Return the findings on clients; assert the exit code, and that the output has no secret."""
        asked = ["doctor", url or self.index.url, "--json"]
        done = run_ppmctl(asked, env={**self.machine.environ, **self.environ}, cwd=self.home, timeout=300)
        assert done.returncode == expect, done.stdout + done.stderr
        assert self.index.secret not in done.stdout + done.stderr
        return Findings(all=json.loads(done.stdout)["findings"], machine=self.machine)

    def type(self, repair: str) -> None:
        """Run a printed repair; `unset` and `export` change the environment of all later commands."""
        for part in repair.partition("  #")[0].split("; "):
            words = shlex.split(part)
            if words[0] == "unset":
                del self.environ[words[1]]
            elif words[0] == "export":
                name, _, value = words[1].partition("=")
                self.environ[name] = value
            elif words[0] == "ppmctl":
                self.machine.run(*PPMCTL, *words[1:], **self.environ)
            else:
                self.machine.run("sh", "-c", part, **self.environ)


def computer(home: Path, index: Server, library: Path) -> Desk:
    """Make a machine with only pip and uv on PATH, configured correctly; the credential is in a netrc."""
    made = clients.machine(home, index)
    venv = home / "venv"
    make_venv(venv, symlinks=True)
    install_pip(venv, library)
    for name in ("uv", "ppmctl"):
        (venv / "bin" / name).symlink_to(BIN / name)
    for name in ("sh", "sed", "chmod"):
        (venv / "bin" / name).symlink_to(f"/bin/{name}")
    environ = {name: value for name, value in made.environ.items() if name not in MACHINES}
    desk = Desk(machine=Machine(home=home, environ={**environ, "PATH": str(venv / "bin")}), index=index)
    desk.write(desk.pip_conf, f"[global]\nindex-url = {index.simple}\n")
    desk.write(desk.uv_toml, f'[[index]]\nname = "ours"\nurl = "{index.simple}"\ndefault = true\n')
    return desk


def install_pip(venv: Path, library: Path) -> None:
    """Install the pip of a library into an environment, with its script."""
    (packages,) = venv.glob("lib/python*/site-packages")
    (packages / "pip.pth").write_text(f"{library}\n")
    script = venv / "bin" / "pip"
    script.write_text(f"#!{venv}/bin/python\nimport sys\nfrom pip._internal.cli.main import main\nsys.exit(main())\n")
    script.chmod(0o755)


@pytest.fixture
def desk(tmp_path: Path, indexes: Indexes, newest_pip: Path) -> Desk:
    return computer(tmp_path / "home", indexes.ours, newest_pip)


@pytest.mark.parametrize("pip", ["", OLDEST_PIP])
def test_correctly_configured_clients(pip: str, tmp_path: Path, indexes: Indexes) -> None:
    """Each client uses only this index and finds a project; a copy of a public project is no confusion."""
    desk = computer(tmp_path / "home", indexes.ours, clients.pip_library(pip))
    findings = desk.doctor(0)
    findings.one("pip", "ok", "asks this index alone", str(desk.pip_conf))
    findings.one("uv", "ok", "asks this index alone", str(desk.uv_toml))
    findings.one("resolve", "ok", "pip", "finds acme-core 1.0 here")
    findings.one("resolve", "ok", "uv", "finds acme-core 1.0 here")
    findings.one("confusion", "ok", "of 2 names none", "1 are copies")
    assert findings.bad() == []


def test_a_variable_overrides_the_file(desk: Desk, indexes: Indexes) -> None:
    desk.environ |= {"PIP_INDEX_URL": indexes.public.simple, "UV_DEFAULT_INDEX": indexes.public.simple}
    findings = desk.doctor(1)
    desk.type(findings.one("pip", "fail", "PIP_INDEX_URL overrides index-url", str(desk.pip_conf)))
    desk.type(findings.one("uv", "fail", "UV_DEFAULT_INDEX overrides [[index]] ours", str(desk.uv_toml)))
    assert desk.environ == {}
    assert desk.doctor(0).bad() == []


def test_the_configuration_of_an_environment_overrides_the_users(desk: Desk, indexes: Indexes) -> None:
    desk.has_only("pip")
    own = desk.home / "venv" / "pip.conf"
    desk.write(own, f"[global]\nindex-url = {indexes.public.simple}\ntimeout = 20\n")
    desk.type(desk.doctor(1).one("pip", "fail", f"{own} overrides index-url", str(desk.pip_conf)))
    assert "timeout" in own.read_text()
    assert desk.doctor(0).bad() == []


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Serve an index where another user took our name, with a higher version."""
    server = servers.start(
        tmp_path_factory.mktemp("stranger") / "root", options=("--upstream", "none", "--read-access", "public")
    )
    assert server.upload(wheels.wheel("acme-core", "99.0")).ok
    yield server
    server.kill()


def test_a_project_with_our_name_on_another_index(desk: Desk, stranger: Server) -> None:
    """pip installs the higher version from any index; so does uv with the unsafe index strategy."""
    conf = desk.pip_conf.read_text()
    desk.write(desk.pip_conf, f"{conf}extra-index-url = {stranger.simple}\n")
    findings = desk.doctor(1)
    hint = findings.one("pip", "warn", "the highest version of any wins")
    findings.one("resolve", "fail", "takes acme-core 99.0 from another index", stranger.url)
    same, _, about = findings.one(
        "confusion", "fail", "of 2 names 1 are also", "acme-core", stranger.url[7:]
    ).partition("  #")
    assert (same, "ppm_private_names" in about) == (hint, True)
    desk.type(hint)
    assert desk.pip_conf.read_text().split() == conf.split()
    assert desk.doctor(0).bad() == []

    desk.environ |= {"UV_INDEX": stranger.simple, "UV_INDEX_STRATEGY": "unsafe-best-match"}
    findings = desk.doctor(1)
    findings.one("uv", "warn", "UV_INDEX")
    findings.one("resolve", "fail", "uv", "takes acme-core 99.0 from another index")
    desk.type(findings.one("confusion", "fail", "UV_INDEX", "acme-core"))
    assert desk.doctor(0).bad() == []


def test_secrets_in_urls(desk: Desk) -> None:
    """Each is found by file and line, never shown, and removed by the printed repair; the rest stays."""
    secret_url = desk.index.simple.replace("://", f"://{desk.index.user}:{desk.index.secret}@")
    requirements, lock = desk.home / "requirements-dev.txt", desk.home / "uv.lock"
    desk.write(requirements, f"# of the team\n--index-url {desk.index.simple}\nacme-core\n")
    desk.write(lock, f'[[package]]\nsource = {{ registry = "{desk.index.simple}" }}\n')
    harmless = "https://lena@host.test/simple/ https://${USER}:${TOKEN}@host.test/ https://user:password@host.test/\n"
    desk.write(desk.home / "constraints.txt", harmless)
    clean = {path: path.read_text() for path in (requirements, lock, desk.pip_conf, desk.uv_toml)}
    for path, text in clean.items():
        desk.write(path, text.replace(desk.index.simple, secret_url))
    desk.environ |= {"PPMCTL_USERNAME": desk.index.user, "PPMCTL_TOKEN": desk.index.secret}
    findings = desk.doctor(1)
    for path, text in clean.items():
        line = text[: text.index(desk.index.simple)].count("\n") + 1
        desk.type(findings.one("secrets", "fail", f"{path}, line {line}: ", "has a credential in it"))
        assert path.read_text() == text
    desk.environ.clear()
    assert desk.doctor(0).bad() == []


def test_a_401_that_pip_hides(tmp_path: Path, indexes: Indexes) -> None:
    """ppmctl has a credential, in its own variables, and pip and uv have none."""
    desk = computer(tmp_path / "home", indexes.ours, clients.pip_library(OLDEST_PIP))
    netrc = desk.home / ".netrc"
    netrc.unlink()
    desk.environ |= {"PPMCTL_USERNAME": desk.index.user, "PPMCTL_TOKEN": desk.index.secret}
    findings = desk.doctor(1)
    hint = findings.one(
        "resolve", "fail", "pip", "401 (This index needs a credential)", "No matching distribution found"
    )
    assert findings.one("resolve", "fail", "uv", "the index answers 401") == hint
    desk.type(hint)
    desk.environ.clear()
    assert desk.doctor(0).bad() == []


def test_pip_with_no_index_and_a_missing_certificate_file(desk: Desk) -> None:
    desk.has_only("pip")
    conf = desk.pip_conf.read_text()
    gone = desk.home / "gone.pem"
    desk.environ |= {"PIP_NO_INDEX": "1", "PIP_CERT": str(gone)}
    findings = desk.doctor(1)
    desk.type(findings.one("pip", "fail", "asks no index at all, because of PIP_NO_INDEX"))
    desk.type(findings.one("pip", "fail", "PIP_CERT", f"{gone}, which does not exist"))
    assert desk.environ == {}
    desk.write(desk.pip_conf, f"{conf}cert = {gone}\n[install]\nno-index = true\n")
    findings = desk.doctor(1)
    desk.type(findings.one("pip", "fail", f"no-index in {desk.pip_conf}"))
    desk.type(findings.one("pip", "fail", f"cert in {desk.pip_conf}", f"{gone}, which does not exist"))
    assert desk.doctor(0).bad() == []


def test_an_index_of_uv_that_is_never_used(desk: Desk) -> None:
    """It has a name, and is explicit, in the user's file, where no source can refer to it."""
    desk.has_only("uv")
    desk.write(desk.uv_toml, desk.uv_toml.read_text().replace("default", "explicit"))
    findings = desk.doctor(1)
    findings.one("resolve", "skip", "uv", "only for what a project assigns to it")
    hint = findings.one("uv", "fail", "never asks this index", "explicit", "no [tool.uv.sources] names it")
    named = desk.uv_toml.read_text()
    desk.type(hint)
    assert desk.doctor(0).bad() == []
    desk.write(desk.uv_toml, named)
    desk.write(
        desk.home / "pyproject.toml",
        '[project]\nname = "mine"\nversion = "1"\nrequires-python = ">=3.11"\n[tool.uv.sources]\n'
        f'acme-core = {{ index = "ours" }}\n[[tool.uv.index]]\nname = "ours"\nurl = "{desk.index.simple}"\n'
        "explicit = true\n",
    )
    desk.doctor(0).one("uv", "ok", "asks this index for acme-core")


def test_two_pips_that_read_different_files(desk: Desk, stranger: Server, newest_pip: Path) -> None:
    desk.has_only("pip")
    other = desk.home / "other"
    make_venv(other, symlinks=True)
    install_pip(other, newest_pip)
    desk.write(other / "pip.conf", f"[global]\nindex-url = {stranger.simple}\n")
    desk.environ["PATH"] = f"{desk.home / 'venv' / 'bin'}:{other / 'bin'}"
    findings = desk.doctor(1)
    findings.one(
        "pip", "warn", f"{desk.home / 'venv' / 'bin' / 'pip'} and {other / 'bin' / 'pip'} ask different indexes"
    )
    desk.type(
        findings.one("pip", "fail", f"index-url in {other / 'pip.conf'} overrides index-url in {desk.pip_conf}")
    )
    assert desk.doctor(0).bad() == []


def test_a_file_that_a_client_can_not_read(desk: Desk) -> None:
    """The file is named, but not quoted, as the invalid line may contain a secret."""
    desk.write(desk.pip_conf, f"https://me:{desk.index.secret}@host/simple/\n")
    desk.write(desk.uv_toml, f"default = [{desk.index.secret}\n")
    findings = desk.doctor(1)
    findings.one("pip", "fail", f"it can't read {desk.pip_conf}, line 1")
    findings.one("uv", "fail", f"it can't read {desk.uv_toml}")
    conf = "[global]\nindex-url = x\nindex-url = y\n"
    desk.write(desk.pip_conf, conf)
    desk.doctor(1).one("pip", "fail", f"it can't read {desk.pip_conf}, line 3")


def test_a_login_in_a_keyring_that_clients_do_not_use(desk: Desk) -> None:
    """First there is no keyring command; then clients are not configured to use it; then it has lost the login."""
    (desk.home / ".netrc").unlink()
    keyring = {"PYTHON_KEYRING_BACKEND": KEYRING, "XDG_DATA_HOME": str(desk.home / "data")}
    known = {"PPMCTL_USERNAME": desk.index.user, "PPMCTL_TOKEN": desk.index.secret}
    desk.environ |= keyring | known
    desk.type(f"ppmctl login {desk.index.url}")
    own = desk.home / "venv" / "bin" / "keyring"  # which pip does not run, as it is in the same environment
    own.symlink_to(BIN / "keyring")
    desk.environ = dict(keyring)
    findings = desk.doctor(1)
    findings.one("keyring", "ok")
    assert findings.one("pip", "fail", "has no keyring to ask") == f"ppmctl login {desk.index.url} --netrc"
    findings.one("uv", "fail", "asks no keyring")
    beside = desk.home / "bin"
    beside.mkdir()
    (beside / "keyring").symlink_to(BIN / "keyring")
    keyring["PATH"] = desk.environ["PATH"] = f"{desk.machine.environ['PATH']}:{beside}"
    findings = desk.doctor(1)
    findings.one("resolve", "fail", "pip", "the index answers 401")
    for client, words in (("pip", "asks the command keyring by user name"), ("uv", "asks no keyring")):
        desk.type(findings.one(client, "fail", words))
    findings = desk.doctor(0)
    findings.one("resolve", "ok", "pip")
    findings.one("resolve", "ok", "uv")
    assert findings.bad() == []
    (desk.home / "data" / "python_keyring" / "keyring_pass.cfg").unlink()
    gone = desk.doctor(1).one("keyring", "fail", f"no longer has the secret of {desk.index.user}")
    desk.environ |= known
    desk.type(gone)
    desk.environ = dict(keyring)
    assert desk.doctor(0).bad() == []


def test_a_pip_that_is_too_old(tmp_path: Path, indexes: Indexes) -> None:
    desk = computer(tmp_path / "home", indexes.ours, clients.pip_library("22.1"))
    desk.has_only("pip")
    findings = desk.doctor(0)
    assert findings.one("pip", "warn", "is older than 22.2").endswith("/pip install --upgrade pip")
    findings.one("resolve", "skip", "pip 22.1", "can't report what it would install")


def test_twine_poetry_pdm_and_pipenv(desk: Desk, indexes: Indexes) -> None:
    """If installed: the index in their files, and what overrides it."""
    desk.has_only()
    for name in ("twine", "poetry", "pdm", "pipenv", "hatch"):
        (desk.home / "venv" / "bin" / name).symlink_to(BIN / name)
    findings = desk.doctor(0)
    for name in ("twine", "poetry", "pdm", "pipenv"):
        findings.one(name, "skip")
    desk.write(
        desk.home / ".pypirc", f"[distutils]\nindex-servers = ours\n[ours]\nrepository = {desk.index.url}/legacy/\n"
    )
    (desk.home / ".pypirc").chmod(0o600)
    desk.environ["TWINE_REPOSITORY_URL"] = indexes.public.url
    source = f'name = "ours"\nurl = "{desk.index.simple}"\n'
    desk.write(desk.home / "Pipfile", f"[[source]]\n{source}verify_ssl = true\n")
    desk.write(
        desk.home / "pyproject.toml",
        f'[tool.poetry]\nname = "mine"\n[[tool.poetry.source]]\n{source}priority = "supplemental"\n'
        f"[[tool.pdm.source]]\n{source}",
    )
    findings = desk.doctor(1)
    desk.type(findings.one("twine", "fail", "TWINE_REPOSITORY_URL overrides", "[ours]"))
    assert findings.one("poetry", "warn", "supplemental").endswith("--form explicit --write")
    assert findings.one("pdm", "warn", "highest version of any").endswith("--form explicit --write")
    findings.one("pipenv", "ok", "as ours")
    project = desk.home / "pyproject.toml"
    desk.write(project, project.read_text().replace("supplemental", "explicit") + 'include_packages = ["acme-*"]\n')
    assert desk.doctor(0).bad() == []


def test_clients_that_are_not_configured_for_the_index(desk: Desk, stranger: Server) -> None:
    """pip uses another one, or both, and uv the public one: the repair makes them use only this one."""
    desk.write(desk.pip_conf, f"[global]\nindex-url = {stranger.simple}\ntimeout = 20\n")
    desk.uv_toml.unlink()
    desk.environ |= {"PIP_EXTRA_INDEX_URL": stranger.simple, "UV_INDEX": stranger.simple}
    findings = desk.doctor(1)
    told = [
        findings.one("pip", "warn", "does not ask this index"),
        findings.one("uv", "warn", "does not ask this index"),
    ]
    findings.one("resolve", "skip", "pip", "does not ask this index")
    findings.one("confusion", "fail", "acme-core", "installs them from there")
    for hint in told:
        desk.type(hint)
    assert "timeout = 20\n" in desk.pip_conf.read_text()
    assert desk.doctor(0).bad() == []
    desk.write(desk.pip_conf, f"[global]\nindex-url = {stranger.simple}\nextra-index-url = {desk.index.simple}\n")
    desk.type(desk.doctor(1).one("confusion", "fail", "acme-core"))
    assert desk.doctor(0).bad() == []


def test_a_certificate_that_ppmctl_trusts_and_a_client_does_not(desk: Desk, tmp_path: Path) -> None:
    """Each client has its own list of authorities; one that trusts every host is reported too."""
    authority = Authority()
    ca = authority.write_root(tmp_path / "ca.pem")
    name, content = wheels.wheel("acme-core", "1.0")
    listed = {"filename": name, "url": f"/files/{name}", "hashes": {"sha256": hashlib.sha256(content).hexdigest()}}
    pages = {
        "/simple/": {"meta": {"api-version": "1.0"}, "projects": [{"name": "acme-core"}]},
        "/simple/acme-core/": {"meta": {"api-version": "1.0"}, "name": "acme-core", "files": [listed]},
    }
    answers = {
        path: Response(body=json.dumps(page).encode(), headers={"Content-Type": JSON}) for path, page in pages.items()
    }
    answers[f"/files/{name}"] = Response(body=content)
    with faulty.index(answers, certificate=authority.issue(tmp_path / "tls", "localhost")) as port:
        url = f"https://localhost:{port}"
        for path in (desk.pip_conf, desk.uv_toml):
            desk.write(path, path.read_text().replace(desk.index.url, url))
        conf = desk.pip_conf.read_text()
        desk.environ["REQUESTS_CA_BUNDLE"] = str(ca)
        findings = desk.doctor(1, url)
        findings.one("resolve", "ok", "pip")
        hint = findings.one("resolve", "fail", "uv", "does not trust the certificate of localhost")
        assert hint == f"export SSL_CERT_FILE={ca}"
        desk.type(hint)
        findings = desk.doctor(0, url)
        findings.one("resolve", "ok", "pip")
        findings.one("resolve", "ok", "uv")
        desk.write(desk.pip_conf, f"{conf}trusted-host = localhost\n")
        desk.environ["UV_INSECURE_HOST"] = f"localhost:{port}"
        findings = desk.doctor(1, url)
        desk.type(
            findings.one(
                "pip", "fail", "does not verify the certificate of localhost", f"trusted-host in {desk.pip_conf}"
            )
        )
        desk.type(findings.one("uv", "fail", "does not verify the certificate of localhost", "UV_INSECURE_HOST"))
        assert desk.pip_conf.read_text().split() == conf.split()
        desk.doctor(0, url)


def test_a_proxy_only_for_pip_and_a_python_that_is_too_old(desk: Desk) -> None:
    name, content = wheels.wheel("acme-core", "1.0", requires_python=">=3.99")
    hashes = {"sha256": hashlib.sha256(content).hexdigest()}
    listed = {"filename": name, "url": f"/files/{name}", "hashes": hashes, "requires-python": ">=3.99"}
    meta = {"api-version": "1.0"}  # and a page with the content type that pip requests
    pages = {
        "/simple/": {"meta": meta, "projects": [{"name": "acme-core"}]},
        "/simple/acme-core/": {"meta": meta, "name": "git+https://host.invalid/x", "files": [listed]},
    }
    kind = {"Content-Type": JSON}
    answers = {path: Response(body=json.dumps(page).encode(), headers=kind) for path, page in pages.items()}
    answers[f"/files/{name}"] = Response(body=content)
    with faulty.index(answers) as port:
        url = f"http://127.0.0.1:{port}"
        for path in (desk.pip_conf, desk.uv_toml):
            desk.write(path, path.read_text().replace(desk.index.url, url))
        desk.environ["PIP_PROXY"] = "http://127.0.0.1:1"
        findings = desk.doctor(1, url)
        desk.type(findings.one("resolve", "fail", "pip", "does not get through its proxy, by PIP_PROXY"))
        findings = desk.doctor(0, url)
        for client in ("pip", "uv"):
            hint = findings.one("resolve", "warn", f"acme-core is for Python >=3.99, and {client}")
            assert hint.endswith("uv venv --python '>=3.99'")
