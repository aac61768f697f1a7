"""Receive, check and publish an upload. `app` calls `receive`; pypiserver's backend calls `publish` with the result.

receive: write the form's file to `incoming/`, and hash it.
publish: check the name, that the credential may publish the project, and that it may upload the first file of a
public name → for a shared environment, that it may change it → compare the digests that the client sent → check that
the file is the wheel or sdist that its name says → put it into the store → write a line into the audit log.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from functools import partial

from werkzeug.wrappers import Request

from ppmctl.access import audit_log
from ppmctl.access.account import Actor
from ppmctl.access.credential_files import Access
from ppmctl.distributions import attestations, distribution, inspection
from ppmctl.distributions.distribution import Filename, InvalidDistribution
from ppmctl.errors import Refused
from ppmctl.index.staging import DIGESTS, IncomingFile
from ppmctl.index.store import Store
from ppmctl.server import environment_policy, json_api, upload_form
from ppmctl.server.public_names import PublicNames
from ppmctl.server.upload_form import Form

log = logging.getLogger(__name__)


@dataclass(kw_only=True)
class Upload(Form):
    """A posted form: an upload, or another `:action`.

    `by` is the sender's credential, `actor` its name and address for the audit log. `notes` are what the answer to a
    successful upload and the audit tell about it.
    """

    by: Access
    actor: Actor
    notes: list[str] = field(default_factory=list)

    @property
    def action(self) -> str:
        """Return the form's `:action`. A form with a file and no action is an upload."""
        return self.fields.get(":action") or ("file_upload" if self.content is not None else "")

    def close(self) -> None:
        if self.content is not None:
            self.content.discard()


def receive(request: Request, store: Store, *, by: Access, max_size: int) -> Upload:
    """Read a request's form, and write its file to `incoming/`. The caller closes the upload.

    Raise what `upload_form.read` raises.
    """
    upload = Upload(by=by, actor=json_api.actor(request, by))
    try:
        upload_form.read(request, upload, store.area.new_file, max_size=max_size)
    except BaseException:
        upload.close()
        raise
    finally:
        json_api.attempt(request, *_audit_words(upload, request.path))
    return upload


def publish(store: Store, upload: Upload, public_names: PublicNames) -> bool:
    """Check what was received and put it into the index; return whether it is new. If it raises Refused, it is not.

    A file that the index has already, with the same content, is a success: the client did not get the first answer.
    """
    if upload.content is None:
        raise Refused(400, "The form has no file in its field 'content'")
    name = _checked_name(upload)
    public_names.require(store, name.project, upload.by)
    environment_policy.require_change(store, name.project, upload.by)
    _check_digests(upload, upload.content)
    try:
        # flushes the buffer: this shows whether the disk is full, and `inspect` reads the file
        upload.content.finish()
        is_new = not store.confirm(name, upload.content.sha256) and _put(store, upload, upload.content, name)
    except InvalidDistribution as exc:
        raise Refused(400, exc.message) from exc
    if not is_new:
        upload.notes = [f"{name.filename} is already in this index, with the same content; nothing was changed"]
    upload.actor.record(store.volume, "publish", name.filename, audit_log.done(upload.notes))
    return is_new


def _put(store: Store, upload: Upload, content: IncomingFile, name: Filename) -> bool:
    """Put the file into the store; return whether it is new there. Raise InvalidDistribution or inspection.Busy."""
    with inspection.uploading():
        dist = inspection.inspect(content.path, name.filename)
    dist.require_valid()
    upload.notes += dist.notes
    sent = _attestations(upload, name, content)
    require = None
    if dist.revision is not None:
        require = partial(environment_policy.require_revision, store, name.project, dist.revision, upload.by)
    return store.put(content, dist, by=upload.by.name, attestations=sent, require=require) is not None


def _audit_words(upload: Upload, path: str) -> tuple[str, str]:
    """Return the action of a form, and its object, as the audit names them."""
    if upload.action == "remove_pkg":
        return "remove", f"{upload.fields.get('name', '')} {upload.fields.get('version', '')}"
    return ("publish" if upload.action == "file_upload" else "write"), upload.filename or path


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
        value = (sent or "").strip().lower()
        if digest == "blake2_256" and len(value) != len(content.digest(digest)):
            continue  # old setuptools send blake2_512 in this field
        if value and value != content.digest(digest):
            damaged = f"{upload.filename} was damaged on the way: its {digest} is not the one in the form"
            raise Refused(400, f"{damaged}; upload it again")


def _attestations(upload: Upload, name: Filename, content: IncomingFile) -> str | None:
    """Return the attestations that the client sent, or None. Raise Refused (400) if they are not of this file."""
    sent = upload.fields.get("attestations")
    if sent is not None:
        try:
            attestations.check(sent, name, content.sha256)
        except InvalidDistribution as exc:
            raise Refused(400, exc.message) from exc
    return sent
