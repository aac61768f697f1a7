"""A Dockerfile's lines: the credential is mounted for one step (BuildKit), and is in no layer and no history."""

from __future__ import annotations

from ppmctl.clients import IndexTarget, Snippet, sh
from ppmctl.clients.pip import CONFUSION

_CA = "/run/ppm-ca.pem"


def render(target: IndexTarget) -> Snippet:
    """The step that installs, and the command that builds."""
    mounts = ["--mount=type=secret,id=netrc,target=/root/.netrc"]
    secrets = ['--secret id=netrc,src="$HOME/.netrc"']
    if target.ca:
        mounts.append(f"--mount=type=secret,id=ca,target={_CA}")
        secrets.append(f"--secret id=ca,src={sh(target.ca)}")
    single = target.form == "single"
    options = [f"{'--index-url' if single else '--extra-index-url'} {sh(target.address.simple)}"]
    if target.untrusted:
        options.append(f"--trusted-host {sh(target.untrusted)}")
    if target.ca:
        options.append(f"--cert {_CA}")
    lines = [
        "# syntax=docker/dockerfile:1",
        f"# Dockerfile; built by: docker build {' '.join(secrets)} .",
        "RUN " + " \\\n    ".join([*mounts, f"pip install --no-cache-dir {' '.join(options)} -r requirements.txt"]),
    ]
    said = [
        "~/.netrc has the credential after ppmctl login --netrc.",
        "Where the step is not root's: target=/run/netrc,uid=1000 and NETRC=/run/netrc before pip.",
    ]
    if not single:
        said.append(CONFUSION)
    return Snippet(text="\n".join(lines), says=tuple(said))
