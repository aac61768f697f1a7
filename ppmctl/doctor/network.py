"""Whether the index can be reached: a proxy in between, its name, a connection, and what time it is there."""

from __future__ import annotations

import base64
import contextlib
import email.utils
import errno
import http.client
import os
import socket
import ssl
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import unquote, urlsplit

from ppmctl.client.http import CONNECT_TIMEOUT, origin
from ppmctl.client.http import proxy as proxy_to
from ppmctl.doctor.finding import Finding, Visit

_PROXY_PORTS = {"http": 80, "https": 443}
_PROXY_VARIABLES = ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "https_proxy", "http_proxy", "all_proxy")
_NO_ROUTE = (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EADDRNOTAVAIL)  # as a machine without IPv6 has it
_REFUSED = "Tunnel connection failed: "  # as http.client has it
_SKEW, _MUCH_SKEW = timedelta(seconds=60), timedelta(minutes=5)


class ProxyFailed(OSError):
    """The proxy does not let through; in a few words why."""


def proxy(visit: Visit) -> Iterator[Finding]:
    """A proxy that the environment puts in the way, and whether it lets through."""
    address, found = visit.address, proxy_to(visit.address.base)
    if found is None:
        if any(visit.environ.get(name) for name in _PROXY_VARIABLES):
            yield Finding("proxy", "ok", f"none for {address.host}: NO_PROXY has it")
        else:
            yield Finding("proxy", "ok", "none")
        return
    shown, variable = _without_secret(found), _variable(visit, found)
    mend = f"Without it: export NO_PROXY={_with_host(visit)}"
    try:
        connection(visit).close()
    except ProxyFailed as exc:
        yield Finding("proxy", "fail", f"{shown} ({variable}) does not let through: {exc}", mend)
    except OSError as exc:
        yield Finding("proxy", "fail", f"{shown} ({variable}) can't be reached: {_why(exc)}", mend)
    else:
        if address.is_loopback:
            yield Finding("proxy", "warn", f"{shown} ({variable}) is asked for what is on this machine", mend)
        else:
            yield Finding("proxy", "ok", f"{shown} ({variable}) lets through")


def names(visit: Visit) -> Iterator[Finding]:
    """DNS: whether the index's host has an address. Where a proxy is in between, it is the one that asks."""
    host = visit.address.host
    if visit.expected and visit.expected.address:
        yield Finding("dns", "ok", f"not asked: the address is to be {visit.expected.address}")
        return
    if proxy_to(visit.address.base) is not None:
        yield Finding("dns", "ok", f"the proxy looks {host} up")
        return
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as exc:
        mend = f"Is it spelt right? getent hosts {host}  asks again; /etc/resolv.conf says who is asked."
        yield Finding("dns", "fail", f"{host} has no address: {_why(exc)}", mend)
        return
    addresses = dict.fromkeys(str(entry[4][0]) for entry in found)
    if list(addresses) != [host]:
        yield Finding("dns", "ok", f"{host} is {', '.join(addresses)}")


def tcp(visit: Visit) -> Iterator[Finding]:
    """Whether something listens, at each address that the name has."""
    yield listening(visit, origin(visit.address.base)[2], check="tcp")


def listening(visit: Visit, port: int, *, check: str) -> Finding:
    """Find whether something listens at a port of the index's host; each of its addresses is tried."""
    host, tried = visit.address.host, _tried(visit, port)
    wrong = {to: exc for to, exc in tried.items() if exc and not (":" in to and exc.errno in _NO_ROUTE)}
    if wrong and any(exc is None for exc in tried.values()):
        said = "; ".join(f"{to}: {_why(exc)}" for to, exc in wrong.items())
        mend = "Take away the DNS record of an address that it no longer has; or see what is between: a firewall."
        return Finding(check, "warn", f"{host} does not answer at port {port} of all its addresses ({said})", mend)
    exc = next((exc for exc in (wrong or tried).values() if exc), None)
    if exc is None or not (wrong or all(tried.values())):
        return Finding(check, "ok", f"{host} answers at port {port}")
    here = " Here, ppmctl serve --root DIR  starts one." if visit.address.is_loopback else ""
    mend = (
        f"Is the index started, and the port right?{here}"
        if isinstance(exc, ConnectionRefusedError)
        else f"A firewall, a VPN that is off, or a wrong address: nc -vz {host} {port}  tries it alone."
    )
    return Finding(check, "fail", f"{host} does not answer at port {port}: {_why(exc)}", mend)


def _tried(visit: Visit, port: int) -> dict[str, OSError | None]:
    """Return why each address of the index's host can't be connected to, None for one that can."""
    host = visit.address.host
    try:
        if proxy_to(visit.address.base) is not None:
            connection(visit).close()
            return {host: None}
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as exc:
        return {host: exc}
    tried: dict[str, OSError | None] = {}
    for to in dict.fromkeys(str(entry[4][0]) for entry in found):
        try:
            socket.create_connection((to, port), timeout=CONNECT_TIMEOUT).close()
            tried[to] = None
        except OSError as exc:
            tried[to] = exc
    return tried


@contextlib.contextmanager
def leading(host: str, at: str) -> Iterator[None]:
    """Have this process take `at`, if it is not "", for the address of `host`, while the block lasts.

    requests, urllib3 and http.client know no other way: a connection by the address would be one to another name.
    """
    ask = socket.getaddrinfo

    def answer(name: Any, *arguments: Any, **options: Any) -> Any:
        return ask(at if at and name == host else name, *arguments, **options)

    socket.getaddrinfo = answer  # type: ignore[assignment]  # mypy compares overloads; the arguments are passed on
    try:
        yield
    finally:
        socket.getaddrinfo = ask


def encryption(visit: Visit) -> Iterator[Finding]:
    """Plain HTTP to another machine."""
    address = visit.address
    if address.is_encrypted:
        return
    if address.is_loopback:
        yield Finding("http", "ok", "plain HTTP, within this machine")
    elif address.is_trusted:
        yield Finding("http", "ok", f"plain HTTP, and PPMCTL_TRUSTED_HOST says that {address.host} is right for it")
    else:
        said = "whoever listens on the way can read the credential and change packages"
        pip = "pip ignores such an index unless it is a trusted-host"
        mend = f"Does https://{address.host}/ work? Otherwise: export PPMCTL_TRUSTED_HOST={address.host}"
        mend += ", and for pip: ppmctl client-config pip"
        yield Finding("http", "warn", f"plain HTTP: {said}, and {pip}", mend)


def clock(visit: Visit) -> Iterator[Finding]:
    """Whether it is the same time there: certificates and expiries are judged by it."""
    apart = _apart(visit)
    if apart is None:
        yield Finding("clock", "skip", "the index does not say what time it is there")
        return
    if abs(apart) <= _SKEW:
        yield Finding("clock", "ok", "it is the same time here and there")
        return
    which = "behind" if apart < timedelta() else "ahead of"
    said = f"this machine's clock is {_long(abs(apart))} {which} the index's"
    mend = "See which of the two is wrong: timedatectl; and there: sudo timedatectl set-ntp true"
    yield Finding("clock", "fail" if abs(apart) > _MUCH_SKEW else "warn", said, mend)


def _apart(visit: Visit) -> timedelta | None:
    """How far an answer's time is behind the time here. No secret is sent: nobody is trusted yet."""
    _scheme, host, _port = origin(visit.address.base)
    asked = http.client.HTTPConnection(host, timeout=CONNECT_TIMEOUT)
    try:
        with shaken(visit, anybody()) if visit.address.is_encrypted else connection(visit) as asked.sock:
            asked.request("HEAD", urlsplit(visit.address.simple).path, headers={"Connection": "close"})
            answer = asked.getresponse()
        now = datetime.now(UTC)
        said = email.utils.parsedate_to_datetime(answer.headers["Date"])
        age = answer.headers.get("Age", "")  # a cache's answer is old
        said = said.replace(tzinfo=said.tzinfo or UTC) + timedelta(seconds=int(age) if age.isdecimal() else 0)
    except (OSError, http.client.HTTPException, ValueError, TypeError):
        return None
    return now - said


def connection(visit: Visit) -> socket.socket:
    """A connection to the index's port, through the proxy if there is one. OSError, among them ProxyFailed."""
    _scheme, host, port = origin(visit.address.base)
    host = host.strip("[]")
    between = proxy_to(visit.address.base)
    if between is None:
        return socket.create_connection((host, port), timeout=CONNECT_TIMEOUT)
    parts = urlsplit(between)
    if parts.scheme not in _PROXY_PORTS:
        raise ProxyFailed(f"a {parts.scheme} proxy can't be tried here")
    tunnel = http.client.HTTPConnection(
        parts.hostname or "", parts.port or _PROXY_PORTS[parts.scheme], timeout=CONNECT_TIMEOUT
    )
    known = f"{unquote(parts.username or '')}:{unquote(parts.password or '')}".encode()
    basic = {"Proxy-Authorization": f"Basic {base64.b64encode(known).decode()}"}
    tunnel.set_tunnel(host, port, basic if parts.username is not None else {})
    try:
        tunnel.connect()
    except OSError as exc:
        if not str(exc).startswith(_REFUSED):
            raise
        raise ProxyFailed(str(exc).removeprefix(_REFUSED)) from exc
    except http.client.HTTPException as exc:
        raise ProxyFailed("it says nothing that makes sense") from exc
    return tunnel.sock


def shaken(visit: Visit, context: ssl.SSLContext, *, name: str | None = None) -> ssl.SSLSocket:
    """Return a finished handshake with what answers for the index's host, or for `name`; "" names none."""
    line = connection(visit)
    try:
        return context.wrap_socket(line, server_hostname=visit.address.host if name is None else name or None)
    except BaseException:
        line.close()
        raise


def anybody() -> ssl.SSLContext:
    """Return what shakes hands with any server; nothing that is secret may go there."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def _variable(visit: Visit, url: str) -> str:
    return next((name for name in _PROXY_VARIABLES if visit.environ.get(name) == url), "the environment")


def _with_host(visit: Visit) -> str:
    before = visit.environ.get("NO_PROXY") or visit.environ.get("no_proxy") or ""
    return f"{before},{visit.address.host}" if before else visit.address.host


def _without_secret(url: str) -> str:
    return url if "@" not in url else f"{url.partition('://')[0]}://{url.rpartition('@')[2]}"


def _long(time: timedelta) -> str:
    seconds = int(time.total_seconds())
    for unit, size in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * size:
            return f"{seconds // size} {unit}"
    return f"{seconds} seconds"


def _why(exc: Exception) -> str:
    if isinstance(exc, TimeoutError):
        return f"no answer within {CONNECT_TIMEOUT:.0f} seconds"
    return str((isinstance(exc, OSError) and (exc.strerror or (exc.errno and os.strerror(exc.errno)))) or exc)
