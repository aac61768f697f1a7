"""What site.yml promises of an index: who gets in and who does not, headers on refusals, where other names lead."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable, Iterator

from ppmctl.client.credential import Credential
from ppmctl.client.http import Answer
from ppmctl.doctor.expected import SITE, Expected
from ppmctl.doctor.finding import Finding, Visit
from ppmctl.doctor.probe import MODULE, PROJECT
from ppmctl.secret import Secret

_STATUSES = {
    500: "The server's error log says why (on the host: tail /var/log/nginx/error.log; journalctl -u ppm.service).",
    507: "The volume is full. On the host: df -h and df -i on ppm_root; make room, or a larger volume.",
    429: "ppm_connections_per_address is too small for this address, or something here asks without end.",
}
_APPLICATION = (
    "The application does not do its part. On the host: systemctl status ppm.socket ppm.service, journalctl -u"
    " ppm.service; systemctl restart ppm.socket ppm.service  starts it again."
)
CREDENTIALS = "On the host, credentials/htpasswd and access.yml in ppm_root are what nginx and the application read."


def unexpected(check: str, answer: Answer, wanted: str, mend: str = SITE) -> Finding:
    """Find that an answer is not the one that was promised; what its status says is broken comes before `mend`."""
    if answer.status in (502, 503, 504):
        mend = _APPLICATION
    to = f", sent to {answer.location}," if answer.location else ""
    said = f"{answer.status} ({answer.says}){to} instead of {wanted}"
    return Finding(check, "fail", said, _STATUSES.get(answer.status, mend))


def answered(check: str, asked: Iterable[tuple[str, Answer]], ok: str, mend: str = SITE) -> Finding:
    """Find whether each answer is the one promised: "404 for …" and "403/405 for …" begin with the statuses.

    A 401 has to ask for a name and a password: else clients don't send them.
    """
    for wanted, answer in asked:
        fits = str(answer.status) in wanted.partition(" ")[0].split("/")
        if not fits or (answer.status == 401 and "basic" not in answer.headers.get("www-authenticate", "").lower()):
            return unexpected(check, answer, wanted, mend)
    return Finding(check, "ok", ok)


def wrong_secret(name: str = "") -> Credential:
    """Return a credential that was never issued."""
    user = name or f"{PROJECT}+{secrets.token_hex(4)}"
    return Credential(username=user, secret=Secret(f"ppm_{secrets.token_urlsafe(32)}"), source="nowhere")


def check(visit: Visit) -> Iterator[Finding]:
    """What is promised to whoever asks, and to whoever asks with a wrong secret."""
    expected = visit.promised
    answer = visit.get("/healthz", None)
    if answer.status == 200 and answer.body.strip() == b"ok":
        yield Finding("health", "ok", "/healthz says ok to everybody")
    else:
        yield unexpected("health", answer, "200 (ok) for /healthz")
    yield _headers(expected, visit.get(f"/simple/{PROJECT}/", None))
    if not expected.is_public:
        known = visit.credential.username if visit.credential else ""
        answers = [visit.get(f"/simple/{PROJECT}/", wrong_secret(name)) for name in ("", known)]
        asked = [("401 for a wrong secret", answer) for answer in answers]
        yield answered("secret", asked, "a wrong secret is answered 401", f"{SITE} {CREDENTIALS}")


def anonymous(visit: Visit) -> Iterator[Finding]:
    """401 whatever is asked for, before anything tells what is here; or 200 where everybody may read."""
    expected = visit.promised
    if expected.is_public:
        asked = [("200 for /simple/, as ppm_read_access is public", visit.listed_to_nobody)]
        yield answered("anonymous", asked, "everybody may read, as ppm_read_access says")
        return
    file = f"/packages/{PROJECT}/{MODULE}-{expected.publish or '1.0'}-py3-none-any.whl"
    paths = [f"/simple/{name}" for name in ("", f"{PROJECT}/", f"{expected.free_name()}/")]
    each = [*paths, file, f"{file}.upload", "/"]
    refused = ((f"401 for {path} without a credential", visit.get(path, None)) for path in each)
    yield answered("anonymous", refused, "401 without a credential, whatever is asked for")


def names(visit: Visit) -> Iterator[Finding]:
    """Names that are not here are looked for where the inventory says, and private ones nowhere."""
    expected = visit.promised
    name = expected.free_name()
    yield _elsewhere(visit, expected, name, visit.get(f"/simple/{name}/", visit.credential))
    examples = expected.private_examples()
    asked = (
        (f"404 for {path} ({glob} in ppm_private_names)", visit.get(path, visit.credential))
        for glob, path in ((glob, f"/simple/{example}/") for glob, example in examples.items())
    )
    kept = f"404 for what is not here yet ({', '.join(examples) or 'no pattern to try'})"
    yield answered("private", asked, kept)


def side_files(visit: Visit) -> Iterator[Finding]:
    """What lies beside the packages on the volume is nobody's to read."""
    beside = [f"{visit.remembered['probe'].path}.{kind}" for kind in ("upload", "yanked", "removed", "attestations")]
    others = [f"/packages/{PROJECT}/.status", "/credentials/htpasswd", "/credentials/access.yml"]
    paths = [*beside, *others, "/packages/%2e%2e/credentials/htpasswd"]
    asked = ((f"404/403/400 for {path}", visit.get(path, visit.credential)) for path in paths)
    yield answered("side files", asked, "what lies beside the packages is not served (404)")


def _headers(expected: Expected, answer: Answer) -> Finding:
    """What protects browsers stands on refusals too, and nothing tells which version of nginx this is."""
    faults = []
    if expected.has_own_tls:
        said = answer.headers.get("strict-transport-security", "")
        match = re.search(r'max-age="?(\d+)', said)
        if expected.hsts_max_age and match is None:
            faults.append("no Strict-Transport-Security (ppm_hsts_max_age)")
        elif (int(match[1]) if match else 0) != expected.hsts_max_age:
            faults.append(f"Strict-Transport-Security is {said!r}, and ppm_hsts_max_age {expected.hsts_max_age}")
        if re.search(r"\d", server := answer.headers.get("server", "")):
            faults.append(f"Server tells its version: {server}")
    if answer.headers.get("x-content-type-options") != "nosniff":
        faults.append("no X-Content-Type-Options: nosniff")
    if faults:
        return Finding("headers", "fail", f"on an answer {answer.status}: {'; '.join(faults)}", SITE)
    return Finding("headers", "ok", f"as they should be, on an answer {answer.status} too")


def _elsewhere(visit: Visit, expected: Expected, name: str, answer: Answer) -> Finding:
    if expected.upstream == "none" or expected.is_private(name):
        wanted = f"404 for /simple/{name}/, as ppm_upstream or ppm_private_names says"
        return answered("upstream", [(wanted, answer)], "404 for other names, as the inventory says")
    target, base = answer.location, expected.upstream_url.rstrip("/")
    if answer.status != 302:
        return unexpected("upstream", answer, f"302 for /simple/{name}/, as ppm_upstream is redirect")
    if (base and target != f"{base}/{name}/") or not re.fullmatch(rf"https?://[^/]+/(.*/)?{name}/", target):
        said = f"/simple/{name}/ is sent to {target!r} instead of {base or 'the public index'}"
        return Finding("upstream", "fail", said, SITE)
    if target.partition("://")[2].startswith(f"{visit.address.base.partition('://')[2]}/"):
        said = f"/simple/{name}/ is sent to this index itself"
        return Finding("upstream", "fail", said, "Put right ppm_upstream_url, and run site.yml.")
    return Finding("upstream", "ok", f"other names are sent to {target.removesuffix(name + '/')}")
