"""Ask an index who a credential belongs to, exchange an invite, and revoke a token (docs/http.md, /api)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any
from urllib.parse import quote

from ppmctl.client.credential import Credential
from ppmctl.client.http import ASK_ADMIN, Transport, denied, failed
from ppmctl.client.index_url import Address
from ppmctl.distributions import name_glob
from ppmctl.errors import CredentialError, PpmError
from ppmctl.secret import Secret

_PPM_REALM = 'realm="ppm"'  # in the header by which ppm asks for a credential; other indexes may ask by mistake


@dataclass(frozen=True, kw_only=True)
class Identity:
    """The user of a credential. `values` is the index's answer, or None if the index has no such request.

    `is_proven` is False if that index lets everybody read too: then the credential may be wrong.
    """

    name: str
    values: dict[str, Any] | None = None
    is_proven: bool = True

    @property
    def sentence(self) -> str:
        """The identity as a sentence for people."""
        if self.values is None and self.is_proven:
            return f"{self.name} may read here; this index can't tell what else."
        if self.values is None:
            return f"Everybody may read here, and this index can't tell who {self.name} is."
        role, expires = str(self.values["role"]), self.values.get("expires")
        projects, reads = (map(str, self.values.get(key) or ()) for key in ("projects", "reads"))
        scope = name_glob.scope_text(role, projects, reads)
        until = f", until {expires}" if expires else ", without an end"
        return f"{self.name} is {'an' if role == 'admin' else 'a'} {role}{scope}{until}."


def identify(address: Address, transport: Transport) -> Identity:
    """Return the identity of the transport's credential. Raise CredentialError if it is missing or not accepted."""
    credential = transport.credential
    answer = transport.ask("GET", f"{address.base}/api/whoami")
    if credential is None:
        raise denied(answer, None, base=address.base)
    values = answer.values
    if isinstance(values.get("name"), str) and "role" in values:
        return Identity(name=values["name"], values=values)
    # an index that ppm does not serve: it may still accept or refuse the credential for its list of projects
    answer = transport.ask("GET", address.simple)
    if answer.status != 200:
        target = f"It redirects to {answer.location}: is that the index?" if answer.location else ""
        raise failed(answer, hint=target or "Is it the URL of an index?")
    with Transport(None, address.base) as anonymous:
        is_open = anonymous.request("GET", address.simple).status == 200
    return Identity(name=credential.username, is_proven=not is_open)


def may_publish(address: Address, transport: Transport, projects: Iterable[str]) -> None:
    """Raise CredentialError if the index reports that the transport's credential may not publish `projects`."""
    credential = transport.credential
    try:
        answer = transport.request("GET", f"{address.base}/api/whoami")
    except PpmError:
        return  # an index that does not report it decides at the upload
    if answer.status == 401 and _PPM_REALM in answer.headers.get("www-authenticate", ""):
        raise denied(answer, credential, base=address.base)
    values = answer.values
    if credential is None or not isinstance(values.get("projects"), list):
        return
    who = f"{credential.username!r} (from {credential.source})"
    if values.get("role") == "reader":
        raise CredentialError(
            f"The index at {address.base} does not allow this to {who}: a reader can't publish.", hint=ASK_ADMIN
        )
    for key, verb in (("projects", "publish"), ("reads", "read only")):
        globs = [str(glob) for glob in values.get(key) or ()]  # an older index has no `reads`
        outside = [name for name in projects if globs and not any(fnmatchcase(name, glob) for glob in globs)]
        if outside:
            raise CredentialError(
                f"The index at {address.base} does not allow {who} to publish {', '.join(outside)}:"
                f" it may {verb} {' '.join(globs)}.",
                hint=f"Is the project's name right? {ASK_ADMIN}",
            )


def join(address: Address, code: Secret, *, purpose: str) -> Credential:
    """Exchange an invite's code for a token, and return it. Raise CredentialError if the code is not accepted."""
    with Transport(None, "") as transport:  # without a home: a 403 is about the code, not about a credential
        answer = transport.ask("POST", f"{address.base}/api/join", values={"code": code.reveal(), "purpose": purpose})
    name, secret = answer.values.get("name"), answer.values.get("secret")
    if isinstance(name, str) and isinstance(secret, str):
        return Credential(username=name, secret=Secret(secret), source="the invite")
    if answer.status == 403:
        raise CredentialError(
            f"The index at {address.base} does not accept this code: it is wrong, used, withdrawn or expired.",
            hint="Ask for another one; on the index's machine: ppmctl user invite NAME",
        )
    # a 400 comes from an index that has invites, and explains what is wrong
    raise failed(answer, hint="" if answer.status == 400 else "Only an index that ppm serves has invites.")


@dataclass(frozen=True, kw_only=True)
class LoginLink:
    """A link that logs a browser in at an index once, until `expires`. It is a secret."""

    url: str
    expires: str


def login_link(address: Address, transport: Transport, path: str = "") -> LoginLink:
    """Return a new link that logs a browser in as the transport's credential, and leads to `path`.

    Raise CredentialError if the credential is missing or not accepted, PpmError for an index without web pages.
    """
    answer = transport.ask("POST", f"{address.base}/api/web-login")
    link, expires = answer.values.get("path"), answer.values.get("expires")
    if not isinstance(link, str) or not link.startswith("/login/"):
        missing = answer.status in (404, 405)
        raise failed(
            answer,
            hint="Only an index that ppm serves, of this version or a newer one, has web pages." if missing else "",
        )
    after = f"?next={quote('/' + path.lstrip('/'), safe='/')}" if path.strip("/") else ""
    return LoginLink(url=f"{address.base}{link}{after}", expires=str(expires))


def revoke(address: Address, transport: Transport, name: str) -> tuple[str, ...]:
    """Revoke the token `name`, and return the names of all tokens that this revoked. Raise CredentialError."""
    answer = transport.ask("DELETE", f"{address.base}/api/tokens/{quote(name, safe='')}")
    revoked = answer.values.get("revoked")
    if not isinstance(revoked, list):
        raise failed(answer, hint="Without --revoke only this machine forgets it, and it stays valid.")
    return tuple(map(str, revoked))
