"""Run all checks of `ppmctl doctor`, in the order in which a user would meet what they find.

A check is a function from a Context to Findings. It changes nothing on the index, except those of `publish`, which
run only if `--expect` asks for them.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

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
    time_limit,
    tls,
    web_server,
)
from ppmctl.doctor.expected import Expected
from ppmctl.doctor.finding import Context, Finding
from ppmctl.doctor.index_url import check_url
from ppmctl.errors import CredentialError, PpmError


@dataclass(frozen=True, kw_only=True)
class Check:
    """A check, which is skipped if one of `needs` has failed.

    It runs `only` for a "host" whose expected configuration is known, to "publish" to one, or else for a "user".
    `promises`: what another index merely lacks is a fault of such a host.
    """

    name: str
    run: Callable[[Context], Iterator[Finding]]
    needs: tuple[str, ...] = ()
    only: Literal["host", "publish", "user"] | None = None
    promises: bool = False


CHECKS: tuple[Check, ...] = (
    Check(name="proxy", run=network.proxy),
    Check(name="dns", run=network.dns),
    Check(name="port 80", run=web_server.port_80, needs=("dns",), only="host", promises=True),
    Check(name="tcp", run=network.tcp, needs=("proxy", "dns"), promises=True),
    Check(name="http", run=network.encryption),
    Check(name="clock", run=network.clock, needs=("tcp",)),
    Check(name="tls", run=tls.check, needs=("tcp",)),
    Check(name="handshakes", run=web_server.handshakes, needs=("tcp",), only="host"),
    Check(name="strangers", run=web_server.other_hosts, needs=("tcp",), only="host"),
    Check(name="url", run=check_url, needs=("tcp", "tls"), promises=True),
    Check(name="promises", run=promises.check, needs=("url",), only="host"),
    Check(name="refusals", run=publish.refusals, needs=("url",), only="publish"),
    Check(name="credential", run=access.credential),
    Check(name="login", run=access.login, needs=("url", "credential")),
    Check(name="places", run=credential_sources.check, needs=("url",), only="user"),
    Check(name="names", run=promises.other_names, needs=("login",), only="host"),
    Check(name="publish", run=publish.check, needs=("login",), only="publish"),
    Check(name="reader", run=publish.reader, needs=("publish",), only="publish"),
    Check(name="anonymous", run=promises.anonymous, needs=("url",), only="host"),
    Check(name="side files", run=promises.side_files, needs=("publish",), only="publish"),
    Check(name="api", run=index_features.check, needs=("login",), promises=True),
    Check(name="install", run=publish.install, needs=("publish",), only="publish"),
    Check(name="clients", run=clients.check, only="user"),
    Check(name="resolve", run=resolve.check, needs=("login",), only="user"),
    Check(name="confusion", run=dependency_confusion.check, needs=("login",), only="user"),
)
_BY_NAME = {check.name: check for check in CHECKS}
# for a release before it is switched to (release_check), and after the probe was removed
RELEASE = tuple(replace(_BY_NAME[name], needs=()) for name in ("anonymous", "refusals", "publish", "reader", "api"))
REMOVED = (Check(name="removed", run=publish.removed),)


def examine(
    index: str | None,
    *,
    credential_file: Path | None = None,
    environ: Mapping[str, str],
    home: Path,
    cwd: Path,
    expected: Expected | None = None,
    seconds: float,
) -> Iterator[Finding]:
    """Check the index that `index` names, or else the default one; yield each finding as soon as it is known.

    End after about `seconds`, unless the index is `expected` to have a configuration.
    """
    try:
        address = index_url.resolve(index, environ=environ, home=home, cwd=cwd, by="URL")
        default = None if index else index_url.default_index(environ=environ, home=home, cwd=cwd)
    except PpmError as exc:
        yield Finding("index", "fail", exc.phrase, exc.hint)
        return
    sent, error = None, None
    try:
        sent = credential.find(address, file=credential_file, environ=environ, home=home)
    except CredentialError as exc:
        error = exc
    context = Context(
        address=address,
        credential=sent,
        unreadable=error,
        environ=environ,
        home=home,
        cwd=cwd,
        expected=expected,
        deadline=math.inf if expected else time.monotonic() + seconds,
    )
    checks = REMOVED if expected and expected.removed else CHECKS
    if checks is CHECKS:
        section = f"; its settings are in {address.section.source}" if address.section else ""
        source = default[1] if default else "the command line"
        yield Finding("index", "ok", f"{address.base}, from {source}{section}")
    applies = {None: True, "host": expected, "publish": expected and expected.publish, "user": not expected}
    chosen = [check for check in checks if applies[check.only]]
    if expected:
        with network.address_override(address.host, expected.address):
            yield from walk(context, chosen)
        return
    yield from time_limit.limited(
        lambda started: walk(context, chosen, started=started),
        context.deadline,
        hint=f"The server, or a network in between, is slow or stuck. To wait longer: ppmctl doctor {address.base}/"
        " --timeout 300",
    )


def walk(
    context: Context, checks: Sequence[Check], *, started: Callable[[str], None] = lambda _check: None
) -> Iterator[Finding]:
    """Run the checks in their order; call `started` with the name of each before it runs."""
    causes: dict[str, list[str]] = {}  # a check that failed or was skipped → the checks that failed
    for check in checks:
        if failed := list(dict.fromkeys(cause for name in check.needs for cause in causes.get(name, ()))):
            causes[check.name] = failed
            yield Finding(check.name, "skip", f"not tried, because of: {', '.join(failed)}")
            continue
        started(check.name)
        try:
            for finding in check.run(context):
                if finding.state == "warn" and check.promises and context.expected:
                    finding = replace(finding, state="fail")
                if finding.state == "fail" or (finding.state == "skip" and check.name == "login"):
                    causes[check.name] = [check.name]
                yield finding
        except (PpmError, OSError) as exc:
            causes[check.name] = [check.name]
            error = exc if isinstance(exc, PpmError) else _explained(exc)
            yield Finding(check.name, "fail", error.phrase, error.hint)


def _explained(exc: OSError) -> PpmError:
    if exc.filename:
        return PpmError(f"{exc.filename} can't be read: {exc.strerror}")
    return PpmError(f"the connection broke: {exc}")
