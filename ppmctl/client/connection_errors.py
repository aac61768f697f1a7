"""Why a request over HTTP failed, as a cause and what to do."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

from ppmctl.client.index_url import is_loopback
from ppmctl.errors import PpmError, Unreachable

_IN_CONTAINER = Path("/.dockerenv")  # Docker's mark
_LONGEST = 500  # characters of a cause


def explain(exc: Exception, url: str) -> PpmError:
    """The failure of a request to `url` as a cause and a remedy."""
    import ssl

    import requests
    from urllib3.exceptions import NameResolutionError

    parts = urlsplit(url)
    where, host = f"{parts.scheme}://{parts.netloc}", parts.hostname
    if isinstance(exc, requests.exceptions.SSLError):
        untrusted = [cause for cause in causes(exc) if isinstance(cause, ssl.SSLCertVerificationError)]
        if untrusted:
            return PpmError(
                f"The certificate of {where} is not trusted: {untrusted[0].verify_message.rstrip('.')}.",
                hint="With a certificate authority of your own, name its file: REQUESTS_CA_BUNDLE=/path/ca.pem",
            )
        return PpmError(
            f"No TLS connection to {where}: {_cause(exc)}.", hint="Is it HTTPS that is spoken at that host and port?"
        )
    if isinstance(exc, requests.exceptions.ProxyError):
        return PpmError(
            f"The proxy to {where} does not work: {_cause(exc)}.",
            hint=f"See HTTPS_PROXY and HTTP_PROXY; NO_PROXY={host} goes without it.",
        )
    if isinstance(exc, requests.exceptions.Timeout):
        return Unreachable(f"{where} took too long to answer.", hint="Is it up, and reachable from here?")
    if isinstance(exc, requests.ConnectionError):
        if any(isinstance(cause, NameResolutionError) for cause in causes(exc)):
            hint = "Is its name right? Is there a network?"
            if "." not in (host or ""):
                hint += " A container's name leads to it while it runs, for containers on a network with it."
            return Unreachable(f"The host {host} has no address.", hint=hint)
        if any(isinstance(cause, ConnectionRefusedError) for cause in causes(exc)):
            hint = "Is the index started, and is the port right? Here, `ppmctl serve --root DIR` starts one."
            if _IN_CONTAINER.exists() and is_loopback(host or ""):
                hint = f"This is a container, and {host} is itself: name the index as it is seen from here."
            return Unreachable(f"Nothing listens at {where}.", hint=hint)
        return Unreachable(f"The connection to {where} failed: {_cause(exc)}.")
    if isinstance(exc, requests.exceptions.ChunkedEncodingError):
        return Unreachable(f"The connection to {where} broke before the answer was whole.")
    return PpmError(f"The request to {where} failed: {_cause(exc)}.")


def causes(exc: BaseException) -> list[BaseException]:
    """`exc` and what it comes from: requests and urllib3 hold causes in `reason`, in arguments, and as __cause__."""
    found: list[BaseException] = []
    waiting: list[object] = [exc]
    while waiting:
        cause = waiting.pop(0)
        if isinstance(cause, BaseException) and cause not in found:
            found.append(cause)
            waiting += [getattr(cause, "reason", None), cause.__cause__, cause.__context__, *cause.args]
    return found


def _cause(exc: BaseException) -> str:
    """The innermost cause, which is the one that a person can act on, on one line."""
    inner = [cause for cause in causes(exc) if isinstance(cause, OSError) and cause.strerror]
    said = inner[-1].strerror if inner else causes(exc)[-1]
    return " ".join(str(said).split())[:_LONGEST].rstrip(".")
