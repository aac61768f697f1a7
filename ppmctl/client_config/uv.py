"""uv: its uv.toml, or a project's pyproject.toml."""

from __future__ import annotations

from ppmctl.client_config.index_target import Form, IndexTarget, Scope
from ppmctl.client_config.lines import Body, Unreadable
from ppmctl.client_config.toml_tables import TomlEdit, tables

_ABOVE: dict[Scope, tuple[str, ...]] = {"user": (), "project": ("tool", "uv")}
_FLAGS: dict[Form, dict[str, str | bool]] = {"single": {"default": True}, "explicit": {"explicit": True}}


def index(target: IndexTarget, where: Scope) -> dict[str, str | bool]:
    """Return what the index's table says."""
    # a project is its team's: nobody's name is in it
    url = target.address.simple if where == "project" else target.simple
    values: dict[str, str | bool] = {"name": target.name, "url": url, "publish-url": target.address.upload}
    return values | _FLAGS.get(target.form, {})


def says(target: IndexTarget, where: Scope) -> tuple[str, ...]:
    """What to know beside the file."""
    said = []
    if target.form == "explicit":
        said.append(
            f"Each package that is to come from it: uv add --index {target.name}={target.address.simple} NAME, or in"
            f' [tool.uv.sources] NAME = {{ index = "{target.name}" }}. A name without that line is the public'
            " index's, also where a stranger took it there: dependency confusion. --form single is safe."
            " With UV_DEFAULT_INDEX or UV_INDEX set, uv add writes no such line."
        )
    elif target.form == "extra":
        said.append(
            "uv takes a name from the first index that has it, and asks this one before the public one: a name that"
            " is not here yet is a stranger's to take there: dependency confusion. --form single is safe."
        )
    said.append(
        f"To publish: uv publish --index {target.name} --trusted-publishing never; the credential from ~/.netrc, or"
        " UV_PUBLISH_USERNAME and UV_PUBLISH_PASSWORD."
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


class File(TomlEdit):
    """A uv.toml, or a pyproject.toml."""

    @classmethod
    def check(cls, body: Body) -> None:
        """Raise Unreadable where uv would stop: no TOML, or two indexes that are both the default."""
        found = [table for table in tables(cls.scan(body)) if table.values.get("default") is True]
        for above in _ABOVE.values():
            if sum(table.path == (*above, "index") for table in found) > 1:
                raise Unreadable("two indexes are the default.")


def plan(body: Body, target: IndexTarget, where: Scope) -> TomlEdit:
    """Return the edit for a uv.toml or a pyproject.toml: an only index instead of another."""
    above, is_single = _ABOVE[where], target.form == "single"
    edit = File(body)
    if is_single:
        edit.mute_key(above, "index-url")
    if target.in_keyring and where == "user":
        edit.set_top("keyring-provider", "subprocess")
    others = edit.put(
        (*above, "index"), index(target, where), lambda values: is_single and values.get("default") is True
    )
    if is_single and others:
        edit.notes.append("It has other indexes too, which uv asks first, in their order.")
    return edit.proven()
