"""POST a body to a server that is no index, within limits: no redirect is followed, little of the answer is read."""

from __future__ import annotations

import threading
from collections.abc import Mapping

from ppmctl.client.connection_errors import explain
from ppmctl.client.http import Answer, Transport
from ppmctl.errors import PpmError, Unreachable

READ_TIMEOUT = 15.0  # seconds without a byte
MAX_ANSWER = 4096  # bytes of the body that are read


def post(url: str, body: bytes, headers: Mapping[str, str], *, within: float) -> Answer:
    """Send one request and return the answer with the beginning of its body, within so many seconds.

    Proxies and authorities are those of the environment, as for an index. Raise PpmError if no answer came.
    """
    results: list[Answer | PpmError] = []
    # a thread, because a server that sends a byte now and then is never late for the socket
    thread = threading.Thread(target=lambda: results.append(_post(url, body, headers)), daemon=True)
    thread.start()
    thread.join(within)
    result = results[0] if results else Unreachable(f"There was no whole answer within {within:g} seconds.")
    if isinstance(result, PpmError):
        raise result
    return result


def _post(url: str, body: bytes, headers: Mapping[str, str]) -> Answer | PpmError:
    try:
        with (
            Transport(None, "") as transport,
            transport.open("POST", url, READ_TIMEOUT, headers=headers, data=body) as response,
        ):
            answered = {name.lower(): value for name, value in response.headers.items()}
            content: bytes = response.raw.read(MAX_ANSWER, decode_content=True) or b""
            reason = response.reason or ""
            return Answer(url=url, status=response.status_code, reason=reason, headers=answered, body=content)
    except PpmError as exc:
        return exc
    except Exception as exc:  # of requests, urllib3 or http.client: whatever a server may cause
        return explain(exc, url)
