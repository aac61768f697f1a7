"""The options that choose an index and its credential, and `--on`, which runs a command on another machine."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from ppmctl import output

if TYPE_CHECKING:
    from ppmctl.remote.command import NamedFile

index_option = click.option(
    "--index",
    metavar="NAME-OR-URL",
    help="The index: its URL, with or without /simple/, or a section of ~/.pypirc. Default: that of the last"
    " `ppmctl login`.  [env var: PPMCTL_INDEX]",
)
credential_option = click.option(
    "--credential-file",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="A file with the credential, one line user:secret. Default: PPMCTL_USERNAME and PPMCTL_TOKEN,"
    " TWINE_USERNAME and TWINE_PASSWORD, `ppmctl login`, ~/.pypirc, the keyring, ~/.netrc.",
)


class VolumeFolder(click.Path):
    """A volume's folder. An empty name, from an unset shell variable, does not mean the current folder."""

    def __init__(self) -> None:
        super().__init__(path_type=Path, file_okay=False, readable=False)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if value == "":
            self.fail("the name of the folder is empty.", param, ctx)
        return super().convert(value, param, ctx)


class _On(click.Option):
    """`--on`: run the command, with everything else that was typed, on another machine instead."""

    def handle_parse_result(
        self, ctx: click.Context, opts: Mapping[str, Any], args: list[str]
    ) -> tuple[Any, list[str]]:
        target = opts.get("on")
        asks_for_help = (option := ctx.command.get_help_option(ctx)) is not None and option.name in opts
        if isinstance(target, str) and not ctx.resilient_parsing and not asks_for_help:
            from ppmctl.remote import command

            verbose = ["--verbose"] if ctx.find_root().params.get("verbose") else []
            _program, *names = ctx.command_path.split()
            line = [*verbose, *names, *_typed(ctx.command, opts)]
            ctx.exit(command.run(target, line, environ=os.environ, write=output.raw))
        return super().handle_parse_result(ctx, opts, args)


on_option = click.option(
    "--on",
    cls=_On,
    metavar="TARGET",
    is_eager=True,  # the other machine's ppmctl checks the other options
    expose_value=False,
    help="Run the command on another machine: ssh://[user@]host[:port] (ssh+sudo:// for root), docker://container."
    " --root is a folder on that machine; other files are on this one.",
)


def _typed(command: click.Command, opts: Mapping[str, Any]) -> list[str | NamedFile]:
    """Return what was typed for `command`, in one unambiguous form."""
    options: list[str | NamedFile] = []
    arguments: list[str | NamedFile] = []
    for parameter in command.params:
        if parameter.name == "on" or not _was_given(opts.get(parameter.name or "")):
            continue
        value = opts[parameter.name or ""]
        if isinstance(parameter, click.Option):
            options += _option(parameter, value)
        else:
            values = value if parameter.nargs != 1 else [value]
            arguments += [_value(parameter, one) for one in values if _was_given(one)]
    return [*options, "--", *arguments] if arguments else options


def _was_given(value: Any) -> bool:
    return isinstance(value, (str, bool, int, list, tuple))


def _option(option: click.Option, value: Any) -> list[str | NamedFile]:
    name = max(option.opts, key=len)
    if option.count:
        return [name] * int(value)
    if option.is_flag:
        if isinstance(value, bool) and not value:
            return [max(option.secondary_opts, key=len)]
        return [name]
    before = f"{name}=" if name.startswith("--") else name
    values = value if option.multiple else [value]
    if option.nargs != 1:
        return [part for several in values for part in (name, *(_value(option, one) for one in several))]
    return [_value(option, one, before) for one in values]


def file_use(parameter: click.Parameter) -> Literal["read", "written"] | None:
    """Return whether the file that a parameter names is read or written; None for a folder, or no path at all."""
    kind = parameter.type
    if isinstance(kind, click.File):
        return "read" if set(kind.mode) <= set("rbt") else "written"
    if isinstance(kind, click.Path) and not kind.dir_okay:
        return "written" if kind.writable or parameter.name in ("output", "output_file") else "read"
    return None


def _value(parameter: click.Parameter, value: str, before: str = "") -> str | NamedFile:
    use = file_use(parameter)
    if use is None or value == "-":
        return before + value
    from ppmctl.remote.command import NamedFile

    return NamedFile(name=value, written=use == "written", before=before)
