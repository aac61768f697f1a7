"""`ppmctl config`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from ppmctl import output
from ppmctl.cli.groups import Group
from ppmctl.cli.options import Answer, answers, volume_option
from ppmctl.cli.package_source import index_options
from ppmctl.cli.target import on_option
from ppmctl.cli.volume import existing


@click.group(cls=Group)
def config() -> None:
    """Print the effective settings and where each comes from."""


@config.command()
@index_options
@volume_option("Print the settings of this volume's server instead.")
@on_option
@answers
def show(index: str | None, credential_file: Path | None, root: Path | None) -> Answer:
    """Print each effective setting and its source: an option, a variable, a file, or the default.

    Shows the settings of the commands that talk to an index, such as publish; with --root and without --index, those
    of the volume's server. Prints no secret and makes no request.
    """
    from ppmctl.cli import effective_settings
    from ppmctl.server import settings

    facts: Sequence[settings.Value | effective_settings.Fact]
    if root is not None and index is None:
        facts = settings.values_of(existing(root))
    else:
        facts = tuple(effective_settings.facts(index, file=credential_file, environ=os.environ, home=Path.home()))
    rows = [(fact.name, _text(fact.value), fact.origin) for fact in facts]
    return Answer(facts, lambda: output.table(("setting", "value", "from"), rows))


def _text(value: Any) -> str | None:
    if isinstance(value, (tuple, list)):
        value = ", ".join(value) or None
    return None if value is None else str(value)
