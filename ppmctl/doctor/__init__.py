"""`ppmctl doctor`: is all well between here and an index? Each thing that a user would meet is tried, in that order.

A check is a function in a module of its own subject, from a Visit to what it finds. It never changes anything.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ppmctl import address, credential
from ppmctl.doctor import access, clients, confusion, entrance, network, offer, places, resolve, tls
from ppmctl.doctor.finding import Finding, Visit
from ppmctl.errors import CredentialError, PpmError


@dataclass(frozen=True, kw_only=True)
class Check:
    """A check by its name, which its findings have. It is passed over where one of `needs` has failed."""

    name: str
    run: Callable[[Visit], Iterator[Finding]]
    needs: tuple[str, ...] = ()


# In the order in which a user would meet what they find.
CHECKS: tuple[Check, ...] = (
    Check(name="proxy", run=network.proxy),
    Check(name="dns", run=network.names),
    Check(name="tcp", run=network.tcp, needs=("proxy", "dns")),
    Check(name="http", run=network.encryption),
    Check(name="clock", run=network.clock, needs=("tcp",)),
    Check(name="tls", run=tls.check, needs=("tcp",)),
    Check(name="url", run=entrance.check, needs=("tcp", "tls")),
    Check(name="credential", run=access.credential),
    Check(name="login", run=access.login, needs=("url", "credential")),
    Check(name="places", run=places.check, needs=("url",)),
    Check(name="api", run=offer.check, needs=("login",)),
    Check(name="clients", run=clients.check),
    Check(name="resolve", run=resolve.check, needs=("login",)),
    Check(name="confusion", run=confusion.check, needs=("login",)),
)


def examine(
    index: str | None,
    *,
    credential_file: Path | None = None,
    environ: Mapping[str, str],
    home: Path,
    cwd: Path,
    checks: Sequence[Check] = CHECKS,
) -> Iterator[Finding]:
    """What is found of the index that `index` names, or that the environment or a login means; as it is found."""
    try:
        meant = address.resolve(index, environ=environ, home=home, cwd=cwd, by="URL")
        said = None if index else address.said(environ=environ, home=home, cwd=cwd)
    except PpmError as exc:
        yield Finding("index", "fail", *_said(exc))
        return
    meant_by = said[1] if said else "what was typed"
    at = f"; {meant.section.source}, is about it" if meant.section else ""
    yield Finding("index", "ok", f"{meant.base} is meant, by {meant_by}{at}")
    shown, unreadable = None, None
    try:
        shown = credential.find(meant, file=credential_file, environ=environ, home=home)
    except CredentialError as exc:
        unreadable = exc
    visit = Visit(
        address=meant,
        meant_by=meant_by,
        credential=shown,
        unreadable=unreadable,
        environ=environ,
        home=home,
        cwd=cwd,
    )
    yield from walk(visit, checks)


def walk(visit: Visit, checks: Sequence[Check]) -> Iterator[Finding]:
    """What `checks` find, one after the other."""
    because: dict[str, list[str]] = {}  # a check that failed, or was passed over → the checks that failed
    for check in checks:
        if causes := dict.fromkeys(cause for name in check.needs for cause in because.get(name, ())):
            because[check.name] = list(causes)
            yield Finding(check.name, "skip", f"not tried, because of: {', '.join(causes)}")
            continue
        try:
            for finding in check.run(visit):
                if finding.state == "fail":
                    because[check.name] = [check.name]
                yield finding
        except PpmError as exc:
            because[check.name] = [check.name]
            yield Finding(check.name, "fail", *_said(exc))


def _said(exc: PpmError) -> tuple[str, str]:
    return exc.message.rstrip("."), exc.hint
