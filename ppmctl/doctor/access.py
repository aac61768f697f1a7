"""Whether the index lets this user in: which credential is shown, from where, and what the index says to it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from ppmctl.client import identity
from ppmctl.client.http import Answer, denied
from ppmctl.client.identity import Identity
from ppmctl.doctor.finding import Finding, Visit
from ppmctl.errors import CredentialError, Unavailable

HIDDEN = "pip --no-input, as in CI, says of it no more than “No matching distribution found”"
_SOON = timedelta(days=7)


def credential(visit: Visit) -> Iterator[Finding]:
    """Which credential ppmctl shows, and where it stands."""
    found, problem = visit.credential, visit.unreadable
    if problem is not None:
        yield Finding("credential", "fail", problem.phrase, problem.hint)
    elif found is None:
        yield Finding("credential", "ok", f"none is there for {visit.address.base}")
    elif visit.address.is_overheard:
        said = "goes over plain HTTP: whoever listens on the way can read it"
        mend = f"Use https://, or say that it is all right: export PPMCTL_TRUSTED_HOST={visit.address.host}"
        yield Finding("credential", "warn", f"{found.username}, from {found.source}, {said}", mend)
    else:
        yield Finding("credential", "ok", f"{found.username}, from {found.source}")


def login(visit: Visit) -> Iterator[Finding]:
    """What the index says to nobody, and to this credential."""
    yield _login(visit)


def _login(visit: Visit) -> Finding:
    found = visit.credential
    anonymous = visit.listed_to_nobody
    if anonymous.status == 401 and "basic" not in (asks := anonymous.headers.get("www-authenticate", "")).lower():
        said = f"it answers 401 without asking for a name and a password ({asks or 'no WWW-Authenticate'})"
        mend = "On the index's machine: have it, or what is in front of it, send  WWW-Authenticate: Basic realm=…"
        return Finding("login", "fail", f"{said}: pip and twine show none then", mend)
    if found is None:
        return _nobody(visit, anonymous)
    if visit.listed.status in (401, 403):
        return _refused(visit, visit.listed)
    with visit.connect() as transport:
        try:
            return _known(visit, identity.identify(visit.address, transport))
        except CredentialError as exc:  # anybody may read, and this credential is nobody's
            said = f"anybody may read, but {exc.phrase}: uploads fail"
            return Finding("login", "fail", said, f"{exc.hint} {_again(visit)}".strip())
        except Unavailable as exc:  # the web server lets in, and goes on reading
            said = f"{found.username} may read; the application does not say more: {exc.phrase}"
            return Finding("login", "warn", said, "On the index's machine: systemctl status ppm.socket ppm.service")


def _nobody(visit: Visit, anonymous: Answer) -> Finding:
    base = visit.address.base
    if anonymous.status == 401 and visit.expected is not None:
        return Finding("login", "skip", "there is no credential to try it with")
    if anonymous.status == 401:
        login = f"ppmctl login {base}/ --netrc  puts one where ppmctl, pip and uv look"
        mend = f"{login}; in CI: PPMCTL_USERNAME and PPMCTL_TOKEN."
        return Finding("login", "fail", f"it asks for a credential (401), and none was found; {HIDDEN}", mend)
    if anonymous.status == 403:
        why = f"it lets nobody in (403: {anonymous.says}), and asks for no credential"
        return Finding("login", "fail", why, f"ppmctl login {base}/, or ask whoever runs it")
    return Finding("login", "ok", "anybody may read; to upload there is no credential")


def _refused(visit: Visit, answer: Answer) -> Finding:
    said = denied(answer, visit.credential, base=visit.address.base)
    if answer.status == 403:
        return Finding("login", "fail", said.phrase, said.hint)
    return Finding("login", "fail", f"{said.phrase} (401); {HIDDEN}", f"{said.hint} {_again(visit)}".strip())


def _again(visit: Visit) -> str:
    return f"Then: ppmctl login {visit.address.base}/ --netrc"


def _known(visit: Visit, identity: Identity) -> Finding:
    said = identity.sentence.rstrip(".")
    try:
        ends = datetime.fromisoformat((identity.values or {}).get("expires", ""))
    except (ValueError, TypeError):  # it has no end, or one in words of its own
        return Finding("login", "ok", said)
    left = (ends if ends.tzinfo else ends.replace(tzinfo=UTC)) - datetime.now(UTC)
    if left > _SOON or visit.expected is not None:  # then it was lent for this look
        return Finding("login", "ok", said)
    change = f"ppmctl user enable {identity.name} --expires 90d"
    mend = f"On the index's machine: {change}; or ask for another token."
    return Finding("login", "warn", f"{said}: that is soon", mend)
