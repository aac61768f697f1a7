"""Exchange an invite's code for a token; where the index allows it, create an account for anyone.

The link of an invite is /join#CODE: a browser keeps the part after the # for itself, so that no log has the code.
"""

from __future__ import annotations

from werkzeug.wrappers import Response

from ppmctl.access import accounts, invite_exchange
from ppmctl.access.account import Issued
from ppmctl.access.invite_exchange import InvalidCode
from ppmctl.errors import PpmError, Refused
from ppmctl.server import json_api
from ppmctl.web import account
from ppmctl.web.route import Route
from ppmctl.web.visit import Visit

_PATH = "/join"  # also the name that attempts are counted by; no user can have it
_PURPOSE = "laptop"


def _show(visit: Visit) -> Response:
    return _page(visit)


def _join(visit: Visit) -> Response:
    code, purpose = visit.form.get("code", "").strip().rpartition("#")[2], visit.form.get("purpose", "").strip()
    services, address = visit.services, visit.request.remote_addr or ""
    json_api.attempt(visit.request, "user join", "web pages")
    services.attempts.begin(_PATH, address)
    try:
        issued = invite_exchange.join(services.settings.volume, address, code, purpose=purpose or _PURPOSE)
    except PpmError as exc:
        if not isinstance(exc, InvalidCode):
            services.attempts.succeed(_PATH, address)
        field, message = "code" if isinstance(exc, InvalidCode) else "purpose", account.reason_of(visit, exc)
        return _page(visit, status=exc.status, code=code, purpose=purpose, wrong={field: message})
    services.attempts.succeed(_PATH, address)
    return _welcome(visit, issued)


def _register(visit: Visit) -> Response:
    name, address, services = visit.form.get("username", "").strip(), visit.request.remote_addr or "", visit.services
    if services.settings.registration != "open":
        raise Refused(404, "Nobody can create an account here without an invitation from an administrator")
    json_api.attempt(visit.request, "user register", name)
    services.attempts.begin(_PATH, address)  # each tells whether a name is taken
    try:
        with services.registrations.one(address):
            issued = accounts.register(services.settings.volume, address, name)
    except PpmError as exc:
        return _page(visit, status=exc.status, name=name, wrong={"username": account.reason_of(visit, exc)})
    services.attempts.succeed(_PATH, address)
    return _welcome(visit, issued)


def _welcome(visit: Visit, issued: Issued) -> Response:
    """Show the new credential. A browser that is not logged in yet is from now on."""
    if not visit.is_known:
        session = visit.services.sessions.begin(issued.account.access.name)
        if session is not None:
            visit = Visit(visit.services, visit.request, session.access, session)
            visit.set_session(session)
    return account.shown_secret(visit, issued, f"Welcome, {issued.account.access.owner}")


def _page(
    visit: Visit,
    *,
    status: int = 200,
    code: str = "",
    purpose: str = _PURPOSE,
    name: str = "",
    wrong: dict[str, str] | None = None,
) -> Response:
    is_open = visit.services.settings.registration == "open"
    values = {"code": code, "purpose": purpose, "name": name, "wrong": wrong or {}, "is_open": is_open}
    return visit.page("join.html", status=status, has_secret=bool(code), **values)


ROUTES = (
    Route(method="GET", path=_PATH, handler=_show, need="nothing"),
    Route(method="POST", path=_PATH, handler=_join, need="nothing"),
    Route(method="POST", path=f"{_PATH}/account", handler=_register, need="nothing"),
)
