"""A browser's request: who it is, the links of its page, and the answers that it can get."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from werkzeug.datastructures import MultiDict
from werkzeug.wrappers import Request, Response

from ppmctl.access.account import Actor
from ppmctl.access.rights import Access
from ppmctl.errors import Refused
from ppmctl.server import json_api, same_origin
from ppmctl.web import forms, sessions, templates
from ppmctl.web.services import Services

# Scripts and styles of this index only, none inside a page; no content of other servers.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self';"
    " form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    # with no-referrer a browser sends "Origin: null" with a form
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "private, no-cache",
    "Vary": "Cookie, Authorization, Accept, Accept-Encoding",
}
_PORT = re.compile(r":([0-9]+)\Z", re.ASCII)


class Visit:
    """A request for a page by the credential `by`. `session` is None without a login and with a Basic credential."""

    def __init__(self, services: Services, request: Request, by: Access, session: sessions.Session | None) -> None:
        self.services = services
        self.request = request
        self.by = by
        self.session = session
        self._form: MultiDict[str, str] | None = None
        self._new_cookies: dict[str, str | None] = {}  # by name, None to delete

    # who

    @property
    def is_known(self) -> bool:
        """Return whether the visitor has a credential."""
        return bool(self.by.created)

    @property
    def is_admin(self) -> bool:
        return self.by.may("manage")

    @property
    def may_publish(self) -> bool:
        return self.by.may("publish")

    @property
    def actor(self) -> Actor:
        """Return the visitor as the audit names them."""
        return json_api.actor(self.request, self.by)

    def may_read(self, project: str) -> bool:
        return self.by.may("read", project)

    @property
    def readable(self) -> Callable[[list[str]], list[str]] | None:
        """Return the function that selects what a limited reader may read; None without a limit."""
        return self.by.readable if self.by.is_read_limited else None

    @property
    def reads(self) -> Callable[[str], bool] | None:
        """Return the function that tells whether a limited reader may read a project; None without a limit."""
        return self.may_read if self.by.is_read_limited else None

    # forms

    @property
    def form(self) -> MultiDict[str, str]:
        """Return the fields of the posted form. Raise Refused, as `forms.read` does."""
        if self._form is None:
            self._form = forms.read(self.request)
        return self._form

    @property
    def form_token(self) -> str:
        """Return the token of this page's forms. A browser without a session gets a cookie for it."""
        return forms.hidden(self._token)

    @property
    def _token(self) -> bytes:
        if self.session is not None:
            return sessions.form_token(self.session.value)
        name = self.cookie("form")
        value = self._new_cookies.get(name) or self.request.cookies.get(name, "")
        if not sessions.is_value(value):
            value = self._new_cookies[name] = sessions.new_value()
        return sessions.form_token(value)

    def require_token(self, sent: str | None = None) -> None:
        """Raise Refused (403) unless the posted form has this browser's token; `sent` by a form read elsewhere."""
        forms.require_token(self.form.get(forms.HIDDEN_FIELD, "") if sent is None else sent, self._token)

    # answers

    def url(self, path: str) -> str:
        """Return a link to a path of the index, relative to this page: it stays right below a path of a proxy."""
        return ("../" * (self.request.path.count("/") - 1) or "./") + path.removeprefix("/")

    @property
    def base(self) -> str:
        """Return the URL of the index for commands to copy; page.js adds the path of a proxy in front."""
        return same_origin.base(self.request)

    def page(self, template: str, *, status: int = 200, has_secret: bool = False, **values: Any) -> Response:
        """Return a page. `values` are those of its template, besides `visit`, `url` and `form_token`.

        A browser stores nothing of a page that `has_secret`.
        """
        text = templates.render(template, visit=self, url=self.url, **values)
        response = Response(text, status=status, mimetype="text/html", headers=HEADERS)
        if has_secret:
            response.headers["Cache-Control"] = "no-store"
        return self._finished(response)

    def redirect(self, path: str) -> Response:
        """Return a redirect to a path of the index, which the browser asks with GET."""
        return self._finished(Response(status=303, headers={**HEADERS, "Location": self.url(path)}))

    def set_session(self, session: sessions.Session | None) -> None:
        """Let the browser have this session from now on, or none."""
        self._new_cookies[self.cookie("session")] = None if session is None else session.value

    def cookie(self, name: str) -> str:
        """Return the name of a cookie. With TLS browsers let no other host set it (`__Host-`).

        A browser sends a cookie to every port of a host, so the name has the port: two indexes log nobody out.
        """
        port = _PORT.search(self.base)
        return f"{'__Host-' if self.request.is_secure else ''}ppm-{name}{f'-{port[1]}' if port else ''}"

    def _finished(self, response: Response) -> Response:
        for name, value in self._new_cookies.items():
            options: dict[str, Any] = {"path": "/", "secure": self.request.is_secure, "httponly": True}
            if value is None:
                response.delete_cookie(name, samesite="Strict", **options)
            else:
                response.set_cookie(name, value, samesite="Strict", **options)
        return response


def require(allowed: bool, message: str) -> None:
    """Raise Refused (403) with this message unless it is allowed."""
    if not allowed:
        raise Refused(403, message)
