"""Users and tokens: list, create, invite, change, disable, give a new secret, remove.

The changes are those of `ppmctl user` and `ppmctl token`, by the same functions, which check the rights again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from werkzeug.wrappers import Response

from ppmctl.access import accounts, declarative, invite_exchange, invites, rights
from ppmctl.access.account import Account, Issued
from ppmctl.access.invites import Invite
from ppmctl.errors import PpmError, UsageError
from ppmctl.index.layout import Volume
from ppmctl.secret import Secret
from ppmctl.server import json_api
from ppmctl.web.account import reason_of
from ppmctl.web.route import Route
from ppmctl.web.visit import Visit

_USERS, _TOKENS = "/admin/users/", "/admin/tokens/"
_ON_PAGE = 100
_EMPTY = {"name": "", "role": "reader", "projects": "", "reads": "", "email": "", "days": ""}


def _volume(visit: Visit) -> Volume:
    return visit.services.settings.volume


# lists


def _users(visit: Visit, *, values: Mapping[str, str] = _EMPTY, problem: str = "", status: int = 200) -> Response:
    volume = _volume(visit)
    listed = accounts.accounts(volume)
    tokens: dict[str, int] = {}
    for each in listed:
        if each.access.is_token:
            tokens[each.access.owner] = tokens.get(each.access.owner, 0) + 1
    entries = {each.access.name: each.access for each in listed}
    invited = {invite.name for invite in invites.read(volume) if invite.is_open(entries.get(invite.name))}
    users = [each for each in listed if not each.access.is_token]
    return visit.page(
        "users.html",
        status=status,
        tokens=tokens,
        invited=invited,
        roles=rights.ROLES,
        values=values,
        problem=problem,
        **_part(visit, users, _USERS),
    )


def _tokens(visit: Visit) -> Response:
    tokens = [each for each in accounts.accounts(_volume(visit)) if each.access.is_token]
    return visit.page("tokens.html", **_part(visit, tokens, _TOKENS))


def _part(visit: Visit, listed: list[Account], path: str) -> dict[str, Any]:
    """Return the part of a list that the visitor asked for, with the links to the parts around it."""
    wanted = visit.request.args.get("name", "").strip()
    matching = [each for each in listed if wanted.casefold() in each.access.name.casefold()]
    begin = visit.request.args.get("from", type=int, default=0)
    begin = min(max(begin, 0), len(matching))
    return {
        "accounts": matching[begin : begin + _ON_PAGE],
        "number": len(matching),
        "wanted": wanted,
        "path": path,
        "previous": max(0, begin - _ON_PAGE) if begin else None,
        "following": begin + _ON_PAGE if begin + _ON_PAGE < len(matching) else None,
    }


# a new user


def _add(visit: Visit) -> Response:
    values = {field: visit.form.get(field, "").strip() for field in _EMPTY}
    name, is_invite = values["name"], visit.form.get("how") == "invite"
    json_api.attempt(visit.request, "user invite" if is_invite else "user add", name)
    try:
        grant: dict[str, Any] = {**_rights(values), "expires": _expires(values), "email": values["email"] or None}
        if is_invite:
            made, code = invite_exchange.invite(_volume(visit), visit.actor, name, **grant)
            return _invited(visit, made, code)
        issued = accounts.create_user(_volume(visit), visit.actor, name, **grant)
    except PpmError as exc:
        return _users(visit, values=values, problem=reason_of(visit, exc), status=exc.status)
    return _issued(visit, issued, f"The user {name} is created")


def _rights(values: Mapping[str, str]) -> dict[str, Any]:
    return {"role": values["role"], "projects": _words(values["projects"]), "reads": _words(values["reads"])}


def _words(text: str) -> list[str]:
    return text.replace(",", " ").split()


def _expires(values: Mapping[str, str]) -> str | None:
    """Return the time after the number of days in a form; None for never. Raise UsageError."""
    days = values["days"]
    if not days:
        return None
    if not (days.isascii() and days.isdigit()):
        raise UsageError(f"{days[:20]!r} is not a number of days, such as 90.")
    return rights.expiry(f"{days}d")


def _issued(visit: Visit, issued: Issued, title: str) -> Response:
    return visit.page("issued.html", has_secret=True, title=title, issued=issued)


def _invited(visit: Visit, made: Invite, code: Secret) -> Response:
    """Return the only page with the link of an invite; its code is behind the #, which no browser sends anywhere."""
    return visit.page("invited.html", has_secret=True, invite=made, code=code.reveal())


# one credential


def _show(
    visit: Visit, name: str, *, values: Mapping[str, str] | None = None, problem: str = "", status: int = 200
) -> Response:
    volume = _volume(visit)
    account = accounts.account(volume, name)
    access = account.access
    stored = {
        "role": access.role,
        "projects": " ".join(access.projects),
        "reads": " ".join(access.reads),
        "email": access.email or "",
        "days": "",
    }
    return visit.page(
        "user.html",
        status=status,
        account=account,
        tokens=accounts.dependent_tokens(volume, account),
        invite=None if access.is_token else invites.pending(volume, access),
        declared=declarative.overwrite_warning(volume, name),
        roles=rights.ROLES,
        values={**stored, **(values or {})},
        problem=problem,
    )


def _changing(action: str, work: Callable[[Visit, str], Response | None]) -> Callable[[Visit, str], Response]:
    """Return the handler of a form on a credential's page, which `work` does; after it the page is shown again."""

    def handle(visit: Visit, name: str) -> Response:
        json_api.attempt(visit.request, f"{rights.noun(name)} {action}", name)
        try:
            response = work(visit, name)
        except PpmError as exc:
            reason = reason_of(visit, exc)
            if exc.status == 404:  # the credential itself is gone
                raise
            values = {key: text for key, text in visit.form.items() if key in _EMPTY}
            return _show(visit, name, values=values, problem=reason, status=exc.status)
        return response or visit.redirect(f"{_USERS}{name}/")

    return handle


def _change(visit: Visit, name: str) -> None:
    values = {field: visit.form.get(field, "").strip() for field in _EMPTY}
    accounts.change(_volume(visit), visit.actor, name, **_rights(values), email=values["email"] or None)


def _enable(visit: Visit, name: str) -> None:
    expires = _expires({"days": visit.form.get("days", "").strip()})
    accounts.enable(_volume(visit), visit.actor, name, expires=expires)


def _rotate(visit: Visit, name: str) -> Response:
    expires = _expires({"days": visit.form.get("days", "").strip()})
    issued = accounts.rotate(_volume(visit), visit.actor, name, expires=expires)
    return _issued(visit, issued, f"{name} has a new secret")


def _invite(visit: Visit, name: str) -> Response:
    made, code = invite_exchange.invite(_volume(visit), visit.actor, name)
    return _invited(visit, made, code)


def _withdraw(visit: Visit, name: str) -> None:
    invite_exchange.withdraw(_volume(visit), visit.actor, name)


def _disable(visit: Visit, name: str) -> None:
    accounts.disable(_volume(visit), visit.actor, name)


def _remove(visit: Visit, name: str) -> Response:
    accounts.remove(_volume(visit), visit.actor, name)
    return visit.redirect(_TOKENS if "+" in name else _USERS)


def _question(verb: str) -> Callable[[Visit, str], Response]:
    """Return the handler of the page that asks before a credential, with what depends on it, stops working."""

    def handle(visit: Visit, name: str) -> Response:
        account = accounts.account(_volume(visit), name)
        dependent = accounts.dependent_tokens(_volume(visit), account)
        return visit.page(
            "user_question.html",
            verb="revoke" if verb == "remove" and account.access.is_token else verb,
            action=f"{_USERS}{name}/{verb}",
            account=account,
            tokens=dependent,
            warnings=list(_warnings(visit, account)),
        )

    return handle


def _warnings(visit: Visit, account: Account) -> Iterator[str]:
    name = account.access.name
    if visit.by.depends_on(name):
        yield "You are logged in with it now, or with a token that depends on it: you will be logged out."
    listed = accounts.accounts(_volume(visit))
    admins = [each for each in listed if each.state == "active" and each.access.effective.role == "admin"]
    if admins and all(each.access.depends_on(name) for each in admins):
        yield "No other administrator is left then: only ppmctl user on the server host can make one."
    if declared := declarative.overwrite_warning(_volume(visit), name):
        yield declared


_ONE = f"{_USERS}<name>/"

ROUTES = (
    Route(method="GET", path=_USERS, handler=_users, need="admin"),
    Route(method="POST", path=_USERS, handler=_add, need="admin"),
    Route(method="GET", path=_TOKENS, handler=_tokens, need="admin"),
    Route(method="GET", path=_ONE, handler=_show, need="admin"),
    Route(method="POST", path=f"{_ONE}change", handler=_changing("change", _change), need="admin"),
    Route(method="POST", path=f"{_ONE}enable", handler=_changing("enable", _enable), need="admin"),
    Route(method="POST", path=f"{_ONE}rotate", handler=_changing("rotate", _rotate), need="admin"),
    Route(method="POST", path=f"{_ONE}invite", handler=_changing("invite", _invite), need="admin"),
    Route(method="POST", path=f"{_ONE}withdraw", handler=_changing("invite", _withdraw), need="admin"),
    Route(method="GET", path=f"{_ONE}disable", handler=_question("disable"), need="admin"),
    Route(method="POST", path=f"{_ONE}disable", handler=_changing("disable", _disable), need="admin"),
    Route(method="GET", path=f"{_ONE}remove", handler=_question("remove"), need="admin"),
    Route(method="POST", path=f"{_ONE}remove", handler=_changing("remove", _remove), need="admin"),
)
