"""Shell variables that clients read. The secret comes from PPMCTL_TOKEN."""

from __future__ import annotations

from ppmctl.client_config.index_target import IndexTarget, Snippet, sh
from ppmctl.client_config.pip import confusion

_SECRETS = (
    # for the user's name, for the secret
    ("UV_INDEX_{}_USERNAME", "UV_INDEX_{}_PASSWORD"),
    ("UV_PUBLISH_USERNAME", "UV_PUBLISH_PASSWORD"),
    ("TWINE_USERNAME", "TWINE_PASSWORD"),
    ("FLIT_USERNAME", "FLIT_PASSWORD"),
    ("POETRY_HTTP_BASIC_{}_USERNAME", "POETRY_HTTP_BASIC_{}_PASSWORD"),
    ("PDM_PUBLISH_USERNAME", "PDM_PUBLISH_PASSWORD"),
    ("HATCH_INDEX_USER", "HATCH_INDEX_AUTH"),
)


def plain(target: IndexTarget) -> dict[str, str]:
    """Return the variables that name the index, by name."""
    address, is_single = target.address, target.form == "single"
    instead_of_public = address.simple if is_single else None
    values = {
        "PPMCTL_INDEX": f"{address.base}/",
        "PIP_INDEX_URL" if is_single else "PIP_EXTRA_INDEX_URL": address.simple,
        "PIP_TRUSTED_HOST": target.untrusted,
        "UV_DEFAULT_INDEX" if is_single else "UV_INDEX": f"{target.name}={address.simple}",
        "UV_PUBLISH_URL": address.upload,
        "PIPENV_PYPI_MIRROR": instead_of_public,
        "PDM_PYPI_URL": instead_of_public,
        "TWINE_REPOSITORY_URL": address.upload,
        "FLIT_INDEX_URL": address.upload,
        f"POETRY_REPOSITORIES_{target.variable}_URL": address.upload,
        "PDM_PUBLISH_REPO": address.upload,
        "HATCH_INDEX_REPO": address.upload,
        **dict.fromkeys(("PIP_CERT", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE", "HATCH_INDEX_CA_CERT"), target.ca),
    }
    return {name: value for name, value in values.items() if value}


def render(target: IndexTarget) -> Snippet:
    """Return lines for a shell's profile, or for eval."""
    exports = [
        f'  export {name.format(target.variable)}="$PPMCTL_USERNAME" {secret.format(target.variable)}="$PPMCTL_TOKEN"'
        for name, secret in _SECRETS
    ]
    lines = [
        '# ~/.profile, or for this shell: eval "$(ppmctl client-config env)"',
        *(f"export {name}={sh(value)}" for name, value in plain(target).items()),
        'if [ -n "${PPMCTL_TOKEN-}" ]; then',
        *exports,
        "fi",
    ]
    note = "pip, pdm and pipenv take the secret from ~/.netrc (or NETRC), pip also from a keyring."
    return Snippet(text="\n".join(lines), notes=(note, *confusion(target)))
