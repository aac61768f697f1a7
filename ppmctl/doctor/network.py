"""Check whether the index can be reached: the proxy, the DNS, a connection, and the time on both sides."""

from __future__ import annotations

import base64
import contextlib
import email.utils
import errno
import http.client
import os
import re
import socket
import ssl
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, cast
from urllib.parse import unquote, urlsplit

from ppmctl.client.http import CONNECT_TIMEOUT, origin
from ppmctl.client.http import proxy as proxy_to
from ppmctl.doctor.finding import Context, Finding

_PROXY_PORTS = {"http": 80, "https": 443}
_PROXY_VARIABLES = ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "https_proxy", "http_proxy", "all_proxy")
_NO_ROUTE = (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EADDRNOTAVAIL)  # on a machine without IPv6
_REFUSED = "Tunnel connection failed: "  # how http.client starts the message
_HEAD_TIMEOUT = 5.0  # seconds
_SKEW, _LARGE_SKEW = timedelta(seconds=60), timedelta(minutes=5)


class ProxyFailed(OSError):
    """The proxy refuses the connection; the message is why."""


def proxy(context: Context) -> Iterator[Finding]:
    """Check the proxy that the environment names."""
    url = proxy_to(context.address.base)
    if url is None:
        is_set = any(context.environ.get(name) for name in _PROXY_VARIABLES)
        yield Finding("proxy", "ok", f"none for {context.address.host}: NO_PROXY has it" if is_set else "none")
        return
    variable = next((name for name in _PROXY_VARIABLES if context.environ.get(name) == url), "the environment")
    without_credential = re.sub("(://|^).*@", r"\1", url, flags=re.DOTALL)
    shown = f"{without_credential} ({variable})"
    excluded = context.environ.get("NO_PROXY") or context.environ.get("no_proxy") or ""
    hint = f"Without it: export NO_PROXY={f'{excluded},' if excluded else ''}{context.address.host}"
    try:
        connection(context).close()
    except ProxyFailed as exc:
        yield Finding("proxy", "fail", f"{shown} {exc}", hint)
    except OSError as exc:
        yield Finding("proxy", "fail", f"{shown} can't be reached: {_why(exc)}", hint)
    else:
        if context.address.is_loopback:
            yield Finding("proxy", "warn", f"{shown} is used for an index on this machine", hint)
        else:
            yield Finding("proxy", "ok", f"{shown} connects to the index")


def dns(context: Context) -> Iterator[Finding]:
    """Check whether the index's host has an address. If there is a proxy, it looks it up."""
    host = context.address.host
    if context.expected and context.expected.address:
        yield Finding("dns", "ok", f"not asked: --expect has the address {context.expected.address}")
        return
    if proxy_to(context.address.base) is not None:
        yield Finding("dns", "ok", f"the proxy looks {host} up")
        return
    try:
        entries = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as exc:
        hint = f"Is it spelt right? getent hosts {host}  asks again; /etc/resolv.conf names the servers."
        yield Finding("dns", "fail", f"{host} has no address: {_why(exc)}", hint)
        return
    addresses = dict.fromkeys(str(entry[4][0]) for entry in entries)
    if list(addresses) != [host]:
        yield Finding("dns", "ok", f"{host} is {', '.join(addresses)}")


def tcp(context: Context) -> Iterator[Finding]:
    """Check whether the index's port answers at each of its addresses."""
    yield listening(context, origin(context.address.base)[2], check="tcp")


def listening(context: Context, port: int, *, check: str) -> Finding:
    """Check whether a port of the index's host answers at each of its addresses."""
    host, tried = context.address.host, _try_addresses(context, port)
    errors = {to: exc for to, exc in tried.items() if exc and not (":" in to and exc.errno in _NO_ROUTE)}
    if errors and any(exc is None for exc in tried.values()):
        details = "; ".join(f"{to}: {_why(exc)}" for to, exc in errors.items())
        hint = "Remove the DNS record of an address that the host no longer has; or look for a firewall in between."
        return Finding(check, "warn", f"{host} does not answer at port {port} of all its addresses ({details})", hint)
    exc = next((exc for exc in (errors or tried).values() if exc), None)
    if exc is None or not (errors or all(tried.values())):
        return Finding(check, "ok", f"{host} answers at port {port}")
    hint = f"A firewall, a VPN that is off, or a wrong address: nc -vz {host} {port}  tries only this."
    if isinstance(exc, ConnectionRefusedError):
        start = " Here, ppmctl serve --root DIR  starts one." if context.address.is_loopback else ""
        hint = f"Is the index started, and the port right?{start}"
    return Finding(check, "fail", f"{host} does not answer at port {port}: {_why(exc)}", hint)


def _try_addresses(context: Context, port: int) -> dict[str, OSError | None]:
    """Return for each address of the index's host why the connection fails, None if it does not."""
    host = context.address.host
    try:
        if proxy_to(context.address.base) is not None:
            connection(context).close()
            return {host: None}
        entries = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as exc:
        return {host: exc}
    tried: dict[str, OSError | None] = {}
    for to in dict.fromkeys(str(entry[4][0]) for entry in entries):
        try:
            socket.create_connection((to, port), timeout=CONNECT_TIMEOUT).close()
            tried[to] = None
        except OSError as exc:
            tried[to] = exc
    return tried


@contextlib.contextmanager
def address_override(host: str, address: str) -> Iterator[None]:
    """Connect this process to `address`, if it is not "", instead of what the DNS has for `host`.

    requests, urllib3 and http.client have no option for it: with the address in the URL, TLS would ask for its name.
    """
    original = socket.getaddrinfo

    def getaddrinfo(name: Any, *arguments: Any, **options: Any) -> Any:
        return original(address if address and name == host else name, *arguments, **options)

    socket.getaddrinfo = cast("Any", getaddrinfo)
    try:
        yield
    finally:
        socket.getaddrinfo = original


def encryption(context: Context) -> Iterator[Finding]:
    """Find plain HTTP to another machine."""
    address = context.address
    if address.is_encrypted:
        return
    if address.is_loopback:
        yield Finding("http", "ok", "plain HTTP, to this machine")
    elif address.is_trusted:
        yield Finding("http", "ok", f"plain HTTP, which PPMCTL_TRUSTED_HOST allows for {address.host}")
    else:
        message = "plain HTTP: anyone on the network can read the credential and change packages, and pip ignores"
        hint = f"Does https://{address.host}/ work? Otherwise: export PPMCTL_TRUSTED_HOST={address.host}"
        hint += ", and for pip: ppmctl client-config pip"
        yield Finding("http", "warn", f"{message} such an index unless it is a trusted-host", hint)


def clock(context: Context) -> Iterator[Finding]:
    """Compare this machine's time with the index's: certificates and tokens expire by it."""
    difference = _difference(context)
    if difference is None:
        yield Finding("clock", "skip", "the index does not send its time")
        return
    if abs(difference) <= _SKEW:
        yield Finding("clock", "ok", "this machine and the index have the same time")
        return
    which = "behind" if difference < timedelta() else "ahead of"
    message = f"this machine's clock is {_rounded(abs(difference))} {which} the index's"
    hint = "See which of them is wrong: timedatectl; and on that machine: sudo timedatectl set-ntp true"
    yield Finding("clock", "fail" if abs(difference) > _LARGE_SKEW else "warn", message, hint)


def _difference(context: Context) -> timedelta | None:
    """Return how far the index's time is behind. No secret is sent: no certificate is verified yet."""
    _scheme, host, _port = origin(context.address.base)
    request = http.client.HTTPConnection(host)
    try:
        encrypted = context.address.is_encrypted
        with handshake(context, trust_any()) if encrypted else connection(context) as request.sock:
            request.sock.settimeout(_HEAD_TIMEOUT)  # another check reports a server that does not answer
            request.request("HEAD", urlsplit(context.address.simple).path, headers={"Connection": "close"})
            answer = request.getresponse()
        now = datetime.now(UTC)
        date = email.utils.parsedate_to_datetime(answer.headers["Date"])
        age = answer.headers.get("Age", "")  # of an answer from a cache
        date = date.replace(tzinfo=date.tzinfo or UTC) + timedelta(seconds=int(age) if age.isdecimal() else 0)
    except (OSError, http.client.HTTPException, ValueError, TypeError):
        return None
    return now - date


def connection(context: Context) -> socket.socket:
    """Connect to the index's port, through the proxy if there is one; OSError, and ProxyFailed."""
    _scheme, host, port = origin(context.address.base)
    host = host.strip("[]")
    proxy_url = proxy_to(context.address.base)
    if proxy_url is None:
        return socket.create_connection((host, port), timeout=CONNECT_TIMEOUT)
    parts = urlsplit(proxy_url)
    if parts.scheme not in _PROXY_PORTS:
        raise ProxyFailed(f"can't be checked: doctor knows no {parts.scheme} proxies")
    proxy_port = parts.port or _PROXY_PORTS[parts.scheme]
    tunnel = http.client.HTTPConnection(parts.hostname or "", proxy_port, timeout=CONNECT_TIMEOUT)
    credential = f"{unquote(parts.username or '')}:{unquote(parts.password or '')}".encode()
    basic = {"Proxy-Authorization": f"Basic {base64.b64encode(credential).decode()}"}
    tunnel.set_tunnel(host, port, basic if parts.username is not None else {})
    try:
        tunnel.connect()
    except OSError as exc:
        if not str(exc).startswith(_REFUSED):
            raise
        raise ProxyFailed(f"refuses the connection: {str(exc).removeprefix(_REFUSED)}") from exc
    except http.client.HTTPException as exc:
        raise ProxyFailed("does not answer in HTTP") from exc
    return tunnel.sock


def handshake(context: Context, tls: ssl.SSLContext, *, name: str | None = None) -> ssl.SSLSocket:
    """Connect with TLS to the index, by the name of its host or by `name`; "" sends no name."""
    line = connection(context)
    try:
        return tls.wrap_socket(line, server_hostname=context.address.host if name is None else name or None)
    except BaseException:
        line.close()
        raise


def trust_any() -> ssl.SSLContext:
    """Return a TLS context that verifies no certificate; nothing secret may be sent with it."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def _rounded(time: timedelta) -> str:
    seconds = int(time.total_seconds())
    for unit, size in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * size:
            return f"{seconds // size} {unit}"
    return f"{seconds} seconds"


def _why(exc: Exception) -> str:
    if isinstance(exc, TimeoutError):
        return f"no answer within {CONNECT_TIMEOUT:.0f} seconds"
    return str((isinstance(exc, OSError) and (exc.strerror or (exc.errno and os.strerror(exc.errno)))) or exc)
