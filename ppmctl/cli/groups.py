"""A group of commands whose help has whole sentences, and which suggests a command for a mistyped one."""

from __future__ import annotations

import difflib

import click

_LONGEST = 1000  # characters of a sentence; click cuts at the width of the terminal by default


class Group(click.Group):
    """A group of commands."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command that was typed. Raise click.UsageError, with what is similar."""
        typed = args[0]
        if self.get_command(ctx, typed) is None and not typed.startswith("-"):
            names = self._similar(ctx, typed)
            also = f" Did you mean {' or '.join(f'`{ctx.command_path} {name}`' for name in names)}?" if names else ""
            ctx.fail(f"There is no command {typed!r}.{also}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write each command with the first sentence of its help, whole."""
        rows = [(name, self.sentence(ctx, name)) for name in self.list_commands(ctx)]
        with formatter.section("Commands"):
            formatter.write_dl(rows)

    def sentence(self, ctx: click.Context, name: str) -> str:
        """Return what the help of the group says about a command."""
        command = self.get_command(ctx, name)
        return command.get_short_help_str(_LONGEST) if command else ""

    def _similar(self, ctx: click.Context, typed: str) -> list[str]:
        """Return commands with a similar name, the most similar first, also those below them: yank → package yank."""
        ratios: dict[str, float] = {}
        for name in self.list_commands(ctx):
            group = self.get_command(ctx, name)
            below = group.list_commands(ctx) if isinstance(group, click.Group) else []
            for names, word, least in ((name, name, 0.6), *((f"{name} {child}", child, 0.8) for child in below)):
                ratio = difflib.SequenceMatcher(None, typed, word).ratio()
                if ratio >= least or (names == word and word.startswith(typed)):
                    ratios[names] = ratio
        return sorted(ratios, key=lambda name: -ratios[name])[:2]
