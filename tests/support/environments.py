"""Revisions of environments, made by the test as (filename, content), to be uploaded."""

from __future__ import annotations

from typing import Any

from ppmctl.environments.format import Revision, listed, to_wheel


def revision(name: str, number: int, *requirements: str, **about: Any) -> tuple[str, bytes]:
    """The wheel of a revision; `about` are values of Revision."""
    values = {"change": f"change {number}", "base": number - 1 or None} | about
    made = Revision(name=name, number=number, requirements=listed(requirements), **values)
    return made.filename, to_wheel(made)
