"""What an index offers its clients beyond a list of links, by the example of one file: nothing of it is a must."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from email import message_from_bytes

from ppmctl import wellknown
from ppmctl.doctor.expected import SITE
from ppmctl.doctor.finding import Finding, Visit
from ppmctl.doctor.sample import Sample, ask, choose
from ppmctl.simple import NOT_SUCH_JSON
from ppmctl.transport import Answer

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
        yield from _api(sample)
        yield from _facts(sample)
        yield from _metadata(sample)
        yield from _pages(sample)
        yield from _download(sample)
    yield from _uploads(visit)


def _api(sample: Sample) -> Iterator[Finding]:
    """PEP 629 and 691."""
    html = sample.html.status == 200 and "html" in sample.html.content_type
    if not sample.has_json:
        said = "Simple API in HTML alone, without JSON (PEP 691): no sizes and upload times, and slower to read"
        yield Finding("api", "warn", said, _BETTER)
        return
    version = _version(sample.json)
    known = " with a status of projects (PEP 792)" if version in _WITH_STATUS else ""
    if html:
        yield Finding("api", "ok", f"Simple API {version}{known}, in JSON and in HTML")
    else:
        said = f"Simple API {version}, in JSON alone: pip before 22.2, and easy_install, need HTML"
        yield Finding("api", "warn", said, _BETTER)


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
        yield Finding("hashes", "warn", said, _BETTER)
    elif file.sha256 is None and file.other_hash is not None:
        yield Finding("hashes", "warn", f"files have {file.other_hash[0]} hashes, and no sha256", _BETTER)
    else:
        yield Finding("hashes", "ok", "files have their sha256")
    if sample.has_json:
        lacks = [what for what, value in (("sizes", file.size), ("upload times", file.upload_time)) if value is None]
        if lacks:
            said = f"no {' and no '.join(lacks)} (PEP 700): uv --exclude-newer, pip --uploaded-prior-to find nothing"
            yield Finding("times", "warn", said, _BETTER)
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
        said = "no metadata beside wheels (PEP 658): to resolve, clients download whole wheels"
        yield Finding("metadata", "warn", said, _BETTER)
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
            yield Finding("python", "warn", what, _BETTER)
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
        yield Finding("pages", "warn", "pages have no ETag: they are sent anew each time", _BETTER)
    else:
        asked = "If-None-Match" if answer.headers.get("etag") else "If-Modified-Since"
        accept = {"Accept": answer.content_type}
        again = ask(sample.visit, "GET", sample.url, {asked: tag, **accept})
        if again.status == 304:
            yield Finding("pages", "ok", "pages are asked for each time, and sent when they are new (304)")
        else:
            what = f"pages that have not changed are sent anew: {asked} is answered with {again.status}"
            yield Finding("pages", "warn", what, _BETTER)
    varies = answer.headers.get("vary", "").lower()
    if sample.has_json and sample.html.status == 200 and "accept" not in _words(varies) and "no-store" not in kept:
        said = (
            "one URL is JSON or HTML without saying so (no Vary: Accept): a cache in between hands out the wrong one"
        )
        yield Finding("vary", "warn", said, f"{_SEND}  Vary: Accept  with pages.")
    if len(answer.body) > _LARGE and not answer.headers.get("content-encoding"):
        what = f"pages are sent as they are ({len(answer.body)} bytes), though gzip was asked for"
        yield Finding("gzip", "warn", what, "On the index's machine: pack what is JSON and HTML.")


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",")]


def _download(sample: Sample) -> Iterator[Finding]:
    """Whether the file is there, can be had in parts, and kept."""
    file = sample.file
    plain = {"Accept": "*/*", "Accept-Encoding": "identity"}
    part = ask(sample.visit, "GET", file.url, {**plain, "Range": "bytes=0-0"})
    if part.status not in (200, 206):
        said = f"the page lists {file.filename}, and it answers {part.status}: {part.says}"
        yield Finding("files", "fail", said, _CHECK)
        return
    if file.url.startswith("http:") and sample.visit.address.is_encrypted:
        said = f"pages are over https, and their files over plain HTTP: {file.url}"
        mend = "On the index's machine: what ends TLS in front of it has to send X-Forwarded-Proto: https."
        yield Finding("files", "fail", said, mend)
        return
    whole = ask(sample.visit, "GET", file.url, plain) if "probe" in sample.visit.remembered else None
    if whole and hashlib.sha256(whole.body).hexdigest() != file.sha256:
        what = f"{file.filename} is not what the page has the hash of: clients refuse it"
        yield Finding("files", "fail", what, _CHECK)
        return
    head = ask(sample.visit, "HEAD", file.url, plain)
    lacks = [*([] if head.status == 200 else ["HEAD"]), *([] if part.status == 206 else ["Range"])]
    size = head.headers.get("content-length", "")
    if head.status == 200 and file.size is not None and size.isdecimal() and int(size) != file.size:
        what = f"{file.filename} has {size} bytes, and the page says {file.size}: a download of it is refused"
        yield Finding("files", "fail", what, _CHECK)
    elif lacks:
        what = f"files can't be asked for by {' and '.join(lacks)}: uv downloads whole wheels for their metadata"
        yield Finding("files", "warn", what, _BETTER)
    elif "immutable" not in (kept := part.headers.get("cache-control", "")) and "max-age" not in kept:
        what = "files may not be kept (no Cache-Control: max-age): they are asked for again"
        yield Finding("files", "warn", what, _BETTER)
    elif (expected := sample.visit.expected) and ("public" if expected.is_public else "private") not in kept:
        yield Finding("files", "fail", f"caches of others may keep files, or not (Cache-Control: {kept})", SITE)
    else:
        yield Finding("files", "ok", "files can be had in parts (Range, HEAD), and kept")


def _uploads(visit: Visit) -> Iterator[Finding]:
    """Whether there is something where uploads go: ppm says so itself, others refuse an empty one of nobody's."""
    url, usual = visit.address.upload, f"{visit.address.base}/legacy/"
    with visit.connect_as_nobody() as transport:
        if url == usual and wellknown.discover(visit.address, transport) is not None:
            yield Finding("uploads", "ok", f"uploads go to {url}")
            return
    refusal = _refusal(visit, url)
    if refusal in _UPLOADS:
        yield Finding("uploads", "ok", f"uploads go to {url}")
        return
    found = f"{url} takes no uploads ({refusal})"
    other = f"{visit.address.base}/"
    if _refusal(visit, other) in _UPLOADS:
        yield Finding(
            "uploads", "warn", f"{found}, {other} does", f"A section of ~/.pypirc says so: repository = {other}"
        )
    else:
        yield Finding("uploads", "warn", found, _BETTER)


def _refusal(visit: Visit, url: str) -> int:
    return visit.request("POST", url, None).status
