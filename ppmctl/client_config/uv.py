"""uv's uv.toml, or a project's pyproject.toml."""

from __future__ import annotations

from ppmctl.client_config.index_target import Form, IndexTarget, Scope
from ppmctl.client_config.lines import Body, Unreadable
from ppmctl.client_config.toml_tables import TomlEdit, tables

_ABOVE: dict[Scope, tuple[str, ...]] = {"user": (), "project": ("tool", "uv")}
_FLAGS: dict[Form, dict[str, str | bool]] = {"single": {"default": True}, "explicit": {"explicit": True}}


def notes(target: IndexTarget, scope: Scope) -> tuple[str, ...]:
    """Return what to know besides the file."""
    texts = []
    if target.form == "explicit":
        texts.append(
            f"To add a package from this index: uv add --index {target.name}={target.address.simple} NAME, or in"
            f' [tool.uv.sources] NAME = {{ index = "{target.name}" }}. uv takes a name without that line from the'
            " public index, even if a stranger owns it there: dependency confusion. --form single is safe."
            " If UV_DEFAULT_INDEX or UV_INDEX is set, uv add does not write that line."
        )
    elif target.form == "extra":
        texts.append(
            "uv takes a name from the first index that has it, and asks this one before the public one. Until you"
            " upload a name here, a stranger can take it there: dependency confusion. --form single is safe."
        )
    texts.append(
        f"To publish: uv publish --index {target.name} --trusted-publishing never; the credential from ~/.netrc, or"
        " UV_PUBLISH_USERNAME and UV_PUBLISH_PASSWORD."
    )
    if target.in_keyring:
        environment = f"UV_KEYRING_PROVIDER=subprocess UV_INDEX_{target.variable}_USERNAME={target.username}"
        texts.append(
            (f"In your environment: {environment}\n" if scope == "project" else "")
            + "The secret is in the keyring: uv asks the command `keyring` for it, which has to be on PATH."
            f" Without that: {target.netrc_login}"
        )
    if target.ca:
        texts.append(
            f"uv reads certificate authorities only from its environment: SSL_CERT_FILE={target.ca}; or"
            " system-certs = true in uv.toml, if the system trusts them."
        )
    return tuple(texts)


class File(TomlEdit):
    """A uv.toml, or a pyproject.toml."""

    @classmethod
    def check(cls, body: Body) -> None:
        """Raise Unreadable where uv would stop: invalid TOML, or two default indexes."""
        defaults = [table.path for table in tables(cls.scan(body)) if table.values.get("default") is True]
        if any(defaults.count((*above, "index")) > 1 for above in _ABOVE.values()):
            raise Unreadable("two indexes are the default.")


def plan(body: Body, target: IndexTarget, scope: Scope) -> TomlEdit:
    """Return the edit for a uv.toml or a pyproject.toml; an only index replaces another."""
    above, is_single = _ABOVE[scope], target.form == "single"
    edit = File(body)
    if is_single:
        edit.comment_out_key(above, "index-url")
    if target.in_keyring and scope == "user":
        edit.set_top("keyring-provider", "subprocess")
    # a project belongs to a team, so no user's name is in its URL
    url = target.address.simple if scope == "project" else target.simple
    values: dict[str, str | bool] = {"name": target.name, "url": url, "publish-url": target.address.upload}
    others = edit.put(
        (*above, "index"),
        values | _FLAGS.get(target.form, {}),
        lambda other: is_single and other.get("default") is True,
    )
    if is_single and others:
        edit.notes.append("It also has other indexes, which uv asks first, in their order.")
    return edit.verified()
