"""`ppmctl client-config` as a colleague uses it: a token, a URL, and then each client with what was printed.

The index is behind nginx, over TLS with an authority of its own; every client starts in an empty home. Afterwards the
secret may stand in netrc or in the keyring, and in no other file that was written.
"""

from __future__ import annotations

import base64
import itertools
import re
import shlex
import subprocess
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from support import clients, debian, recorder, rendering, servers, webserver, wheels
from support.clients import BIN, Done, Machine
from support.recorder import Recorder
from support.servers import PPMCTL, Server, ppmctl
from support.webserver import Site

# What tells this machine's own authorities and settings to a client: a colleague's has none of it.
_FOREIGN = ("PIP_", "POETRY_", "PDM_", "PIPENV_", "SSL_CERT", "REQUESTS_CA", "CURL_CA", "UV_NO_CONFIG", "VIRTUALENV_")
_KEYRING = "keyrings.alt.file.PlaintextKeyring"  # a keyring in a file, as there is no desktop here
HOLDERS = {"netrc": [".netrc"], "keyring": ["data/python_keyring/keyring_pass.cfg"], "environment": []}

_numbers = itertools.count(1)


@dataclass(frozen=True, kw_only=True)
class Bed:
    """Two indexes of a team, which pass other names on or don't, and the public one, where anybody may upload.

    A stranger has uploaded acme-core 99.0 there; the team has acme-app, which needs its acme-core 1.0 and outer-dep.
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
    """Somebody with a URL, a token, the file of the company's authorities, and a project called as they are."""

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
        """What `ppmctl client-config` says: its output, and what there is to know beside it."""
        done = subprocess.run(
            [*PPMCTL, "client-config", *arguments, "--ca", self.ca],
            env=dict(self.environ),
            cwd=self.work,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        assert self.secret not in done.stdout + done.stderr
        return done.stdout, done.stderr

    def paste(self, *arguments: str, instead: Mapping[str, str] | None = None) -> str:
        """Paste what was printed into the file that its first line names, below what is there; the rest of what was
        said. `instead` has what a person fills in."""
        text, said = self.config(*arguments)
        match = re.match(r"# ([^\s,;]+)", text)
        assert match, text
        path = self.work / match[1].replace("~", str(self.home))
        path.parent.mkdir(parents=True, exist_ok=True)
        before = path.read_text() if path.exists() else ""
        for old, new in (instead or {}).items():
            text = text.replace(old, new)
        path.write_text(before + text)
        return said

    def told(self, said: str, command: str) -> list[str]:
        """The one command that begins so among what was said, as words."""
        (found,) = re.findall(rf"{re.escape(command)}[^;\n]*", said)
        return shlex.split(found)

    def pyproject(self, more: str = "", version: str = "1.0") -> None:
        """A project of one's own, and its wheel in dist/."""
        wheels.write(self.work / "dist", wheels.wheel(self.name, version))
        (self.work / "pyproject.toml").write_text(
            f'[project]\nname = "{self.name}"\nversion = "{version}"\nrequires-python = ">=3.11"\ndependencies = []\n'
            + more
        )

    def venv(self, folder: str) -> None:
        self.client("python", "-m", "venv", "--without-pip", folder)

    def installed(self) -> dict[str, str]:
        """The versions of what is installed somewhere in the home."""
        found = {path.stem for path in self.home.rglob("*.dist-info")}
        pairs = (name.rsplit("-", 1) for name in found if name.startswith(("acme_", "outer_")))
        return dict(pairs)

    def leaks(self) -> list[str]:
        """The files below the home that hold the secret, in whatever form a client may have written it."""
        pair = f"{self.name}:{self.secret}".encode()
        forms = {self.secret.encode(), base64.b64encode(self.secret.encode()), base64.b64encode(pair)}
        files = (path for path in self.home.rglob("*") if path.is_file() and not path.is_symlink())
        found = (path.relative_to(self.home) for path in files if any(form in path.read_bytes() for form in forms))
        return sorted(map(str, found))


NewColleague = Callable[..., Colleague]


@pytest.fixture
def new_colleague(tmp_path: Path, bed: Bed) -> Iterator[NewColleague]:
    """Make a colleague of an index, who has logged in there: `new_colleague(bed.alone, "keyring")`.

    At the end the secret is where it belongs, and nowhere else; and nobody told it to the public index.
    """
    everybody: list[Colleague] = []

    def make(site: Site, place: str) -> Colleague:
        name = f"lena-{next(_numbers)}"
        home = tmp_path / name
        environ = servers.clean_environment(home, UV_HTTP_RETRIES="0", COLUMNS="500", TERM="dumb")
        environ = {variable: value for variable, value in environ.items() if not variable.startswith(_FOREIGN)}
        environ |= {
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
        if place == "environment":
            made.environ["PPMCTL_INDEX"] = site.url  # type: ignore[index]  # it was made right here
        else:
            option = ("--netrc",) if place == "netrc" else ()
            login = ("login", site.url, *option)
            clients.run(made, *login, typed=f"{name}:{made.secret}\n", REQUESTS_CA_BUNDLE=made.ca)
        everybody.append(made)
        return made

    yield make
    for made in everybody:
        assert made.leaks() == HOLDERS[made.place]
    assert [asked.path for asked in bed.seen.exchanges if "Authorization" in asked.headers] == []


# What each does, with what client-config printed, to have acme-app in an environment.


def install_with_pip(made: Colleague) -> None:
    made.paste("pip")
    made.venv("venv")
    made.client("pip", "--python", "venv", "install", "acme-app")
    made.client("pip", "lock", "acme-app", "-o", "pylock.toml")


def install_with_uv(made: Colleague) -> None:
    made.paste("uv")
    made.pyproject()
    made.client("uv", "add", "acme-app", SSL_CERT_FILE=made.ca)


def install_with_poetry(made: Colleague) -> None:
    made.pyproject()
    said = made.paste("poetry")
    made.client(*made.told(said, "poetry config certificates"))
    made.venv(".venv")
    made.client("poetry", "add", "acme-app", "-n")


def install_with_pdm(made: Colleague) -> None:
    made.pyproject()
    said = made.paste("pdm")
    made.client(*made.told(said, "pdm config"))
    made.venv(".venv")
    made.client("pdm", "add", "acme-app", "--no-self", PDM_PYPI_USERNAME=made.name)


def install_with_pipenv(made: Colleague) -> None:
    made.paste("pipenv")
    made.venv(".venv")
    with (made.work / "Pipfile").open("a") as file:
        file.write('[packages]\nacme-app = "*"\n')
    made.client("pipenv", "install", PIP_CERT=made.ca, REQUESTS_CA_BUNDLE=made.ca, PIPENV_VENV_IN_PROJECT="1")


def install_with_hatch(made: Colleague) -> None:
    made.pyproject('[tool.hatch.envs.default]\nskip-install = true\ndependencies = ["acme-app"]\n')
    made.paste("pip")
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
def test_one_index_for_everything(client: str, place: str, bed: Bed, new_colleague: NewColleague) -> None:
    """Where other names are passed on, the index is the only one, and a stranger's acme-core 99.0 is nobody's."""
    made = new_colleague(bed.redirecting, place)
    INSTALL[client](made)
    assert made.installed() == {"acme_app": "1.0", "acme_core": "1.0", "outer_dep": "1.0"}
