"""`ppmctl doctor`: is all well between here and an index? Each thing that a user would meet is tried, in that order.

A check is a function in a module of its own subject, from a Visit to what it finds. It changes nothing, but for
publish, which is made only where it is asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ppmctl.client import credential, index_url
from ppmctl.doctor import (
    access,
    clients,
    credential_sources,
    dependency_confusion,
    index_features,
    network,
    promises,
    publish,
    resolve,
    tls,
    web_server,
)
from ppmctl.doctor import index_url as index_url_module
from ppmctl.doctor.expected import Expected
from ppmctl.doctor.finding import Finding, Visit
from ppmctl.errors import CredentialError, PpmError


@dataclass(frozen=True, kw_only=True)
class Check:
    """A check by its name, which its findings have. It is passed over where one of `needs` has failed.

    It is made `when` that says so. What another index merely lacks is a fault of one that `promises` it.
    """

    name: str
    run: Callable[[Visit], Iterator[Finding]]
    needs: tuple[str, ...] = ()
    when: Callable[[Visit], bool] = lambda _visit: True
    promises: bool = False


def _is_host(visit: Visit) -> bool:
    return visit.expected is not None


def _is_users(visit: Visit) -> bool:
    return visit.expected is None


def _may_publish(visit: Visit) -> bool:
    return visit.expected is not None and bool(visit.expected.publish)


# In the order in which a user would meet what they find.
CHECKS: tuple[Check, ...] = (
    Check(name="proxy", run=network.proxy),
    Check(name="dns", run=network.names),
    Check(name="port 80", run=web_server.port_80, needs=("dns",), when=_is_host, promises=True),
    Check(name="tcp", run=network.tcp, needs=("proxy", "dns"), promises=True),
    Check(name="http", run=network.encryption),
    Check(name="clock", run=network.clock, needs=("tcp",)),
    Check(name="tls", run=tls.check, needs=("tcp",)),
    Check(name="handshakes", run=web_server.handshakes, needs=("tcp",), when=_is_host),
    Check(name="strangers", run=web_server.strangers, needs=("tcp",), when=_is_host),
    Check(name="url", run=index_url_module.check, needs=("tcp", "tls"), promises=True),
    Check(name="promises", run=promises.check, needs=("url",), when=_is_host),
    Check(name="refusals", run=publish.refusals, needs=("url",), when=_may_publish),
    Check(name="credential", run=access.credential),
    Check(name="login", run=access.login, needs=("url", "credential")),
    Check(name="places", run=credential_sources.check, needs=("url",), when=_is_users),
    Check(name="names", run=promises.names, needs=("login",), when=_is_host),
    Check(name="publish", run=publish.check, needs=("login",), when=_may_publish),
    Check(name="reader", run=publish.reader, needs=("publish",), when=_may_publish),
    Check(name="anonymous", run=promises.anonymous, needs=("url",), when=_is_host),
    Check(name="side files", run=promises.side_files, needs=("publish",), when=_may_publish),
    Check(name="api", run=index_features.check, needs=("login",), promises=True),
    Check(name="install", run=publish.install, needs=("publish",), when=_may_publish),
    Check(name="clients", run=clients.check, when=_is_users),
    Check(name="resolve", run=resolve.check, needs=("login",), when=_is_users),
    Check(name="confusion", run=dependency_confusion.check, needs=("login",), when=_is_users),
)
# What is tried of a release before it serves anybody (release_check), and of a probe that was removed again.
_NAMED = {check.name: check for check in CHECKS}
RELEASE = tuple(replace(_NAMED[name], needs=()) for name in ("anonymous", "refusals", "publish", "reader", "api"))
REMOVED = (Check(name="removed", run=publish.removed),)


def examine(
    index: str | None,
    *,
    credential_file: Path | None = None,
    environ: Mapping[str, str],
    home: Path,
    cwd: Path,
    expected: Expected | None = None,
) -> Iterator[Finding]:
    """What is found of the index that `index` names, or that the environment or a login means; as it is found."""
    try:
        meant = index_url.resolve(index, environ=environ, home=home, cwd=cwd, by="URL")
        said = None if index else index_url.default_index(environ=environ, home=home, cwd=cwd)
    except PpmError as exc:
        yield Finding("index", "fail", exc.phrase, exc.hint)
        return
    shown, unreadable = None, None
    try:
        shown = credential.find(meant, file=credential_file, environ=environ, home=home)
    except CredentialError as exc:
        unreadable = exc
    visit = Visit(
        address=meant,
        credential=shown,
        unreadable=unreadable,
        environ=environ,
        home=home,
        cwd=cwd,
        expected=expected,
    )
    checks = REMOVED if expected and expected.removed else CHECKS
    if checks is CHECKS:
        at = f"; {meant.section.source}, is about it" if meant.section else ""
        yield Finding("index", "ok", f"{meant.base} is meant, by {said[1] if said else 'what was typed'}{at}")
    with network.leading(meant.host, expected.address if expected else ""):
        yield from walk(visit, [check for check in checks if check.when(visit)])


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
                if finding.state == "warn" and check.promises and visit.expected:
                    finding = replace(finding, state="fail")
                if finding.state == "fail" or (finding.state == "skip" and check.name == "login"):
                    because[check.name] = [check.name]
                yield finding
        except (PpmError, OSError) as exc:
            because[check.name] = [check.name]
            wrong = exc if isinstance(exc, PpmError) else PpmError(f"the connection broke: {exc}")
            yield Finding(check.name, "fail", wrong.phrase, wrong.hint)
