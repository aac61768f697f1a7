"""A source of pipenv's, in a Pipfile."""

from __future__ import annotations

from ppmctl.client_config.index_target import IndexTarget, Snippet, sh, toml
from ppmctl.client_config.toml_tables import table_lines


def render(target: IndexTarget, place: str) -> Snippet:
    """Return a `[[source]]` of a Pipfile."""
    where = "instead of its other [[source]]" if target.form == "single" else "after its first [[source]]"
    values: dict[str, str | bool] = {
        "name": target.name,
        "url": target.address.simple,
        "verify_ssl": not target.untrusted,
    }
    lines = [f"# {place}, {where}", *table_lines(("source",), values)]
    notes = []
    if target.form == "explicit":
        notes.append(
            "pipenv takes a package from the first [[source]] unless it names another:"
            f' pipenv install --index {target.name} NAME, or in [packages] NAME = {{version = "*", index ='
            f" {toml(target.name)}}}."
        )
    notes.append(f"The credential: ~/.netrc ({target.netrc_login}).")
    if target.ca:
        ca = sh(target.ca)
        notes.append(f"The certificate authorities, in the environment: PIP_CERT={ca} REQUESTS_CA_BUNDLE={ca}")
    return Snippet(text="\n".join(lines), notes=tuple(notes))
