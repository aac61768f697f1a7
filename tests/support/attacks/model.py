"""A row of the table of attacks, and the functions that judge a refusal."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from support.raw import PATIENCE, Reply, Target

POISON = "poison.example"
# in the form of an issued secret, but never issued
STRAY_SECRET = "ppm_" + "StrayStrayStrayStrayStrayStrayStrayStray123"
# the same, as a client may encode it in a URL
SPELLINGS = (
    STRAY_SECRET,
    STRAY_SECRET.replace("ppm_", "ppm%5F"),
    STRAY_SECRET.replace("ppm_", "PPM%5f"),
    "".join(f"%{ord(sign):02x}" for sign in STRAY_SECRET),
)
METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT", "PROPFIND", "BREW")

_VERSION = re.compile(rb"nginx/[0-9]|gunicorn|Python/[0-9]|OpenSSL|werkzeug|[Dd]ebian|pypiserver [0-9]")

Judge = Callable[[Reply], bool]


@dataclass(frozen=True, kw_only=True)
class Attack:
    """One row: the request in readable form, the expected refusal in words, and the function that judges it."""

    group: str
    shown: str
    expected: str
    sent: bytes
    judge: Judge
    sni: str | None = ""
    plain: bool = False
    head: bool = False
    patience: float = PATIENCE


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """The result of an attack; `problem` is "" if it was refused."""

    attack: Attack
    reply: Reply
    problem: str


def problem(attack: Attack, reply: Reply, target: Target) -> str:
    """Return what is wrong with the reply, in words; "" for the expected refusal."""
    if leaked := [text for text in target.never if text in reply.raw]:
        return f"it has {leaked[0]!r} in it"
    if version := _VERSION.search(reply.raw.replace(target.server, b"")):
        return f"it says {version[0]!r}"
    if reply.end == "silence":
        return "it hangs"
    if any(answer.status >= 500 and answer.status not in (501, 505) for answer in reply.answers):
        return "the server failed"
    return "" if attack.judge(reply) else "not refused as it must be"


def status(*wanted: int) -> Judge:
    """Accept one answer with one of these statuses, and then the end of the connection."""
    return lambda reply: len(reply.answers) == 1 and reply.answers[0].status in wanted and reply.end != "silence"


def nothing(reply: Reply) -> bool:
    """Accept no bytes (nginx's 444)."""
    return reply.raw == b"" and reply.end in {"closed", "reset"}


def no_handshake(reply: Reply) -> bool:
    return reply.end.startswith("refused")


def either(*judges: Judge) -> Judge:
    return lambda reply: any(judge(reply) for judge in judges)


def all_of(*judges: Judge) -> Judge:
    return lambda reply: all(judge(reply) for judge in judges)


def not_found(reply: Reply) -> bool:
    """Accept 400, 404, 405 or 414, or a redirect within this index; never content."""
    if len(reply.answers) != 1:
        return False
    answer = reply.answers[0]
    if answer.status in {301, 302, 303, 307, 308}:
        return re.match(r"(?:\.\./|simple/|packages/|[a-z0-9-]+/)", answer.header("location")) is not None
    return answer.status in {400, 404, 405, 414}


def unauthenticated(reply: Reply) -> bool:
    """Accept 401 without information about the index's content."""
    if len(reply.answers) != 1 or reply.answers[0].status != 401:
        return False
    answer = reply.answers[0]
    telling = ("location", "etag", "last-modified", "allow", "content-range", "content-encoding", "retry-after")
    return answer.header("www-authenticate").startswith("Basic realm=") and not any(map(answer.header, telling))


def single(reply: Reply) -> bool:
    """Accept one answer: a request hidden in the first must not be answered."""
    return len(reply.answers) <= 1 and reply.end != "silence"
