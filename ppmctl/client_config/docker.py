"""Dockerfile lines that mount the credential for one step (BuildKit), so that no layer and no history has it."""

from __future__ import annotations

from dataclasses import replace

from ppmctl.client_config.index_target import IndexTarget, Snippet, sh
from ppmctl.client_config.pip import confusion, wanted

_CA = "/run/ppm-ca.pem"


def render(target: IndexTarget) -> Snippet:
    """Return the step that installs, and the command that builds."""
    mounts = ["--mount=type=secret,id=netrc,target=/root/.netrc"]
    secrets = ['--secret id=netrc,src="$HOME/.netrc"']
    if target.ca:
        mounts.append(f"--mount=type=secret,id=ca,target={_CA}")
        secrets.append(f"--secret id=ca,src={sh(target.ca)}")
    in_build = replace(target, in_keyring=False, ca=_CA if target.ca else None)
    options = [f"--{name} {sh(value)}" for name, value in wanted(in_build).items()]
    lines = [
        "# syntax=docker/dockerfile:1",
        f"# Dockerfile; built by: docker build {' '.join(secrets)} .",
        "RUN " + " \\\n    ".join([*mounts, f"pip install --no-cache-dir {' '.join(options)} -r requirements.txt"]),
    ]
    notes = (
        "`ppmctl login --netrc` writes the credential to ~/.netrc.",
        "If the step doesn't run as root: target=/run/netrc,uid=1000 and NETRC=/run/netrc before pip.",
        *confusion(target),
    )
    return Snippet(text="\n".join(lines), notes=notes)
