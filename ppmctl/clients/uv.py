"""uv: its uv.toml, or a project's pyproject.toml."""

from __future__ import annotations

from ppmctl.clients import IndexTarget, Scope, Snippet, tables, toml
from ppmctl.clients.lines import Add, Body, Mute, Plan, Unreadable


def block(target: IndexTarget, where: Scope) -> list[str]:
    """The lines of the index's table."""
    in_project = where == "project"
    # a project is its team's: nobody's name is in it
    url = target.address.simple if in_project else target.simple
    lines = [
        "[[tool.uv.index]]" if in_project else "[[index]]",
        f"name = {toml(target.name)}",
        f"url = {toml(url)}",
        f"publish-url = {toml(target.address.upload)}",
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


def check(body: Body) -> None:
    """Unreadable where uv would stop: no TOML, or two indexes that are both the default."""
    found = tables.parsed(body)
    for path in (("index",), ("tool", "uv", "index")):
        there = tables.lookup(found, path)
        defaults = [each for each in there if each.get("default") is True] if isinstance(there, list) else []
        if len(defaults) > 1:
            raise Unreadable("two indexes are the default.")


def plan(body: Body, target: IndexTarget, where: Scope) -> Plan:
    """What makes a uv.toml or a pyproject.toml know the index: an only one in place of another."""
    above: tables.Path = ("tool", "uv") if where == "project" else ()
    single = target.form == "single"
    edits: list[Add | Mute] = []
    written = tables.tables(body)
    for table in written:
        if table.path == above and single:
            for key in table.keys:
                if "index-url" in key.parsed:
                    edits += tables.muted(body, key.start, key.stop)
    for name, value in top(target, where).items():
        keys = [key for key in written[0].keys if name in key.parsed]
        if any(key.parsed == {name: value.strip('"')} for key in keys):
            continue
        blank = [] if written[0].keys or not body.lines else [""]
        edits.append(Add(at=written[0].stop, texts=(f"{name} = {value}", *blank)))
        for key in keys:
            edits += tables.muted(body, key.start, key.stop)

    def in_place_of(values: dict[str, object]) -> bool:
        return single and values.get("default") is True

    edits += tables.put(body, (*above, "index"), block(target, where), in_place_of)
    others = [table for table in written if table.path == (*above, "index") and not in_place_of(table.values)]
    notes = []
    if single and any(table.values.get("name") != target.name for table in others):
        notes.append("It has other indexes too, which uv asks first, in their order.")
    return tables.proven(body, edits, notes)
