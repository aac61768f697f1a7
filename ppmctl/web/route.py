"""A page of the site: its URL, who may ask for it, and what answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from werkzeug.wrappers import Response

Need = Literal["nothing", "read", "login", "publish", "admin"]


@dataclass(frozen=True, kw_only=True)
class Route:
    """A page: its method and path, who may ask for it, and what answers. `path` has the form of werkzeug's rules.

    `need`: "nothing"; "read", a credential unless reads are public; "login", a credential; or the right to publish,
    or to manage the whole index. `is_form`: its body is a form of a page, whose token is checked before the handler.
    """

    method: str
    path: str
    handler: Callable[..., Response]
    need: Need
    is_form: bool = True
