"""`ppmctl env`: the commands that only read: list, show, diff, log, export."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import click

from ppmctl import files, output
from ppmctl.cli.env_options import found, name_argument, of_index, revision_argument
from ppmctl.cli.options import Answer
from ppmctl.client import identity
from ppmctl.distributions import environment_revision as formats
from ppmctl.distributions.environment_revision import Revision
from ppmctl.environments.log import Journal
from ppmctl.environments.merge import differences
from ppmctl.environments.remote import Entry, Remote
from ppmctl.environments.requirement import normal
from ppmctl.errors import PpmError, UsageError

_FORMATS = ("requirements", "constraints", "yaml", "pylock", "json")


@click.command("list")
@click.option("--mine", is_flag=True, help="Those alone that are one's own.")
@of_index
def list_(environments: Remote, mine: bool) -> Answer:
    """List the environments of the index, each with its owner and its last change."""
    values = [_values(entry) for entry in environments.listing(owner_of(environments) if mine else None)]

    def show() -> None:
        if values:
            header = ("NAME", "REVISION", "OWNER", "SHARED", "PACKAGES", "LOCKED", "CHANGED", "BY")
            keys = ("name", "revision", "owner", "shared", "requirements", "locked")
            rows = [(*(one[key] for key in keys), output.moment(one["time"]), one["by"]) for one in values]
            output.table(header, rows)
        output.say(f"{output.count(len(values), 'environment')}.")

    return Answer(values, show)


def owner_of(environments: Remote) -> str:
    """Who the credential is at the index: the owner of what it makes."""
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
@click.option("--format", "form", type=click.Choice(_FORMATS), help="Print it as a file of that kind.")
@of_index
def show(environments: Remote, name: str, form: str | None) -> Answer:
    """Show what is in an environment, on one line that can be put behind `pip install`; or as a file."""
    entry, revision = found(environments, name)
    value = as_values(entry, revision)
    if form == "json":
        return Answer(value, lambda: output.as_json(value))
    if form is not None:
        return Answer(value, lambda: output.data(rendered(revision, form).rstrip("\n")))
    fields = (
        ("Name", revision.name),
        ("Revision", f"{revision.number}{' (deleted)' if entry.deleted is not None else ''}"),
        ("Time", entry.time),
        ("Change", revision.change),
        ("Shared", revision.shared),
        ("Locked", revision.lock is not None),
        ("Install", f"pip install {revision.project}=={revision.number}"),
        ("Packages", " ".join(shlex.quote(text) for text in revision.requirements)),
    )
    return Answer(value, lambda: output.fields(fields))


def as_values(entry: Entry, revision: Revision) -> dict[str, Any]:
    return {
        "name": revision.name,
        "revision": revision.number,
        "time": f"{entry.time:%Y-%m-%dT%H:%M:%SZ}" if entry.time is not None else None,
        "change": revision.change,
        "base": revision.base,
        "shared": revision.shared,
        "deleted": entry.deleted is not None,
        "locked": revision.lock is not None,
        "project": revision.project,
        "requirements": list(revision.requirements),
    }


def rendered(revision: Revision, kind: str) -> str:
    """A revision as a file of that kind; PpmError where it has no lock."""
    names = {
        "requirements": formats.REQUIREMENTS,
        "constraints": formats.CONSTRAINTS,
        "yaml": formats.CONDA,
        "pylock": formats.LOCK,
    }
    content = formats.rendered(revision).get(names[kind])
    if content is None:
        raise PpmError(
            f"Revision {revision.number} of {revision.name} is not locked.", hint=f"ppmctl env lock {revision.name}"
        )
    return content.decode()


@click.command()
@revision_argument
@click.argument("other", metavar="OTHER[@REV]")
@of_index
def diff(environments: Remote, name: str, other: str) -> Answer:
    """Show what OTHER has and NAME has not (+), the other way round (-), and what differs (~)."""
    before, after = (normal(found(environments, text)[1].requirements) for text in (name, other))
    changes = differences(before, after)

    def show() -> None:
        for item in changes:
            old, new = ", ".join(item.before), ", ".join(item.after)
            output.data(f"~ {old} → {new}" if old and new else f"+ {new}" if new else f"- {old}")
        if not changes:
            output.say("They have the same.")

    return Answer(changes, show)


@click.command()
@name_argument
@of_index
def log(environments: Remote, name: str) -> Answer:
    """Show who changed the environment NAME when, and what: a line a revision, the oldest first."""
    lines = environments.lines(name)
    if not lines:
        raise PpmError(f"There is no environment {name}.", hint="Those that there are: ppmctl env list")
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
@click.option("--format", "form", type=click.Choice(_FORMATS[:-1]), help="By default what the file's name says.")
@click.option(
    "--output",
    "output_file",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("requirements.txt"),
    show_default=True,
    help="The file to write; one that is there is not replaced.",
)
@click.option("--force", is_flag=True, help="Replace it all the same.")
@of_index
def export(environments: Remote, name: str, form: str | None, output_file: Path, force: bool) -> Answer:
    """Write an environment to a file: requirements.txt, constraints.txt, environment.yml or pylock.toml."""
    kind = form or _kind(output_file)
    revision = found(environments, name)[1]
    content = rendered(revision, kind).encode()
    try:
        if force:
            files.write_atomic(output_file, content)
        elif not files.create(output_file, content, mode=0o644):
            raise PpmError(f"{output_file} is there already; it is not replaced.", hint="--force replaces it.")
    except OSError as exc:
        raise PpmError(f"{output_file} can't be written: {exc.strerror}.") from exc
    value = {"name": revision.name, "revision": revision.number, "format": kind, "file": output_file}
    return Answer(value, lambda: output.data(str(output_file)))


def _kind(path: Path) -> str:
    name = path.name
    if name.startswith("pylock") and name.endswith(".toml"):
        return "pylock"
    if name.endswith((".yml", ".yaml")):
        return "yaml"
    if name.endswith((".txt", ".in")):
        return "constraints" if "constraint" in name else "requirements"
    raise UsageError(
        f"{path} does not say by its name what it is to be.", hint=f"--format {' or '.join(_FORMATS[:-1])}"
    )


COMMANDS = (list_, show, diff, log, export)
