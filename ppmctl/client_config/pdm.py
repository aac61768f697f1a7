"""A source of pdm's, in a project's pyproject.toml."""

from __future__ import annotations

from ppmctl.client_config.index_target import IndexTarget, Snippet, sh
from ppmctl.client_config.toml_tables import table_lines


def render(target: IndexTarget, place: str) -> Snippet:
    """Return a `[[tool.pdm.source]]`; an only index is called pypi, to replace the public one."""
    is_single = target.form == "single"
    name, setting = ("pypi", "pypi") if is_single else (target.name, f"pypi.{target.name}")
    lines = [f"# {place}", *table_lines(("tool", "pdm", "source"), {"name": name, "url": target.address.simple})]
    notes = []
    if target.form == "explicit":
        lines += ['include_packages = ["NAME", "NAME-*"]', 'exclude_packages = ["*"]']
        notes.append("include_packages: the names that come from this index only.")
    elif target.form == "extra":
        notes.append(
            "Dependency confusion: pdm treats all sources alike and takes the highest version of any. --form single"
            " or explicit is safe."
        )
    if target.in_keyring and target.username:
        notes.append(
            "The secret is in the keyring; pdm needs the name to look it up: pdm config"
            f" {setting}.username {sh(target.username)}\nWithout a keyring: {target.netrc_login}"
        )
    else:
        notes.append(f"The credential: ~/.netrc ({target.netrc_login}).")
    upload, username = sh(target.address.upload), sh(target.username or "USER")
    secret = target.publishing_secret("PDM_PUBLISH_PASSWORD")
    notes.append(f"To publish: pdm publish --repository {upload} --username {username}; {secret}.")
    if target.ca:
        notes.append(
            f"The certificate authorities, on this machine: pdm config {setting}.ca_certs {sh(target.ca)};"
            f" to publish PDM_PUBLISH_CA_CERTS={sh(target.ca)}"
        )
    return Snippet(text="\n".join(lines), notes=tuple(notes))
