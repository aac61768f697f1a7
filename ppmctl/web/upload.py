"""Upload files from a browser: several in one form, each published as it arrives, with a result for each.

`POST /upload/` is an upload of a program, as before; the page's form is sent to `/upload/files`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from werkzeug.wrappers import Response

from ppmctl import output
from ppmctl.access.audit_log import Attempt
from ppmctl.distributions.distribution import one_line, parse_filename
from ppmctl.errors import Refused
from ppmctl.server import json_api, upload_files, uploads
from ppmctl.server.app import as_refusal
from ppmctl.server.upload_files import MAX_FILES, Received
from ppmctl.server.uploads import Upload
from ppmctl.web.route import Route
from ppmctl.web.visit import Visit

_SHOWN = 200  # characters of a file's name


@dataclass(frozen=True, kw_only=True)
class Result:
    """What became of a file. `reason` is why it was refused, or a note; `status` is that of a refusal, else 200."""

    name: str
    result: Literal["published", "identical", "refused"]
    reason: str = ""
    status: int = 200

    @property
    def project(self) -> str:
        """Return the project of a file that is in the index, else ""."""
        return "" if self.result == "refused" else parse_filename(self.name).project


def _page(visit: Visit) -> Response:
    return _show(visit, [], "", 200)


def _receive(visit: Visit) -> Response:
    attempt = Attempt.of(visit.request.environ)
    attempt.action = "publish"
    results: list[Result] = []
    try:
        _publish_all(visit, results)
    except Exception as exc:
        refused = as_refusal(visit.request, exc)
        if not results and refused.status in {401, 403}:  # not one of the files: the form's token is wrong
            raise
        attempt.reason = refused.message
        return _show(visit, results, refused.message, refused.status)
    all_refused = all(each.result == "refused" for each in results)
    return _show(visit, results, "", results[0].status if all_refused else 200)


def _publish_all(visit: Visit, results: list[Result]) -> None:
    """Publish each file of the form as it arrives, and add its result. Raise what ends the reading of the form."""
    store, limit = visit.services.store, visit.services.settings.max_upload_size
    for received in upload_files.read(visit.request, store.area.new_file, check=visit.require_token, max_size=limit):
        result = _published(visit, received)
        results.append(result)
        if result.result == "refused":
            what, by = one_line(result.name), visit.by.name
            part = Attempt(origin=visit.actor.origin, what=what, action="publish", by=by, reason=result.reason)
            Attempt.of(visit.request.environ).parts.append((part, result.status))
    if not results:
        raise Refused(400, "Choose one or more files first")


def _published(visit: Visit, received: Received) -> Result:
    name = received.filename[:_SHOWN]
    if received.invalid:
        return Result(name=name, result="refused", reason=received.invalid, status=400)
    upload = Upload(by=visit.by, actor=visit.actor, filename=received.filename, content=received.content)
    try:
        is_new = uploads.publish(visit.services.store, upload, visit.services.public_names)
    except Exception as exc:
        refused = as_refusal(visit.request, exc)
        return Result(name=name, result="refused", reason=refused.message, status=refused.status)
    return Result(name=name, result="published" if is_new else "identical", reason="; ".join(upload.notes))


def _show(visit: Visit, results: list[Result], problem: str, status: int) -> Response:
    if visit.request.accept_mimetypes.best == "application/json":
        files = [{"name": each.name, "result": each.result, "reason": each.reason} for each in results]
        response = json_api.answer({"files": files, "message": problem}, status=status)
    else:
        response = _html(visit, results, problem, status)
    if status in {408, 413}:  # the rest of the body is not read
        response.headers["Connection"] = "close"
    return response


def _html(visit: Visit, results: list[Result], problem: str, status: int) -> Response:
    return visit.page(
        "upload.html",
        status=status,
        results=results,
        problem=problem,
        max_files=MAX_FILES,
        max_size=output.size(visit.services.settings.max_upload_size),
    )


ROUTES = (
    Route(method="GET", path="/upload/", handler=_page, need="publish"),
    Route(method="POST", path="/upload/files", handler=_receive, need="publish", is_form=False),
)
