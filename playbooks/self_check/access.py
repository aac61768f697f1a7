"""Who gets in: 401 without a right credential, 403 where it has not the right; headers that stand on refusals too."""

from __future__ import annotations

import re
import secrets

from self_check.client import Answer, NoAnswer
from self_check.findings import Verdict, good, wrong
from self_check.look import SITE, Look, unexpected
from self_check.pages import ACCEPT_JSON
from self_check.probe import Probe, form, make
from self_check.settings import PROJECT, PUBLISHER, READER, Credential, example_of, is_private

_CREDENTIALS = "On the host, credentials/htpasswd and access.yml in ppm_root are what nginx and the application read."


def healthy(look: Look) -> Verdict:
    answer = look.index.get("/healthz")
    if answer.status == 200 and answer.body.strip() == b"ok":
        return good("/healthz says ok to everybody")
    return unexpected(answer, "200 (ok) for /healthz", SITE)


def headers(look: Look) -> Verdict:
    """What protects browsers stands on refusals too, and nothing tells which version of nginx this is."""
    answer = look.index.get(f"/simple/{PROJECT}/")
    faults = []
    if look.settings.has_own_tls:
        wanted, said = look.settings.hsts_max_age, answer.header("Strict-Transport-Security")
        match = re.search(r'max-age="?(\d+)', said)
        if wanted and match is None:
            faults.append("no Strict-Transport-Security (ppm_hsts_max_age)")
        elif (int(match[1]) if match else 0) != wanted:
            faults.append(f"Strict-Transport-Security is {said!r}, and ppm_hsts_max_age {wanted}")
        if re.search(r"\d", answer.header("Server")):
            faults.append(f"Server tells its version: {answer.header('Server')}")
    if answer.header("X-Content-Type-Options") != "nosniff":
        faults.append("no X-Content-Type-Options: nosniff")
    if faults:
        return wrong(f"on an answer {answer.status}: {'; '.join(faults)}", SITE)
    return good(f"as they should be, on an answer {answer.status} too")


def reading(look: Look) -> Verdict:
    """Without a credential: 401 whatever is asked for, before anything tells what is here."""
    if look.settings.is_public:
        answer = look.index.get("/simple/", Accept=ACCEPT_JSON)
        if answer.status == 200:
            return good("everybody may, as ppm_read_access says")
        return unexpected(answer, "200, as ppm_read_access is public", SITE)
    pages = [f"/simple/{name}" for name in ("", f"{PROJECT}/", f"{_free_name(look)}/")]
    for path in (*pages, look.probe.path, f"{look.probe.path}.upload", "/"):
        answer = look.index.get(path)
        if not _is_challenge(answer):
            return unexpected(answer, f"401 for {path} without a credential", SITE)
    return good("401, whatever is asked for")


def wrong_reading(look: Look) -> Verdict:
    if look.settings.is_public:
        return good("everybody may read")
    for name in (_stranger().name, *(credential.name for credential in look.credentials.values())):
        answer = look.index.get(f"/simple/{PROJECT}/", _stranger(name))
        if not _is_challenge(answer):
            return unexpected(answer, "401 for a wrong secret", SITE if answer.status == 200 else _CREDENTIALS)
    return good("401")


def anonymous_upload(look: Look) -> Verdict:
    return _refused_upload(look, None, 401, SITE)


def wrong_upload(look: Look) -> Verdict:
    publisher = look.credentials.get(PUBLISHER)
    return _refused_upload(look, _stranger(publisher.name if publisher else ""), 401, _CREDENTIALS)


def readers_upload(look: Look) -> Verdict:
    remedy = "The application does not obey roles: see its log (on the host: journalctl -u ppm.service)."
    return _refused_upload(look, look.credentials[READER], 403, remedy)


def upload(look: Look, probe: Probe, credential: Credential | None) -> Answer:
    """Post it as a client does; what may be in the index then is noted."""
    sent, body = form(probe)
    try:
        answer = look.index.ask("POST", "/", credential=credential, headers=sent, body=body)
    except NoAnswer:
        look.stored.setdefault(probe.version, False)
        raise
    if answer.status < 300:
        look.stored[probe.version] = True
    elif answer.status >= 500:
        look.stored.setdefault(probe.version, False)
    return answer


def readers_page(look: Look) -> Verdict:
    answer = look.index.get("/simple/", look.credentials[READER], Accept=ACCEPT_JSON)
    if answer.status == 200:
        return good("a reader gets the list of projects")
    return unexpected(answer, "200 for a reader at /simple/", _CREDENTIALS)


def elsewhere(look: Look) -> Verdict:
    """A name that is not here, as ppm_upstream says."""
    name = _free_name(look)
    answer = look.index.get(f"/simple/{name}/", look.credentials[READER])
    if look.settings.upstream == "none" or is_private(name, look.settings.private_names):
        if answer.status == 404:
            return good("404, as ppm_upstream or ppm_private_names says")
        return unexpected(answer, f"404 for /simple/{name}/ (ppm_upstream, ppm_private_names)", SITE)
    target = answer.header("Location")
    base = look.settings.upstream_url
    if answer.status != 302:
        return unexpected(answer, f"302 for /simple/{name}/, as ppm_upstream is redirect", SITE)
    expected = f"{base.rstrip('/')}/{name}/" if base else ""
    if (expected and target != expected) or not re.fullmatch(rf"https?://[^/]+/(.*/)?{name}/", target):
        return wrong(f"/simple/{name}/ is sent to {target!r} instead of {expected or 'the public index'}", SITE)
    if target.startswith((look.base, f"http://{look.index.domain}/")):
        return wrong(f"/simple/{name}/ is sent to this index itself", "Put right ppm_upstream_url, and run site.yml.")
    return good(f"sent to {target.removesuffix(name + '/')}")


def private(look: Look) -> Verdict:
    """Names of ppm_private_names that are not here yet are never looked for elsewhere."""
    examples = {pattern: example_of(pattern, secrets.token_hex(4)) for pattern in look.settings.private_names}
    tried = {pattern: name for pattern, name in examples.items() if name}
    for pattern, name in tried.items():
        answer = look.index.get(f"/simple/{name}/", look.credentials[READER])
        if answer.status != 404:
            to = f"; it is sent to {answer.header('Location')}" if answer.is_redirect else ""
            return unexpected(answer, f"404 for /simple/{name}/ ({pattern} in ppm_private_names){to}", SITE)
    if not tried:
        return good("ppm_private_names has no pattern to try")
    return good(f"404 for what is not here yet ({', '.join(tried)})")


def _refused_upload(look: Look, credential: Credential | None, status: int, remedy: str) -> Verdict:
    refused = make(f"{look.probe.version}.post1")  # not the probe itself: should it go in, that one still can
    answer = upload(look, refused, credential)
    if answer.status == status:
        return good(str(status))
    return unexpected(answer, str(status), remedy)


def _is_challenge(answer: Answer) -> bool:
    return answer.status == 401 and answer.header("WWW-Authenticate").lower().startswith("basic")


def _stranger(name: str = "") -> Credential:
    """A credential that was never issued."""
    return Credential(name=name or f"{PROJECT}+{secrets.token_hex(4)}", secret=f"ppm_{secrets.token_urlsafe(32)}")


def _free_name(look: Look) -> str:
    """A name that nobody has, and that is not private as long as any is not."""
    names = [f"{start}{secrets.token_hex(8)}" for start in "abcdefghijklmnopqrstuvwxyz"]
    return next((name for name in names if not is_private(name, look.settings.private_names)), names[0])
