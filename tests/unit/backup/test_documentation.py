"""docs/backup.md: each command in it can be typed."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest
from support.commandline import commands

from ppmctl.cli.commands import cli

TEXT = (Path(__file__).parents[3] / "docs" / "backup.md").read_text(encoding="utf-8")
LINES = re.findall(r"^ppmctl (backup .+)$", TEXT, re.MULTILINE)


def test_it_has_every_command() -> None:
    assert {line.split()[1] for line in LINES} == {"create", "list", "verify", "restore", "drill"}


@pytest.mark.parametrize("line", LINES)
def test_a_command_can_be_typed(line: str) -> None:
    _group, name, *typed = shlex.split(line, comments=True)
    command = dict(commands(cli))["backup", name]
    parent = click.Context(cli, info_name="ppmctl", **cli.context_settings)
    command.make_context(name, [*typed, "--root", "r"], parent=parent)
