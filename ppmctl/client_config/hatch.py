"""hatch's own configuration, for publishing; pip or uv, with their own configuration, fill its environments."""

from __future__ import annotations

from ppmctl.client_config.index_target import IndexTarget, Snippet, sh, toml


def render(target: IndexTarget, place: str) -> Snippet:
    """Return a repository of hatch's publisher."""
    values = {"url": target.address.upload, "user": target.username, "ca-cert": target.ca}
    lines = [f"# {place}", f"[publish.index.repos.{target.name}]"]
    lines += [f"{name} = {toml(value)}" for name, value in values.items() if value]
    secret = target.publishing_secret("HATCH_INDEX_USER and HATCH_INDEX_AUTH")
    variable = "PIP_INDEX_URL" if target.form == "single" else "PIP_EXTRA_INDEX_URL"
    to_publish = f"To publish: hatch publish -r {target.name}; {secret}."
    to_install = (
        "To install: set up pip, or uv for environments that use it (ppmctl client-config pip). In this shell only:"
        f" {variable}={sh(target.address.simple)}"
    )
    return Snippet(text="\n".join(lines), notes=(to_publish, to_install))
