"""Fill in the templates in `html/`. Every value is escaped; what a template does not get is an error."""

from __future__ import annotations

import hashlib
from datetime import datetime
from functools import cache
from importlib import resources
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from ppmctl import output

_STATIC = resources.files("ppmctl.web") / "static"


def render(template: str, **values: Any) -> str:
    """Return the text of a template with these values."""
    return _environment().get_template(template).render(**values)


@cache
def static(name: str) -> bytes | None:
    """Return the file of this name in `static/`, or None."""
    names = {path.name: path for path in _STATIC.iterdir()}
    return names[name].read_bytes() if name in names else None


@cache
def static_path(name: str) -> str:
    """Return the path of a file in `static/`; it changes with the file's content, so browsers may keep it."""
    content = static(name)
    if content is None:
        raise LookupError(name)
    return f"/static/{name}?v={hashlib.sha256(content).hexdigest()[:12]}"


def _utc(moment: datetime | None) -> str:
    """Return a time in UTC as `moment` of parts.html takes it."""
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}" if moment is not None else ""


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("ppmctl.web", "html"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    environment.globals["static_path"] = static_path
    environment.filters["size"] = output.size
    environment.filters["utc"] = _utc
    return environment
