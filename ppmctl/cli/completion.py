"""`ppmctl completion`."""

from __future__ import annotations

import click

from ppmctl import output

# the program and the variable as click derives them: the shell calls the one with the other set
_PROGRAM = "ppmctl"
_VARIABLE = "_PPMCTL_COMPLETE"
# the folders are missing in a new account
_PERMANENT = {
    "bash": "mkdir -p ~/.local/share/bash-completion/completions"
    " && ppmctl completion bash > ~/.local/share/bash-completion/completions/ppmctl",
    "zsh": "ppmctl completion zsh > FOLDER/_ppmctl  with a FOLDER of $fpath",
    "fish": "mkdir -p ~/.config/fish/completions"
    "; and ppmctl completion fish > ~/.config/fish/completions/ppmctl.fish",
}


@click.command()
@click.argument("shell", type=click.Choice(list(_PERMANENT)))
def completion(shell: str) -> None:
    """Print the script that completes ppmctl's commands and options in SHELL.

    In this session: eval "$(ppmctl completion bash)", likewise for zsh; in fish: ppmctl completion fish | source.
    To enable it permanently, run the command that is printed on stderr.
    """
    from click.shell_completion import get_completion_class

    from ppmctl.cli.commands import cli

    completer = get_completion_class(shell)
    if completer is None:
        raise AssertionError(shell)
    output.block(completer(cli, {}, _PROGRAM, _VARIABLE).source().rstrip("\n"))
    output.say(f"To enable it permanently: {_PERMANENT[shell]}")
