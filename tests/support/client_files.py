"""Files of clients before `client-config --write`, and what clients read from them."""

from __future__ import annotations

import configparser
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from ppmctl.cli import commands
from ppmctl.client_config.index_target import Form

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


WHERE = {
    "pip": ".config/pip/pip.conf",
    "twine": ".pypirc",
    "uv": ".config/uv/uv.toml",
    "poetry": "project/pyproject.toml",
}


def cases(*clients: str) -> list[Any]:
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
        if client in clients
    ]


class _PipParser(configparser.RawConfigParser):
    """Reads names of options as pip's documentation describes them."""

    def optionxform(self, optionstr: str) -> str:
        return optionstr.lower().replace("_", "-")


def read(client: str, content: bytes) -> Any:
    text = content.decode("utf-8-sig", "surrogateescape")
    if client in ("uv", "poetry"):
        return tomllib.loads(text.replace("\r\n", "\n"))
    parser = _PipParser() if client == "pip" else configparser.RawConfigParser()
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
