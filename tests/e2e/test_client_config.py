"""Tests of `ppmctl client-config` with real clients, which get a token, a URL and the printed settings.

The index is behind nginx, over TLS with a private authority; every client starts in an empty home. Afterwards the
secret may be in netrc or in the keyring, and in no other file.
"""

from __future__ import annotations

import base64
import itertools
import re
import shlex
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from support import clients, debian, recorder, rendering, servers, webserver, wheels
from support.clients import BIN, Done, Machine, flit_project
from support.recorder import Recorder
from support.servers import JSON, Server, ppmctl
from support.webserver import Site

# Variables with this machine's authorities and settings, which a user's machine does not have.
_FOREIGN = ("PIP_", "POETRY_", "PDM_", "PIPENV_", "SSL_CERT", "REQUESTS_CA", "CURL_CA", "UV_NO_CONFIG", "VIRTUALENV_")
_KEYRING = "keyrings.alt.file.PlaintextKeyring"  # a keyring in a file, as there is no desktop here
HOLDERS = {
    "netrc": [".netrc"],
    "keyring": ["data/python_keyring/keyring_pass.cfg"],
    "environment": [],
    "job": ["runner/netrc"],
}

_numbers = itertools.count(1)


@dataclass(frozen=True, kw_only=True)
class Bed:
    """Two indexes of a team, one of which redirects other names, and the public one, where anyone may upload.

    The public index has another user's acme-core 99.0; the team's acme-app needs its acme-core 1.0 and outer-dep.
    """

    redirecting: Site
    alone: Site
    public: str
    seen: Recorder


@pytest.fixture(scope="module")
def bed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bed]:
    folder = tmp_path_factory.mktemp("bed")
    tree, ipv6 = debian.tree(13), webserver.has_ipv6()
    public = servers.start(folder / "public", options=("--upstream", "none", "--read-access", "public"))
    sites: dict[str, Site] = {}
    with recorder.recording(public.port) as seen:
        simple = f"{seen.url}/simple/"
        usual = rendering.variables(tree, ipv6=ipv6, ppm_private_names=["acme-*"])
        ways = {
            "redirecting": {**usual, "ppm_upstream_url": simple},
            "alone": {**usual, "ppm_upstream": "none"},
        }
        rendering.render([(folder / way, variables) for way, variables in ways.items()])
        try:
            _fill(public, wheels.wheel("outer-dep", "1.0"), wheels.wheel("acme-core", "99.0"))
            flit_core = clients.fetch("flit_core>=3.12", "--only-binary=:all:")
            _fill(public, (flit_core.name, flit_core.read_bytes()))
            needs = b"\nRequires-Dist: acme-core\nRequires-Dist: outer-dep\n\n"
            app = wheels.metadata("acme-app", "1.0").replace(b"\n\n", needs, 1)
            for way in ways:
                sites[way] = webserver.start(folder / way, tree, folder / f"{way}-root", ipv6=ipv6)
                _fill(sites[way], wheels.wheel("acme-core", "1.0"), wheels.wheel("acme-app", "1.0", meta=app))
            yield Bed(redirecting=sites["redirecting"], alone=sites["alone"], public=simple, seen=seen)
        finally:
            for site in sites.values():
                site.close()
            public.kill()


def _fill(index: Server, *made: tuple[str, bytes]) -> None:
    for one in made:
        assert index.upload(one).status_code == 200


@dataclass(frozen=True, kw_only=True)
class Colleague(Machine):
    """A user with a URL, a token, the file of the company's authorities, and a project with the user's name."""

    site: Site
    name: str
    secret: str
    place: str

    @property
    def work(self) -> Path:
        return self.home / "work"

    @property
    def ca(self) -> str:
        return str(self.site.ca)

    def client(self, *command: str | Path, expect: int | None = 0, **environ: str) -> Done:
        """Run a client in the project's folder."""
        head, *rest = command
        return self.run(BIN / head, *rest, expect=expect, cwd=self.work, **environ)

    def config(self, *arguments: str) -> tuple[str, str]:
        """Return the output of `ppmctl client-config`, and its notes (stderr)."""
        done = ppmctl("client-config", *arguments, "--ca", self.ca, env=self.environ, cwd=self.work)
        assert self.secret not in done.stdout + done.stderr
        return done.stdout, done.stderr

    def write(self, *arguments: str) -> str:
        """Write the settings into the client's file; return the notes."""
        return self.config(*arguments, "--write")[1]

    def paste(self, *arguments: str, instead: Mapping[str, str] | None = None) -> str:
        """Append the output to the file that its first line names; return the notes. `instead` are the replacements
        that a user makes."""
        text, notes = self.config(*arguments)
        match = re.match(r"# ([^\s,;]+)", text)
        assert match, text
        path = self.work / match[1].replace("~", str(self.home))
        path.parent.mkdir(parents=True, exist_ok=True)
        before = path.read_text() if path.exists() else ""
        for old, new in (instead or {}).items():
            text = text.replace(old, new)
        path.write_text(before + text)
        return notes

    def command_in(self, notes: str, command: str) -> list[str]:
        """Return the words of the one command in the notes that begins with `command`."""
        (text,) = re.findall(rf"{re.escape(command)}[^;,\n]*", notes)
        return shlex.split(text)

    def pyproject(self, more: str = "", version: str = "1.0") -> None:
        """Write the user's project, with its wheel in dist/."""
        wheels.write(self.work / "dist", wheels.wheel(self.name, version))
        (self.work / "pyproject.toml").write_text(
            f'[project]\nname = "{self.name}"\nversion = "{version}"\nrequires-python = ">=3.11"\ndependencies = []\n'
            + more
        )

    def of_flit(self, version: str = "1.0") -> None:
        """Change the project to one that flit builds."""
        made = flit_project(self.home / "flit", self.name, version)
        for path in made.iterdir():
            path.rename(self.work / path.name)

    def venv(self, folder: str) -> None:
        self.client("python", "-m", "venv", "--without-pip", folder)

    def installed(self) -> dict[str, str]:
        """Return the versions of the team's packages installed in the home, without uv's cache."""
        names = {path.stem for path in self.home.rglob("*.dist-info") if "uv-cache" not in path.parts}
        pairs = (name.rsplit("-", 1) for name in names if name.startswith(("acme_", "outer_")))
        return dict(pairs)

    def leaks(self) -> list[str]:
        """Return the files below the home that contain the secret, in any form that a client may write."""
        pair = f"{self.name}:{self.secret}".encode()
        forms = {self.secret.encode(), base64.b64encode(self.secret.encode()), base64.b64encode(pair)}
        files = (path for path in self.home.rglob("*") if path.is_file() and not path.is_symlink())
        names = (path.relative_to(self.home) for path in files if any(form in path.read_bytes() for form in forms))
        return sorted(map(str, names))


NewColleague = Callable[..., Colleague]


@pytest.fixture
def new_colleague(tmp_path: Path, bed: Bed) -> Iterator[NewColleague]:
    """Make a user of an index, who is logged in: `new_colleague(bed.alone, "keyring")`.

    At the end, assert that the secret is only in its place, and that no request sent it to the public index.
    """
    everybody: list[Colleague] = []

    def make(site: Site, place: str) -> Colleague:
        name = f"lena-{next(_numbers)}"
        home = tmp_path / name
        environ = servers.clean_environment(home, UV_HTTP_RETRIES="0", COLUMNS="500", TERM="dumb")
        environ = {variable: value for variable, value in environ.items() if not variable.startswith(_FOREIGN)}
        environ |= {
            "PPMCTL_INDEX": site.url,
            "XDG_DATA_HOME": str(home / "data"),
            "XDG_CACHE_HOME": str(home / "cache"),
            "TMPDIR": str(home / "tmp"),
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            "PDM_CHECK_UPDATE": "0",
            "NO_PROXY": "localhost,127.0.0.1",
        }
        if place == "keyring":
            environ["PYTHON_KEYRING_BACKEND"] = _KEYRING
        for folder in ("work", "tmp"):
            (home / folder).mkdir()
        added = ppmctl("user", "add", name, "--role", "publisher", "--root", str(site.root))
        made = Colleague(home=home, environ=environ, site=site, name=name, secret=added.stdout.strip(), place=place)
        if place in ("netrc", "keyring"):
            option = ("--netrc",) if place == "netrc" else ()
            login = ("login", site.url, *option)
            clients.run(made, *login, typed=f"{name}:{made.secret}\n", REQUESTS_CA_BUNDLE=made.ca)
        everybody.append(made)
        return made

    yield make
    for made in everybody:
        assert made.leaks() == HOLDERS[made.place]
    assert [asked.path for asked in bed.seen.exchanges if "Authorization" in asked.headers] == []


# How each client installs acme-app with the settings of client-config.


def install_with_pip(made: Colleague) -> None:
    made.write("pip")
    made.venv("venv")
    made.client("pip", "--python", "venv", "install", "acme-app")
    made.client("pip", "lock", "acme-app", "-o", "pylock.toml")


def install_with_uv(made: Colleague) -> None:
    made.write("uv")
    made.pyproject()
    made.client("uv", "add", "acme-app", SSL_CERT_FILE=made.ca)


def install_with_poetry(made: Colleague) -> None:
    made.pyproject()
    notes = made.write("poetry")
    made.client(*made.command_in(notes, "poetry config certificates"))
    made.venv(".venv")
    made.client("poetry", "add", "acme-app", "-n")


def install_with_pdm(made: Colleague) -> None:
    made.pyproject()
    notes = made.paste("pdm")
    for setting in ("pypi.ca_certs", *(["pypi.username"] if made.place == "keyring" else [])):
        made.client(*made.command_in(notes, f"pdm config {setting}"))
    made.venv(".venv")
    made.client("pdm", "add", "acme-app", "--no-self")


def install_with_pipenv(made: Colleague) -> None:
    made.paste("pipenv")
    made.venv(".venv")
    with (made.work / "Pipfile").open("a") as file:
        file.write('[packages]\nacme-app = "*"\n')
    made.client("pipenv", "install", PIP_CERT=made.ca, REQUESTS_CA_BUNDLE=made.ca, PIPENV_VENV_IN_PROJECT="1")


def install_with_hatch(made: Colleague) -> None:
    made.pyproject('[tool.hatch.envs.default]\nskip-install = true\ndependencies = ["acme-app"]\n')
    made.write("pip")
    made.client("hatch", "env", "create")


INSTALL = {
    "pip": install_with_pip,
    "uv": install_with_uv,
    "poetry": install_with_poetry,
    "pdm": install_with_pdm,
    "pipenv": install_with_pipenv,
    "hatch": install_with_hatch,
}


@pytest.mark.parametrize(
    ("client", "place"),
    [
        *[(client, "netrc") for client in INSTALL],
        *[(client, "keyring") for client in ("pip", "uv", "pdm", "hatch")],
    ],
)
def test_a_client_installs_from_one_index(client: str, place: str, bed: Bed, new_colleague: NewColleague) -> None:
    """If the index redirects other names, it is the only index, and a stranger's acme-core 99.0 is not installed."""
    made = new_colleague(bed.redirecting, place)
    INSTALL[client](made)
    assert made.installed() == {"acme_app": "1.0", "acme_core": "1.0", "outer_dep": "1.0"}


def published(site: Site, project: str) -> list[str]:
    """Return the files of a project."""
    answer = site.get(f"/simple/{project}/", headers={"Accept": JSON})
    return [file["filename"] for file in answer.json()["files"]]


# How each client publishes the files of dist/.


def publish_with_twine(made: Colleague) -> None:
    made.write("twine")
    made.client("twine", "upload", "--non-interactive", "-r", "internal", "dist/*")


def publish_with_uv(made: Colleague) -> None:
    notes = made.write("uv")
    made.client(*made.command_in(notes, "uv publish"), SSL_CERT_FILE=made.ca)


def publish_with_poetry(made: Colleague) -> None:
    notes = made.write("poetry")
    made.client(*made.command_in(notes, "poetry config repositories"))
    made.client(*made.command_in(notes, "poetry config certificates"))
    command = made.command_in(notes, "poetry publish")
    command.remove("--build")  # it is already built
    made.client(*command, "-n")


def publish_with_pdm(made: Colleague) -> None:
    notes = made.paste("pdm")
    made.venv(".venv")
    made.client(*made.command_in(notes, "pdm publish"), "--no-build", PDM_PUBLISH_CA_CERTS=made.ca)


def publish_with_hatch(made: Colleague) -> None:
    notes = made.paste("hatch")
    made.client(*made.command_in(notes, "hatch publish"), "-n")


def publish_with_flit(made: Colleague) -> None:
    made.write("twine")
    made.of_flit()
    made.client("flit", "publish", "--no-use-vcs", "--repository", "internal", REQUESTS_CA_BUNDLE=made.ca)


PUBLISH = {
    "twine": publish_with_twine,
    "uv": publish_with_uv,
    "poetry": publish_with_poetry,
    "pdm": publish_with_pdm,
    "hatch": publish_with_hatch,
    "flit": publish_with_flit,
}


@pytest.mark.parametrize(
    ("client", "place"),
    [
        *[(client, "netrc") for client in ("uv", "poetry")],
        *[(client, "keyring") for client in ("twine", "uv", "pdm", "hatch", "flit")],
    ],
)
def test_a_client_publishes(client: str, place: str, bed: Bed, new_colleague: NewColleague) -> None:
    """With the credential that login stored in netrc or the keyring; there is no prompt for a password."""
    made = new_colleague(bed.redirecting, place)
    made.pyproject()
    PUBLISH[client](made)
    assert len(published(bed.redirecting, made.name)) == (2 if client == "flit" else 1)


def test_environment_variables_configure_all_clients(bed: Bed, new_colleague: NewColleague) -> None:
    """As in CI: variables with the secret, and no login; `eval` of the output configures each client."""
    made = new_colleague(bed.redirecting, "environment")
    lines, _said = made.config("env")
    secret = {"PPMCTL_USERNAME": made.name, "PPMCTL_TOKEN": made.secret}
    done = made.run("bash", "-ec", f"{lines}\nenv -0", **secret).output
    variables = dict(line.partition("=")[::2] for line in done.split("\0") if line)
    made.venv("venv")
    made.client("uv", "pip", "install", "--python", "venv", "acme-app", **variables)
    assert made.installed() == {"acme_app": "1.0", "acme_core": "1.0", "outer_dep": "1.0"}
    commands = {
        "1.0": "twine upload --non-interactive dist/*",
        "2.0": "uv publish",
        "3.0": "poetry publish -n -r internal",
        "4.0": "pdm publish --no-build",
        "5.0": "hatch publish -n",
    }
    for version, command in commands.items():
        made.pyproject(version=version)
        made.client(*command.split(), **variables)
        (made.work / "dist").rename(made.work / f"dist-{version}")
    made.of_flit(version="6.0")
    made.client("flit", "publish", "--no-use-vcs", **variables)
    assert len(published(bed.redirecting, made.name)) == len(commands) + 2


# CI services: the output is run as their shells do.


def of_job(made: Colleague) -> dict[str, str]:
    """Write a project that needs acme-app; return variables with a Python that has pip, build and twine."""
    made.of_flit()
    file = made.work / "pyproject.toml"
    file.write_text(file.read_text().replace("dynamic =", 'dependencies = ["acme-app"]\ndynamic ='))
    made.venv("../python")
    (site_packages,) = (made.home / "python").glob("lib/*/site-packages")
    (tools,) = BIN.parent.glob("lib/*/site-packages")
    (site_packages / "tools.pth").write_text(f"{tools}\n")
    (made.home / "runner").mkdir()
    return {
        "PATH": f"{made.home / 'python' / 'bin'}:{made.environ['PATH']}",
        "PIP_CERT": made.ca,
        "REQUESTS_CA_BUNDLE": made.ca,
    }


def test_the_github_workflow(bed: Bed, new_colleague: NewColleague) -> None:
    """It installs and publishes; the secret is in the job's netrc, which only its user may read."""
    made = new_colleague(bed.redirecting, "job")
    workflow = yaml.safe_load(made.config("github")[0])
    exported = made.home / "runner" / "environment"
    environ = {**of_job(made), "RUNNER_TEMP": str(exported.parent), "GITHUB_ENV": str(exported), **workflow["env"]}
    secrets = {"PPMCTL_USERNAME": made.name, "PPMCTL_TOKEN": made.secret}
    for step in workflow["jobs"]["release"]["steps"]:
        own = {
            name: re.sub(r"\$\{\{ secrets\.(\w+) \}\}", lambda match: secrets[match[1]], value)
            for name, value in step.get("env", {}).items()
        }
        if "run" in step:
            made.run("bash", "-eo", "pipefail", "-c", step["run"], cwd=made.work, **environ, **own)
            environ |= dict(line.split("=", 1) for line in exported.read_text().splitlines())
    assert made.installed() == {"acme_app": "1.0", "acme_core": "1.0", "outer_dep": "1.0"}
    assert len(published(bed.redirecting, made.name)) == 2
    assert (made.home / "runner" / "netrc").stat().st_mode & 0o777 == 0o600


def test_the_gitlab_jobs(bed: Bed, new_colleague: NewColleague) -> None:
    """They install and publish; the netrc is next to the checkout while they run, and deleted afterwards."""
    made = new_colleague(bed.redirecting, "environment")
    jobs = yaml.safe_load(made.config("gitlab")[0])
    secrets = {"PPMCTL_USERNAME": made.name, "PPMCTL_TOKEN": made.secret}
    environ = {**of_job(made), "CI_PROJECT_DIR": str(made.work), **secrets, **jobs["variables"]}
    for name in ("test", "publish"):
        lines = [*jobs["default"]["before_script"], *jobs[name]["script"]]
        own = {**environ, **jobs[name].get("variables", {})}
        made.run("bash", "-eo", "pipefail", "-c", "\n".join(lines), cwd=made.work, **own)
        assert made.leaks() == ["work.tmp-netrc"]
        assert (made.home / "work.tmp-netrc").stat().st_mode & 0o777 == 0o600
        made.run("bash", "-c", "\n".join(jobs["default"]["after_script"]), cwd=made.work, **own)
    assert made.installed() == {"acme_app": "1.0", "acme_core": "1.0", "outer_dep": "1.0"}
    assert len(published(bed.redirecting, made.name)) == 2


def test_the_dockerfile_step(bed: Bed, new_colleague: NewColleague) -> None:
    """It installs; netrc and authorities are only mounted for this step, not set, copied or passed as arguments."""
    made = new_colleague(bed.redirecting, "netrc")
    text, _said = made.config("docker")
    assert set(re.findall(r"^[A-Z]+", text, re.MULTILINE)) == {"RUN"}
    assert f'--secret id=netrc,src="$HOME/.netrc" --secret id=ca,src={made.ca} .' in text
    step = text.partition("\nRUN ")[2].replace("\\\n", " ")
    mounts = dict(re.findall(r"--mount=type=secret,id=(\w+),target=(\S+)", step))
    assert mounts["netrc"] == "/root/.netrc"  # where the test has it in this home
    command = re.sub(r"--mount=\S+", "", step).replace(mounts["ca"], made.ca)
    made.venv("venv")
    (made.work / "requirements.txt").write_text("acme-app\n")
    made.client(*shlex.split(command.replace("pip install", "pip --python venv install")))
    assert made.installed() == {"acme_app": "1.0", "acme_core": "1.0", "outer_dep": "1.0"}


# Together with the public index, if the index does not redirect other names.


def test_pip_with_the_public_index_installs_the_highest_version(bed: Bed, new_colleague: NewColleague) -> None:
    """The printed warning is true: another user's upload of the team's name wins. Other packages work."""
    made = new_colleague(bed.alone, "netrc")
    file = made.home / ".config" / "pip" / "pip.conf"
    file.parent.mkdir(parents=True)
    file.write_text(f"[global]\n# the public index\nindex-url = {bed.public}\n")
    printed = made.write("pip")
    assert "takes the highest version of any" in printed
    assert f"extra-index-url = {bed.alone.url}/simple/" in file.read_text()
    made.venv("venv")
    made.client("pip", "--python", "venv", "install", "acme-app")
    assert made.installed() == {"acme_app": "1.0", "acme_core": "99.0", "outer_dep": "1.0"}


def explicit_with_uv(made: Colleague, public: str) -> None:
    made.pyproject()
    printed = made.write("uv")
    environ = {"SSL_CERT_FILE": made.ca}
    settings = made.home / ".config" / "uv" / "uv.toml"
    settings.parent.mkdir(parents=True)
    settings.write_text(f'[[index]]\nurl = "{public}"\ndefault = true\n')
    command = made.command_in(printed, "uv add --index")[:4]
    assert "even if a stranger owns it there" in printed
    made.client("uv", "add", "acme-core", **environ)
    assert made.installed() == {"acme_core": "99.0"}
    made.client("uv", "remove", "acme-core", **environ)
    made.client(*command, "acme-core", "acme-app", **environ)
    assert made.installed()["acme_core"] == "1.0"
    made.client("uv", "sync", "--upgrade", **environ)  # the project's settings are enough


def explicit_with_poetry(made: Colleague, public: str) -> None:
    made.pyproject(f'\n[[tool.poetry.source]]\nname = "public"\nurl = "{public}"\npriority = "primary"\n')
    notes = made.write("poetry")
    made.client(*made.command_in(notes, "poetry config certificates"))
    made.venv(".venv")
    command = made.command_in(notes, "poetry add")[:4]
    made.client(*command, "acme-core", "acme-app", "-n")


def explicit_with_pdm(made: Colleague, public: str) -> None:
    made.pyproject()
    notes = made.paste("pdm", instead={'"NAME", "NAME-*"': '"acme-*"'})
    made.client(*made.command_in(notes, "pdm config"))
    made.venv(".venv")
    made.client("pdm", "add", "acme-app", "--no-self", PDM_PYPI_URL=public)


def explicit_with_pipenv(made: Colleague, public: str) -> None:
    file = made.work / "Pipfile"
    file.write_text(f'[[source]]\nname = "public"\nurl = "{public}"\nverify_ssl = true\n\n')
    made.paste("pipenv")
    made.venv(".venv")
    with file.open("a") as more:
        more.write("[packages]\n")
        for name in ("acme-core", "acme-app"):
            more.write(f'{name} = {{version = "*", index = "internal"}}\n')
    made.client("pipenv", "install", PIP_CERT=made.ca, REQUESTS_CA_BUNDLE=made.ca, PIPENV_VENV_IN_PROJECT="1")


EXPLICIT = {
    "uv": explicit_with_uv,
    "poetry": explicit_with_poetry,
    "pdm": explicit_with_pdm,
    "pipenv": explicit_with_pipenv,
}


@pytest.mark.parametrize("client", EXPLICIT)
def test_an_explicit_index_is_used_only_for_its_own_packages(
    client: str, bed: Bed, new_colleague: NewColleague
) -> None:
    """If other names are not redirected, the default form maps the team's names to it; no higher version wins."""
    made = new_colleague(bed.alone, "netrc")
    EXPLICIT[client](made, bed.public)
    assert made.installed() == {"acme_app": "1.0", "acme_core": "1.0", "outer_dep": "1.0"}


def test_the_search_for_leaked_secrets_finds_them(bed: Bed, new_colleague: NewColleague) -> None:
    """The tests above rely on it: in plain text and as in a header, in hidden and binary files too."""
    made = new_colleague(bed.redirecting, "netrc")
    planted = {
        "work/a.lock": f"url = https://{made.name}:{made.secret}@localhost/simple/".encode(),
        ".cache/x/y.bin": b"\0\xff" + base64.b64encode(f"{made.name}:{made.secret}".encode()),
        "tmp/.z": b"password: " + base64.b64encode(made.secret.encode()),
    }
    for path, content in planted.items():
        (made.home / path).parent.mkdir(parents=True, exist_ok=True)
        (made.home / path).write_bytes(content)
    assert made.leaks() == sorted([".netrc", *planted])
    for path in planted:
        (made.home / path).unlink()
