"""pip: its pip.conf."""

from __future__ import annotations

from ppmctl.client_config.index_target import IndexTarget, Scope
from ppmctl.client_config.ini import IniEdit
from ppmctl.client_config.lines import Body

_CONFUSION = (
    "Dependency confusion: pip has no order of indexes, the highest version anywhere wins; also a stranger's"
    " upload of your name. --form single is safe."
)


def wanted(target: IndexTarget) -> dict[str, str]:
    """The options of `[global]`, by name."""
    url = "index-url" if target.form == "single" else "extra-index-url"
    options = {url: target.simple, "trusted-host": target.untrusted, "cert": target.ca}
    return {name: value for name, value in options.items() if value}


def says(target: IndexTarget, _where: Scope = "user") -> tuple[str, ...]:
    """What to know beside the file."""
    place = f"The credential: ~/.netrc (ppmctl login {target.address.base} --netrc)."
    if target.in_keyring:
        place = (
            "The secret is in the keyring: pip asks for it with the library keyring beside it, or the command"
            f" `keyring` on PATH. Without that: ppmctl login {target.address.base} --netrc (--no-input wants"
            " --keyring-provider import, or subprocess, too.)"
        )
    return (place, *confusion(target))


def confusion(target: IndexTarget) -> tuple[str, ...]:
    """Return the warning for an index beside the public one; nothing for another form."""
    return (_CONFUSION,) if target.form == "extra" else ()


class File(IniEdit):
    """A pip.conf."""

    @staticmethod
    def normal(name: str) -> str:
        """Return the name of an option as pip has it."""
        return name.lower().replace("_", "-").removeprefix("--")


def plan(body: Body, target: IndexTarget, _where: Scope) -> IniEdit:
    """Return the edit for a pip.conf: an only index instead of another, one more beside others."""
    edit = File(body)
    for name, value in wanted(target).items():
        # what stands in a command's own section wins over [global]
        own = [section for section in edit.values if name.endswith("index-url") and name in edit.values[section]]
        for section in dict.fromkeys(["global", *own]):
            edit.set(section, name, value, is_list=name in ("extra-index-url", "trusted-host"))
    flat = {name: value for options in edit.values.values() for name, value in options.items()}
    if target.form == "single" and flat.get("extra-index-url"):
        edit.notes.append(
            "It has an extra-index-url too, where pip looks as well: the highest version anywhere wins."
        )
    if flat.get("no-index", "").lower() in ("1", "true", "yes", "on"):
        edit.notes.append("It says no-index, so pip asks no index at all.")
    if body.bom:
        edit.notes.append("It starts with a byte order mark, at which pip stops: save it as UTF-8 without one.")
    return edit.finish()
