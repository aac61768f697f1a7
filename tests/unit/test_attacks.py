"""The tables of attacks have a request for every route of the application."""

from __future__ import annotations

import pytest
from support.attacks import access
from support.raw import Target
from werkzeug.exceptions import MethodNotAllowed, NotFound
from werkzeug.routing import Map, Rule

from ppmctl.server import app, environment_api, metrics_api, mirror_api, package_api, token_api

TARGET = Target(address="", name="x", user="u", secret="s", project="attacked", file="attacked-1.0.zip")
ROUTES = {each.__name__: each._ROUTES for each in (package_api, token_api, environment_api)}
WITHOUT_CREDENTIAL = {token_api.JOIN}


def found(routes: Map, path: str) -> set[str]:
    """Return the rules of a path, whatever the method."""
    rules = set()
    for method in ("GET", "POST", "PUT", "DELETE"):
        try:
            rule, _values = routes.bind("x").match(path.partition("?")[0], method=method, return_rule=True)
        except (NotFound, MethodNotAllowed):
            continue
        rules.add(rule.rule)
    return rules


@pytest.mark.parametrize("module", ROUTES)
def test_every_route_of_the_apis_is_attacked(module: str) -> None:
    routes = ROUTES[module]
    wanted = {rule.rule for rule in routes.iter_rules()}
    assert wanted, module
    assert set().union(*(found(routes, path) for path in access.locations(TARGET))) == wanted - WITHOUT_CREDENTIAL


def test_every_other_path_is_attacked() -> None:
    paths = {path.partition("?")[0] for path in access.locations(TARGET)}
    assert {*app.UPLOAD_PATHS, *mirror_api.RPC_PATHS, metrics_api.PATH, token_api.WEB_LOGIN} <= paths


def test_a_route_that_is_not_attacked_is_noticed() -> None:
    assert found(Map([Rule("/api/new/<name>")]), "/api/tokens") == set()
