"""`ppmctl env`: the commands that only read: list, show, diff, log, export."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ppmctl import output
from ppmctl.cli.env_place import found, named, remote
from ppmctl.cli.options import json_option
from ppmctl.cli.place import index_options
from ppmctl.errors import PpmError, UsageError

if TYPE_CHECKING:
    from ppmctl.environments.format import Revision
    from ppmctl.environments.journal import Journal
    from ppmctl.environments.remote import Entry, Remote

_FORMATS = ("requirements", "constraints", "yaml", "pylock", "json")


@click.command("list")
@click.option("--mine", is_flag=True, help="Those alone that are one's own.")
@index_options
@json_option
def list_(mine: bool, index: str | None, credential_file: Path | None, as_json: bool) -> None:
    """List the environments of the index, each with its owner and its last change."""
    with remote(index, credential_file) as environments:
        found = list(environments.listing(owner_of(environments) if mine else None))
    if as_json:
        output.as_json([listed(entry) for entry in found])
        return
    header = ("NAME", "REVISION", "OWNER", "SHARED", "PACKAGES", "LOCKED", "CHANGED", "BY")
    if found:
        output.table(header, [_row(entry) for entry in found])
    output.say(f"{output.count(len(found), 'environment')}.")


def owner_of(environments: Remote) -> str:
    """Who the credential is at the index: the owner of what it makes."""
    from ppmctl import session

    return session.identify(environments.address, environments.transport).name.partition("+")[0]


def listed(entry: Journal) -> dict[str, Any]:
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


def _row(entry: Journal) -> tuple[str, ...]:
    last = entry.changed
    yes = {True: "yes", False: "no"}
    changed = (seconds(last.at), last.by) if last else ("", "")
    about = (str(entry.latest), entry.owner, yes[entry.shared], str(entry.requirements), yes[entry.locked])
    return (entry.name, *about, *changed)


@click.command()
@click.argument("name", metavar="NAME[@REV]")
@click.option("--format", "form", type=click.Choice(_FORMATS), help="Print it as a file of that kind.")
@index_options
@json_option
def show(name: str, form: str | None, index: str | None, credential_file: Path | None, as_json: bool) -> None:
    """Show what is in an environment, on one line that can be put behind `pip install`; or as a file."""
    with remote(index, credential_file) as environments:
        entry, revision = found(environments, name)
    if as_json or form == "json":
        output.as_json(as_values(entry, revision))
    elif form is not None:
        output.data(rendered(revision, form).rstrip("\n"))
    else:
        _fields(entry, revision)


def _fields(entry: Entry, revision: Revision) -> None:
    import shlex

    output.fields(
        (
            ("Name", revision.name),
            ("Revision", f"{revision.number}{' (deleted)' if entry.deleted is not None else ''}"),
            ("Time", time_of(entry)),
            ("Change", revision.change),
            ("Shared", "yes" if revision.shared else "no"),
            ("Locked", "yes" if revision.lock else "no"),
            ("Install", f"pip install {revision.project}=={revision.number}"),
            ("Packages", " ".join(shlex.quote(text) for text in revision.requirements)),
        )
    )


def time_of(entry: Entry) -> str:
    """When a revision came, in ISO 8601; ""."""
    return f"{entry.time:%Y-%m-%dT%H:%M:%SZ}" if entry.time is not None else ""


def as_values(entry: Entry, revision: Revision) -> dict[str, Any]:
    return {
        "name": revision.name,
        "revision": revision.number,
        "time": time_of(entry) or None,
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
    from ppmctl.environments import format as formats

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
@click.argument("name", metavar="NAME[@REV]")
@click.argument("other", metavar="OTHER[@REV]")
@index_options
@json_option
def diff(name: str, other: str, index: str | None, credential_file: Path | None, as_json: bool) -> None:
    """Show what OTHER has and NAME has not (+), the other way round (-), and what differs (~)."""
    from ppmctl.environments.merging import differences
    from ppmctl.environments.requirement import normal

    with remote(index, credential_file) as environments:
        before, after = (normal(found(environments, text)[1].requirements) for text in (name, other))
    changes = differences(before, after)
    if as_json:
        output.as_json(
            [{"name": item.name, "before": list(item.before), "after": list(item.after)} for item in changes]
        )
        return
    for item in changes:
        old, new = ", ".join(item.before), ", ".join(item.after)
        output.data(f"~ {old} → {new}" if old and new else f"+ {new}" if new else f"- {old}")
    if not changes:
        output.say("They have the same.")


@click.command()
@click.argument("name")
@index_options
@json_option
def log(name: str, index: str | None, credential_file: Path | None, as_json: bool) -> None:
    """Show who changed the environment NAME when, and what: a line a revision, the oldest first."""
    with remote(index, credential_file) as environments:
        lines = environments.lines(named(name))
    if not lines:
        raise PpmError(f"There is no environment {named(name)}.", hint="Those that there are: ppmctl env list")
    if as_json:
        keys = {"revision": "revision", "by": "by", "time": "at", "change": "change", "deleted": "deleted"}
        output.as_json(
            [
                {key: getattr(line, field) for key, field in keys.items()} | {"reason": line.why or None}
                for line in lines
            ]
        )
        return
    rows = [
        (str(line.revision), line.by, seconds(line.at), line.change, (line.why or "yes") if line.deleted else "")
        for line in lines
    ]
    width = 5 if any(line.deleted for line in lines) else 4
    output.table(("REVISION", "BY", "TIME", "CHANGE", "DELETED")[:width], [row[:width] for row in rows])


@click.command()
@click.argument("name", metavar="NAME[@REV]")
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
@index_options
def export(
    name: str, form: str | None, output_file: Path, force: bool, index: str | None, credential_file: Path | None
) -> None:
    """Write an environment to a file: requirements.txt, constraints.txt, environment.yml or pylock.toml."""
    from ppmctl import files

    kind = form or _kind(output_file)
    with remote(index, credential_file) as environments:
        content = rendered(found(environments, name)[1], kind).encode()
    try:
        if force:
            files.write_atomic(output_file, content)
        elif not files.create(output_file, content, mode=0o644):
            raise PpmError(f"{output_file} is there already; it is not replaced.", hint="--force replaces it.")
    except OSError as exc:
        raise PpmError(f"{output_file} can't be written: {exc.strerror}.") from exc
    output.data(str(output_file))


def seconds(time: str) -> str:
    """A time in ISO 8601, without what is below a second."""
    return f"{time.partition('.')[0].removesuffix('Z')}Z" if time else ""


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
