"""Turn the exception of a failed request into an error with its cause and what to do."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

from ppmctl.client.index_url import is_loopback
from ppmctl.errors import PpmError, Unreachable

_IN_CONTAINER = Path("/.dockerenv")  # Docker puts this file into every container
_LONGEST = 500  # characters of a cause


def explain(exc: Exception, url: str) -> PpmError:
    """Return the error for a request to `url` that failed with `exc`."""
    import ssl

    import requests
    from urllib3.exceptions import NameResolutionError

    parts = urlsplit(url)
    server, host = f"{parts.scheme}://{parts.netloc}", parts.hostname or ""
    chain = causes(exc)
    reason = _innermost(chain)
    if isinstance(exc, requests.exceptions.SSLError):
        untrusted = next((cause for cause in chain if isinstance(cause, ssl.SSLCertVerificationError)), None)
        if untrusted is not None:
            return PpmError(
                f"The certificate of {server} is not trusted: {untrusted.verify_message.rstrip('.')}.",
                hint="If your own certificate authority issued it, set REQUESTS_CA_BUNDLE=/path/ca.pem",
            )
        return PpmError(f"No TLS connection to {server}: {reason}.", hint="Does that port speak HTTPS?")
    if isinstance(exc, requests.exceptions.ProxyError):
        return PpmError(
            f"The proxy to {server} does not work: {reason}.",
            hint=f"Check HTTPS_PROXY and HTTP_PROXY; NO_PROXY={host} connects without the proxy.",
        )
    if isinstance(exc, requests.exceptions.Timeout):
        return Unreachable(f"{server} took too long to answer.", hint="Is it up, and reachable from here?")
    if isinstance(exc, requests.ConnectionError):
        if any(isinstance(cause, NameResolutionError) for cause in chain):
            hint = "Is the name right? Is there a network?"
            if "." not in host:
                hint += " A container's name has an address only while it runs, and only in its own networks."
            return Unreachable(f"The host {host} has no address.", hint=hint)
        if any(isinstance(cause, ConnectionRefusedError) for cause in chain):
            hint = (
                "Is the index started, and is the port right? `ppmctl serve --root DIR` starts one on this machine."
            )
            if _IN_CONTAINER.exists() and is_loopback(host):
                hint += f" This is a container, and {host} is the container itself: an index that runs outside of it"
                hint += " has another host name."
            return Unreachable(f"Nothing listens at {server}.", hint=hint)
        return Unreachable(f"The connection to {server} failed: {reason}.")
    if isinstance(exc, requests.exceptions.ChunkedEncodingError):
        return Unreachable(f"The connection to {server} broke before the whole answer arrived.")
    return PpmError(f"The request to {server} failed: {reason}.")


def causes(exc: BaseException) -> list[BaseException]:
    """Return `exc` and its causes; requests and urllib3 put them into `reason`, the arguments and __cause__."""
    chain: list[BaseException] = []
    waiting: list[object] = [exc]
    while waiting:
        cause = waiting.pop(0)
        if isinstance(cause, BaseException) and cause not in chain:
            chain.append(cause)
            waiting += [getattr(cause, "reason", None), cause.__cause__, cause.__context__, *cause.args]
    return chain


def _innermost(chain: list[BaseException]) -> str:
    """Return the last cause on one line: it is the one that a user can act on."""
    texts = [cause.strerror for cause in chain if isinstance(cause, OSError) and cause.strerror]
    text = texts[-1] if texts else str(chain[-1])
    return " ".join(text.split())[:_LONGEST].rstrip(".")
