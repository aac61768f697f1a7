"""pdm: a source in a project's pyproject.toml."""

from __future__ import annotations

from ppmctl.clients import IndexTarget, Snippet, sh, toml


def render(target: IndexTarget, place: str) -> Snippet:
    """A `[[tool.pdm.source]]`; the only one is called pypi, since it then stands in place of that."""
    name = "pypi" if target.form == "single" else target.name
    lines = [
        f"# {place}",
        "[[tool.pdm.source]]",
        f"name = {toml(name)}",
        f"url = {toml(target.address.simple)}",
    ]
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
    said.append(f"The credential: ~/.netrc (ppmctl login {base} --netrc).")
    publish = f"pdm publish --repository {sh(target.address.upload)} --username {sh(target.username or 'USER')}"
    said.append(f"To publish: {publish}; in CI PDM_PUBLISH_USERNAME and PDM_PUBLISH_PASSWORD.")
    if target.ca:
        said.append(
            f"The authorities, of this machine: pdm config pypi.{'' if name == 'pypi' else name + '.'}ca_certs"
            f" {sh(target.ca)}; to publish PDM_PUBLISH_CA_CERTS={sh(target.ca)}"
        )
    return Snippet(text="\n".join(lines), says=tuple(said))
