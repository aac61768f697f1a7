"""pip's pip.conf."""

from __future__ import annotations

from ppmctl.client_config.index_target import IndexTarget, Scope
from ppmctl.client_config.ini import IniEdit
from ppmctl.client_config.lines import Body

_CONFUSION = (
    "Dependency confusion: pip has no order of indexes and takes the highest version of any, also of a package that a"
    " stranger uploads under your name. --form single is safe."
)


def wanted(target: IndexTarget) -> dict[str, str]:
    """Return the options of `[global]`, by name."""
    url = "index-url" if target.form == "single" else "extra-index-url"
    options = {url: target.simple, "trusted-host": target.untrusted, "cert": target.ca}
    return {name: value for name, value in options.items() if value}


def notes(target: IndexTarget, _scope: Scope) -> tuple[str, ...]:
    """Return what to know besides the file."""
    note = f"The credential: ~/.netrc ({target.netrc_login})."
    if target.in_keyring:
        note = (
            "The secret is in the keyring: pip reads it with the library keyring in its own environment, or with the"
            f" command `keyring` on PATH. Without that: {target.netrc_login} (--no-input also needs"
            " --keyring-provider import or subprocess.)"
        )
    return (note, *confusion(target))


def confusion(target: IndexTarget) -> tuple[str, ...]:
    """Return the warning about an index in addition to the public one; nothing for another form."""
    return (_CONFUSION,) if target.form == "extra" else ()


class File(IniEdit):
    """A pip.conf."""

    @staticmethod
    def normal(name: str) -> str:
        """Return the name of an option in pip's form."""
        return name.lower().replace("_", "-").removeprefix("--")


def plan(body: Body, target: IndexTarget, _scope: Scope) -> IniEdit:
    """Return the edit for a pip.conf: an only index replaces another, an extra one is added to others."""
    edit = File(body)
    for name, value in wanted(target).items():
        # a command's own section wins over [global]
        own = [section for section in edit.values if name.endswith("index-url") and name in edit.values[section]]
        for section in dict.fromkeys(["global", *own]):
            edit.set(section, name, value, is_list=name in ("extra-index-url", "trusted-host"))
    flat = {name: value for options in edit.values.values() for name, value in options.items()}
    if target.form == "single" and flat.get("extra-index-url"):
        edit.notes.append("It also has an extra-index-url: pip asks that too, and takes the highest version of any.")
    if flat.get("no-index", "").lower() in ("1", "true", "yes", "on"):
        edit.notes.append("It has no-index, so pip asks no index at all.")
    if body.bom:
        edit.notes.append("It starts with a byte order mark, which pip rejects: save it as UTF-8 without one.")
    return edit.finish()
