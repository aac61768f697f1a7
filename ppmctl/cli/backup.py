"""`ppmctl backup`."""

from __future__ import annotations

import contextlib
import os
import pwd
import signal
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import click

from ppmctl import output, regular_file
from ppmctl.backup import create as creation
from ppmctl.backup import drill as drills
from ppmctl.backup import partial, recording
from ppmctl.backup import restore as restoring
from ppmctl.backup.restic import Repository
from ppmctl.backup.snapshot import Keep
from ppmctl.cli.groups import Group
from ppmctl.cli.options import Answer, answers, exclusive, volume_option
from ppmctl.cli.target import on_option
from ppmctl.cli.volume import actor, find_volume, open_store, open_volume
from ppmctl.errors import EXIT_FAILED, PpmError, UsageError, some
from ppmctl.index import operation_result
from ppmctl.index.layout import Volume
from ppmctl.secret import Secret


@click.group(cls=Group)
def backup() -> None:
    """Back up an index with restic, restore it, and rehearse that.

    Run it on the machine that has the volume. Credentials for where the repository is, such as AWS_ACCESS_KEY_ID,
    come from the environment, as restic documents them.
    """


class _Opening:
    """What the options say, before the process switches to the volume's owner."""

    def __init__(self, location: str | None, password_file: Path | None) -> None:
        self._location = location
        self._password: Secret | PpmError = _read_password(password_file)

    def repository(self, volume: Volume) -> Repository:
        """Return the repository. Raise PpmError if an option is missing, or the password can't be read."""
        if not self._location:
            raise UsageError(
                "No repository was given.", hint="--repository REPOSITORY, or the variable PPM_BACKUP_REPOSITORY"
            )
        if isinstance(self._password, PpmError):
            raise self._password
        environ = dict(os.environ)
        with contextlib.suppress(KeyError):  # restic's programs, such as ssh and rclone, look into the home
            environ["HOME"] = pwd.getpwuid(os.geteuid()).pw_dir
        cache = volume.backup / "cache" if volume.packages.is_dir() else None
        if cache is not None:
            volume.backup.mkdir(mode=0o700, exist_ok=True)
        return Repository(self._location, self._password, cache=cache, environ=environ)


def _read_password(path: Path | None) -> Secret | PpmError:
    if path is None:
        hint = "--password-file FILE, or the variable PPM_BACKUP_PASSWORD_FILE"
        return UsageError("No file with the repository's password was given.", hint=hint)
    try:
        text = regular_file.read_text(path).partition("\n")[0].rstrip("\r")
    except (OSError, UnicodeError) as exc:
        why = (exc.strerror or str(exc)) if isinstance(exc, OSError) else "it is not UTF-8"
        return PpmError(f"The password file {path} can't be read: {why}.")
    return Secret(text) if text else PpmError(f"The password file {path} is empty.")


def _backup_command(command: Callable[..., Answer]) -> Any:
    """Give a command the options of all backup commands; it gets `root` and `opening`."""

    @wraps(command)
    def opened(*, repository: str | None, password_file: Path | None, **options: Any) -> Answer:
        before = signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that what was begun is cleaned up
        try:
            return command(opening=_Opening(repository, password_file), **options)
        finally:
            signal.signal(signal.SIGTERM, before)

    given: Any = opened
    for option in (
        answers,
        on_option,
        click.option(
            "--password-file",
            envvar="PPM_BACKUP_PASSWORD_FILE",
            show_envvar=True,
            type=click.Path(path_type=Path, dir_okay=False),
            metavar="FILE",
            help="A file whose first line is the password of the repository.",
        ),
        click.option(
            "--repository",
            envvar="PPM_BACKUP_REPOSITORY",
            show_envvar=True,
            metavar="REPOSITORY",
            help="Where the backups are, as restic names it: a folder, sftp:…, s3:…, rest:…  Use the variable for a"
            " URL with a password in it.",
        ),
        volume_option("The folder of the index's volume.", required=True),
    ):
        given = option(given)
    return given


@backup.command()
@click.option("--keep-daily", type=click.IntRange(0), default=0, help="Keep the last snapshot of so many days.")
@click.option("--keep-weekly", type=click.IntRange(0), default=0, help="Keep the last snapshot of so many weeks.")
@click.option("--keep-monthly", type=click.IntRange(0), default=0, help="Keep the last snapshot of so many months.")
@click.option("--force", is_flag=True, help="Store it, although the repository has only backups of another index.")
@_backup_command
def create(
    root: Path, opening: _Opening, keep_daily: int, keep_weekly: int, keep_monthly: int, force: bool
) -> Answer:
    """Store the volume as a new snapshot; a server may be running.

    The first backup makes the repository. With a --keep option, snapshots of this volume that none of them keeps are
    then removed; without any, all are kept. The result is recorded for `ppmctl health`, metrics and webhooks.
    """
    keep = Keep(daily=keep_daily, weekly=keep_weekly, monthly=keep_monthly)
    volume = open_volume(root)
    with creation.only_one(volume) as lock, recording.recorded(volume, actor(), operation_result.BACKUP) as report:
        done = creation.create(volume, opening.repository(volume).holding(lock), keep=keep, force=force)
        report.figures |= done.figures()
        report.detail = f"snapshot {done.snapshot}: {done.files} files, {output.size(done.bytes_added)} new"
        report.detail += f"; {done.note}" if done.note else ""

    def show() -> None:
        output.data(f"Snapshot {done.snapshot} of {volume.root} is in {done.repository}.")
        new = f"{output.size(done.bytes)} in {output.count(done.files, 'file')}, {output.size(done.bytes_added)} new"
        output.say(f"{new}, in {done.seconds:.0f} seconds; {done.snapshots_removed} old snapshots removed.")
        output.say(*([f"note  {done.note}"] if done.note else []))

    return Answer(done, show)


@backup.command("list")
@_backup_command
def list_(root: Path, opening: _Opening) -> Answer:
    """Print the snapshots in the repository, the oldest first."""
    snapshots = opening.repository(find_volume(root, may_be_missing=True)).snapshots()
    rows = [(each.id, output.moment(each.time), each.kind, each.index, each.volume) for each in snapshots]
    columns = ("ID", "TIME", "KIND", "INDEX", "VOLUME")
    return Answer({"snapshots": [each.to_json() for each in snapshots]}, lambda: output.table(columns, rows))


@backup.command()
@click.option("--subset", metavar="PART", default="", help="Read only a part of the data: 10%, or 1/7 of it.")
@_backup_command
def verify(root: Path, opening: _Opening, subset: str) -> Answer:
    """Check the whole repository, and read all of its data. Exits with 1 if something is damaged."""
    repository = opening.repository(find_volume(root, may_be_missing=True))
    repository.check(subset=subset)
    read = f"{subset} of its data" if subset else "all of its data"
    return Answer(
        {"ok": True, "repository": repository.shown},
        lambda: output.data(f"The repository {repository.shown} is whole: {read} was read."),
    )


@backup.command()
@click.option("--snapshot", metavar="ID", help="The snapshot to restore. Default: the latest backup.")
@click.option("--project", metavar="NAME", help="Bring back the missing and damaged files of one project only.")
@click.option("--environment", metavar="NAME", help="Do the same with the revisions of one environment.")
@click.option("--credentials", is_flag=True, help="Replace the users and tokens only.")
@click.option("--force", is_flag=True, help="Replace what the volume has, after a backup of it.")
@_backup_command
def restore(
    root: Path,
    opening: _Opening,
    snapshot: str | None,
    project: str | None,
    environment: str | None,
    credentials: bool,
    force: bool,
) -> Answer:
    """Restore the volume from a snapshot. Without --force, one that has projects is not changed.

    Stop the server first; for --project, --environment and --credentials it may run. All files are fetched and
    compared with their records before the first one is replaced. Run an interrupted restore again to complete it.
    """
    parts = {"--project": project, "--environment": environment, "--credentials": credentials}
    given = [name for name, value in parts.items() if value]
    if len(given) > 1:
        raise exclusive(*given)
    if environment:
        project = partial.environment(environment)
    if project:
        return _restore_project(root, opening, project, snapshot)
    if credentials:
        return _restore_credentials(root, opening, snapshot, force=force)
    _require_place(root)
    volume = find_volume(root, may_be_missing=True)
    volume.root.mkdir(mode=0o750, parents=True, exist_ok=True)
    with creation.only_one(volume) as lock:
        repository = opening.repository(volume).holding(lock)
        done = restoring.restore(volume, repository, actor(), wanted=snapshot, force=force)

    def show() -> None:
        output.say(*(f"damaged  {problem}" for problem in done.problems))
        if done.before:
            output.say(f"What was there before is the snapshot {done.before}.")
        what = f"{output.count(done.projects, 'project')}, {output.count(done.files, 'file')}"
        output.data(f"Restored to {volume.root}: the snapshot {done.snapshot} of {done.time[:19]}, {what}.")

    return Answer(done.to_json(), show, exit_code=EXIT_FAILED if done.problems else 0)


def _require_place(root: Path) -> None:
    """Raise PpmError for a folder with files that is no volume: a restore would mix with them."""
    with contextlib.suppress(FileNotFoundError, NotADirectoryError, PermissionError):
        names = {name for name in os.listdir(root) if name not in ("lost+found", "backup", "locks")}
        if names and "packages" not in names and not Volume(root=root).restore_step.exists():
            raise PpmError(f"{root} is not empty, and no volume.", hint="Restore into a new folder.")


def _restore_project(root: Path, opening: _Opening, project: str, snapshot: str | None) -> Answer:
    store = open_store(root)
    with creation.only_one(store.volume) as lock:
        repository = opening.repository(store.volume).holding(lock)
        done = partial.project(store, repository, actor(), project, wanted=snapshot)

    def show() -> None:
        output.say(*(f"left  {name} {reason}" for name, reason in done.left.items()))
        output.data(*done.restored)
        restored, same = output.count(len(done.restored), "file"), len(done.same)
        output.say(f"{restored} of {project} restored from the snapshot {done.snapshot}, {same} were there.")

    return Answer(done, show)


def _restore_credentials(root: Path, opening: _Opening, snapshot: str | None, *, force: bool) -> Answer:
    volume = open_volume(root)
    with creation.only_one(volume) as lock:
        repository = opening.repository(volume).holding(lock)
        done = partial.credentials(volume, repository, actor(), wanted=snapshot, force=force)

    def show() -> None:
        if done.before:
            output.say(f"The credentials before are in the snapshot {done.before}.")
        output.data(f"{output.count(done.credentials, 'credential')} restored from the snapshot {done.snapshot}.")

    return Answer(done, show)


@backup.command()
@click.option("--sample", type=click.IntRange(0), default=5, show_default=True, help="How many packages to install.")
@click.option(
    "--scratch",
    envvar="PPM_BACKUP_SCRATCH",
    show_envvar=True,
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="The folder for the restored copy. Default: the volume.",
)
@_backup_command
def drill(root: Path, opening: _Opening, sample: int, scratch: Path | None) -> Answer:
    """Restore the latest backup to scratch space, check and serve it, and install from it.

    Reads every file, starts an index on the loopback, installs a sample of packages with pip and looks for every file
    that the lock of an environment names. Then the copy is removed. The result is recorded for `ppmctl health`,
    metrics and webhooks. Exits with 1 if anything is missing or damaged.
    """
    volume = open_volume(root)
    done = drills.Drilled()
    with creation.only_drill(volume), recording.recorded(volume, actor(), operation_result.DRILL) as report:
        try:
            repository = opening.repository(volume)
            folder = scratch or volume.backup
            drills.drill(volume, repository, done, folder=folder, sample=sample, environ=os.environ)
        finally:
            report.figures |= done.figures()
        report.detail = f"snapshot {done.snapshot}: {done.files} files, {done.installed} packages installed"
        report.detail += f"; {some(done.notes)}" if done.notes else ""

    def show() -> None:
        output.say(*(f"note  {note}" for note in done.notes))
        size = f"{output.count(done.files, 'file')} with {output.size(done.bytes)}"
        output.data(f"The snapshot {done.snapshot} of {done.snapshot_time[:19]} can be restored: {size}.")
        checked = f"{output.count(done.environments, 'environment')} and {done.locked_files} locked files checked"
        output.say(f"{output.count(done.installed, 'package')} installed, {checked}, in {done.seconds:.0f} seconds.")

    return Answer(done.to_json(), show)
