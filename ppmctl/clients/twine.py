"""twine: its .pypirc, which flit and ppmctl read too."""

from __future__ import annotations

from ppmctl.clients import IndexTarget, Snippet

# What twine means by a file without index-servers; with one, it knows no others than those it names.
IMPLIED = ("pypi", "testpypi")


def wanted(target: IndexTarget) -> dict[str, str]:
    """The options of the index's section, by name."""
    options = {"repository": target.address.upload}
    if target.username:
        options["username"] = target.username
    if target.ca:
        options["ca_cert"] = target.ca
    return options


def render(target: IndexTarget, place: str) -> Snippet:
    """A .pypirc with one index to upload to, without a password."""
    where = (
        ["the password is in the keyring, where `ppmctl login` put it"]
        if target.in_keyring
        else [
            "the password into TWINE_PASSWORD, or a keyring:",
            f"# keyring set {target.address.upload} {target.username or 'USER'}",
        ]
    )
    lines = [
        f"# {place}, for twine upload --repository {target.name}; {where[0]}",
        *where[1:],
        "[distutils]",
        "index-servers =",
        *(f"    {name}" for name in (*IMPLIED, target.name)),
        "",
        f"[{target.name}]",
        *(f"{name} = {value}" for name, value in wanted(target).items()),
    ]
    return Snippet(text="\n".join(lines), says=says(target))


def says(target: IndexTarget) -> tuple[str, ...]:
    """What to know beside the file."""
    if target.ca:
        return (f"flit reads no ca_cert: REQUESTS_CA_BUNDLE={target.ca}",)
    return ()
