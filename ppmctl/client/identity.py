"""Who one is at an index, over HTTP: /api/whoami, /api/join and /api/tokens, as a client (`docs/http.md`)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any
from urllib.parse import quote

from ppmctl.client.credential import Credential
from ppmctl.client.http import Transport, denied, failed
from ppmctl.client.index_url import Address
from ppmctl.errors import CredentialError, PpmError
from ppmctl.secret import Secret


@dataclass(frozen=True, kw_only=True)
class Identity:
    """Who a credential is at an index. `values` is what the index says, or None where it can't say.

    `is_proven` is False where the index lets anybody read and can't say: then nothing is known of the credential.
    """

    name: str
    values: dict[str, Any] | None = None
    is_proven: bool = True

    @property
    def said(self) -> str:
        """In a sentence."""
        if self.values is None and self.is_proven:
            return f"{self.name} may read here; what else, this index can't say."
        if self.values is None:
            return f"Everybody may read here, and this index can't say who {self.name} is."
        role, projects, expires = (self.values.get(key) for key in ("role", "projects", "expires"))
        scope = f" of {' '.join(map(str, projects))}" if projects else ""
        until = f", until {expires}" if expires else ", without an end"
        return f"{self.name} is {'an' if role == 'admin' else 'a'} {role}{scope}{until}."


def identify(address: Address, transport: Transport) -> Identity:
    """Who the transport's credential is. CredentialError where the index does not take it, or there is none.

    An index that ppm does not serve is asked for its list of projects instead.
    """
    credential = transport.credential
    answer = transport.ask("GET", f"{address.base}/api/whoami")
    if credential is None:
        raise denied(answer, None, base=address.base)
    values = answer.values
    if isinstance(values.get("name"), str) and "role" in values:
        return Identity(name=values["name"], values=values)
    answer = transport.ask("GET", address.simple)
    if answer.status != 200:
        to = f"It points to {answer.location}: is that the index?" if answer.location else ""
        raise failed(answer, hint=to or "Is it the URL of an index?")
    with Transport(None, address.base) as nobody:
        is_open = nobody.request("GET", address.simple).status == 200
    return Identity(name=credential.username, is_proven=not is_open)


def may_publish(address: Address, transport: Transport, projects: Iterable[str]) -> None:
    """CredentialError where the index tells that the transport's credential may not publish `projects`.

    An index that can't tell is asked by the upload itself.
    """
    credential = transport.credential
    try:
        values = {} if credential is None else transport.request("GET", f"{address.base}/api/whoami").values
    except PpmError:
        return
    if credential is None or not isinstance(globs := values.get("projects"), list):
        return
    who = f"{credential.username!r} (from {credential.source})"
    if values.get("role") == "reader":
        raise CredentialError(
            f"The index at {address.base} does not allow this to {who}: a reader installs, and publishes nothing.",
            hint="Ask an administrator of the index, or use another credential.",
        )
    outside = [name for name in projects if globs and not any(fnmatchcase(name, str(glob)) for glob in globs)]
    if outside:
        raise CredentialError(
            f"The index at {address.base} does not allow {who} to publish {', '.join(outside)}:"
            f" it may publish {' '.join(map(str, globs))}.",
            hint="Is the project's name right? Else ask an administrator of the index, or use another credential.",
        )


def join(address: Address, code: Secret, *, purpose: str) -> Credential:
    """Exchange an invite's code for a token of one's own. CredentialError where the code does not work."""
    with Transport(None, "") as transport:  # without a home: a 403 is about the code, and about no credential
        answer = transport.ask("POST", f"{address.base}/api/join", values={"code": code.reveal(), "purpose": purpose})
    name, secret = answer.values.get("name"), answer.values.get("secret")
    if isinstance(name, str) and isinstance(secret, str):
        return Credential(username=name, secret=Secret(secret), source="the invite")
    if answer.status == 403:
        raise CredentialError(
            f"The index at {address.base} does not take this code: it is wrong, was used, withdrawn or has expired.",
            hint="Ask for another one; on the index's machine: ppmctl user invite NAME",
        )
    # a 400 is one that knows invites, and says what is wrong with this one
    raise failed(answer, hint="" if answer.status == 400 else "Only an index that ppm serves knows invites.")


def revoke(address: Address, transport: Transport, name: str) -> tuple[str, ...]:
    """Revoke the token `name`; the names of what was revoked with it. CredentialError without the right to it."""
    answer = transport.ask("DELETE", f"{address.base}/api/tokens/{quote(name, safe='')}")
    revoked = answer.values.get("revoked")
    if not isinstance(revoked, list):
        raise failed(answer, hint="Without --revoke it is forgotten here, and goes on working.")
    return tuple(map(str, revoked))
