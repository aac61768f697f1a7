"""Variables for a shell: what each client reads. The secret is in none; it is taken from PPMCTL_TOKEN."""

from __future__ import annotations

from ppmctl.clients import IndexTarget, Snippet, sh
from ppmctl.clients.pip import CONFUSION

_SECRETS = (
    # the name's variable, the secret's
    ("UV_INDEX_{}_USERNAME", "UV_INDEX_{}_PASSWORD"),
    ("UV_PUBLISH_USERNAME", "UV_PUBLISH_PASSWORD"),
    ("TWINE_USERNAME", "TWINE_PASSWORD"),
    ("FLIT_USERNAME", "FLIT_PASSWORD"),
    ("POETRY_HTTP_BASIC_{}_USERNAME", "POETRY_HTTP_BASIC_{}_PASSWORD"),
    ("PDM_PUBLISH_USERNAME", "PDM_PUBLISH_PASSWORD"),
    ("HATCH_INDEX_USER", "HATCH_INDEX_AUTH"),
)


def plain(target: IndexTarget) -> dict[str, str]:
    """The variables that say where the index is, by name."""
    address = target.address
    single = target.form == "single"
    named = f"{target.name}={address.simple}"
    values = {"PPMCTL_INDEX": f"{address.base}/"}
    values |= {"PIP_INDEX_URL" if single else "PIP_EXTRA_INDEX_URL": address.simple}
    if target.untrusted:
        values["PIP_TRUSTED_HOST"] = target.untrusted
    values |= {"UV_DEFAULT_INDEX" if single else "UV_INDEX": named, "UV_PUBLISH_URL": address.upload}
    if single:
        values |= {"PIPENV_PYPI_MIRROR": address.simple, "PDM_PYPI_URL": address.simple}
    values |= {
        "TWINE_REPOSITORY_URL": address.upload,
        "FLIT_INDEX_URL": address.upload,
        f"POETRY_REPOSITORIES_{target.variable}_URL": address.upload,
        "PDM_PUBLISH_REPO": address.upload,
        "HATCH_INDEX_REPO": address.upload,
    }
    if target.ca:
        values |= {
            "PIP_CERT": target.ca,
            "REQUESTS_CA_BUNDLE": target.ca,
            "SSL_CERT_FILE": target.ca,
            "HATCH_INDEX_CA_CERT": target.ca,
        }
    return values


def render(target: IndexTarget) -> Snippet:
    """Lines for a shell's profile, or for eval."""
    pairs = [
        f'  export {name.format(target.variable)}="$PPMCTL_USERNAME" {secret.format(target.variable)}="$PPMCTL_TOKEN"'
        for name, secret in _SECRETS
    ]
    lines = [
        '# ~/.profile, or for this shell: eval "$(ppmctl client-config env)"',
        *(f"export {name}={sh(value)}" for name, value in plain(target).items()),
        'if [ -n "${PPMCTL_TOKEN-}" ]; then',
        *pairs,
        "fi",
    ]
    said = ["pip, pdm and pipenv take the secret from ~/.netrc (or NETRC), pip also from a keyring."]
    if target.form == "extra":
        said.append(CONFUSION)
    return Snippet(text="\n".join(lines), says=tuple(said))
