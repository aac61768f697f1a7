"""Resolve one project with each client, as it is configured, and explain why it does not find what the index has.

Nothing is installed or built, and no file is downloaded whole if the client and the index support core metadata.
"""

from __future__ import annotations

import json
import re
import shlex
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.version import Version

from ppmctl import regular_file
from ppmctl.client import http
from ppmctl.client.simple_api import Index
from ppmctl.distributions.project_page import ProjectPage
from ppmctl.doctor import clients, clients_pip, programs
from ppmctl.doctor.client_model import Client, configure_hint, keyring_user, project_names
from ppmctl.doctor.finding import Context, Finding
from ppmctl.doctor.index_url import is_same_index, without_userinfo
from ppmctl.doctor.programs import Result
from ppmctl.secret import masked

_TIMEOUT = 60.0  # seconds for each client
_MOST_PROJECTS = 10  # that are read to find one for every client
_WITH_PROVIDERS = Version("23.1")  # the first pip with --keyring-provider
_ANY_PLATFORM = "-none-any.whl"
_NOT_TRIED = ("poetry", "pdm", "pipenv")

# A pattern in a client's output → its cause; the first that matches counts. pip prints most of them only with -vv.
_CAUSES = (
    (r"suitable TLS CA certificate bundle, invalid path", "tls"),
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
    """The project that is resolved, which has a wheel for every platform."""

    name: str  # from the list, validated: the name on a page could be an option of pip's, or a URL
    page: ProjectPage
    requires_python: str

    def fits(self, python: str) -> bool:
        """Return whether it is for this version of Python, as far as both are known."""
        try:
            return not python or SpecifierSet(self.requires_python).contains(Version(python + ".99"))
        except (InvalidSpecifier, ValueError):
            return True


@dataclass(frozen=True, kw_only=True)
class Resolved:
    """What a client would install, with the file's sha256 and URL, or the URL of its index."""

    version: str
    sha256: str = ""
    url: str = ""


def check(context: Context) -> Iterator[Finding]:
    """Resolve a project with each pip and uv."""
    with context.connect(context.credential) as connection:
        subjects = _subjects(context, Index(context.address, connection))
    if not subjects:
        reason = f"none of its first {_MOST_PROJECTS} projects has a wheel for every platform, and others run code"
        yield Finding("resolve", "skip", f"not tried: {reason}")
        return
    with ThreadPoolExecutor() as pool:
        yield from pool.map(lambda client: _resolve(client, subjects, context), clients.learn(context))
    if others := [name for name in _NOT_TRIED if programs.on_path((name,), context.environ)]:
        yield Finding("resolve", "skip", f"not tried: {', '.join(others)}, which resolve only whole projects")


def _subjects(context: Context, index: Index) -> list[Subject]:
    subjects: list[Subject] = []
    for name in project_names(context, index)[:_MOST_PROJECTS]:
        if (page := index.project(name)) is None:
            continue
        wheels = [file for file in page.files if file.filename.endswith(_ANY_PLATFORM) and file.yanked is None]
        subjects += [Subject(name=name, page=page, requires_python=file.requires_python or "") for file in wheels[:1]]
        if subjects and not subjects[-1].requires_python:
            break
    return subjects


def _resolve(client: Client, subjects: Sequence[Subject], context: Context) -> Finding:
    subject = next((subject for subject in subjects if subject.fits(client.python)), subjects[0])
    name = subject.name
    if reason := _not_tried(client):
        return Finding("resolve", "skip", f"not tried with {client.label}: {reason}")
    with tempfile.TemporaryDirectory(prefix="ppmctl-") as folder:
        report = Path(folder, "report.json")
        command = _pip(client, name, report, context) if client.name == "pip" else _uv(client)
        environ = {"PIP_REQUIRE_VIRTUALENV": "0", "PIP_QUIET": "", "UV_HTTP_RETRIES": "0"}
        result = programs.run(command, context, timeout=_TIMEOUT, stdin=f"{name}\n", **environ)
        resolved = None
        if result.code == 0:
            resolved = _reported(report) if client.name == "pip" else _compiled(result.output, name)
    if resolved is None:
        return explain(client, subject, result, context)
    if _is_ours(resolved, subject, context):
        return Finding("resolve", "ok", f"{client.label} finds {name} {resolved.version} here")
    predicate = f"takes {name} {resolved.version} from another index, {masked(resolved.url)}"
    return client.finding("fail", predicate, clients.safe_hint(client, context), check="resolve")


def _not_tried(client: Client) -> str:
    if client.use == "none":
        return "it does not ask this index"
    if client.use == "explicit":
        return "it asks this index only for what a project assigns to it"
    if client.name == "pip" and Version(client.version) < clients_pip.OLDEST:
        return "it can't report what it would install"
    return f"it asks no index, because of {client.no_index.place}" if client.no_index else ""


def _pip(client: Client, name: str, report: Path, context: Context) -> list[str]:
    options = ["--dry-run", "--no-deps", "--ignore-installed", "--no-input", "--only-binary", ":all:"]
    options += ["--no-cache-dir", "--retries", "0", "-vv", "--report", str(report)]
    needs_keyring = Version(client.version) >= _WITH_PROVIDERS and keyring_user(context)
    if needs_keyring and (way := clients_pip.keyring(client, context)):  # the default with --no-input asks none
        options += ["--keyring-provider", way]
    return [*client.command, "install", *options, name]


def _uv(client: Client) -> list[str]:
    options = ["--no-deps", "--no-build", "--no-cache", "--no-python-downloads"]
    options += ["--no-header", "--no-annotate", "--emit-index-annotation", "--color", "never"]
    return [*client.command, "pip", "compile", *options, "-"]


def _reported(report: Path) -> Resolved | None:
    try:
        (item,) = json.loads(report.read_bytes())["install"]
        info = item["download_info"]
        hashes = info.get("archive_info", {}).get("hashes") or {}
        version = str(item["metadata"]["version"])
        return Resolved(version=version, url=str(info["url"]), sha256=str(hashes.get("sha256", "")))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _compiled(output: str, name: str) -> Resolved | None:
    version = re.search(rf"^{re.escape(name)}==(\S+)", output, re.MULTILINE | re.IGNORECASE)
    index = re.search(r"^ +# from (\S+)", output, re.MULTILINE)
    return Resolved(version=version[1], url=index[1] if index else "") if version else None


def _is_ours(resolved: Resolved, subject: Subject, context: Context) -> bool:
    hashes = {file.sha256 for file in subject.page.files if file.sha256}
    if resolved.sha256 and hashes:
        return resolved.sha256 in hashes
    url = without_userinfo(resolved.url).partition("#")[0]
    urls = {without_userinfo(file.url).partition("#")[0] for file in subject.page.files}
    return not url or url in urls or is_same_index(url, context.address)


def explain(client: Client, subject: Subject, result: Result, context: Context) -> Finding:
    """Return why a client did not find what the index has, from its output, and how to repair this client."""
    name, base, host = subject.name, context.address.base, context.address.host
    if result.code is None:
        message = f"did not resolve {name}: {result.output}"
        return client.finding("warn", message, f"ppmctl doctor {base}", check="resolve")
    cause = next((cause for pattern, cause in _CAUSES if re.search(pattern, result.output)), "")
    if cause == "tls":
        return _untrusted(client, context)
    if cause == "python":
        message = f"{name} is for Python {subject.requires_python}, and {client.label} is for Python {client.python}"
        hint = f"Use another Python: uv venv --python {shlex.quote(subject.requires_python)}"
        return Finding("resolve", "warn", message, hint)
    proxy = client.setting("proxy")
    if cause == "connection" and proxy is not None:
        cause = "proxy"
    by, reason, error = f", by {proxy.place}" if proxy else "", _reason(result.output), _error(result)
    is_pip = client.name == "pip"
    hidden = ', and pip reports only "No matching distribution found"' if is_pip else ""
    verbose = shlex.join([*client.command, *([] if is_pip else ["pip"]), "install", "--dry-run", "-vv", name])
    explanations = {
        "401": (f"finds no {name}: the index answers 401{reason}{hidden}", f"ppmctl login {base} --netrc"),
        "403": (f"may not read {name}: the index answers 403{reason}", "Ask an index administrator for access"),
        "proxy": (f"does not get through its proxy{by}", proxy.undo if proxy else f"export NO_PROXY={host}"),
        "plain": ("ignores this index, since it speaks plain HTTP", configure_hint(client.name, context)),
        "connection": (f"can't reach {host}, though ppmctl can: {error}", "env | grep -i proxy  shows its proxy"),
        "": (f"does not find {name}: {error}", f"{verbose}  shows more"),
    }
    message, hint = explanations[cause]
    return client.finding("fail", message, hint, check="resolve")


def _untrusted(client: Client, context: Context) -> Finding:
    host = context.address.host
    bundle, source = http.authorities(context.environ)
    predicate = f"does not trust the certificate of {host}, though ppmctl does, by {source}"
    own = client.setting("cert")
    if client.name == "uv":
        is_file = source.isupper() and regular_file.is_present(Path(bundle))
        hint = f"export SSL_CERT_FILE={shlex.quote(bundle)}" if is_file else "export UV_SYSTEM_CERTS=1"
    elif own is not None:
        predicate, hint = f"{predicate}: {own.place} is {own.value}", own.undo
    else:
        hint = shlex.join([*client.command, "config", "--user", "set", "global.cert", bundle])
    return client.finding("fail", predicate, hint, check="resolve")


def _reason(output: str) -> str:
    """Return the reason of the status line, as pip prints it."""
    match = re.search(r"40[13] Client Error: (.*?) for url", output)
    return f" ({''.join(letter for letter in match[1] if letter.isprintable())[:200]})" if match else ""


def _error(result: Result) -> str:
    """Return the line of the output that says most about the error."""
    lines = [line for line in result.output.splitlines() if re.match(r"ERROR:|error:|  cause:", line)]
    fetching = [line for line in result.output.splitlines() if line.startswith("Could not fetch")]
    return Result(code=result.code, output="\n".join(fetching or lines[-1:]) or result.output).last_line
