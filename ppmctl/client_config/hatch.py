"""hatch: its own configuration for publishing; its environments are filled by pip or uv, as those are set up."""

from __future__ import annotations

from ppmctl.client_config.index_target import IndexTarget, Snippet, sh, toml


def render(target: IndexTarget, place: str) -> Snippet:
    """A repository of hatch's publisher."""
    values = {"url": target.address.upload, "user": target.username, "ca-cert": target.ca}
    lines = [f"# {place}", f"[publish.index.repos.{target.name}]"]
    lines += [f"{name} = {toml(value)}" for name, value in values.items() if value]
    secret = target.publishing_secret("HATCH_INDEX_USER and HATCH_INDEX_AUTH")
    variable = "PIP_INDEX_URL" if target.form == "single" else "PIP_EXTRA_INDEX_URL"
    environments = (
        "its environments are filled by pip, or by uv where they say so, as those are set up (client-config pip)."
        f" For this shell alone: {variable}={sh(target.address.simple)}"
    )
    return Snippet(
        text="\n".join(lines),
        says=(f"To publish: hatch publish -r {target.name}; {secret}.", f"To install: {environments}"),
    )
