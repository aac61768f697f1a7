"""The configuration of nginx, rendered from the role's templates, with paths and ports of a test."""

from __future__ import annotations

import atexit
import json
import os
import pwd
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from support.debian import Tree

CHECKOUT = Path(__file__).parents[2]
UPSTREAM = "http://upstream.invalid/simple/"
DOMAIN = "localhost"  # every client resolves it without /etc/hosts

Variables = Mapping[str, Any]


def variables(tree: Tree, *, ipv6: bool = True, **settings: Any) -> Variables:
    """Return extra variables for a host with this nginx: `ppm_…` settings over those of a typical inventory."""
    about = {"render_debian": str(tree.release), "render_versions": tree.versions(), "render_ipv6": ipv6}
    return {"ppm_domain": DOMAIN, "ppm_tls": "selfsigned", **about, **settings}


def render(wanted: Sequence[tuple[Path, Variables]]) -> None:
    """Render the configuration into each folder, with its variables; see render_many.py."""
    process = _renderer()
    assert process.stdin
    assert process.stdout
    for folder, variables in wanted:
        process.stdin.write(json.dumps([str(folder), dict(variables)]) + "\n")
        process.stdin.flush()
        problem = json.loads(process.stdout.readline() or '"The renderer ended."')
        assert not problem, f"The templates can't be rendered:\n{problem}"


@cache
def _renderer() -> subprocess.Popen[str]:
    """Start the process that renders for all tests, since Ansible takes half a second to be imported."""
    command = [sys.executable, Path(__file__).with_name("render_many.py")]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    process = subprocess.Popen(command, cwd=CHECKOUT, env=_environment(), **pipes)
    atexit.register(process.communicate)  # it ends with its stdin
    return process


def render_with_the_playbook(folder: Path, variables: Variables) -> None:
    """Render with playbooks/render.yml, as users and the images do."""
    from testbed import playbook

    extra = {**variables, "render_to": str(folder)}
    playbook.run(CHECKOUT / "playbooks" / "render.yml", Path("localhost,"), variables=extra).check()


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")}


@dataclass(frozen=True, kw_only=True)
class Places:
    """The test's paths and ports for what is at fixed places on a host."""

    folder: Path
    root: Path
    socket: Path
    plain_port: int
    tls_port: int
    ipv6: bool = True

    @property
    def configuration(self) -> Path:
        return self.folder / "etc" / "nginx" / "nginx.conf"

    @property
    def pid(self) -> Path:
        return self.folder / "nginx.pid"

    @property
    def draining(self) -> Path:
        return self.folder / "nginx.draining"

    @property
    def tls(self) -> Path:
        return self.folder / "tls"

    @property
    def acme(self) -> Path:
        return self.folder / "acme"

    @property
    def logs(self) -> Path:
        return self.folder / "log"


def place(rendered: Path, tree: Tree, places: Places, *, root: str = "/srv/ppm", faster: Mapping[str, str]) -> None:
    """Copy the rendered files to `places`; change only paths, ports, the user, and `faster`.

    `root` is the rendered ppm_root. `faster` are directives to replace, for tests that can't wait so long.
    Fail if an expected directive or path is missing.
    """
    for folder in (places.tls, places.acme, places.logs / "ppm", places.folder / "tmp"):
        folder.mkdir(parents=True, exist_ok=True)
    (places.root / "bodies").mkdir(parents=True, exist_ok=True)
    shutil.copytree(rendered / "etc" / "nginx", places.configuration.parent, dirs_exist_ok=True)
    shutil.copy(tree.mime_types, places.configuration.parent)
    moved = {
        "/etc/nginx/": f"{places.configuration.parent}/",
        "/etc/ppm/tls/": f"{places.tls}/",
        "/run/ppm/ppm.sock": str(places.socket),
        "/run/nginx.pid": str(places.pid),
        "/run/nginx.draining": str(places.draining),
        "/var/log/nginx/": f"{places.logs}/",
        "/var/lib/ppm/acme": str(places.acme),
        f"{root}/": f"{places.root}/",
        f"{root};": f"{places.root};",
    }
    changed = {
        "user www-data;": f"user {me()};",
        "http {\n": f"http {{\n{temporary_paths(places.folder)}",
        **faster,
    }
    files = sorted(places.configuration.parent.glob("**/*.conf"))
    text = "\0".join(path.read_text() for path in files)
    for before, after in changed.items():
        assert before in text, f"the configuration has no {before!r}"
        text = text.replace(before, after)
    text = re.sub("|".join(map(re.escape, sorted(moved, key=len, reverse=True))), lambda match: moved[match[0]], text)
    for port, new in ((80, places.plain_port), (443, places.tls_port)):
        text = text.replace(f"listen {port}", f"listen 127.0.0.1:{new}").replace(f"[::]:{port}", f"[::1]:{new}")
    for path, content in zip(files, text.split("\0"), strict=True):
        path.write_text(content)
    left = re.findall(r"\s(/(?:etc|run|srv|var)/(?!empty)[^\s;]*)", text.replace(str(places.folder), "."))
    assert not [path for path in left if not path.startswith(str(places.root))], left


def me() -> str:
    """Return the user of nginx's workers in a test."""
    return pwd.getpwuid(os.getuid()).pw_name


def temporary_paths(folder: Path) -> str:
    """Return directives for the folders that by default belong to the machine's own nginx."""
    return "".join(f"    {kind}_temp_path {folder}/tmp/{kind};\n" for kind in ("proxy", "fastcgi", "uwsgi", "scgi"))


@dataclass(frozen=True, kw_only=True)
class Directive:
    """A directive of a configuration: its name, arguments, and the directives of its block."""

    name: str
    arguments: tuple[str, ...]
    block: tuple[Directive, ...] = ()

    def all(self, name: str) -> Iterator[Directive]:
        """Yield the directives of that name directly in its block."""
        return (directive for directive in self.block if directive.name == name)

    def walk(self) -> Iterator[Directive]:
        """Yield itself and all directives in it, at any depth."""
        yield self
        for directive in self.block:
            yield from directive.walk()


_TOKEN = re.compile(
    r"""\s+|\#[^\n]*|([{};])|"((?:\\.|[^"\\])*)"|'((?:\\.|[^'\\])*)'|((?:\$\{\w+\}|[^\s{};"'\\]|\\.)+)""", re.S
)


def parse(folder: Path, file: str = "/etc/nginx/nginx.conf") -> Directive:
    """Parse the configuration in `folder`, with the rendered includes in place."""
    tokens = _tokens((folder / file.lstrip("/")).read_text())
    return Directive(name="", arguments=(), block=tuple(_block(folder, tokens)))


def _tokens(text: str) -> Iterator[tuple[str, bool]]:
    at = 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        assert match, text[at : at + 80]
        at = match.end()
        if match[1]:
            yield match[1], True
        elif match[0][0] not in " \t\n#":
            yield next(part for part in match.groups()[1:] if part is not None), False


def _block(folder: Path, tokens: Iterator[tuple[str, bool]]) -> Iterator[Directive]:
    words: list[str] = []
    for token, is_sign in tokens:
        if not is_sign:
            words.append(token)
        elif token == "}":
            return
        elif token == "{":
            yield Directive(name=words[0], arguments=tuple(words[1:]), block=tuple(_block(folder, tokens)))
            words = []
        elif words[0] == "include" and words[1].startswith("/etc/nginx/ppm/"):
            yield from parse(folder, words[1]).block
            words = []
        else:
            yield Directive(name=words[0], arguments=tuple(words[1:]))
            words = []
