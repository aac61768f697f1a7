"""`ppmctl config`: what is in force here, and who says so."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from ppmctl import output
from ppmctl.cli.options import Answer, answers, volume_option
from ppmctl.cli.package_source import index_options
from ppmctl.cli.target import on_option
from ppmctl.cli.volume import there


@click.group()
def config() -> None:
    """Print the settings in force, each with where it comes from."""


@config.command()
@index_options
@volume_option("Print the settings of the server of this volume instead of those for talking to an index.")
@on_option
@answers
def show(index: str | None, credential_file: Path | None, root: Path | None) -> Answer:
    """Print each value in force, and where it comes from: a flag, a variable, a file, or the default.

    They are those of the commands that talk to an index, such as publish; with --root, and without --index, those of
    that volume's server. No secret is printed, and no request is made.
    """
    from ppmctl.cli import effective_settings
    from ppmctl.server import settings

    facts: Sequence[settings.Value | effective_settings.Fact]
    if root is not None and index is None:
        facts = settings.values_of(there(root))
    else:
        facts = tuple(effective_settings.facts(index, file=credential_file, environ=os.environ, home=Path.home()))
    shown = [(fact.name, _text(fact.value), fact.origin) for fact in facts]
    return Answer(facts, lambda: output.table(("setting", "value", "from"), shown))


def _text(value: Any) -> str | None:
    if isinstance(value, (tuple, list)):
        value = ", ".join(value) or None
    return None if value is None else str(value)
