"""pipenv: a source in a Pipfile."""

from __future__ import annotations

from ppmctl.client_config.index_target import IndexTarget, Snippet, sh, toml
from ppmctl.client_config.toml_tables import written


def render(target: IndexTarget, place: str) -> Snippet:
    """A `[[source]]` of a Pipfile."""
    where = "in place of its other [[source]]" if target.form == "single" else "after its first [[source]]"
    values: dict[str, str | bool] = {
        "name": target.name,
        "url": target.address.simple,
        "verify_ssl": not target.untrusted,
    }
    lines = [f"# {place}, {where}", *written(("source",), values)]
    said = []
    if target.form == "explicit":
        said.append(
            "pipenv takes a package from the first [[source]] unless it names another:"
            f' pipenv install --index {target.name} NAME, or in [packages] NAME = {{version = "*", index ='
            f" {toml(target.name)}}}."
        )
    said.append(f"The credential: ~/.netrc (ppmctl login {target.address.base} --netrc).")
    if target.ca:
        said.append(
            f"The authorities, in the environment: PIP_CERT={sh(target.ca)} REQUESTS_CA_BUNDLE={sh(target.ca)}"
        )
    return Snippet(text="\n".join(lines), says=tuple(said))
