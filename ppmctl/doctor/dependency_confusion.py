"""Find names of this index that another index has too, from which clients may install a stranger's project."""

from __future__ import annotations

import random
import re
import secrets
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from ppmctl import events
from ppmctl.client.credential import Credential
from ppmctl.client.http import Transport
from ppmctl.client.simple_api import ACCEPT, Index, parse_page
from ppmctl.doctor import clients, programs
from ppmctl.doctor.client_model import Client, configure_hint, project_names
from ppmctl.doctor.finding import Context, Finding
from ppmctl.doctor.index_url import is_same_index, without_userinfo
from ppmctl.errors import PpmError, some
from ppmctl.secret import Secret

_ASKED = 200  # names, each of which is a request to the other index
_AT_ONCE = 4
_COMPARED = 20  # projects of both indexes, whose pages are read
_REDIRECTS = 3
_INDEXES = 3
_DEFAULT = re.compile(r"\(\s*(?:by\s+)?default:?\s+<?(https?://[^\s>)]+)", re.IGNORECASE)
_RISKS = {
    "extra": "may install them from there",
    "none": "installs them from there",
    "single": "safe, since it asks this index alone",
    "first": "safe, since it asks this index first",
    "explicit": "safe for what a project assigns to this index",
}


@dataclass(frozen=True, kw_only=True)
class OtherIndex:
    """Another index that clients install from: its list of projects, and why they ask it."""

    simple: str
    reason: str
    credential: Credential | None = None

    @property
    def host(self) -> str:
        return urlsplit(self.simple).netloc


def check(context: Context) -> Iterator[Finding]:
    """Compare the names of this index with those of each other one that clients ask."""
    with context.connect(context.credential) as connection:
        index = Index(context.address, connection)
        names = project_names(context, index)
        known = clients.learn(context)
        others = _others(context, known, _upstream(context, connection))
        if not names:
            yield Finding("confusion", "skip", "not tried: the index has no projects yet")
        elif not others:
            yield Finding("confusion", "skip", "not tried: no other index is known here")
        else:
            yield from (_compare(context, index, names, other, known) for other in others)


def _upstream(context: Context, connection: Transport) -> OtherIndex | None:
    """Return the index to which this one redirects requests for other names."""
    name = f"ppm-doctor-{secrets.token_hex(8)}"
    answer = connection.request("GET", f"{context.address.simple}{name}/", headers={"Accept": ACCEPT})
    before, slash, _after = answer.location.partition(f"/{name}")
    if not slash or is_same_index(before, context.address):
        return None
    return OtherIndex(simple=f"{before}/", reason="this index redirects other names to it")


def _others(context: Context, known: Sequence[Client], upstream: OtherIndex | None) -> list[OtherIndex]:
    others = {} if upstream is None else {upstream.simple: upstream}
    for asking, source in ((client, source) for client in known for source in client.others):
        url, place = source.url, source.setting.place if source.setting else "its default"
        if source.setting is None:  # the public index, which is also the one that this index redirects to
            url = "" if upstream else _default(asking, context)
        if url.startswith(("https://", "http://")) and not is_same_index(url, context.address):
            simple, reason = without_userinfo(url).rstrip("/") + "/", f"{asking.name} asks it, by {place}"
            other = OtherIndex(simple=simple, reason=reason, credential=_credential(url))
            others.setdefault(simple, other)
    return list(others.values())[:_INDEXES]


def _default(client: Client, context: Context) -> str:
    """Return the default index of a client, from its help; or ""."""
    command = {"pip": ("install", "--help"), "uv": ("pip", "install", "--help")}[client.name]
    text = " ".join(programs.run([*client.command, *command], context, COLUMNS="500").output.split())
    match = _DEFAULT.search(text)
    return match[1].rstrip(".") if match else ""


def _credential(url: str) -> Credential | None:
    parts = urlsplit(url)
    if not parts.username or not parts.password:
        return None
    return Credential(username=unquote(parts.username), secret=Secret(unquote(parts.password)), source="the URL")


def _compare(context: Context, index: Index, names: list[str], other: OtherIndex, known: Sequence[Client]) -> Finding:
    asked = names if len(names) <= _ASKED else sorted(random.sample(names, _ASKED))
    of = f"{len(names)} names" if asked is names else f"{_ASKED} of {len(names)} names, chosen at random,"
    where = f"at {other.host} ({other.reason})"
    try:
        with events.progress(f"names at {other.host}", len(asked)) as step:
            both = _in_both(context, other, asked, step)
        compared = both if len(both) <= _COMPARED else sorted(random.sample(both, _COMPARED))
        copies = [name for name in compared if _is_copy(context, index, other, name)]
    except PpmError as exc:
        return Finding("confusion", "skip", f"not compared with the names {where}: {exc.phrase}", exc.hint)
    if len(copies) == len(compared):
        detail = f"; {len(both)} are copies of the project there" if both else ""
        if len(compared) < len(both):
            detail = f"; {len(both)} are also there, and the {len(compared)} that were compared are copies"
        return Finding("confusion", "ok", f"of {of} none is another project {where}{detail}")
    strangers = [name for name in both if name not in copies]
    message = f"of {of} {len(strangers)} are also {where}: {some(strangers, 10)}"
    return _judge(context, message, known)


def _judge(context: Context, message: str, known: Sequence[Client]) -> Finding:
    """Report a fault if a client may install from the other index, and a warning if none does."""
    unsafe = [client for client in known if client.use == "extra"]
    others = [client for client in known if client.use == "none"]
    safe = [client for client in known if client.use not in ("extra", "none")]
    is_safe = bool(safe) and not unsafe
    named = [*safe, *others] if is_safe else unsafe or others
    risks = ", ".join(f"{client.label}: {_RISKS[client.use]}" for client in named)
    to_repair = others if is_safe else named
    hint = "; ".join(dict.fromkeys(clients.safe_hint(client, context) for client in to_repair))
    if is_safe:
        return Finding("confusion", "warn", f"{message}. {risks}", hint)
    hint = hint or configure_hint("pip", context, form="single")
    reserve = "ppm_private_names of the index reserves names without a release"
    risks = risks or "No client that is installed here asks this index first"
    return Finding("confusion", "fail", f"{message}. {risks}", f"{hint}  # {reserve}")


def _in_both(context: Context, other: OtherIndex, names: Sequence[str], step: Callable[[int], None]) -> list[str]:
    """Return the names that another index has too."""

    def ask(part: Sequence[str]) -> list[str]:
        both = []
        with context.transport(other.credential, other.simple) as connection:
            for name in part:
                both += [name] if _has(connection, other, name) else []
                step(1)
        return both

    with ThreadPoolExecutor(max_workers=_AT_ONCE) as pool:
        parts = [names[start::_AT_ONCE] for start in range(_AT_ONCE)]
        return sorted(name for both in pool.map(ask, parts) for name in both)


def _has(connection: Transport, other: OtherIndex, name: str) -> bool:
    url = f"{other.simple}{name}/"
    for _ in range(_REDIRECTS):
        answer = connection.request("HEAD", url, headers={"Accept": ACCEPT})
        if not answer.location or urlsplit(answer.location).netloc != other.host:
            break
        url = answer.location
    if answer.status in (404, 410) or answer.location:
        return False
    if answer.status != 200:
        raise PpmError(f"{url} answered {answer.status}: {answer.says}")
    return True


def _is_copy(context: Context, index: Index, other: OtherIndex, name: str) -> bool:
    """Return whether the other index has all files that this one has of a project, as a mirror does."""
    ours = index.project(name)
    with context.transport(other.credential, other.simple) as connection:
        answer = connection.request("GET", f"{other.simple}{name}/", headers={"Accept": ACCEPT})
    if ours is None or not ours.files or answer.status != 200:
        return False
    theirs = parse_page(answer.body, content_type=answer.content_type, url=answer.url)
    hashes = {file.sha256 for file in theirs.files if file.sha256}
    filenames = {file.filename for file in theirs.files}
    # without hashes, names are compared
    return all(file.sha256 in hashes if file.sha256 and hashes else file.filename in filenames for file in ours.files)
