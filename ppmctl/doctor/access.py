"""Check which credential is sent, where it is stored, and what the index answers to it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from ppmctl.client import identity
from ppmctl.client.http import Answer, denied
from ppmctl.client.identity import Identity
from ppmctl.doctor.finding import Context, Finding
from ppmctl.errors import CredentialError, Unavailable

_HIDDEN_BY_PIP = "pip --no-input, as in CI, reports only “No matching distribution found”"
_SOON = timedelta(days=7)


def credential(context: Context) -> Iterator[Finding]:
    """Report which credential ppmctl sends, and where it is stored."""
    sent, problem, address = context.credential, context.unreadable, context.address
    if problem is not None:
        yield Finding("credential", "fail", problem.phrase, problem.hint)
    elif sent is None:
        yield Finding("credential", "ok", f"there is none for {address.base}")
    elif address.is_overheard:
        message = f"{sent.username}, from {sent.source}, goes over plain HTTP: anyone on the network can read it"
        hint = f"Use https://, or allow plain HTTP: export PPMCTL_TRUSTED_HOST={address.host}"
        yield Finding("credential", "warn", message, hint)
    else:
        yield Finding("credential", "ok", f"{sent.username}, from {sent.source}")


def login(context: Context) -> Iterator[Finding]:
    """Check what the index answers without a credential, and with this one."""
    challenge = context.listed_anonymously.headers.get("www-authenticate", "")
    if context.listed_anonymously.status == 401 and "basic" not in challenge.lower():
        message = f"it answers 401 without asking for a name and a password ({challenge or 'no WWW-Authenticate'})"
        hint = "On the index's machine: it or the proxy in front of it must send  WWW-Authenticate: Basic realm=…"
        yield Finding("login", "fail", f"{message}: pip and twine then send none", hint)
    elif context.credential is None:
        yield _without_credential(context, context.listed_anonymously)
    elif context.listed.status in (401, 403):
        error = denied(context.listed, context.credential, base=context.address.base)
        if context.listed.status == 403:
            yield Finding("login", "fail", error.phrase, error.hint)
        else:
            hint = f"{error.hint} {_log_in_again(context)}".strip()
            yield Finding("login", "fail", f"{error.phrase} (401); {_HIDDEN_BY_PIP}", hint)
    else:
        yield _with_credential(context, context.credential.username)


def _without_credential(context: Context, answer: Answer) -> Finding:
    base = context.address.base
    if answer.status == 401 and context.expected is not None:
        return Finding("login", "skip", "not tried: there is no credential")
    if answer.status == 401:
        command = f"ppmctl login {base}/ --netrc  stores one for ppmctl, pip and uv"
        message = f"it asks for a credential (401), and there is none; {_HIDDEN_BY_PIP}"
        return Finding("login", "fail", message, f"{command}; in CI: PPMCTL_USERNAME and PPMCTL_TOKEN.")
    if answer.status == 403:
        message = f"it refuses every request without a credential (403: {answer.says}), and does not ask for one"
        return Finding("login", "fail", message, f"ppmctl login {base}/, or ask an administrator of the index")
    return Finding("login", "ok", "reading needs no credential; for uploads there is none")


def _with_credential(context: Context, username: str) -> Finding:
    with context.connect(context.credential) as transport:
        try:
            return _expiry(context, identity.identify(context.address, transport))
        except CredentialError as exc:
            message = f"reading needs no credential, but {exc.phrase}: uploads fail"
            return Finding("login", "fail", message, f"{exc.hint} {_log_in_again(context)}".strip())
        except Unavailable as exc:  # the web server reads credentials by itself
            message = f"{username} may read; the application did not answer what else: {exc.phrase}"
            hint = "On the index's machine: systemctl status ppm.socket ppm.service"
            return Finding("login", "warn", message, hint)


def _log_in_again(context: Context) -> str:
    return f"Then: ppmctl login {context.address.base}/ --netrc"


def _expiry(context: Context, user: Identity) -> Finding:
    """Report who the user is; a token that is issued for a self-check may expire soon."""
    message = user.sentence.rstrip(".")
    try:
        ends = datetime.fromisoformat((user.values or {}).get("expires", ""))
    except (ValueError, TypeError):  # none, or not in a form that is known
        return Finding("login", "ok", message)
    left = (ends if ends.tzinfo else ends.replace(tzinfo=UTC)) - datetime.now(UTC)
    if left > _SOON or context.expected is not None:
        return Finding("login", "ok", message)
    hint = f"On the index's machine: ppmctl user enable {user.name} --expires 90d; or ask for another token."
    return Finding("login", "warn", f"{message}: that is soon", hint)
