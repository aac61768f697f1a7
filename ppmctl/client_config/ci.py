"""The common part of the files for CI services: one job gets a netrc, made from the service's own secrets."""

from __future__ import annotations

from dataclasses import replace

from ppmctl.client_config.index_target import IndexTarget, Snippet, sh
from ppmctl.client_config.pip import confusion, wanted

# pip, uv, pdm, poetry, curl and ppmctl read the file that NETRC names
NETRC_LINE = "machine %s login %s password %s\\n"


def make_netrc(target: IndexTarget, path: str) -> str:
    """Return the command that writes the netrc to `path`, a shell word; the secret is on no command line."""
    return (
        f'(umask 077; printf \'{NETRC_LINE}\' {sh(target.address.host)} "$PPMCTL_USERNAME" "$PPMCTL_TOKEN" > {path})'
    )


def render(template: str, target: IndexTarget, netrc: str) -> Snippet:
    """Return a service's file, with pip's options as variables, the command `netrc` and the upload URL."""
    options = wanted(replace(target, in_keyring=False, ca=None))
    variables = {f"PIP_{name.upper().replace('-', '_')}": value for name, value in options.items()}
    text = (
        template.replace("@VARIABLES@", "\n  ".join(f"{name}: {quoted(value)}" for name, value in variables.items()))
        .replace("@NETRC@", netrc)
        .replace("@UPLOAD@", quoted(target.address.upload))
    )
    notes = confusion(target)
    if target.ca:
        where = "commit that file, which is not secret, to the repository"
        note = (
            f"The service's machines don't trust {target.ca}: {where}, and set PIP_CERT and REQUESTS_CA_BUNDLE to it."
        )
        notes = (*notes, note)
    return Snippet(text=text, notes=notes)


def quoted(value: str) -> str:
    """Return a text as a YAML string."""
    return "'" + value.replace("'", "''") + "'"
