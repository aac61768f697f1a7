"""poetry: a source in a project's pyproject.toml. It has no such thing for a user."""

from __future__ import annotations

from ppmctl.client_config.index_target import Form, IndexTarget, Scope, sh
from ppmctl.client_config.lines import Body
from ppmctl.client_config.toml_tables import TomlEdit

_PRIORITY: dict[Form, str] = {"single": "primary", "extra": "supplemental", "explicit": "explicit"}


_SOURCES = ("tool", "poetry", "source")


def source(target: IndexTarget) -> dict[str, str | bool]:
    """Return what the index's table says."""
    return {"name": target.name, "url": target.address.simple, "priority": _PRIORITY[target.form]}


def says(target: IndexTarget, _where: Scope = "project") -> tuple[str, ...]:
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


File = TomlEdit


def plan(body: Body, target: IndexTarget, _where: Scope) -> TomlEdit:
    """Return the edit for a pyproject.toml."""
    edit = File(body)
    edit.put(_SOURCES, source(target))
    return edit.proven()
