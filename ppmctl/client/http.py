"""Send one HTTP request to an index, and explain a failure. Retries are in `retry`."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from io import BytesIO
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import quote, urldefrag, urljoin

from ppmctl import __version__
from ppmctl.client.connection_errors import explain
from ppmctl.client.credential import PLACES, Credential
from ppmctl.errors import CredentialError, PpmError, Unavailable

if TYPE_CHECKING:
    import ssl

    import requests

CONNECT_TIMEOUT = 10.0  # seconds
READ_TIMEOUT = 60.0

_PORTS = {"http": 80, "https": 443}
_LONGEST = 500  # characters of an index's text that are shown
_CHUNK = 1 << 16  # bytes
_CA_VARIABLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")  # as in requests: the first replaces all other authorities
_MAX_ANSWER = 128 << 20  # bytes; the list of projects of the public index has a third of that
_MAX_REFUSAL = 1 << 20
_MAX_REDIRECTS = 5

ASK_ADMIN = "Ask an administrator of the index, or use another credential."

# Statuses after which the same request may work in a moment: the server is busy, restarting or being repaired.
TEMPORARY = frozenset({408, 429, 500, 502, 503, 504})


@dataclass(frozen=True, kw_only=True)
class Answer:
    """An answer. `location` is the absolute URL of a redirect, or ""; names of headers are in lower case."""

    url: str
    status: int
    reason: str
    headers: Mapping[str, str]
    body: bytes
    location: str = ""

    @property
    def content_type(self) -> str:
        """The media type without parameters, in lower case."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()

    @property
    def retry_after(self) -> str:
        """The header Retry-After, or ""."""
        return self.headers.get("retry-after", "").strip()

    @property
    def says(self) -> str:
        """The index's own explanation: the first line of a text body, or the reason of the status line."""
        text = self.body[:4096].decode("utf-8", "replace").strip() if self.content_type == "text/plain" else ""
        line = (text or self.reason or "no reason given").splitlines()[0]
        return "".join(character for character in line if character.isprintable())[:_LONGEST].rstrip(".")

    @property
    def values(self) -> dict[str, Any]:
        """The JSON object of a 200 or 201; empty for every other answer."""
        try:
            values = json.loads(self.body) if self.status in (200, 201) else None
        except (ValueError, RecursionError):
            return {}
        return values if isinstance(values, dict) else {}


class Transport:
    """Sends requests with the credential for one index, or without one. No other server gets the credential."""

    def __init__(self, credential: Credential | None, home: str, *, ca: str | None = None) -> None:
        """`home` is the URL of the index, or ""; `ca` is a file of authorities to trust instead of the usual ones."""
        import requests

        self.credential = credential
        self.authorities = ca
        self._home = home
        self._session = requests.Session()
        self._session.auth = self._authenticate
        self._session.headers["User-Agent"] = f"ppmctl/{__version__} Python/{platform.python_version()}"
        if ca is None and not any(os.environ.get(variable) for variable in _CA_VARIABLES):
            self._session.mount("https://", _trusting_the_system())

    def is_home(self, url: str) -> bool:
        """Return whether a request to `url` goes to the server of the index."""
        return bool(self._home) and origin(url) == origin(self._home)

    def _authenticate(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        # Set even without a credential: otherwise requests reads a .netrc by itself.
        from requests.auth import HTTPBasicAuth

        if self.credential is None or not self.is_home(request.url or ""):
            return request
        username, secret = self.credential.username, self.credential.secret.reveal()
        signed: requests.PreparedRequest = HTTPBasicAuth(username.encode(), secret.encode())(request)
        return signed

    def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        data: Any = None,
        read_timeout: float = READ_TIMEOUT,
    ) -> Answer:
        """Send one request and return the whole answer, whatever its status.

        Raise Unreachable if no answer came, PpmError if a retry can't help (TLS, a proxy, a bad URL, a huge answer).
        """
        try:
            with self.open(method, url, read_timeout, headers=headers, data=data) as response:
                return _answer(response, url, body=_read(response, url, _MAX_ANSWER))
        except OSError as exc:  # the base of requests' errors, and the error for a missing file of authorities
            raise explain(exc, url) from exc

    def receive(self, url: str, sink: Callable[[bytes], object], *, read_timeout: float = READ_TIMEOUT) -> Answer:
        """GET `url` and pass the body of a 200 to `sink` in pieces; any other answer is returned with its body.

        Raise Unreachable if no answer came or it broke off, PpmError as `request` does.
        """
        import requests

        try:
            with self.open("GET", url, read_timeout, headers={"Accept-Encoding": "identity"}) as response:
                if response.status_code != 200:
                    return _answer(response, url, body=_read(response, url, _MAX_REFUSAL))
                for chunk in response.iter_content(_CHUNK):
                    sink(chunk)
                return _answer(response, url, body=b"")
        except requests.RequestException as exc:
            raise explain(exc, url) from exc

    def open(self, method: str, url: str, read_timeout: float, **more: Any) -> requests.Response:
        timeout = (min(CONNECT_TIMEOUT, read_timeout), read_timeout)
        return self._session.request(
            method, url, timeout=timeout, allow_redirects=False, stream=True, verify=self.authorities, **more
        )

    def ask(self, method: str, url: str, *, headers: Mapping[str, str] | None = None, values: Any = None) -> Answer:
        """Send one request, with `values` as JSON, and return the answer as `checked` does."""
        data = None if values is None else json.dumps(values)
        if data is not None:
            headers = {"Content-Type": "application/json", **(headers or {})}
        return self.checked(self.request(method, url, headers=headers, data=data))

    def checked(self, answer: Answer, what: str = "") -> Answer:
        """Return `answer`, or raise the error for a status that means the same to every request.

        CredentialError for a 401 or 403 from the index; Unavailable for TEMPORARY. `what` is that of `failed`.
        """
        if answer.status in (401, 403) and self.is_home(answer.url):
            raise denied(answer, self.credential, base=self._home)
        if answer.status in TEMPORARY:
            error = failed(answer, what, hint="Try again in a moment; the index's own log may give the reason.")
            raise Unavailable(error.message, hint=error.hint, retry_after=answer.retry_after)
        return answer

    @staticmethod
    def followed(
        url: str, send: Callable[[str], Answer], *, may_follow: Callable[[str], bool] = lambda _location: True
    ) -> Answer:
        """Follow redirects if `may_follow`, and return the last answer. Raise PpmError for a circle or plain HTTP."""
        for _ in range(_MAX_REDIRECTS + 1):
            answer = send(url)
            if not answer.location or not may_follow(answer.location):
                return answer
            if origin(url)[0] == "https" and origin(answer.location)[0] != "https":
                raise PpmError(f"{url} redirects to plain HTTP: {answer.location}.")
            url = answer.location
        raise PpmError(f"{url} redirects too many times.")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self._session.close()


def authorities(environ: Mapping[str, str]) -> tuple[str, str]:
    """Return the path of the trusted certificate authorities, and the variable that sets it, or a description."""
    for variable in (*_CA_VARIABLES, "SSL_CERT_FILE", "SSL_CERT_DIR"):
        if value := environ.get(variable):
            return value, variable
    import ssl

    paths = ssl.get_default_verify_paths()
    return paths.cafile or paths.capath or paths.openssl_cafile, "this system, and certifi"


def proxy(url: str) -> str | None:
    """Return the proxy for a request to `url` by the environment, or None; its URL may hold a credential."""
    from requests.utils import get_environ_proxies, select_proxy

    selected: str | None = select_proxy(url, get_environ_proxies(url))
    return selected


def _trusting_the_system() -> requests.adapters.HTTPAdapter:
    """Return an adapter that trusts the authorities of this system too, as pip and curl do.

    SSL_CERT_FILE and SSL_CERT_DIR replace those of the system, as in OpenSSL.
    """
    from requests.adapters import HTTPAdapter

    class Adapter(HTTPAdapter):
        def build_connection_pool_key_attributes(self, *args: Any, **options: Any) -> Any:
            context = _system_context(os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR"))
            host, pool = super().build_connection_pool_key_attributes(*args, **options)
            return host, {**pool, "ssl_context": context}

    return Adapter()


@cache
def _system_context(_file: str | None, _folder: str | None) -> ssl.SSLContext:
    """Load the authorities of this system, which takes 20 ms; the arguments are only keys of the cache."""
    from urllib3.util.ssl_ import create_urllib3_context

    context = create_urllib3_context()
    context.load_default_certs()
    return context


def origin(url: str) -> tuple[str, str, int]:
    """Return the scheme, host and port that a request to `url` goes to. Raise PpmError if `url` has none."""
    # The parser of the library that connects: for "http://a\@b/" it connects to a, and other parsers return b.
    from urllib3.exceptions import LocationParseError
    from urllib3.util import parse_url

    try:
        parts = parse_url(url)
    except LocationParseError as exc:
        raise PpmError(f"{url!r} is not a URL.") from exc
    scheme = parts.scheme or ""
    if scheme not in _PORTS or not parts.host:
        raise PpmError(f"{url!r} is not a URL that starts with https:// or http://, and a host.")
    return scheme, parts.host.lower(), parts.port or _PORTS[scheme]


def absolute(base: str, target: str) -> str:
    """Return the URL of the link `target` on the page `base`, without a fragment. Raise PpmError if it is invalid."""
    try:
        url, _fragment = urldefrag(urljoin(base, target))
    except ValueError as exc:
        raise PpmError(f"{base} has a link that is not a URL: {target[:_LONGEST]!r}.") from exc
    # quoted as requests does, and safe to print on a terminal
    return "".join(
        letter if letter.isprintable() and letter != " " else quote(letter, errors="replace") for letter in url
    )


def failed(answer: Answer, what: str = "", *, hint: str = "") -> PpmError:
    """Return the error for an answer that the caller can't use.

    `what` is what failed, such as "x.whl was refused"; by default the error names the URL.
    """
    failure = f"{what} ({answer.status})" if what else f"{answer.url} answered {answer.status}"
    return PpmError(f"{failure}: {answer.says}.", hint=hint)


def denied(answer: Answer, credential: Credential | None, *, base: str) -> CredentialError:
    """Return the error for a 401 or 403 from the index at `base`; `credential` is the one that was sent."""
    if credential is None:
        return CredentialError(
            f"The index at {base} asks for a credential, and none was found.",
            hint=f"ppmctl login {base}/  stores yours. {PLACES}",
        )
    who = f"{credential.username!r} (from {credential.source})"
    if answer.status == 403:
        return CredentialError(f"The index at {base} does not allow this to {who}: {answer.says}.", hint=ASK_ADMIN)
    is_expired = "has expired" in answer.says
    return CredentialError(
        f"The index at {base} does not accept the credential of {who}{': it has expired' if is_expired else ''}.",
        hint=f"{'' if is_expired else 'It is wrong, expired, disabled or removed. '}Ask an administrator of the index"
        " for an invite or another token (on its machine: ppmctl user list).",
    )


def _answer(response: requests.Response, url: str, *, body: bytes) -> Answer:
    target = response.headers.get("Location")
    return Answer(
        url=url,
        status=response.status_code,
        reason=response.reason or "",
        headers={name.lower(): value for name, value in response.headers.items()},
        body=body,
        location=absolute(url, target) if target and response.is_redirect else "",
    )


def _read(response: requests.Response, url: str, limit: int) -> bytes:
    body = BytesIO()
    for piece in response.iter_content(_CHUNK):
        body.write(piece)
        if body.tell() > limit:
            raise PpmError(f"{url} answered with more than {limit >> 20} MB.", hint="Is it the URL of an index?")
    return body.getvalue()
