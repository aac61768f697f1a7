"""pip: its pip.conf."""

from __future__ import annotations

from urllib.parse import urlsplit

from ppmctl.clients import IndexTarget


def render(target: IndexTarget) -> str:
    """A `[global]` section for pip.conf."""
    address = target.address
    lines = [
        "# ~/.config/pip/pip.conf (pip.conf in a virtual environment's folder: for that one alone)",
        "[global]",
        f"{'index-url' if target.form == 'single' else 'extra-index-url'} = {target.simple}",
    ]
    if not address.is_encrypted and not address.is_loopback:
        # pip passes over an index on plain HTTP unless it is told; on this machine it does not mind
        lines.append(f"trusted-host = {urlsplit(address.base).netloc}")
    return "\n".join(lines)
