"""Dependency confusion: names that this index has, and another that clients ask, where anybody can take them."""

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
from ppmctl.doctor import clients
from ppmctl.doctor.client_model import Client, bare, configure, is_index, names, run
from ppmctl.doctor.finding import Finding, Visit
from ppmctl.errors import PpmError
from ppmctl.secret import Secret

ASKED = 200  # names, each of which is a request to the other index
_AT_ONCE = 4
_SHOWN = 10
_COMPARED = 20  # names that both have, whose pages are read
_REDIRECTS = 3
_OTHERS = 3  # indexes that are asked
_DEFAULT = re.compile(r"\(\s*(?:by\s+)?default:?\s+<?(https?://[^\s>)]+)", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class Elsewhere:
    """Another index that clients get packages from: its list of projects, and why it is asked."""

    simple: str
    because: str
    credential: Credential | None = None

    @property
    def host(self) -> str:
        return urlsplit(self.simple).netloc


def check(visit: Visit) -> Iterator[Finding]:
    """Which names of this index another has too, and which client may take that one's."""
    with visit.connect() as connection:
        index = Index(visit.address, connection)
        projects = names(visit, index)
        upstream = _upstream(visit, connection)
        told = clients.learn(visit)
        others = _others(visit, told, upstream)
        if not projects:
            yield Finding("confusion", "skip", "not tried: the index has no project yet")
        elif not others:
            yield Finding("confusion", "skip", "not tried: no other index is known here")
        else:
            for other in others:
                yield _compare(visit, index, projects, other, told)


def _upstream(visit: Visit, connection: Transport) -> Elsewhere | None:
    """Where the index sends what it does not have."""
    name = f"ppm-doctor-{secrets.token_hex(8)}"
    answer = connection.request("GET", f"{visit.address.simple}{name}/", headers={"Accept": ACCEPT})
    before, slash, _after = answer.location.partition(f"/{name}")
    if not slash or is_index(before, visit.address):
        return None
    return Elsewhere(simple=f"{before}/", because="this index sends what it does not have there")


def _others(visit: Visit, told: Sequence[Client], upstream: Elsewhere | None) -> list[Elsewhere]:
    """The indexes beside this one, the one that it names first; each once."""
    found = [] if upstream is None else [upstream]
    for client in told:
        for source in client.others:
            url, place = source.url, source.setting.place if source.setting else "its default"
            if source.setting is None:
                # where this index itself sends what it has not is the public index for whoever uses it
                url = "" if upstream else _default(client, visit)
            if url.startswith(("https://", "http://")) and not is_index(url, visit.address):
                simple, because = bare(url).rstrip("/") + "/", f"{client.name} asks it, by {place}"
                found.append(Elsewhere(simple=simple, because=because, credential=_credential(url)))
    unique = {other.simple: other for other in reversed(found)}
    return list(reversed(unique.values()))[:_OTHERS]


def _default(client: Client, visit: Visit) -> str:
    """The public index, as a client's own help has it; ""."""
    command = {"pip": ("install", "--help"), "uv": ("pip", "install", "--help")}[client.name]
    said = " ".join(run([*client.command, *command], visit, COLUMNS="500").output.split())
    match = _DEFAULT.search(said)
    return match[1].rstrip(".") if match else ""


def _credential(url: str) -> Credential | None:
    parts = urlsplit(url)
    if not parts.username or not parts.password:
        return None
    return Credential(username=unquote(parts.username), secret=Secret(unquote(parts.password)), source="the URL")


def _compare(visit: Visit, index: Index, projects: list[str], other: Elsewhere, told: Sequence[Client]) -> Finding:
    asked = projects if len(projects) <= ASKED else sorted(random.sample(projects, ASKED))
    of = f"{len(projects)} names" if asked is projects else f"{ASKED} of {len(projects)} names, taken at random,"
    try:
        with events.progress(f"names at {other.host}", len(asked)) as step:
            both = _there(visit, other, asked, step)
        looked_at = both if len(both) <= _COMPARED else sorted(random.sample(both, _COMPARED))
        copies = [name for name in looked_at if _is_copy(visit, index, other, name)]
    except PpmError as exc:
        said = f"not compared with {other.host} ({other.because}): {exc.phrase}"
        return Finding("confusion", "skip", said, exc.hint)
    if len(copies) == len(looked_at):
        of_both = f"; {len(both)} are copies of what is there" if both else ""
        if len(looked_at) < len(both):
            of_both = f"; {len(both)} are also there, and those of {len(looked_at)} that were looked at are copies"
        said = f"of {of} none is somebody else's at {other.host} ({other.because}){of_both}"
        return Finding("confusion", "ok", said)
    strangers = [name for name in both if name not in copies]
    more = f" and {len(strangers) - _SHOWN} more" if len(strangers) > _SHOWN else ""
    shown = ", ".join(strangers[:_SHOWN]) + more
    said = f"of {of} {len(strangers)} are also at {other.host} ({other.because}): {shown}"
    return _judge(visit, said, told)


def _judge(visit: Visit, said: str, told: Sequence[Client]) -> Finding:
    """A fault where a client may take another index's; else what keeps it from that is said."""
    unsafe = [client for client in told if client.form == "extra"]
    away = [client for client in told if client.form == "none"]
    safe = [client for client in told if client not in unsafe and client not in away]
    if unsafe or not safe:
        who = ", ".join(f"{client.called}: {_WHY[client.form]}" for client in unsafe or away)
        mends = dict.fromkeys(clients.make_safe(client, visit) for client in unsafe or away)
        mend = "; ".join(mends) or configure("pip", visit, form="single")
        reserve = "names without a release yet are kept by ppm_private_names on the index"
        return Finding("confusion", "fail", f"{said}. {who or _NOBODY}", f"{mend}  # {reserve}")
    who = ", ".join(f"{client.called}: {_WHY[client.form]}" for client in (*safe, *away))
    mend = "; ".join(dict.fromkeys(clients.make_safe(client, visit) for client in away))
    return Finding("confusion", "warn", f"{said}. {who}", mend)


_NOBODY = "No client that is installed here asks this index first"
_WHY = {
    "extra": "may take them from there",
    "none": "takes them from there",
    "single": "safe, since it asks this index alone",
    "first": "safe, since it asks this index first",
    "explicit": "safe for what a project sends here",
}


def _there(visit: Visit, other: Elsewhere, asked: Sequence[str], step: Callable[[int], None]) -> list[str]:
    """Those of `asked` that another index has."""

    def ask(part: Sequence[str]) -> list[str]:
        found = []
        with visit.transport(other.credential, other.simple) as connection:
            for name in part:
                found += [name] if _has(connection, other, name) else []
                step(1)
        return found

    with ThreadPoolExecutor(max_workers=_AT_ONCE) as pool:
        parts = [asked[start::_AT_ONCE] for start in range(_AT_ONCE)]
        return sorted(name for found in pool.map(ask, parts) for name in found)


def _has(connection: Transport, other: Elsewhere, name: str) -> bool:
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


def _is_copy(visit: Visit, index: Index, other: Elsewhere, name: str) -> bool:
    """Whether each file that this index has of a project is one that the other has of it, as in a mirror."""
    ours = index.project(name)
    with visit.transport(other.credential, other.simple) as connection:
        answer = connection.request("GET", f"{other.simple}{name}/", headers={"Accept": ACCEPT})
    if ours is None or not ours.files or answer.status != 200:
        return False
    theirs = parse_page(answer.body, content_type=answer.content_type, url=answer.url)
    hashes = {file.sha256 for file in theirs.files if file.sha256}
    filenames = {file.filename for file in theirs.files}
    # where there is no hash to go by, the name has to do
    return all(file.sha256 in hashes if file.sha256 and hashes else file.filename in filenames for file in ours.files)
