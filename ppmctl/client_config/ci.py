"""What the snippets for CI services have in common: a netrc made of the service's own secrets, for one job."""

from __future__ import annotations

from dataclasses import replace

from ppmctl.client_config.index_target import IndexTarget, Snippet, sh
from ppmctl.client_config.pip import confusion, wanted

# read by pip, uv, pdm, poetry, curl and ppmctl, wherever NETRC says it is
NETRC_LINE = "machine %s login %s password %s\\n"


def make_netrc(target: IndexTarget, path: str) -> str:
    """The command that writes the netrc to `path`, a word of the shell's; the secret is on no command line."""
    return (
        f'(umask 077; printf \'{NETRC_LINE}\' {sh(target.address.host)} "$PPMCTL_USERNAME" "$PPMCTL_TOKEN" > {path})'
    )


def render(template: str, target: IndexTarget, netrc: str) -> Snippet:
    """A service's file: pip's options as variables, the command that writes its netrc, the URL of uploads."""
    options = wanted(replace(target, in_keyring=False, ca=None))
    variables = {f"PIP_{name.upper().replace('-', '_')}": value for name, value in options.items()}
    text = (
        template.replace("@VARIABLES@", "\n  ".join(f"{name}: {quoted(value)}" for name, value in variables.items()))
        .replace("@NETRC@", netrc)
        .replace("@UPLOAD@", quoted(target.address.upload))
    )
    says = [*confusion(target)]
    if target.ca:
        says.append(
            f"The service's machines do not trust {target.ca}: put that file, which is no secret, into the repository"
            ", and set PIP_CERT and REQUESTS_CA_BUNDLE to it."
        )
    return Snippet(text=text, says=tuple(says))


def quoted(value: str) -> str:
    """A text as a YAML string."""
    return "'" + value.replace("'", "''") + "'"
