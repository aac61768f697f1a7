"""poetry: a source in a project's pyproject.toml. It has no such thing for a user."""

from __future__ import annotations

from ppmctl.clients import Form, IndexTarget, Snippet, sh, tables, toml
from ppmctl.clients.lines import Body, Plan

_PRIORITY: dict[Form, str] = {"single": "primary", "extra": "supplemental", "explicit": "explicit"}


def block(target: IndexTarget) -> list[str]:
    """The lines of the source's table."""
    return [
        "[[tool.poetry.source]]",
        f"name = {toml(target.name)}",
        f"url = {toml(target.address.simple)}",
        f"priority = {toml(_PRIORITY[target.form])}",
    ]


def render(target: IndexTarget, place: str) -> Snippet:
    """A `[[tool.poetry.source]]`."""
    return Snippet(text="\n".join([f"# {place}", *block(target)]), says=says(target))


def says(target: IndexTarget) -> tuple[str, ...]:
    """What to know beside the file."""
    said = []
    if target.form == "explicit":
        said.append(f"Each package that is to come from it: poetry add --source {target.name} NAME")
    elif target.form == "extra":
        said.append(
            "Dependency confusion: poetry asks this index only for what the public one does not have, so a stranger's"
            " upload of your name wins. --form single or explicit is safe."
        )
    said.append(
        f"The credential: ~/.netrc (ppmctl login {target.address.base} --netrc); in CI"
        f" POETRY_HTTP_BASIC_{target.variable}_USERNAME and …_PASSWORD."
    )
    said.append(
        f"To publish: poetry config repositories.{target.name} {sh(target.address.upload)}; poetry publish --build"
        f" -r {target.name}"
    )
    if target.ca:
        said.append(
            f"The authorities, of this machine: poetry config certificates.{target.name}.cert {sh(target.ca)}"
        )
    return tuple(said)


def plan(body: Body, target: IndexTarget) -> Plan:
    """What makes a pyproject.toml know the index."""
    return tables.proven(body, tables.put(body, ("tool", "poetry", "source"), block(target)))
