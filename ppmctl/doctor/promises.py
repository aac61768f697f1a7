"""Check what site.yml promises of an index: who may read, headers of refusals, where requests for other names go."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable, Iterator

from ppmctl.client.credential import Credential
from ppmctl.client.http import Answer
from ppmctl.doctor.expected import SITE, Expected
from ppmctl.doctor.finding import Context, Finding
from ppmctl.doctor.probe import MODULE, PROJECT
from ppmctl.secret import Secret

_STATUSES = {
    500: "The server's error log shows why (on the host: tail /var/log/nginx/error.log; journalctl -u ppm.service).",
    507: "The volume is full. On the host: df -h and df -i on ppm_root; make room, or a larger volume.",
    429: "ppm_connections_per_address is too small for this address, or a program here sends too many requests.",
}
_APPLICATION = (
    "The application does not answer. On the host: systemctl status ppm.socket ppm.service, journalctl -u"
    " ppm.service; systemctl restart ppm.socket ppm.service  starts it again."
)
CREDENTIALS = "On the host, nginx and the application read credentials/htpasswd and access.yml in ppm_root."


def unexpected(check: str, answer: Answer, wanted: str, hint: str = SITE) -> Finding:
    """Report an answer that is not the promised one; if its status has a known cause, with that instead of `hint`."""
    if answer.status in (502, 503, 504):
        hint = _APPLICATION
    to = f", sent to {answer.location}," if answer.location else ""
    message = f"{answer.status} ({answer.says}){to} instead of {wanted}"
    return Finding(check, "fail", message, _STATUSES.get(answer.status, hint))


def answered(check: str, asked: Iterable[tuple[str, Answer]], ok: str, hint: str = SITE) -> Finding:
    """Report whether each answer is the promised one: "404 for …" and "403/405 for …" begin with the statuses.

    A 401 must ask for a name and a password: else clients do not send them.
    """
    for wanted, answer in asked:
        fits = str(answer.status) in wanted.partition(" ")[0].split("/")
        if not fits or (answer.status == 401 and "basic" not in answer.headers.get("www-authenticate", "").lower()):
            return unexpected(check, answer, wanted, hint)
    return Finding(check, "ok", ok)


def wrong_secret(name: str = "") -> Credential:
    """Return a credential that was never issued."""
    user = name or f"{PROJECT}+{secrets.token_hex(4)}"
    return Credential(username=user, secret=Secret(f"ppm_{secrets.token_urlsafe(32)}"), source="nowhere")


def check(context: Context) -> Iterator[Finding]:
    """Check the answers to requests without a credential and with a wrong secret."""
    answer = context.get("/healthz", None)
    if answer.status == 200 and answer.body.strip() == b"ok":
        yield Finding("health", "ok", "/healthz answers ok without a credential")
    else:
        yield unexpected("health", answer, "200 (ok) for /healthz")
    yield _headers(context.promised, context.get(f"/simple/{PROJECT}/", None))
    if not context.promised.is_public:
        user = context.credential.username if context.credential else ""
        answers = [context.get(f"/simple/{PROJECT}/", wrong_secret(name)) for name in ("", user)]
        asked = [("401 for a wrong secret", answer) for answer in answers]
        yield answered("secret", asked, "a wrong secret is answered 401", f"{SITE} {CREDENTIALS}")


def anonymous(context: Context) -> Iterator[Finding]:
    """Check that every path needs a credential, or that none is needed to read if that is promised."""
    if context.promised.is_public:
        asked = [("200 for /simple/, as ppm_read_access is public", context.listed_anonymously)]
        yield answered("anonymous", asked, "reading needs no credential, as ppm_read_access is public")
        return
    file = f"/packages/{PROJECT}/{MODULE}-{context.promised.publish or '1.0'}-py3-none-any.whl"
    pages = [f"/simple/{name}" for name in ("", f"{PROJECT}/", f"{context.promised.free_name()}/")]
    paths = [*pages, file, f"{file}.upload", "/"]
    refused = ((f"401 for {path} without a credential", context.get(path, None)) for path in paths)
    yield answered("anonymous", refused, "401 without a credential, for every path")


def other_names(context: Context) -> Iterator[Finding]:
    """Check where requests for names that the index does not have go; for private ones nowhere."""
    name = context.promised.free_name()
    yield _upstream(context, name, context.get(f"/simple/{name}/", context.credential))
    examples = context.promised.private_examples()
    asked = (
        (f"404 for {path} ({glob} in ppm_private_names)", context.get(path, context.credential))
        for glob, path in ((glob, f"/simple/{example}/") for glob, example in examples.items())
    )
    ok = f"404 for private names without a project ({', '.join(examples) or 'no pattern to try'})"
    yield answered("private", asked, ok)


def side_files(context: Context) -> Iterator[Finding]:
    """Check that no other file of the volume than distributions can be read."""
    path = context.shared["probe"].path
    paths = [f"{path}.{kind}" for kind in ("upload", "yanked", "removed", "attestations")]
    paths += [f"/packages/{PROJECT}/.status", "/credentials/htpasswd", "/credentials/access.yml"]
    paths += ["/packages/%2e%2e/credentials/htpasswd"]
    asked = ((f"404/403/400 for {path}", context.get(path, context.credential)) for path in paths)
    yield answered("side files", asked, "other files of the volume can't be read (404)")


def _headers(expected: Expected, answer: Answer) -> Finding:
    """Check that refusals too have the headers that protect browsers, and none has the version of nginx."""
    faults = []
    if expected.has_own_tls:
        hsts = answer.headers.get("strict-transport-security", "")
        match = re.search(r'max-age="?(\d+)', hsts)
        if expected.hsts_max_age and match is None:
            faults.append("no Strict-Transport-Security (ppm_hsts_max_age)")
        elif (int(match[1]) if match else 0) != expected.hsts_max_age:
            faults.append(f"Strict-Transport-Security is {hsts!r}, and ppm_hsts_max_age {expected.hsts_max_age}")
        if re.search(r"\d", server := answer.headers.get("server", "")):
            faults.append(f"Server has the version of nginx: {server}")
    if answer.headers.get("x-content-type-options") != "nosniff":
        faults.append("no X-Content-Type-Options: nosniff")
    if faults:
        return Finding("headers", "fail", f"on an answer {answer.status}: {'; '.join(faults)}", SITE)
    return Finding("headers", "ok", f"as they should be, on an answer {answer.status} too")


def _upstream(context: Context, name: str, answer: Answer) -> Finding:
    expected = context.promised
    if expected.upstream == "none" or expected.is_private(name):
        wanted = f"404 for /simple/{name}/, as ppm_upstream or ppm_private_names requires"
        return answered("upstream", [(wanted, answer)], "404 for other names, as in the inventory")
    target, base = answer.location, expected.upstream_url.rstrip("/")
    if answer.status != 302:
        return unexpected("upstream", answer, f"302 for /simple/{name}/, as ppm_upstream is redirect")
    if (base and target != f"{base}/{name}/") or not re.fullmatch(rf"https?://[^/]+/(.*/)?{name}/", target):
        message = f"/simple/{name}/ redirects to {target!r} instead of {base or 'the public index'}"
        return Finding("upstream", "fail", message, SITE)
    if target.partition("://")[2].startswith(f"{context.address.base.partition('://')[2]}/"):
        message = f"/simple/{name}/ redirects to this index itself"
        return Finding("upstream", "fail", message, "Correct ppm_upstream_url, and run site.yml.")
    return Finding("upstream", "ok", f"other names redirect to {target.removesuffix(name + '/')}")
