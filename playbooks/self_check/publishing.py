"""A release goes in, is on its pages, comes out as it went in, and can't be replaced."""

from __future__ import annotations

import hashlib
import time

from self_check import pages
from self_check.access import upload
from self_check.client import Answer, NoAnswer
from self_check.findings import Verdict, good, wrong
from self_check.look import APPLICATION, SITE, Look, unexpected
from self_check.pages import ACCEPT_JSON, HTML, JSON, File, Unreadable
from self_check.probe import make
from self_check.settings import PROJECT, PUBLISHER, READER, Credential

LIST_SECONDS = 5.0  # the list of projects may follow a new project within two
_REBUILD = "On the host: ppmctl index check says what is wrong, ppmctl index rebuild writes the pages anew."


def accepted(look: Look) -> Verdict:
    answer = upload(look, look.probe, look.credentials[PUBLISHER])
    if answer.status == 200:
        return good(f"{look.probe.filename} by a publisher")
    return unexpected(answer, "200 for a publisher's upload", APPLICATION)


def immutable(look: Look) -> Verdict:
    """The same name with other content is refused."""
    answer = upload(look, make(look.probe.version), look.credentials[PUBLISHER])
    if answer.status == 409:
        return good("409")
    return unexpected(answer, "409 for the same file name with other content", APPLICATION)


def json_page(look: Look) -> Verdict:
    answer = _page(look, ACCEPT_JSON)
    if answer.status != 200 or answer.content_type != JSON:
        return unexpected(answer, f"200 as {JSON} (it came as {answer.content_type or 'nothing'})", SITE)
    return _judge(look, pages.from_json(answer.body, _url(look)).get(look.probe.filename)) or _fresh(answer)


def html_page(look: Look) -> Verdict:
    answer = _page(look, HTML)
    if answer.status != 200 or answer.content_type != HTML:
        return unexpected(answer, f"200 as {HTML} (it came as {answer.content_type or 'nothing'})", SITE)
    return _judge(look, pages.from_html(answer.body, _url(look)).get(look.probe.filename)) or _fresh(answer)


def listed(look: Look) -> Verdict:
    until = time.monotonic() + LIST_SECONDS
    while True:
        answer = look.index.get("/simple/", look.credentials[READER], Accept=ACCEPT_JSON)
        if answer.status != 200:
            return unexpected(answer, "200 for /simple/", SITE)
        if PROJECT in pages.names_in_json(answer.body):
            return good(f"/simple/ names {PROJECT}")
        if time.monotonic() > until:
            return wrong(f"/simple/ does not name {PROJECT}", _REBUILD)
        time.sleep(0.5)


def metadata(look: Look) -> Verdict:
    answer = look.index.get(f"{look.probe.path}.metadata", look.credentials[READER])
    if answer.status != 200:
        return unexpected(answer, "200 for the wheel's .metadata", SITE)
    if answer.body != look.probe.metadata:
        return wrong("what comes as .metadata is not what is in the wheel", _REBUILD)
    return good("byte for byte what is in the wheel")


def file(look: Look) -> Verdict:
    answer = look.index.get(look.probe.path, look.credentials[READER])
    if answer.status != 200:
        return unexpected(answer, "200 for the file", SITE)
    if hashlib.sha256(answer.body).hexdigest() != look.probe.sha256:
        return wrong("its SHA-256 is another than that of what was uploaded", _REBUILD)
    wanted = {"immutable", "public" if look.settings.is_public else "private"}
    kept = {part.strip() for part in answer.header("Cache-Control").split(",")}
    if not wanted <= kept:
        said = answer.header("Cache-Control") or "not there"
        return wrong(f"Cache-Control is {said}, without {', '.join(sorted(wanted - kept))}", SITE)
    return good("its SHA-256 is that of what was uploaded")


def part_of_file(look: Look) -> Verdict:
    """A download that broke off goes on where it was."""
    answer = look.index.get(look.probe.path, look.credentials[READER], Range="bytes=10-19")
    if answer.status == 206 and answer.body == look.probe.content[10:20]:
        return good("206 with the part that was asked for")
    return unexpected(answer, "206 for a part of the file", SITE)


def closed_file(look: Look) -> Verdict:
    answer = look.index.get(look.probe.path)
    wanted = 200 if look.settings.is_public else 401
    if answer.status == wanted:
        return good(str(wanted))
    return unexpected(answer, f"{wanted} for the file without a credential", SITE)


def side_files(look: Look) -> Verdict:
    """What lies beside the packages on the volume is nobody's to read."""
    beside = [f"{look.probe.path}.{kind}" for kind in ("upload", "yanked", "removed", "attestations")]
    others = [f"/packages/{PROJECT}/.status", "/credentials/htpasswd", "/credentials/access.yml"]
    climbing = ["/packages/../credentials/htpasswd", "/packages/%2e%2e/credentials/htpasswd"]
    for path in [*beside, *others, *climbing]:
        answer = look.index.get(path, look.credentials[READER])
        if answer.status not in (400, 403, 404):
            return unexpected(answer, f"404 for {path}", SITE)
    return good("404")


def _page(look: Look, accept: str) -> Answer:
    return look.index.get(f"/simple/{PROJECT}/", look.credentials[READER], Accept=accept)


def _url(look: Look) -> str:
    return f"{look.base}simple/{PROJECT}/"


def _judge(look: Look, found: File | None) -> Verdict | None:
    """What is wrong with the file on the page."""
    if found is None:
        return wrong(f"{look.probe.filename} is not on it", _REBUILD)
    if found.path != look.probe.path:
        return wrong(f"its link is {found.path or 'to another host'} instead of {look.probe.path}", _REBUILD)
    if found.sha256 != look.probe.sha256:
        return wrong("the SHA-256 on it is another than that of what was uploaded", _REBUILD)
    if found.metadata != hashlib.sha256(look.probe.metadata).hexdigest():
        return wrong("the SHA-256 of the metadata is not that of what is in the wheel", _REBUILD)
    return None


def _fresh(answer: Answer) -> Verdict:
    """A page that may be kept without asking hides new releases (pip obeys it)."""
    if "no-cache" not in answer.header("Cache-Control") or not answer.header("ETag"):
        kept = answer.header("Cache-Control")
        return wrong(f"new releases may not be seen: Cache-Control is {kept!r}, ETag {answer.header('ETag')!r}", SITE)
    return good("lists the file with its SHA-256 and that of its metadata")


# afterwards


def gone(look: Look) -> Verdict:
    """The probe is off the page and the disk, and its project is not looked for elsewhere."""
    reader = look.credentials[READER]
    answer = _page(look, ACCEPT_JSON)
    if answer.status != 200:
        to = f", sent to {answer.header('Location')}," if answer.is_redirect else ""
        return unexpected(answer, f"200{to} for the page of a project that was here", _REBUILD)
    if look.probe.filename in pages.from_json(answer.body, _url(look)):
        return wrong("it is still on its page", _REBUILD)
    for path in (look.probe.path, f"{look.probe.path}.metadata"):
        answer = look.index.get(path, reader)
        if answer.status not in (404, 410):
            return unexpected(answer, f"404 for {path}", _REBUILD)
    return good("off its page, 404, and its name is not looked for elsewhere")


def filenames(look: Look) -> list[str]:
    """The files of the probe's project; none where its page can't be had."""
    try:
        answer = _page(look, ACCEPT_JSON)
        return list(pages.from_json(answer.body, _url(look))) if answer.status == 200 else []
    except (NoAnswer, Unreadable):
        return []


def revoked(look: Look, credential: Credential) -> Verdict:
    """A credential that was taken away lets nobody in, neither nginx nor the application."""
    remedy = f"On the host: ppmctl user list; ppmctl user remove {credential.name}; systemctl restart ppm.service."
    if not look.settings.is_public:
        answer = look.index.get(f"/simple/{PROJECT}/", credential)
        if answer.status != 401:
            return unexpected(answer, "401 for a credential that was taken away", remedy)
    answer = upload(look, look.probe, credential)
    if answer.status != 401:
        return unexpected(answer, "401 for an upload with a credential that was taken away", remedy)
    return good("401 from the next request on")
