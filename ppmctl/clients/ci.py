"""What the snippets for CI services have in common: a netrc made of the service's own secrets, for one job."""

from __future__ import annotations

from ppmctl.clients import IndexTarget, sh
from ppmctl.clients.pip import wanted

# read by pip, uv, pdm, poetry, curl and ppmctl, wherever NETRC says it is
NETRC_LINE = "machine %s login %s password %s\\n"


def make_netrc(target: IndexTarget, path: str) -> str:
    """The command that writes the netrc to `path`, a word of the shell's; the secret is on no command line."""
    return (
        f'(umask 077; printf \'{NETRC_LINE}\' {sh(target.address.host)} "$PPMCTL_USERNAME" "$PPMCTL_TOKEN" > {path})'
    )


def pip_variables(target: IndexTarget) -> dict[str, str]:
    """pip's options as variables; the job's own credential is in its netrc."""
    plain = {name: value for name, value in wanted(target).items() if name != "cert"}
    for name in ("index-url", "extra-index-url"):
        if name in plain:
            plain[name] = target.address.simple
    return {f"PIP_{name.upper().replace('-', '_')}": value for name, value in plain.items()}


def ca_says(target: IndexTarget) -> tuple[str, ...]:
    """What to do about authorities that the service's machines do not know."""
    if not target.ca:
        return ()
    where = "put that file, which is no secret, into the repository, and set PIP_CERT and REQUESTS_CA_BUNDLE to it"
    return (f"The service's machines do not trust {target.ca}: {where}.",)


def quoted(value: str) -> str:
    """A text as a YAML string."""
    return "'" + value.replace("'", "''") + "'"
