"""The style sheet, the script and the icon of all pages."""

from __future__ import annotations

import mimetypes

from werkzeug.wrappers import Response

from ppmctl.errors import Refused
from ppmctl.web import templates
from ppmctl.web.route import Route
from ppmctl.web.visit import HEADERS, Visit


def _file(visit: Visit, name: str) -> Response:
    content = templates.static(name)
    if content is None:
        raise Refused(404, "There is no such file")
    kind = mimetypes.guess_type(name)[0]
    # the links to it change with its content
    headers = {**HEADERS, "Cache-Control": "public, max-age=31536000, immutable", "Vary": "Accept-Encoding"}
    response = Response(content, mimetype=kind, headers=headers)
    response.add_etag(weak=True)  # packed or not
    return response.make_conditional(visit.request.environ)


ROUTES = (Route(method="GET", path="/static/<name>", handler=_file, need="nothing"),)
