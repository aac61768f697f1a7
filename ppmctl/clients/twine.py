"""twine: its .pypirc."""

from __future__ import annotations

from ppmctl.clients import IndexTarget


def render(target: IndexTarget) -> str:
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
        f"# ~/.pypirc, for twine upload --repository {target.name}; {where[0]}",
        *where[1:],
        "[distutils]",
        f"index-servers = {target.name}",
        "",
        f"[{target.name}]",
        f"repository = {target.address.upload}",
    ]
    if target.username:
        lines.append(f"username = {target.username}")
    return "\n".join(lines)
