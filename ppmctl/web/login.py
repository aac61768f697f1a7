"""Log in with a name and a secret, and log out. A browser has a session after that (`ppmctl.web.sessions`)."""

from __future__ import annotations

from urllib.parse import quote

from werkzeug.wrappers import Request, Response

from ppmctl.access import audit_log
from ppmctl.web.route import Route
from ppmctl.web.visit import Visit

_PATH = "/login"


def path_for(request: Request) -> str:
    """Return the path of the login that leads back to the page of a request."""
    wanted = request.full_path.rstrip("?")
    return _PATH if wanted == "/" else f"{_PATH}?next={quote(wanted, safe='/')}"


def _show(visit: Visit) -> Response:
    return visit.page("login.html", next=_next(visit.request.args.get("next", "")), wrong="", name="")


def _log_in(visit: Visit) -> Response:
    name, secret = visit.form.get("username", "").strip(), visit.form.get("password", "").strip()
    after, address = _next(visit.form.get("next", "")), visit.request.remote_addr or ""
    attempt = audit_log.Attempt.of(visit.request.environ)
    attempt.action, attempt.what, attempt.claimed = "login", "web pages", name
    visit.services.attempts.require_turn(name, address)
    access = visit.services.credentials.authenticate(name, secret) if name and secret else None
    session = visit.services.sessions.begin(access.name) if access is not None else None
    if session is None:
        visit.services.attempts.add(name, address)
        attempt.reason = "The credential is wrong or has expired"
        wrong = "The name or the secret is wrong, or the credential has expired."
        return visit.page("login.html", status=401, next=after, wrong=wrong, name=name)
    visit.services.attempts.forget(name, address)
    if visit.session is not None:
        visit.services.sessions.end(visit.session.value)
    visit.set_session(session)
    return visit.redirect(after)


def _log_out(visit: Visit) -> Response:
    if visit.session is not None:
        visit.services.sessions.end(visit.session.value)
    visit.set_session(None)
    return visit.redirect(_PATH)


def _next(path: str) -> str:
    """Return the path to show after the login: that one, if it is a path of this index, else the home page."""
    is_own = path.startswith("/") and not path.startswith(("//", "/\\")) and path.isprintable()
    return path if is_own else "/"


ROUTES = (
    Route(method="GET", path=_PATH, handler=_show, need="nothing"),
    Route(method="POST", path=_PATH, handler=_log_in, need="nothing"),
    Route(method="POST", path="/logout", handler=_log_out, need="nothing"),
)
