"""A source of poetry's, in a project's pyproject.toml; poetry has none for a user."""

from __future__ import annotations

from ppmctl.client_config.index_target import Form, IndexTarget, Scope, sh
from ppmctl.client_config.lines import Body
from ppmctl.client_config.toml_tables import TomlEdit

_PRIORITY: dict[Form, str] = {"single": "primary", "extra": "supplemental", "explicit": "explicit"}


def notes(target: IndexTarget, _scope: Scope) -> tuple[str, ...]:
    """Return what to know besides the file."""
    texts = []
    if target.form == "explicit":
        texts.append(f"To add a package from this index: poetry add --source {target.name} NAME")
    elif target.form == "extra":
        texts.append(
            "Dependency confusion: poetry asks this index only for what the public one does not have, so a package"
            " that a stranger uploads there under your name wins. --form single or explicit is safe."
        )
    variable = f"POETRY_HTTP_BASIC_{target.variable}"
    repository = f"repositories.{target.name} {sh(target.address.upload)}"
    texts.append(f"The credential: ~/.netrc ({target.netrc_login}); in CI {variable}_USERNAME and …_PASSWORD.")
    texts.append(f"To publish: poetry config {repository}; poetry publish --build -r {target.name}")
    if target.ca:
        command = f"poetry config certificates.{target.name}.cert {sh(target.ca)}"
        texts.append(f"The certificate authorities, on this machine: {command}")
    return tuple(texts)


File = TomlEdit


def plan(body: Body, target: IndexTarget, _scope: Scope) -> TomlEdit:
    """Return the edit for a pyproject.toml."""
    edit = File(body)
    values = {"name": target.name, "url": target.address.simple, "priority": _PRIORITY[target.form]}
    edit.put(("tool", "poetry", "source"), values)
    return edit.verified()
