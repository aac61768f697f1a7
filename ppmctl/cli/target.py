"""What the commands that talk to an index share."""

from __future__ import annotations

from pathlib import Path

import click

index_option = click.option(
    "--index",
    metavar="NAME-OR-URL",
    help="The index: its URL, with or without /simple/, or a section of ~/.pypirc.  [env var: PPMCTL_INDEX]",
)
credential_option = click.option(
    "--credential-file",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="A file with the credential, one line user:secret. Without it: PPMCTL_USERNAME and PPMCTL_TOKEN,"
    " TWINE_USERNAME and TWINE_PASSWORD, ~/.pypirc, ~/.netrc.",
)
