"""Log in with a name and a secret, or by the link of `ppmctl web`, and log out.

A browser has a session after that (`ppmctl.web.sessions`).
"""

from __future__ import annotations

from urllib.parse import quote

from werkzeug.wrappers import Request, Response

from ppmctl.access import audit_log, htpasswd, login_links
from ppmctl.server import same_origin
from ppmctl.web.route import Route
from ppmctl.web.sessions import Session
from ppmctl.web.visit import Visit

_PATH = "/login"


def path_for(request: Request) -> str:
    """Return the path of the login that leads back to the page of a request."""
    wanted = request.full_path.rstrip("?")
    return _PATH if wanted == "/" else f"{_PATH}?next={quote(wanted, safe='/')}"


def begin(visit: Visit, session: Session) -> None:
    """Let the browser have this session in the place of the one that it has now, if any."""
    if visit.session is not None:
        visit.services.sessions.end(visit.session.value)
    visit.set_session(session)


def _show(visit: Visit) -> Response:
    after = _next(visit.request.args.get("next", ""))
    return visit.redirect(after) if visit.session is not None else _page(visit, after)


def _log_in(visit: Visit) -> Response:
    name, secret = visit.form.get("username", "").strip(), _secret(visit.form.get("password", ""))
    after, address = _next(visit.form.get("next", "")), visit.request.remote_addr or ""
    attempt = audit_log.Attempt.of(visit.request.environ)
    attempt.action, attempt.what, attempt.claimed = "login", "web pages", name
    visit.services.attempts.begin(name, address)
    access = visit.services.credentials.authenticate(name, secret) if name and secret else None
    session = visit.services.sessions.begin(access.name) if access is not None else None
    if session is None:
        attempt.reason = "The credential is wrong or has expired"
        wrong = "The name or the secret is wrong, or the credential has expired."
        return _page(visit, after, status=401, wrong=wrong, name=name)
    visit.services.attempts.succeed(name, address)
    begin(visit, session)
    return visit.redirect(after)


def _log_out(visit: Visit) -> Response:
    if visit.session is not None:
        visit.services.sessions.end(visit.session.value)
    visit.set_session(None)
    return visit.redirect(_PATH)


def _show_link(visit: Visit, code: str) -> Response:
    """Log in by a link; or ask first, where a page of another site leads here: it may be somebody else's link.

    A browser also asks with HEAD, for a preview, which must not use up the link.
    """
    if visit.request.method == "HEAD" or same_origin.foreign_header(visit.request):
        return visit.page("login_link.html", next=_next(visit.request.args.get("next", "")))
    return _use_link(visit, code, visit.request.args.get("next", ""))


def _send_link(visit: Visit, code: str) -> Response:
    return _use_link(visit, code, visit.form.get("next", ""))


def _use_link(visit: Visit, code: str, after: str) -> Response:
    services, address = visit.services, visit.request.remote_addr or ""
    attempt = audit_log.Attempt.of(visit.request.environ)
    attempt.action, attempt.what = "login", "link"
    services.attempts.begin(_PATH, address)  # no user's name
    link = login_links.use(services.settings.volume, code)
    session = services.sessions.begin(link[0], state=link[1]) if link is not None else None
    if session is None:
        attempt.reason = wrong = "This link does not work: it logs in once, within a minute. Make another: ppmctl web"
        return _page(visit, _next(after), status=403, wrong=wrong)
    services.attempts.succeed(_PATH, address)
    begin(visit, session)
    return visit.redirect(_next(after))


def _page(visit: Visit, after: str, *, status: int = 200, wrong: str = "", name: str = "") -> Response:
    is_open = visit.services.settings.registration == "open"
    return visit.page("login.html", status=status, next=after, wrong=wrong, name=name, is_open=is_open)


def _secret(sent: str) -> str:
    """Return the secret that was sent, without white space around it if it was issued here, and pasted."""
    return sent.strip() if htpasswd.is_issued(sent.strip()) else sent


def _next(path: str) -> str:
    """Return the path to show after the login: that one, if it is a path of this index, else the home page."""
    is_own = path.startswith("/") and not path.startswith(("//", "/\\")) and path.isprintable()
    return path if is_own else "/"


ROUTES = (
    Route(method="GET", path=_PATH, handler=_show, need="nothing"),
    Route(method="POST", path=_PATH, handler=_log_in, need="nothing"),
    Route(method="GET", path=f"{_PATH}/<code>", handler=_show_link, need="nothing"),
    Route(method="POST", path=f"{_PATH}/<code>", handler=_send_link, need="nothing"),
    Route(method="POST", path="/logout", handler=_log_out, need="nothing"),
)
