"""The visitor's credential, the tokens of the same user, and what programs need to use the index."""

from __future__ import annotations

from dataclasses import replace

from werkzeug.wrappers import Response

from ppmctl.access import accounts, audit_log, rights, rules
from ppmctl.access.account import Account, Issued, Taken
from ppmctl.client_config import printed
from ppmctl.errors import PpmError, UsageError
from ppmctl.server import json_api, token_api
from ppmctl.web.route import Route
from ppmctl.web.visit import Visit

_PATH = "/account/"
_CLIENTS = ("pip", "uv", "poetry", "pdm", "twine")
_FORM = {"name": "", "role": "reader", "projects": "", "days": "90"}  # the fields of a new token


def shown_secret(visit: Visit, issued: Issued, title: str) -> Response:
    """Return the only page that has the secret of a new credential, with what programs need to use it."""
    name = issued.account.access.name
    netrc = printed.netrc_line(visit.base, name, issued.secret)
    return visit.page(
        "secret.html", has_secret=True, title=title, issued=issued, netrc=netrc, clients=_clients(visit, name)
    )


def reason_of(visit: Visit, exc: PpmError) -> str:
    """Return the reason why a form is shown again, which the audit records too. Raise an error of the server."""
    if exc.status >= 500:
        raise exc
    audit_log.Attempt.of(visit.request.environ).reason = exc.message
    return exc.message


def _show(visit: Visit) -> Response:
    return _page(visit, _FORM)


def _create(visit: Visit) -> Response:
    values = {field: visit.form.get(field, "").strip() for field in _FORM}
    name, projects = token_api.token_name(visit.by, values["name"]), values["projects"].replace(",", " ").split()
    json_api.attempt(visit.request, "token create", name)
    try:
        expires = _checked(name, projects, values["days"])
        issued = accounts.create_token(
            visit.services.settings.volume,
            visit.actor,
            name,
            role=values["role"],
            projects=projects,
            expires=expires,
        )
    except _WrongField as exc:
        return _page(visit, values, wrong={exc.field: reason_of(visit, exc)}, status=exc.status)
    except PpmError as exc:
        field = "name" if isinstance(exc, Taken) else ""
        return _page(visit, values, wrong={field: reason_of(visit, exc)}, status=exc.status)
    return shown_secret(visit, issued, f"The token {name} is created")


class _WrongField(UsageError):
    """A field of the form has a value that is wrong by itself."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


def _checked(name: str, projects: list[str], days: str) -> str | None:
    """Return when a token of these days expires; None for no days. Raise _WrongField."""
    field = "name"
    try:
        rights.check_name(name)
        field = "projects"
        rules.check_projects(projects)
        field = "days"
        return rights.expiry(f"{days}d") if days else None
    except UsageError as exc:
        is_days = field == "days"
        message = f"{days[:20]!r} is not a number of days, such as 90 (36500 at most)." if is_days else exc.message
        raise _WrongField(field, message) from exc


def _revoke(visit: Visit) -> Response:
    name = token_api.token_name(visit.by, visit.form.get("name", ""))
    is_own = visit.by.depends_on(name)
    if is_own and visit.form.get("sure") != "yes":
        return visit.page("revoke.html", name=name)
    token_api.revoke(visit.request, visit.services.settings.volume, visit.by, name)
    if not is_own:
        return visit.redirect(_PATH)
    visit.set_session(None)
    return visit.redirect("/login")


def _page(
    visit: Visit, values: dict[str, str], *, wrong: dict[str, str] | None = None, status: int = 200
) -> Response:
    effective = visit.by.effective
    owned = accounts.accounts(visit.services.settings.volume, owner=visit.by.owner)
    return visit.page(
        "account.html",
        status=status,
        credential=replace(effective, projects=()) if effective.role == "reader" else effective,
        tokens=[(each, _may_revoke(visit, each)) for each in owned if each.access.is_token],
        roles=rights.included(effective.role),
        values=values,
        wrong=wrong or {},  # messages by field, "" for the whole form
        clients=_clients(visit, visit.by.name),
    )


def _may_revoke(visit: Visit, account: Account) -> bool:
    return rules.may_change(account.access, visit.by)


def _clients(visit: Visit, username: str) -> list[printed.Printed]:
    redirects = visit.services.settings.upstream == "redirect"
    return list(printed.for_user(_CLIENTS, visit.base, username=username, redirects=redirects))


ROUTES = (
    Route(method="GET", path=_PATH, handler=_show, need="login"),
    Route(method="POST", path=f"{_PATH}tokens", handler=_create, need="login"),
    Route(method="POST", path=f"{_PATH}tokens/revoke", handler=_revoke, need="login"),
)
