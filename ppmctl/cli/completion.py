"""`ppmctl completion`: what a shell has to be told once."""

from __future__ import annotations

import click

from ppmctl import output

# command and variable as click derives them: the shell calls the one with the other set
_PROGRAM = "ppmctl"
_VARIABLE = "_PPMCTL_COMPLETE"
# the folders are not there on a new account
_FOR_GOOD = {
    "bash": "mkdir -p ~/.local/share/bash-completion/completions"
    " && ppmctl completion bash > ~/.local/share/bash-completion/completions/ppmctl",
    "zsh": "ppmctl completion zsh > FOLDER/_ppmctl  with a FOLDER of $fpath",
    "fish": "mkdir -p ~/.config/fish/completions"
    "; and ppmctl completion fish > ~/.config/fish/completions/ppmctl.fish",
}


@click.command()
@click.argument("shell", type=click.Choice(list(_FOR_GOOD)))
def completion(shell: str) -> None:
    """Print the script by which SHELL completes ppmctl's commands and options.

    For this session: eval "$(ppmctl completion bash)", the same with zsh; in fish: ppmctl completion fish | source.
    For good, type what a line on stderr says.
    """
    from click.shell_completion import get_completion_class

    from ppmctl.cli.commands import cli

    made_by = get_completion_class(shell)
    if made_by is None:
        raise AssertionError(shell)
    output.data(made_by(cli, {}, _PROGRAM, _VARIABLE).source().rstrip("\n"))
    output.say(f"For good: {_FOR_GOOD[shell]}")
