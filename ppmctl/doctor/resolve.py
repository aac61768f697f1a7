"""One resolve with each client, as it is set up: whether it finds a project that the index has, and if not, why.

Nothing is installed or built, and where the client and the index can do with metadata, no file is fetched whole.
"""

from __future__ import annotations

import json
import re
import shlex
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.version import Version

from ppmctl.client import http
from ppmctl.client.simple_api import Index
from ppmctl.distributions.project_page import ProjectPage
from ppmctl.doctor import clients, clients_pip
from ppmctl.doctor.client_model import (
    Client,
    Ran,
    bare,
    configure,
    found,
    hidden,
    is_index,
    last_line,
    names,
    only_in_keyring,
    run,
)
from ppmctl.doctor.clients_pip import OLDEST
from ppmctl.doctor.finding import Finding, Visit

PATIENCE = 60.0  # seconds for each client
_LOOKED_AT = 10  # projects, for one that every client can be expected to install
_WITH_PROVIDERS = Version("23.1")  # the first pip that can be told which keyring to ask
_ANYWHERE = "-none-any.whl"
_NOT_TRIED = ("poetry", "pdm", "pipenv")

# What a client says → what that means, the first that fits; pip says most of it only when it is asked to say all.
_CAUSES = (
    (r"suitable TLS CA certificate bundle, invalid path", "bundle"),
    (r"certificate verify failed|CERTIFICATE_VERIFY_FAILED|invalid peer certificate|UnknownIssuer", "tls"),
    (r"\b401 (?:Client )?(?:Error|Unauthorized)", "401"),
    (r"\b403 (?:Client )?(?:Error|Forbidden)", "403"),
    (r"ProxyError|[Cc]annot connect to proxy|[Pp]roxy Authentication|tunnel error|unsuccessful tunnel", "proxy"),
    (r"is not a trusted or secure host", "plain"),
    (r"different [Pp]ython version|does not satisfy Python", "python"),
    (r"[Cc]onnection error:|ConnectionError|error sending request|[Tt]imed out|dns error", "connection"),
)


@dataclass(frozen=True, kw_only=True)
class Subject:
    """The project that is resolved: one of which the index has a wheel for every platform."""

    name: str  # as the list has it, checked: what a page calls itself could be an option of pip's, or a URL
    page: ProjectPage
    requires_python: str

    def fits(self, python: str) -> bool:
        """Whether it is for a Python of this version, as far as both are known."""
        try:
            return not python or SpecifierSet(self.requires_python).contains(Version(python + ".99"))
        except (InvalidSpecifier, ValueError):
            return True


@dataclass(frozen=True, kw_only=True)
class Got:
    """What a client would install, and where it has that from: a file's sha256 and URL, or an index."""

    version: str
    sha256: str = ""
    url: str = ""


def check(visit: Visit) -> Iterator[Finding]:
    """What comes of a resolve with each pip and uv."""
    with visit.connect() as connection:
        subjects = _subjects(visit, Index(visit.address, connection))
    if not subjects:
        said = f"of its first {_LOOKED_AT} projects none has a wheel for every platform, and others run code"
        yield Finding("resolve", "skip", f"not tried: {said}")
        return
    with ThreadPoolExecutor() as pool:
        yield from pool.map(lambda client: _resolve(client, subjects, visit), clients.learn(visit))
    if others := [name for name in _NOT_TRIED if found((name,), visit.environ)]:
        yield Finding("resolve", "skip", f"not tried: {', '.join(others)}, which resolve a whole project of yours")


def _subjects(visit: Visit, index: Index) -> list[Subject]:
    subjects: list[Subject] = []
    for name in names(visit, index)[:_LOOKED_AT]:
        if (page := index.project(name)) is None:
            continue
        fit = [file for file in page.files if file.filename.endswith(_ANYWHERE) and file.yanked is None]
        subjects += [Subject(name=name, page=page, requires_python=file.requires_python or "") for file in fit[:1]]
        if subjects and not subjects[-1].requires_python:
            break
    return subjects


def _resolve(client: Client, subjects: Sequence[Subject], visit: Visit) -> Finding:
    subject = next((subject for subject in subjects if subject.fits(client.python)), subjects[0])
    name = subject.name
    if reason := _not_tried(client):
        return Finding("resolve", "skip", f"not tried with {client.called}: {reason}")
    with tempfile.TemporaryDirectory(prefix="ppmctl-") as folder:
        report = Path(folder, "report.json")
        command = _pip(client, name, report, visit) if client.name == "pip" else _uv(client)
        no_questions = {"PIP_REQUIRE_VIRTUALENV": "0", "PIP_QUIET": "", "UV_HTTP_RETRIES": "0"}
        ran = run(command, visit, patience=PATIENCE, typed=f"{name}\n", **no_questions)
        got = None if ran.code != 0 else _reported(report) if client.name == "pip" else _compiled(ran.output, name)
    if got is None:
        return explain(client, subject, ran, visit)
    if _is_ours(got, subject, visit):
        return Finding("resolve", "ok", f"{client.called} finds {name} {got.version} here")
    said = f"{client.called} takes {name} {got.version} from elsewhere, {hidden(got.url)}, not from this index"
    return Finding("resolve", "fail", said, clients.make_safe(client, visit))


def _not_tried(client: Client) -> str:
    if client.form == "none":
        return "it does not ask this index"
    if client.form == "explicit":
        return "it asks this index for what a project sends there alone"
    if client.name == "pip" and Version(client.version) < OLDEST:
        return "it can't tell what it would install"
    off = client.setting("no-index")
    return f"it asks no index, because of {off.place}" if off is not None and off.is_true else ""


def _pip(client: Client, name: str, report: Path, visit: Visit) -> list[str]:
    harmless = ["--dry-run", "--no-deps", "--ignore-installed", "--no-input", "--only-binary", ":all:"]
    told = ["--no-cache-dir", "--retries", "0", "-vv", "--report", str(report)]
    is_told = Version(client.version) >= _WITH_PROVIDERS and only_in_keyring(visit)
    if is_told and (way := clients_pip.keyring(client, visit)):  # without questions pip asks none by itself
        told += ["--keyring-provider", way]
    return [*client.command, "install", *harmless, *told, name]


def _uv(client: Client) -> list[str]:
    harmless = ["--no-deps", "--no-build", "--no-cache", "--no-python-downloads"]
    written = ["--no-header", "--no-annotate", "--emit-index-annotation", "--color", "never"]
    return [*client.command, "pip", "compile", *harmless, *written, "-"]


def _reported(report: Path) -> Got | None:
    try:
        (item,) = json.loads(report.read_bytes())["install"]
        info = item["download_info"]
        hashes = info.get("archive_info", {}).get("hashes") or {}
        version = str(item["metadata"]["version"])
        return Got(version=version, url=str(info["url"]), sha256=str(hashes.get("sha256", "")))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _compiled(output: str, name: str) -> Got | None:
    version = re.search(rf"^{re.escape(name)}==(\S+)", output, re.MULTILINE | re.IGNORECASE)
    index = re.search(r"^ +# from (\S+)", output, re.MULTILINE)
    return Got(version=version[1], url=index[1] if index else "") if version else None


def _is_ours(got: Got, subject: Subject, visit: Visit) -> bool:
    if got.sha256 and any(file.sha256 for file in subject.page.files):
        return got.sha256 in {file.sha256 for file in subject.page.files}
    url = bare(got.url).partition("#")[0]
    urls = {bare(file.url).partition("#")[0] for file in subject.page.files}
    return not url or url in urls or is_index(url, visit.address)


def explain(client: Client, subject: Subject, ran: Ran, visit: Visit) -> Finding:
    """Why a client did not find what the index has, from what it said, and what mends that in this client's terms."""
    name, base, host = subject.name, visit.address.base, visit.address.host
    failed = partial(client.finding, "fail", check="resolve")
    if ran.code is None:
        said = f"did not resolve {name}: {ran.output}"
        return client.finding("warn", said, f"ppmctl doctor {base}", check="resolve")
    cause = next((cause for pattern, cause in _CAUSES if re.search(pattern, ran.output)), "")
    if cause == "401":
        hides = ', and says only "No matching distribution found"' if client.name == "pip" else ""
        said = f"finds no {name}: the index answers 401{_reason(ran.output)}{hides}"
        return failed(said, f"ppmctl login {base} --netrc")
    if cause == "403":
        said = f"may not have {name}: the index answers 403{_reason(ran.output)}"
        return failed(said, "Ask an administrator of the index for the right to it")
    if cause in ("tls", "bundle"):
        return _of_tls(client, visit)
    setting = client.setting("proxy")
    if cause == "proxy" or (cause == "connection" and setting is not None):
        said = f"does not get through its proxy{f', by {setting.place}' if setting else ''}"
        return failed(said, setting.undo if setting else f"export NO_PROXY={host}")
    if cause == "plain":
        return failed("passes over this index, since it speaks plain HTTP", configure(client.name, visit))
    if cause == "python":
        said = f"{name} is for Python {subject.requires_python}, and {client.called} is for Python {client.python}"
        mend = f"With a Python that fits: uv venv --python {shlex.quote(subject.requires_python)}"
        return Finding("resolve", "warn", said, mend)
    if cause == "connection":
        mend = "env | grep -i proxy  says what it goes through"
        return failed(f"can't connect to {host}, though ppmctl can: {_said(ran)}", mend)
    more = shlex.join([*client.command, "install", "--dry-run", "-vv", name])
    return failed(f"does not find {name}: {_said(ran)}", f"{more}  says more")


def _of_tls(client: Client, visit: Visit) -> Finding:
    host = visit.address.host
    bundle, origin = http.authorities(visit.environ)
    said = f"{client.called} does not trust the certificate of {host}, though ppmctl does, by {origin}"
    if client.name == "uv":
        by_variable = origin.isupper() and Path(bundle).is_file()
        mend = f"export SSL_CERT_FILE={shlex.quote(bundle)}" if by_variable else "export UV_SYSTEM_CERTS=1"
        return Finding("resolve", "fail", said, mend)
    own = client.setting("cert")
    if own is not None:
        return Finding("resolve", "fail", f"{said}: {own.place} is {own.value}", own.undo)
    told = shlex.join([*client.command, "config", "--user", "set", "global.cert", bundle])
    return Finding("resolve", "fail", said, told)


def _reason(output: str) -> str:
    """What the index said beside the status, as pip has it."""
    match = re.search(r"40[13] Client Error: (.*?) for url", output)
    return f" ({''.join(letter for letter in match[1] if letter.isprintable())[:200]})" if match else ""


def _said(ran: Ran) -> str:
    """The line that says most of what went wrong."""
    lines = [line for line in ran.output.splitlines() if re.match(r"ERROR:|error:|  cause:", line)]
    fetching = [line for line in ran.output.splitlines() if line.startswith("Could not fetch")]
    return last_line(Ran(code=ran.code, output="\n".join(fetching or lines[-1:]) or ran.output))
