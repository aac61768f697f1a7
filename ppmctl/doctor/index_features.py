"""Check by one file what an index offers beyond a list of links: none of it is required."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from email import message_from_bytes

from ppmctl.client import discovery
from ppmctl.doctor.expected import SITE
from ppmctl.doctor.finding import Context, Finding
from ppmctl.doctor.sample_project import Sample, choose, fetch

_REPLACE = "ppmctl serve  offers it, and  ppmctl index adopt FOLDER  takes the files of another server's folder."
_CHECK = "On the index's machine: ppmctl index check  shows what is wrong with it."
_SEND = "On the index's machine: it or the proxy in front of it must send"
_WITH_STATUS = ("1.4", "1.5")
_LARGE = 1 << 14  # bytes of a page that are worth compressing
_METADATA = ".metadata"
_UPLOADS = (200, 400, 401, 403, 411, 415, 422)  # how an index answers an empty upload, if it takes any


def check(context: Context) -> Iterator[Finding]:
    """Check the forms of its pages, what they say about a file, how caches may store them, and the download."""
    sample = choose(context)
    if sample is None:
        yield Finding("api", "skip", "not tried: it has no files yet")
    else:
        yield _api(sample)
        yield from _facts(sample)
        yield from _metadata(sample)
        yield from _pages(sample)
        yield _download(sample)
    yield _uploads(context)


def _lacks(check: str, message: str) -> Finding:
    return Finding(check, "warn", message, _REPLACE)


def _api(sample: Sample) -> Finding:
    """Check PEP 629 and 691."""
    if not sample.has_json:
        message = "Simple API in HTML alone, without JSON (PEP 691): no sizes and upload times, and slower to read"
        return _lacks("api", message)
    meta = sample.json.values.get("meta")
    version = meta.get("api-version", "?") if isinstance(meta, dict) else "without a version"
    status = " with a status of projects (PEP 792)" if version in _WITH_STATUS else ""
    if sample.html.status == 200 and "html" in sample.html.content_type:
        return Finding("api", "ok", f"Simple API {version}{status}, in JSON and in HTML")
    return _lacks("api", f"Simple API {version}, in JSON alone: pip before 22.2, and easy_install, need HTML")


def _facts(sample: Sample) -> Iterator[Finding]:
    """Check what a page says about a file: hashes, and size and upload time (PEP 700)."""
    file = sample.file
    if file.sha256 is not None:
        yield Finding("hashes", "ok", "files have their sha256")
    elif file.other_hash is not None:
        yield _lacks("hashes", f"files have {file.other_hash[0]} hashes, and no sha256")
    else:
        risk = "damage and changes on the way are not noticed, and lock files have no hash"
        yield _lacks("hashes", f"no hash of {file.filename}: {risk}")
    missing = [name for name, value in (("sizes", file.size), ("upload times", file.upload_time)) if value is None]
    if sample.has_json and missing:
        cost = "uv --exclude-newer, pip --uploaded-prior-to find nothing"
        yield _lacks("times", f"no {' and no '.join(missing)} (PEP 700): {cost}")
    elif sample.has_json:
        yield Finding("times", "ok", "files have their size and upload time (PEP 700)")
    status = sample.page.status
    if status != "active":
        yield Finding("status", "ok", f"projects have a status (PEP 792): {sample.name} is {status}")


def _metadata(sample: Sample) -> Iterator[Finding]:
    """Check core metadata of wheels (PEP 658 and 714)."""
    file = sample.file
    if not file.filename.endswith(".whl"):
        return
    if file.core_metadata is None:
        yield _lacks("metadata", "no core metadata of wheels (PEP 658): to resolve, clients download whole wheels")
        return
    answer = fetch(sample.context, "GET", file.url + _METADATA)
    digest = hashlib.sha256(answer.body).hexdigest()
    if answer.status != 200:
        fault = f"the page promises {file.filename}{_METADATA}, and it answers {answer.status}: pip fails"
    elif file.core_metadata and file.core_metadata != digest:
        fault = f"{file.filename}{_METADATA} is not what the page has the hash of: pip fails"
    else:
        yield Finding("metadata", "ok", "wheels have their core metadata (PEP 658)")
        needed = message_from_bytes(answer.body).get("Requires-Python")
        if needed and file.requires_python is None:
            message = f"{file.filename} needs Python {needed}, and the page does not say so: clients try any other"
            yield _lacks("python", message)
        return
    yield Finding("metadata", "fail", fault, "On the index's machine: ppmctl index check, and ppmctl index rebuild")


def _pages(sample: Sample) -> Iterator[Finding]:
    """Check whether a client sees a new release at once, and whether caches and compression work."""
    answer = sample.json if sample.has_json else sample.html
    control, age = answer.headers.get("cache-control", "").lower(), 0
    for part in control.split(","):
        name, _, value = part.strip().partition("=")
        if name in ("max-age", "s-maxage") and value.strip('"').isdecimal():
            age = max(age, int(value.strip('"')))
    if age and "no-cache" not in control and "no-store" not in control:
        message = f"pages may be kept for {age} seconds (Cache-Control): a new release is not seen before"
        yield Finding("pages", "warn", message, f"{_SEND}  Cache-Control: no-cache  with pages.")
    elif not (tag := answer.headers.get("etag") or answer.headers.get("last-modified")):
        yield _lacks("pages", "pages have no ETag: they are sent again each time")
    else:
        header = "If-None-Match" if answer.headers.get("etag") else "If-Modified-Since"
        again = fetch(sample.context, "GET", sample.url, {header: tag, "Accept": answer.content_type})
        if again.status == 304:
            yield Finding("pages", "ok", "pages are requested each time, and sent if they have changed (304)")
        else:
            message = f"pages that have not changed are sent again: {header} is answered {again.status}"
            yield _lacks("pages", message)
    varies = [word.strip() for word in answer.headers.get("vary", "").lower().split(",")]
    if sample.has_json and sample.html.status == 200 and "accept" not in varies and "no-store" not in control:
        message = "a URL has JSON and HTML, and no Vary: Accept: a cache in between can answer the wrong one"
        yield Finding("vary", "warn", message, f"{_SEND}  Vary: Accept  with pages.")
    if len(answer.body) > _LARGE and not answer.headers.get("content-encoding"):
        message = f"pages are not compressed ({len(answer.body)} bytes), though the request allows gzip"
        yield Finding("gzip", "warn", message, "On the index's machine: compress JSON and HTML.")


def _download(sample: Sample) -> Finding:
    """Check whether the file exists, is unchanged, can be requested in parts, and stored by caches."""
    file, expected = sample.file, sample.context.expected
    plain = {"Accept": "*/*", "Accept-Encoding": "identity"}
    part = fetch(sample.context, "GET", file.url, {**plain, "Range": "bytes=0-0"})
    if part.status not in (200, 206):
        message = f"the page lists {file.filename}, and it answers {part.status}: {part.says}"
        return Finding("files", "fail", message, _CHECK)
    if file.url.startswith("http:") and sample.context.address.is_encrypted:
        message = f"pages are over https, and their files over plain HTTP: {file.url}"
        return Finding(
            "files", "fail", message, "The proxy in front of the index must send  X-Forwarded-Proto: https."
        )
    whole = fetch(sample.context, "GET", file.url, plain) if "probe" in sample.context.shared else None
    if whole and hashlib.sha256(whole.body).hexdigest() != file.sha256:
        message = f"{file.filename} is not what the page has the hash of: clients refuse it"
        return Finding("files", "fail", message, _CHECK)
    head = fetch(sample.context, "HEAD", file.url, plain)
    size = head.headers.get("content-length", "")
    if head.status == 200 and file.size is not None and size.isdecimal() and int(size) != file.size:
        message = f"{file.filename} has {size} bytes, and the page says {file.size}: clients refuse it"
        return Finding("files", "fail", message, _CHECK)
    lacks = [*([] if head.status == 200 else ["HEAD"]), *([] if part.status == 206 else ["Range"])]
    if lacks:
        message = f"files can't be requested by {' and '.join(lacks)}: uv downloads whole wheels for their metadata"
        return _lacks("files", message)
    control = part.headers.get("cache-control", "")
    if "immutable" not in control and "max-age" not in control:
        return _lacks("files", "clients may not keep files (no Cache-Control: max-age): they request them again")
    if expected and ("public" if expected.is_public else "private") not in control:
        message = f"shared caches may keep files, or may not (Cache-Control: {control})"
        return Finding("files", "fail", message, SITE)
    return Finding("files", "ok", "files can be requested in parts (Range, HEAD), and stored by caches")


def _uploads(context: Context) -> Finding:
    """Check whether uploads are taken: an index of ppm has it in its document, others get an empty, anonymous one."""
    url, root = context.address.upload, f"{context.address.base}/"
    with context.connect(None) as transport:
        is_ppm = url == f"{root}legacy/" and discovery.discover(context.address, transport) is not None
        refusal = 200 if is_ppm else transport.request("POST", url).status
        if refusal in _UPLOADS:
            return Finding("uploads", "ok", f"uploads go to {url}")
        message = f"{url} takes no uploads ({refusal})"
        if transport.request("POST", root).status not in _UPLOADS:
            return _lacks("uploads", message)
    return Finding("uploads", "warn", f"{message}, {root} does", f"Set in ~/.pypirc: repository = {root}")
