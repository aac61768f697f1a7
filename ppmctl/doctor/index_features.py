"""What an index offers its clients beyond a list of links, by the example of one file: nothing of it is a must."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from email import message_from_bytes

from ppmctl.client import discovery
from ppmctl.client.http import Answer
from ppmctl.doctor.expected import SITE
from ppmctl.doctor.finding import Finding, Visit
from ppmctl.doctor.sample_project import Sample, ask, choose
from ppmctl.errors import NOT_SUCH_JSON

# for an index that has a thing not: it is old, and so is what it would have to be replaced with
_BETTER = "ppmctl serve  offers it, and  ppmctl index adopt FOLDER  takes the files of another server's folder."
_CHECK = "On the index's machine: ppmctl index check  says what is wrong with it."
_SEND = "On the index's machine: have it, or what is in front of it, send"
_WITH_STATUS = ("1.4", "1.5")
_LARGE = 1 << 14  # bytes of a page that are worth packing
_METADATA = ".metadata"
_UPLOADS = (200, 400, 401, 403, 411, 415, 422)  # how an index refuses an upload, and not that there is one


def check(visit: Visit) -> Iterator[Finding]:
    """The forms of its pages, what they say of a file, how they may be kept, and how the file is had."""
    sample = choose(visit)
    if sample is None:
        yield Finding("api", "skip", "it has no files yet to look at")
    else:
        yield _api(sample)
        yield from _facts(sample)
        yield from _metadata(sample)
        yield from _pages(sample)
        yield _download(sample)
    yield _uploads(visit)


def _lacks(check: str, found: str) -> Finding:
    return Finding(check, "warn", found, _BETTER)


def _api(sample: Sample) -> Finding:
    """PEP 629 and 691."""
    if not sample.has_json:
        said = "Simple API in HTML alone, without JSON (PEP 691): no sizes and upload times, and slower to read"
        return _lacks("api", said)
    version = _version(sample.json)
    known = " with a status of projects (PEP 792)" if version in _WITH_STATUS else ""
    if sample.html.status == 200 and "html" in sample.html.content_type:
        return Finding("api", "ok", f"Simple API {version}{known}, in JSON and in HTML")
    return _lacks("api", f"Simple API {version}, in JSON alone: pip before 22.2, and easy_install, need HTML")


def _version(answer: Answer) -> str:
    try:
        return str(json.loads(answer.body)["meta"]["api-version"])
    except NOT_SUCH_JSON:
        return "of no version"


def _facts(sample: Sample) -> Iterator[Finding]:
    """What a page says of a file: hashes, and PEP 700's sizes and times."""
    file = sample.file
    if file.sha256 is None and file.other_hash is None:
        said = f"no hash of {file.filename}: what breaks or changes on the way is not noticed; lock files have none"
        yield _lacks("hashes", said)
    elif file.sha256 is None and file.other_hash is not None:
        yield _lacks("hashes", f"files have {file.other_hash[0]} hashes, and no sha256")
    else:
        yield Finding("hashes", "ok", "files have their sha256")
    if sample.has_json:
        lacks = [what for what, value in (("sizes", file.size), ("upload times", file.upload_time)) if value is None]
        if lacks:
            said = f"no {' and no '.join(lacks)} (PEP 700): uv --exclude-newer, pip --uploaded-prior-to find nothing"
            yield _lacks("times", said)
        else:
            yield Finding("times", "ok", "files have their size and upload time (PEP 700)")
    status = sample.page.status
    if status != "active":
        yield Finding("status", "ok", f"projects have a status (PEP 792): {sample.name} is {status}")


def _metadata(sample: Sample) -> Iterator[Finding]:
    """PEP 658 and 714."""
    file = sample.file
    if not file.filename.endswith(".whl"):
        return
    if file.core_metadata is None:
        yield _lacks("metadata", "no metadata beside wheels (PEP 658): to resolve, clients download whole wheels")
        return
    answer = ask(sample.visit, "GET", file.url + _METADATA)
    digest = hashlib.sha256(answer.body).hexdigest()
    if answer.status != 200:
        what = f"the page promises {file.filename}{_METADATA}, and it answers {answer.status}: pip fails"
    elif file.core_metadata and file.core_metadata != digest:
        what = f"{file.filename}{_METADATA} is not what the page has the hash of: pip fails"
    else:
        yield Finding("metadata", "ok", "wheels have their metadata beside them (PEP 658)")
        wanted = message_from_bytes(answer.body).get("Requires-Python")
        if wanted and file.requires_python is None:
            what = f"{file.filename} needs Python {wanted}, and the page does not say so: clients try it on any other"
            yield _lacks("python", what)
        return
    yield Finding("metadata", "fail", what, "On the index's machine: ppmctl index check, and ppmctl index rebuild")


def _pages(sample: Sample) -> Iterator[Finding]:
    """How long a page may be kept, and by whom."""
    answer = sample.json if sample.has_json else sample.html
    kept, age = answer.headers.get("cache-control", "").lower(), 0
    for part in kept.split(","):
        name, _, value = part.strip().partition("=")
        if name in ("max-age", "s-maxage") and value.strip('"').isdecimal():
            age = max(age, int(value.strip('"')))
    if age and "no-cache" not in kept and "no-store" not in kept:
        said = f"pages may be kept for {age} seconds (Cache-Control): so long a new release stays unseen"
        yield Finding("pages", "warn", said, f"{_SEND}  Cache-Control: no-cache  with pages.")
    elif not (tag := answer.headers.get("etag") or answer.headers.get("last-modified")):
        yield _lacks("pages", "pages have no ETag: they are sent anew each time")
    else:
        asked = "If-None-Match" if answer.headers.get("etag") else "If-Modified-Since"
        again = ask(sample.visit, "GET", sample.url, {asked: tag, "Accept": answer.content_type})
        if again.status == 304:
            yield Finding("pages", "ok", "pages are asked for each time, and sent when they are new (304)")
        else:
            yield _lacks(
                "pages", f"pages that have not changed are sent anew: {asked} is answered with {again.status}"
            )
    varies = [word.strip() for word in answer.headers.get("vary", "").lower().split(",")]
    if sample.has_json and sample.html.status == 200 and "accept" not in varies and "no-store" not in kept:
        said = "one URL is JSON or HTML without saying so (no Vary: Accept)"
        what = f"{said}: a cache in between hands out the wrong one"
        yield Finding("vary", "warn", what, f"{_SEND}  Vary: Accept  with pages.")
    if len(answer.body) > _LARGE and not answer.headers.get("content-encoding"):
        what = f"pages are sent as they are ({len(answer.body)} bytes), though gzip was asked for"
        yield Finding("gzip", "warn", what, "On the index's machine: pack what is JSON and HTML.")


def _download(sample: Sample) -> Finding:
    """Whether the file is there, can be had in parts, and kept."""
    file = sample.file
    plain = {"Accept": "*/*", "Accept-Encoding": "identity"}
    part = ask(sample.visit, "GET", file.url, {**plain, "Range": "bytes=0-0"})
    if part.status not in (200, 206):
        said = f"the page lists {file.filename}, and it answers {part.status}: {part.says}"
        return Finding("files", "fail", said, _CHECK)
    if file.url.startswith("http:") and sample.visit.address.is_encrypted:
        said = f"pages are over https, and their files over plain HTTP: {file.url}"
        mend = "On the index's machine: what ends TLS in front of it has to send X-Forwarded-Proto: https."
        return Finding("files", "fail", said, mend)
    whole = ask(sample.visit, "GET", file.url, plain) if "probe" in sample.visit.remembered else None
    if whole and hashlib.sha256(whole.body).hexdigest() != file.sha256:
        said = f"{file.filename} is not what the page has the hash of: clients refuse it"
        return Finding("files", "fail", said, _CHECK)
    head = ask(sample.visit, "HEAD", file.url, plain)
    lacks = [*([] if head.status == 200 else ["HEAD"]), *([] if part.status == 206 else ["Range"])]
    size = head.headers.get("content-length", "")
    if head.status == 200 and file.size is not None and size.isdecimal() and int(size) != file.size:
        said = f"{file.filename} has {size} bytes, and the page says {file.size}: a download of it is refused"
        return Finding("files", "fail", said, _CHECK)
    if lacks:
        said = f"files can't be asked for by {' and '.join(lacks)}: uv downloads whole wheels for their metadata"
        return _lacks("files", said)
    if "immutable" not in (kept := part.headers.get("cache-control", "")) and "max-age" not in kept:
        return _lacks("files", "files may not be kept (no Cache-Control: max-age): they are asked for again")
    if (expected := sample.visit.expected) and ("public" if expected.is_public else "private") not in kept:
        return Finding("files", "fail", f"caches of others may keep files, or not (Cache-Control: {kept})", SITE)
    return Finding("files", "ok", "files can be had in parts (Range, HEAD), and kept")


def _uploads(visit: Visit) -> Finding:
    """Whether there is something where uploads go: ppm says so itself, others refuse an empty one of nobody's."""
    url, other = visit.address.upload, f"{visit.address.base}/"
    with visit.connect_as_nobody() as transport:
        is_ppm = url == f"{other}legacy/" and discovery.discover(visit.address, transport) is not None
        refusal = 200 if is_ppm else transport.request("POST", url).status
        if refusal in _UPLOADS:
            return Finding("uploads", "ok", f"uploads go to {url}")
        found = f"{url} takes no uploads ({refusal})"
        if transport.request("POST", other).status not in _UPLOADS:
            return _lacks("uploads", found)
    mend = f"A section of ~/.pypirc says so: repository = {other}"
    return Finding("uploads", "warn", f"{found}, {other} does", mend)
