"""uv: its uv.toml, or a project's pyproject.toml."""

from __future__ import annotations

from ppmctl.clients import IndexTarget, Scope, Snippet, toml


def block(target: IndexTarget, where: Scope) -> list[str]:
    """The lines of the index's table."""
    in_project = where == "project"
    # a project is its team's: nobody's name is in it
    url = target.address.simple if in_project else target.simple
    lines = [
        "[[tool.uv.index]]" if in_project else "[[index]]",
        f"name = {toml(target.name)}",
        f"url = {toml(url)}",
    ]
    if target.form == "single":
        lines.append("default = true")
    elif target.form == "explicit":
        lines.append("explicit = true")
    return lines


def top(target: IndexTarget, where: Scope) -> dict[str, str]:
    """The keys of uv.toml itself, as TOML."""
    return {"keyring-provider": '"subprocess"'} if target.in_keyring and where == "user" else {}


def render(target: IndexTarget, place: str, where: Scope) -> Snippet:
    """A user's `[[index]]`, or a project's."""
    keys = [f"{name} = {value}" for name, value in top(target, where).items()]
    text = "\n".join([f"# {place}", *keys, *block(target, where)])
    return Snippet(text=text, says=says(target, where))


def says(target: IndexTarget, where: Scope) -> tuple[str, ...]:
    """What to know beside the file."""
    said = []
    if target.form == "explicit":
        said.append(
            f"Each package that is to come from it: uv add --index {target.name}={target.address.simple} NAME, or in"
            f' [tool.uv.sources] NAME = {{ index = "{target.name}" }}. A name without that line is the public'
            " index's, also where a stranger took it there: dependency confusion. --form single is safe."
        )
    elif target.form == "extra":
        said.append(
            "uv takes a name from the first index that has it, and asks this one before the public one: a name that"
            " is not here yet is a stranger's to take there: dependency confusion. --form single is safe."
        )
    if target.in_keyring:
        environment = f"UV_KEYRING_PROVIDER=subprocess UV_INDEX_{target.variable}_USERNAME={target.username}"
        said.append(
            (f"In your environment: {environment}\n" if where == "project" else "")
            + "The secret is in the keyring: uv asks the command `keyring` for it, which has to be on PATH."
            f" Without that: ppmctl login {target.address.base} --netrc"
        )
    if target.ca:
        said.append(
            f"uv reads authorities from its environment alone: SSL_CERT_FILE={target.ca}; or system-certs = true in"
            " uv.toml, where the system trusts them."
        )
    return tuple(said)
