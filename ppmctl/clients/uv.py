"""uv: its uv.toml, or a project's pyproject.toml."""

from __future__ import annotations

from ppmctl.clients import IndexTarget


def render(target: IndexTarget) -> str:
    """A user's `[[index]]` in place of the public one; or, as an extra one, a project's, for what names it."""
    if target.form == "single":
        return "\n".join(
            [
                "# ~/.config/uv/uv.toml",
                *(['keyring-provider = "subprocess"'] if target.in_keyring else []),
                "[[index]]",
                f'name = "{target.name}"',
                f'url = "{target.simple}"',
                "default = true",
            ]
        )
    # a project is its team's: nobody's name is in it
    # explicit: only packages that [tool.uv.sources] sends there come from there, whatever versions others have
    return "\n".join(
        [
            f'# pyproject.toml; in its [tool.uv.sources] for each package: NAME = {{ index = "{target.name}" }}',
            "[[tool.uv.index]]",
            f'name = "{target.name}"',
            f'url = "{target.address.simple}"',
            "explicit = true",
        ]
    )
