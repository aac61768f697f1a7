"""Run restic on one repository. Neither its location nor its password is in an argument of a process.

restic 0.14 (Debian 12) reports errors only as text, 0.18 (Debian 13) also by exit codes; both are understood.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import stat
import subprocess
import time
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ppmctl.backup.snapshot import (
    BEFORE,
    TAG,
    Keep,
    Series,
    Snapshot,
    Summary,
    read_removed,
    read_snapshots,
    read_summary,
)
from ppmctl.errors import NOT_SUCH_JSON, PpmError
from ppmctl.secret import Secret, masked

_HOST = "ppm"  # of all snapshots: containers have random names, and only that of the same host is compared with
_TIMEOUT = 24 * 3600.0  # seconds of one run
_ENDS_WITHIN = 15.0  # seconds after a signal; then it is killed
_WAITS, _AGAIN = 600.0, 3.0  # seconds that another user of the repository is waited for, and between two attempts
_INCOMPLETE = 3  # exit code of a backup that made a snapshot without some files
_NO_REPOSITORY, _LOCKED, _WRONG_PASSWORD = 10, 11, 12  # exit codes of 0.17 and later
_MOST = 500  # characters of restic's own words in a message
_TELLING = re.compile(r"error|fail|damage|unable|denied|refused|no such|locked|exist", re.IGNORECASE)
_ADVICE = re.compile(r"^using temporary|^create exclusive|^restic repair|open an issue|^no errors|^Is there a repo")
# variables that would choose another repository, password or key
_REPLACED = frozenset(
    {
        *("RESTIC_REPOSITORY", "RESTIC_REPOSITORY_FILE", "RESTIC_PASSWORD", "RESTIC_PASSWORD_FILE"),
        *("RESTIC_PASSWORD_COMMAND", "RESTIC_KEY_HINT", "RESTIC_FROM_REPOSITORY"),
    }
)


class NoRepository(PpmError):
    """There is no repository at this location, or it can't be reached."""


class Locked(PpmError):
    """Another process, such as a drill or `backup verify`, has locked the repository for too long."""


class Repository:
    """A restic repository.

    `environ` has the credentials for where it is (AWS_… and so on), as restic documents them. `cache` is a folder
    for restic's cache, by default the user's. `held` are descriptors that restic keeps open too: of a lock that must
    not end before restic.
    """

    def __init__(
        self,
        location: str,
        password: Secret,
        *,
        cache: Path | None,
        environ: Mapping[str, str],
        held: Iterable[int] = (),
    ) -> None:
        self._location = location
        self._password = password
        self._held = tuple(held)
        self._environ = {name: value for name, value in environ.items() if name not in _REPLACED}
        self._environ |= {"RESTIC_REPOSITORY": location, "RESTIC_PROGRESS_FPS": "0", "TZ": "UTC"}
        if cache is not None:
            self._environ.setdefault("RESTIC_CACHE_DIR", str(cache))

    @property
    def shown(self) -> str:
        """Return the location without secrets."""
        return masked(self._location)

    def holding(self, descriptor: int) -> Repository:
        """Return the same repository, whose processes keep `descriptor` open."""
        return Repository(self._location, self._password, cache=None, environ=self._environ, held=[descriptor])

    def make(self) -> None:
        """Make an empty repository."""
        self._run("init")

    def snapshots(self) -> list[Snapshot]:
        """Return the snapshots of an index, the oldest first."""
        return read_snapshots(self._run("snapshots", "--json", "--no-lock", "--tag", TAG))

    def backup(self, folder: Path, *, tags: Iterable[str]) -> Summary:
        """Store the content of a folder as a snapshot. Unchanged files are not read again."""
        # hard links change a file's ctime, and never its content
        options = ("--json", "--quiet", "--ignore-ctime", "--host", _HOST)
        printed = self._run("backup", *options, *(f"--tag={','.join(tags)}",), ".", folder=folder)
        return read_summary(printed)

    def forget(self, keep: Keep, series: Series) -> int:
        """Remove snapshots that are not to be kept, and the data that only they have; return their number.

        Those of other volumes stay, and for BEFORE_DAYS also what a restore replaced.
        """
        tags = ",".join((TAG, *Series(volume=series.volume).tags))
        options = ("--prune", "--json", "--tag", tags, "--group-by", "tags", "--keep-tag", BEFORE)
        removed = read_removed(self._run("forget", *options, *keep.options()))
        now, snapshots = datetime.now(UTC), self.snapshots()
        expired = [each.id for each in snapshots if each.volume == series.volume and each.is_expired(now)]
        if expired:
            self._run("forget", "--prune", *expired)
        return removed + len(expired)

    def size_of(self, snapshot: Snapshot) -> int:
        """Return how many bytes the files of a snapshot have."""
        try:
            return int(json.loads(self._run("stats", "--json", "--no-lock", snapshot.id))["total_size"])
        except NOT_SUCH_JSON as exc:
            raise PpmError("restic printed something else than the size of a snapshot.") from exc

    def restore(self, snapshot: Snapshot, folder: Path, *, only: Iterable[str] = ()) -> None:
        """Write the files of a snapshot into a folder, or those below the paths `only`, such as /packages/hello.

        Raise PpmError if it has a link or another special file: a backup of a volume has none, and what is done with
        the restored files would follow it.
        """
        included = [option for path in only for option in ("--include", path)]
        self._run("restore", snapshot.id, "--target", str(folder), *included)
        for top, folders, names in os.walk(folder):
            for name in (*folders, *names):
                path = Path(top, name)
                if not stat.S_ISREG(mode := path.lstat().st_mode) and not stat.S_ISDIR(mode):
                    what = f"{path.name!r}, which is no file or folder"
                    raise PpmError(f"The snapshot {snapshot.described} has {what}; nothing was changed.")

    def check(self, *, subset: str = "") -> None:
        """Check the whole repository, and read its data or a part of it (10%, 1/7). Raise PpmError for damage."""
        self._run("check", f"--read-data-subset={subset}" if subset else "--read-data")

    def _run(self, *arguments: str, folder: Path | None = None) -> str:
        """Run restic and return its output; wait while another process has locked the repository."""
        if shutil.which("restic", path=self._environ.get("PATH")) is None:
            raise PpmError(
                "restic, which makes backups and restores them, is not installed.",
                hint="On Debian: sudo apt install restic. Elsewhere: https://restic.net",
            )
        until = time.monotonic() + _WAITS
        while True:
            code, printed, errors = self._run_once(arguments, folder)
            if code == 0:
                return printed
            if not _is_locked(code, errors) or time.monotonic() > until:
                error = self._error(arguments[0], code, f"{printed}\n{errors}" if arguments[0] == "check" else errors)
                is_incomplete = arguments[0] == "backup" and code == _INCOMPLETE
                raise self._without_incomplete(printed, error) if is_incomplete else error
            self._run_once(("unlock",), None)  # removes the locks of processes that died
            time.sleep(_AGAIN)

    def _without_incomplete(self, printed: str, error: PpmError) -> PpmError:
        """Remove the snapshot of a backup that lacks files, or it would be the latest; return the error to raise."""
        try:
            snapshot = read_summary(printed).snapshot
            self._run("forget", snapshot)
        except PpmError as exc:
            message = f"{error.message}; the incomplete snapshot can't be removed: {exc.message}"
            return PpmError(message, hint="It is the last one of `ppmctl backup list`: restic forget ID")
        message = f"{error.message}; the incomplete snapshot {snapshot} was removed."
        return PpmError(message, hint="Is the disk of the volume damaged? Each file of it must be readable.")

    def _run_once(self, arguments: Iterable[str], folder: Path | None) -> tuple[int, str, str]:
        with self._password_pipe() as password:
            process = subprocess.Popen(
                ["restic", *arguments],
                cwd=folder,
                env=self._environ | {"RESTIC_PASSWORD_FILE": f"/dev/fd/{password}"},
                pass_fds=(password, *self._held),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,  # Ctrl-C is for this process, which then ends restic
            )
            try:
                out, errors = process.communicate(timeout=_TIMEOUT)
            except BaseException as exc:
                _end(process)
                if isinstance(exc, subprocess.TimeoutExpired):
                    message = f"restic {next(iter(arguments))} was ended: it took over {_TIMEOUT / 3600:.0f} hours."
                    raise PpmError(message, hint="Run it again: what was sent is not sent again.") from exc
                raise
        return process.returncode, out.decode(errors="replace"), errors.decode(errors="replace")

    @contextlib.contextmanager
    def _password_pipe(self) -> Iterator[int]:
        reader, writer = os.pipe()
        try:
            with os.fdopen(writer, "wb") as file:
                file.write(self._password.reveal().encode() + b"\n")
            yield reader
        finally:
            os.close(reader)

    def _error(self, command: str, code: int, errors: str) -> PpmError:
        words = self._words(errors)
        if code == _WRONG_PASSWORD or "wrong password" in errors:
            hint = "Is the password file that of this repository?"
            return PpmError(f"The password does not open the repository {self.shown}.", hint=hint)
        if code == _NO_REPOSITORY or "unable to open config file" in errors:
            message = f"There is no backup repository at {self.shown}, or it can't be reached: {words}"
            return NoRepository(message, hint="The first backup makes it: ppmctl backup create")
        if _is_locked(code, errors):
            message = f"Another process has locked the repository {self.shown}: {words}"
            return Locked(message, hint="If no other backup is running: restic unlock")
        hint = "To look for damage: ppmctl backup verify" if command == "restore" else ""
        return PpmError(f"restic {command} failed for {self.shown}: {words}", hint=hint)

    def _words(self, errors: str) -> str:
        words = reason(errors).replace(self._location, self.shown).replace(self._password.reveal(), "***")
        return masked(words)[:_MOST]


def reason(errors: str) -> str:
    """Return what restic printed about a failure in one line: the first errors and the last, without its advice."""
    lines = [" ".join(_line(line).removeprefix("Fatal: ").split()) for line in errors.splitlines()]
    lines = [line for line in lines if line and not _ADVICE.search(line)]
    telling = [line for line in lines if _TELLING.search(line)] or lines
    return "; ".join(dict.fromkeys([*telling[:2], *telling[-1:]])) or "it said nothing"


def _line(line: str) -> str:
    """Return a line of restic's errors as text: later releases print them as JSON with --json."""
    if not line.startswith("{"):
        return line
    try:
        values: dict[str, Any] = json.loads(line)
        error = values.get("error")
        return str(values.get("message") or (error["message"] if isinstance(error, dict) else error) or line)
    except NOT_SUCH_JSON:
        return line


def _is_locked(code: int, errors: str) -> bool:
    return code == _LOCKED or "already locked" in errors


def _end(process: subprocess.Popen[bytes]) -> None:
    """End restic, so that it removes its lock from the repository."""
    process.send_signal(signal.SIGINT)
    try:
        process.wait(timeout=_ENDS_WITHIN)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
