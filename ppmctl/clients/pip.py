"""pip: its pip.conf."""

from __future__ import annotations

from ppmctl.clients import IndexTarget, Snippet, ini
from ppmctl.clients.lines import Add, Body, Mute, Plan

CONFUSION = (
    "Dependency confusion: pip has no order of indexes, the highest version anywhere wins; also a stranger's"
    " upload of your name. --form single is safe."
)


def wanted(target: IndexTarget) -> dict[str, str]:
    """The options of `[global]`, by name."""
    options = {"index-url" if target.form == "single" else "extra-index-url": target.simple}
    if target.untrusted:
        options["trusted-host"] = target.untrusted
    if target.ca:
        options["cert"] = target.ca
    return options


def render(target: IndexTarget, place: str) -> Snippet:
    """A `[global]` section for pip.conf."""
    lines = [f"# {place}", "[global]", *(f"{name} = {value}" for name, value in wanted(target).items())]
    return Snippet(text="\n".join(lines), says=says(target))


def says(target: IndexTarget) -> tuple[str, ...]:
    """What to know beside the file."""
    said = []
    if target.in_keyring:
        said.append(
            "The secret is in the keyring: pip asks for it with the library keyring beside it, or the command"
            f" `keyring` on PATH. Without that: ppmctl login {target.address.base} --netrc (--no-input wants"
            " --keyring-provider import, or subprocess, too.)"
        )
    else:
        said.append(f"The credential: ~/.netrc (ppmctl login {target.address.base} --netrc).")
    if target.form == "extra":
        said.append(CONFUSION)
    return tuple(said)


def normal(name: str) -> str:
    """The name of an option, as pip has it."""
    return name.lower().replace("_", "-").removeprefix("--")


def plan(body: Body, target: IndexTarget) -> Plan:
    """What makes a pip.conf say what is wanted: an only index in place of another, one more beside others."""
    file = ini.File(body, normal)
    edits: list[Add | Mute] = []
    new = []
    section = file.section("global")
    options = wanted(target)
    for name, value in options.items():
        many = name in ("extra-index-url", "trusted-host")
        if section is None:
            new.append(f"{name} = {value}")
        else:
            edits += file.put_into(section, name, value) if many else file.set_one(section, name, value)
        # what stands in a command's own section wins over [global]
        for other in file.sections:
            if other.name != "global" and name.endswith("index-url") and other.option(name):
                edits += file.put_into(other, name, value) if many else file.set_one(other, name, value)
    if new:
        edits.append(file.new_section("global", *new))
    notes = []
    flat = {name: value for options in file.values.values() for name, value in options.items()}
    if target.form == "single" and flat.get("extra-index-url"):
        notes.append("It has an extra-index-url too, where pip looks as well: the highest version anywhere wins.")
    if flat.get("no-index", "").lower() in ("1", "true", "yes", "on"):
        notes.append("It says no-index, so pip asks no index at all.")
    if body.bom:
        notes.append("It starts with a byte order mark, at which pip stops: save it as UTF-8 without one.")
    touched = {(each.name, name): None for each in file.sections for name in options} | {
        ("global", name): None for name in options
    }
    return ini.proven(file, edits, normal, touched, notes)
