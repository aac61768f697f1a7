"""One HTTP request to an index and its answer; a failure as its cause and what to do. Nothing is repeated here."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
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
_LONGEST = 500  # characters of what an index says that are shown
_CHUNK = 1 << 16  # bytes
_CA_VARIABLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")  # each in place of all others, as requests has it
_MAX_ANSWER = 128 << 20  # bytes; the list of projects of the largest index there is has a third of it
_MAX_REFUSAL = 1 << 20
_MAX_REDIRECTS = 5


# Answers after which the same request may work in a moment: the server is busy, restarting or being repaired.
PASSING = frozenset({408, 429, 500, 502, 503, 504})


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What an index answered. `location` is where a redirect points, absolute, or ""; header names are lower case."""

    url: str
    status: int
    reason: str
    headers: Mapping[str, str]
    body: bytes
    location: str = ""

    @property
    def content_type(self) -> str:
        """The media type alone, in lower case."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()

    @property
    def retry_after(self) -> str:
        """When to come back, as the answer has it; ""."""
        return self.headers.get("retry-after", "").strip()

    @property
    def says(self) -> str:
        """Why, in the index's words: the first line of a text body, or the reason of the status line."""
        text = self.body[:4096].decode("utf-8", "replace").strip() if self.content_type == "text/plain" else ""
        said = (text or self.reason or "no reason given").splitlines()[0]
        return "".join(character for character in said if character.isprintable())[:_LONGEST].rstrip(".")

    @property
    def values(self) -> dict[str, Any]:
        """The JSON object of a 200 or 201; empty where the answer is something else."""
        try:
            values = json.loads(self.body) if self.status in (200, 201) else None
        except (ValueError, RecursionError):
            return {}
        return values if isinstance(values, dict) else {}


class Transport:
    """Requests with the credential for one index, or with none. No other server is shown the credential."""

    def __init__(self, credential: Credential | None, home: str, *, ca: str | None = None) -> None:
        """`home` is the URL of the index, "" for none; `ca` a file of authorities to trust in place of the usual."""
        import requests

        self.credential = credential
        self._home = home
        self._ca = ca
        self._session = requests.Session()
        self._session.auth = self._authenticate
        self._session.headers["User-Agent"] = f"ppmctl/{__version__} Python/{platform.python_version()}"
        if ca is None and not any(os.environ.get(variable) for variable in _CA_VARIABLES):
            self._session.mount("https://", _trusting_the_system())

    def is_home(self, url: str) -> bool:
        """Whether a request to `url` goes to the server of the index."""
        return bool(self._home) and origin(url) == origin(self._home)

    def _authenticate(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        # Set also where there is no credential: requests would go and read a .netrc by itself.
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
        """Send one request and read the whole answer, whatever its status.

        Unreachable where none came; PpmError where it is of no use to try again (TLS, proxy, a bad URL), or it has no
        end in sight.
        """
        try:
            with self._send(method, url, read_timeout, headers=headers, data=data) as response:
                return _answer(response, url, body=_read(response, url, _MAX_ANSWER))
        except OSError as exc:  # as all of requests' are, and what it says of a list of authorities that is not there
            raise explain(exc, url) from exc

    def receive(self, url: str, sink: Callable[[bytes], object], *, read_timeout: float = READ_TIMEOUT) -> Answer:
        """GET `url` and hand the body of a 200 to `sink`, as it comes; of other answers it is kept.

        Unreachable where no answer came or it broke off; PpmError as for `request`.
        """
        import requests

        try:
            with self._send("GET", url, read_timeout, headers={"Accept-Encoding": "identity"}) as response:
                if response.status_code != 200:
                    return _answer(response, url, body=_read(response, url, _MAX_REFUSAL))
                for chunk in response.iter_content(_CHUNK):
                    sink(chunk)
                return _answer(response, url, body=b"")
        except requests.RequestException as exc:
            raise explain(exc, url) from exc

    def _send(self, method: str, url: str, read_timeout: float, **more: Any) -> requests.Response:
        timeout = (CONNECT_TIMEOUT, read_timeout)
        return self._session.request(
            method, url, timeout=timeout, allow_redirects=False, stream=True, verify=self._ca, **more
        )

    def ask(self, method: str, url: str, *, headers: Mapping[str, str] | None = None, values: Any = None) -> Answer:
        """Send one request, with `values` as JSON; the answer as of `checked`."""
        data = None if values is None else json.dumps(values)
        if data is not None:
            headers = {"Content-Type": "application/json", **(headers or {})}
        return self.checked(self.request(method, url, headers=headers, data=data))

    def checked(self, answer: Answer, what: str = "") -> Answer:
        """Return `answer`, or raise what its status means whatever was asked: CredentialError for a 401 or 403 of
        the index, Unavailable for PASSING (as of `failed`)."""
        if answer.status in (401, 403) and self.is_home(answer.url):
            raise denied(answer, self.credential, base=self._home)
        if answer.status in PASSING:
            raise failed(answer, what)
        return answer

    @staticmethod
    def followed(
        url: str, send: Callable[[str], Answer], *, may_follow: Callable[[str], bool] = lambda _location: True
    ) -> Answer:
        """Send a request to `url` and to where its answers point; the first answer that is not followed.

        PpmError for a circle, and for a redirect from HTTPS to HTTP.
        """
        for _ in range(_MAX_REDIRECTS + 1):
            answer = send(url)
            if not answer.location or not may_follow(answer.location):
                return answer
            if origin(url)[0] == "https" and origin(answer.location)[0] != "https":
                raise PpmError(f"{url} redirects to plain HTTP: {answer.location}.")
            url = answer.location
        raise PpmError(f"{url} redirects over and over.")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self._session.close()


def authorities(environ: Mapping[str, str]) -> tuple[str, str]:
    """Where the certificate authorities that are trusted stand, and by whose word."""
    for variable in (*_CA_VARIABLES, "SSL_CERT_FILE", "SSL_CERT_DIR"):
        if value := environ.get(variable):
            return value, variable
    import ssl

    paths = ssl.get_default_verify_paths()
    return paths.cafile or paths.capath or paths.openssl_cafile, "this system, and those that certifi has"


def proxy(url: str) -> str | None:
    """The proxy that a request to `url` goes through, by the environment; it may have a credential in it."""
    from requests.utils import get_environ_proxies, select_proxy

    found: str | None = select_proxy(url, get_environ_proxies(url))
    return found


def _trusting_the_system() -> requests.adapters.HTTPAdapter:
    """What makes requests trust, beside the authorities that certifi has, those that this machine was told to trust.

    pip and curl do; a company's own authority is there. SSL_CERT_FILE and SSL_CERT_DIR count, as OpenSSL has it.
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
    """Return what has the authorities of this system, which takes 20 ms to load."""
    from urllib3.util.ssl_ import create_urllib3_context

    context = create_urllib3_context()
    context.load_default_certs()
    return context


def origin(url: str) -> tuple[str, str, int]:
    """The scheme, host and port that a request to `url` goes to; PpmError where it can go nowhere."""
    # Read by what makes the connections: of "http://a\@b/" others say that the host is b, and it is a that is asked.
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
    """The URL that `target` means on what came from `base`, without a fragment; PpmError where it means none."""
    try:
        url, _fragment = urldefrag(urljoin(base, target))
    except ValueError as exc:
        raise PpmError(f"{base} names what is not a URL: {target[:_LONGEST]!r}.") from exc
    # as requests sends it, and a terminal may see it
    return "".join(
        letter if letter.isprintable() and letter != " " else quote(letter, errors="replace") for letter in url
    )


def failed(answer: Answer, what: str = "", *, hint: str = "") -> PpmError:
    """The error for an answer that is of no use; Unavailable where the same request may work in a moment.

    `what` is what failed, such as "x.whl was refused"; if it is left out, the error names the URL.
    """
    said = f"{what} ({answer.status})" if what else f"{answer.url} answered {answer.status}"
    if answer.status not in PASSING:
        return PpmError(f"{said}: {answer.says}.", hint=hint)
    hint = "Try again in a moment; the index's own log may say why."
    return Unavailable(f"{said}: {answer.says}.", hint=hint, retry_after=answer.retry_after)


def denied(answer: Answer, credential: Credential | None, *, base: str) -> CredentialError:
    """What a 401 or 403 from the index at `base` means for whoever sent `credential`."""
    if credential is None:
        return CredentialError(f"The index at {base} asks for a credential, and none was found.", hint=PLACES)
    who = f"{credential.username!r} (from {credential.source})"
    if answer.status == 401:
        because = ": it has expired" if "has expired" in answer.says else ""
        wrong = "" if because else "It is wrong, expired, disabled or removed. "
        return CredentialError(
            f"The index at {base} does not accept the credential of {who}{because}.",
            hint=f"{wrong}Ask an administrator of the index for an invite or another token (ppmctl user list there).",
        )
    return CredentialError(
        f"The index at {base} does not allow this to {who}: {answer.says}.",
        hint="Ask an administrator of the index, or use another credential.",
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
    pieces: list[bytes] = []
    size = 0
    for piece in response.iter_content(_CHUNK):
        size += len(piece)
        if size > limit:
            raise PpmError(f"{url} answered with more than {limit >> 20} MB.", hint="Is it the URL of an index?")
        pieces.append(piece)
    return b"".join(pieces)
