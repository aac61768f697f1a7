"""Receive, check and publish an upload. `app` calls `receive`; pypiserver's backend calls `publish` with the result.

receive: write the form's file to `incoming/`, and hash it.
publish: check the name, and that the credential may publish the project → for a shared environment, that it may
change it → compare the digests that the client sent → check that the file is the wheel or sdist that its name says →
put it into the store → write a line into the audit log.
"""

from __future__ import annotations

import contextlib
import json
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from werkzeug.exceptions import ClientDisconnected, RequestEntityTooLarge
from werkzeug.formparser import FormDataParser
from werkzeug.wrappers import Request

from ppmctl.access.account import Actor
from ppmctl.access.credential_files import Access
from ppmctl.distributions import distribution, inspection
from ppmctl.distributions.distribution import Filename, InvalidDistribution
from ppmctl.distributions.environment_revision import environment_of
from ppmctl.errors import Refused
from ppmctl.index.staging import DIGESTS, IncomingFile
from ppmctl.index.store import Store
from ppmctl.server import environment_policy, json_api

log = logging.getLogger(__name__)

# Limits of a form's fields without its file: twine sends a field for each classifier, and the README as a field.
MAX_FIELDS_SIZE = 16 << 20  # bytes, of all fields together
MAX_FIELDS = 10_000
_SLACK = 4 << 20  # bytes; the form's boundaries and headers, and the parser's buffer
# A refused body is read up to this many bytes and seconds, because a client reads the answer only after sending.
MAX_DRAIN = 256 << 20
MAX_DRAIN_TIME = 15.0


@dataclass(kw_only=True)
class Upload:
    """A posted form: an upload, or another `:action`.

    `by` is the sender's credential, `actor` its name and address for the audit log. `content` is the file in the
    field "content"; `received` are all files, which `close` removes.
    """

    by: Access
    actor: Actor
    fields: Mapping[str, str] = field(default_factory=dict)
    content: IncomingFile | None = None
    filename: str = ""
    received: list[IncomingFile] = field(default_factory=list)

    @property
    def action(self) -> str:
        """Return the form's `:action`. A form with a file and no action is an upload."""
        return self.fields.get(":action") or ("file_upload" if self.content is not None else "")

    def close(self) -> None:
        for file in self.received:
            file.discard()


def receive(request: Request, store: Store, *, by: Access, max_size: int) -> Upload:
    """Read a request's form, and write its files to `incoming/`. The caller closes the upload.

    Raise Refused: 400 for a form that can't be parsed, 408 if no more of it arrives, 413 for more than `max_size`
    bytes or too many fields; OSError for a full disk.
    """
    upload = Upload(by=by, actor=json_api.actor(request, by))

    def new_file(**_about: object) -> IncomingFile:
        file = store.area.new_file()
        upload.received.append(file)
        return file

    parser = FormDataParser(
        stream_factory=cast("Any", new_file),  # its files are no IO: they have what the parser calls of it
        max_content_length=max_size,
        max_form_memory_size=MAX_FIELDS_SIZE,
        max_form_parts=MAX_FIELDS,
        silent=False,
    )
    with contextlib.ExitStack() as on_failure:
        on_failure.callback(upload.close)
        try:
            metered = {**request.environ, "wsgi.input": _Metered(request.environ["wsgi.input"], upload)}
            _stream, form, sent = parser.parse_from_environ(metered)
        except RequestEntityTooLarge as exc:
            if request.content_length is not None:  # the caller has checked the whole body's size: it is the fields
                limits = f"{MAX_FIELDS} fields and {MAX_FIELDS_SIZE >> 20} MB of text"
                raise Refused(413, f"The form's fields are over the limit of {limits}") from exc
            raise too_large(max_size) from exc
        except ClientDisconnected as exc:
            raise Refused(400, "The upload ended too early") from exc
        except TimeoutError as exc:
            raise Refused(408, "The rest of the upload did not arrive in time") from exc
        except ValueError as exc:
            broken = "The upload ended too early, or is not a form (multipart/form-data)"
            raise Refused(400, broken) from exc
        upload.fields = form.to_dict()
        contents = sent.getlist("content")
        if len(contents) > 1:
            raise Refused(400, "The form has more than one file in its field 'content'; send a form for each")
        for content in contents:
            upload.content = next(file for file in upload.received if id(file) == id(content.stream))
            upload.filename = content.filename or ""
        on_failure.pop_all()
    return upload


class _Metered:
    """A request's body that raises an error when its fields, without its files, are larger than MAX_FIELDS_SIZE."""

    def __init__(self, body: Any, upload: Upload) -> None:
        self._body = body
        self._upload = upload
        self._count = 0

    def read(self, size: int = -1) -> bytes:
        chunk: bytes = self._body.read(size)
        self._count += len(chunk)
        if self._count - sum(file.size for file in self._upload.received) > MAX_FIELDS_SIZE + _SLACK:
            raise RequestEntityTooLarge
        return chunk


def publish(store: Store, upload: Upload) -> None:
    """Check what was received and put it into the index. If it raises Refused, nothing is stored."""
    if upload.content is None:
        raise Refused(400, "The form has no file in its field 'content'")
    name = _checked_name(upload)
    if environment_of(name.project) is not None:
        environment_policy.require_change(store, name.project, upload.by)
    _check_digests(upload, upload.content)
    try:
        # flushes the buffer: this shows whether the disk is full, and `inspect` reads the file
        upload.content.finish()
        dist = inspection.inspect(upload.content.path, name.filename)
    except InvalidDistribution as exc:
        raise Refused(400, exc.message) from exc
    if dist.revision is not None:
        environment_policy.require_revision(store, name.project, dist.revision, upload.by)
    store.put(upload.content, dist, by=upload.by.name, attestations=_attestations(upload))
    upload.actor.record(store.volume, "publish", name.filename)


def drain(request: Request, max_size: int) -> None:
    """Read what a refused client still sends, within limits, so that it gets the answer."""
    if (request.content_length or 0) > min(max_size, MAX_DRAIN):
        return
    left, until = MAX_DRAIN, time.monotonic() + MAX_DRAIN_TIME
    try:
        while (
            left > 0
            and time.monotonic() < until
            and (chunk := request.environ["wsgi.input"].read(min(left, 1 << 16)))
        ):
            left -= len(chunk)
    except OSError:
        return


def too_large(max_size: int) -> Refused:
    return Refused(413, f"The upload is over this index's limit of {max_size} bytes (max_upload_size)")


def _checked_name(upload: Upload) -> Filename:
    """Return the parsed filename. Raise Refused: 400 if it is invalid, 403 if the sender may not publish it."""
    try:
        name = distribution.parse_filename(upload.filename)
    except InvalidDistribution as exc:
        raise Refused(400, exc.message) from exc
    if not upload.by.may("publish", name.project):
        raise Refused(403, f"The credential {upload.by.name} may not publish {name.project}")
    claimed = upload.fields.get("name")
    if claimed and distribution.normalise(claimed) != name.project:
        named = f"The form's field 'name' is {distribution.one_line(claimed)!r}"
        raise Refused(400, f"{named}, but {name.filename} belongs to {name.project}")
    return name


def _check_digests(upload: Upload, content: IncomingFile) -> None:
    for digest in DIGESTS:
        sent = upload.fields.get(f"{digest}_digest")
        if sent and sent.strip().lower() != content.digest(digest):
            damaged = f"{upload.filename} was damaged on the way: its {digest} is not the one in the form"
            raise Refused(400, f"{damaged}; upload it again")


def _attestations(upload: Upload) -> str | None:
    sent = upload.fields.get("attestations")
    if sent is None:
        return None
    try:
        listed = json.loads(sent)
    except (ValueError, RecursionError):
        listed = None
    if not isinstance(listed, list):
        raise Refused(400, "The field 'attestations' is not a JSON list (PEP 740)")
    return sent
