"""pdm: a source in a project's pyproject.toml."""

from __future__ import annotations

from ppmctl.client_config.index_target import IndexTarget, Snippet, sh
from ppmctl.client_config.toml_tables import written


def render(target: IndexTarget, place: str) -> Snippet:
    """A `[[tool.pdm.source]]`; the only one is called pypi, since it then stands in place of that."""
    name = "pypi" if target.form == "single" else target.name
    lines = [f"# {place}", *written(("tool", "pdm", "source"), {"name": name, "url": target.address.simple})]
    said = []
    if target.form == "explicit":
        lines += ['include_packages = ["NAME", "NAME-*"]', 'exclude_packages = ["*"]']
        said.append("In include_packages the names that are to come from this index, and from nowhere else.")
    elif target.form == "extra":
        said.append(
            "Dependency confusion: to pdm all sources are equal, the highest version anywhere wins. --form single or"
            " explicit is safe."
        )
    base = target.address.base
    where = f"ppmctl login {base} --netrc"
    if target.in_keyring and target.username:
        told = "" if name == "pypi" else f"{name}."
        said.append(
            "The secret is in the keyring, of which pdm asks for a name: pdm config"
            f" pypi.{told}username {sh(target.username)}\nWithout that: {where}"
        )
    else:
        said.append(f"The credential: ~/.netrc ({where}).")
    upload, username = sh(target.address.upload), sh(target.username or "USER")
    secret = target.publishing_secret("PDM_PUBLISH_PASSWORD")
    said.append(f"To publish: pdm publish --repository {upload} --username {username}; {secret}.")
    if target.ca:
        said.append(
            f"The authorities, of this machine: pdm config pypi.{'' if name == 'pypi' else name + '.'}ca_certs"
            f" {sh(target.ca)}; to publish PDM_PUBLISH_CA_CERTS={sh(target.ca)}"
        )
    return Snippet(text="\n".join(lines), says=tuple(said))
