"""`ppmctl env`: the commands that only read: list, show, diff, log, export."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import click

from ppmctl import files, output
from ppmctl.cli import suggestions
from ppmctl.cli.env_options import name_argument, of_index, read_revision, revision_argument
from ppmctl.cli.options import Answer, exclusive
from ppmctl.client import identity
from ppmctl.distributions import environment_revision as formats
from ppmctl.distributions.environment_revision import Revision
from ppmctl.environments.log import Journal
from ppmctl.environments.merge import differences
from ppmctl.environments.remote import Remote
from ppmctl.environments.requirement import normal
from ppmctl.errors import PpmError, UsageError

# the choices of `env export --format`, and the name of the file in a revision's wheel
_FILES = {
    "requirements": formats.REQUIREMENTS,
    "constraints": formats.CONSTRAINTS,
    "yaml": formats.CONDA,
    "pylock": formats.LOCK,
    "locked": formats.LOCKED,
}


@click.command("list")
@click.option("--mine", is_flag=True, help="List only environments that you own.")
@of_index
def list_(environments: Remote, mine: bool) -> Answer:
    """List the environments of the index, with their owners and last changes."""
    values = [_values(entry) for entry in environments.listing(owner_of(environments) if mine else None)]

    def show() -> None:
        if values:
            header = ("NAME", "REVISION", "OWNER", "SHARED", "PACKAGES", "LOCKED", "CHANGED", "BY")
            keys = ("name", "revision", "owner", "shared", "requirements", "locked")
            rows = [(*(each[key] for key in keys), output.moment(each["time"]), each["by"]) for each in values]
            output.table(header, rows)
        output.say(f"{output.count(len(values), 'environment')}.")

    return Answer(values, show)


def owner_of(environments: Remote) -> str:
    """Return the user whose credential this is, who owns the environments that it creates."""
    return identity.identify(environments.address, environments.transport).name.partition("+")[0]


def _values(entry: Journal) -> dict[str, Any]:
    last = entry.changed
    return {
        "name": entry.name,
        "revision": entry.latest,
        "owner": entry.owner or None,
        "shared": entry.shared,
        "requirements": entry.requirements,
        "locked": entry.locked,
        "time": last.at if last else None,
        "by": last.by or None if last else None,
        "change": last.change if last else None,
    }


@click.command()
@revision_argument
@click.option("--format", "form", type=click.Choice([*_FILES, "json"]), help="Print it as a file of this format.")
@of_index
def show(environments: Remote, name: str, form: str | None) -> Answer:
    """Show an environment, with its requirements on one line as for `pip install`, or print it as a file."""
    entry, revision = read_revision(environments, name)
    record = environments.journal(revision.name)
    owner = record.owner or None if record is not None else None
    value = {
        "name": revision.name,
        "revision": revision.number,
        "owner": owner,
        "time": f"{entry.time:%Y-%m-%dT%H:%M:%SZ}" if entry.time is not None else None,
        "change": revision.change,
        "base": revision.base,
        "shared": revision.shared,
        "deleted": entry.deleted is not None,
        "locked": revision.lock is not None,
        "project": revision.project,
        "requirements": list(revision.requirements),
    }
    if form == "json":
        return Answer(value, lambda: output.as_json(value))
    if form is not None:
        return Answer(value, lambda: output.block(_rendered(revision, form).rstrip("\n")))
    fields = (
        ("Name", revision.name),
        ("Revision", f"{revision.number}{' (deleted)' if entry.deleted is not None else ''}"),
        ("Owner", owner),
        ("Time", entry.time),
        ("Change", revision.change),
        ("Shared", revision.shared),
        ("Locked", revision.lock is not None),
        ("Install", f"pip install {revision.project}=={revision.number}"),
        ("Packages", " ".join(shlex.quote(text) for text in revision.requirements)),
    )
    return Answer(value, lambda: output.fields(fields))


def _rendered(revision: Revision, form: str) -> str:
    """Return a revision as a file of this format. Raise PpmError for a lock that it lacks."""
    content = formats.rendered(revision).get(_FILES[form])
    if content is None:
        hint = f"ppmctl env lock {revision.name}"
        raise PpmError(f"Revision {revision.number} of {revision.name} is not locked.", hint=hint)
    return content.decode()


@click.command()
@revision_argument
@click.argument("other", metavar="OTHER[@REV]", shell_complete=suggestions.environments)
@of_index
def diff(environments: Remote, name: str, other: str) -> Answer:
    """Compare OTHER with NAME: added requirements (+), removed ones (-) and changed ones (~)."""
    before, after = (normal(read_revision(environments, text)[1].requirements) for text in (name, other))
    changes = differences(before, after)

    def show() -> None:
        for item in changes:
            old, new = ", ".join(item.before), ", ".join(item.after)
            output.data(f"~ {old} → {new}" if old and new else f"+ {new}" if new else f"- {old}")
        if not changes:
            output.say("They have the same requirements.")

    return Answer(changes, show)


@click.command()
@name_argument
@of_index
def log(environments: Remote, name: str) -> Answer:
    """Show who changed the environment NAME when, and how: one line per revision, oldest first."""
    lines = environments.lines(name)
    if not lines:
        raise PpmError(f"There is no environment {name}.", hint="To list all: ppmctl env list")
    rows = [
        (line.revision, line.by, output.moment(line.at), line.change, (line.why or "yes") if line.deleted else "")
        for line in lines
    ]
    width = 5 if any(line.deleted for line in lines) else 4
    value = [
        {
            "revision": line.revision,
            "by": line.by,
            "time": line.at,
            "change": line.change,
            "deleted": line.deleted,
            "reason": line.why or None,
        }
        for line in lines
    ]
    header = ("REVISION", "BY", "TIME", "CHANGE", "DELETED")[:width]
    return Answer(value, lambda: output.table(header, [row[:width] for row in rows]))


@click.command()
@revision_argument
@click.option(
    "--format", "form", type=click.Choice(list(_FILES)), help="The format. Default: according to the file's name."
)
@click.option(
    "--output",
    "output_file",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("requirements.txt"),
    show_default=True,
    help="The file to write; an existing file is not replaced.",
)
@click.option("--locked", is_flag=True, help="Write the lock as a requirements.txt with hashes (--format locked).")
@click.option("--force", is_flag=True, help="Replace an existing file.")
@of_index
def export(environments: Remote, name: str, form: str | None, output_file: Path, locked: bool, force: bool) -> Answer:
    """Write an environment to a file: requirements.txt, constraints.txt, environment.yml or pylock.toml.

    With --locked, pip and uv install exactly the locked files: pip install --require-hashes -r requirements.txt
    """
    if locked and form is not None:
        raise exclusive("--locked", "--format")
    form = "locked" if locked else form or _format_of(output_file)
    revision = read_revision(environments, name)[1]
    content = _rendered(revision, form).encode()
    try:
        if force:
            files.write_atomic(output_file, content)
        elif not files.create(output_file, content, mode=0o644):
            raise PpmError(f"{output_file} exists already; it is not replaced.", hint="--force replaces it.")
    except OSError as exc:
        raise PpmError(f"{output_file} can't be written: {exc.strerror}.") from exc
    value = {"name": revision.name, "revision": revision.number, "format": form, "file": output_file}
    is_list = form == "requirements" and revision.lock is not None
    notes = [f"Revision {revision.number} is locked: --locked writes its versions and hashes."] if is_list else []
    return Answer(value, lambda: output.data(str(output_file)), notes=notes)


def _format_of(path: Path) -> str:
    name = path.name
    if name.startswith("pylock") and name.endswith(".toml"):
        return "pylock"
    if name.endswith((".yml", ".yaml")):
        return "yaml"
    if name.endswith((".txt", ".in")):
        return "constraints" if "constraint" in name else "locked" if "lock" in name else "requirements"
    raise UsageError(f"The name of {path} does not tell its format.", hint=f"--format {' or '.join(_FILES)}")


COMMANDS = (list_, show, diff, log, export)
