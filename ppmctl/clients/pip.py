"""pip: its pip.conf."""

from __future__ import annotations

from ppmctl.clients import IndexTarget, Snippet

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
    if target.form == "extra":
        said.append(CONFUSION)
    return tuple(said)
