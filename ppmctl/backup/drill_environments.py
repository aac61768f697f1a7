"""Check that a restored index has, and serves, what the locks of its environments name."""

from __future__ import annotations

from dataclasses import dataclass, field

from ppmctl.distributions import distribution, lock
from ppmctl.distributions.distribution import InvalidDistribution, normalise
from ppmctl.distributions.environment_revision import LOCK, environment_of
from ppmctl.distributions.environment_wheel import NotARevision, read_forms
from ppmctl.distributions.lock import Pin
from ppmctl.errors import PpmError, UsageError, some
from ppmctl.index import environment_files, project_folder
from ppmctl.index.layout import Volume
from ppmctl.index.project_folder import Folder
from ppmctl.index.store import Store


@dataclass(kw_only=True)
class Checked:
    """The environments that were checked; those of them that are `served`; and how many locked files are here.

    `pinned` are the hashes of the locked files that are served, by project.
    """

    names: list[str] = field(default_factory=list)
    served: list[str] = field(default_factory=list)
    locked_files: int = 0
    pinned: dict[str, set[str]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def check(store: Store, live: Volume, *, taken: str) -> Checked:
    """Check the latest revision of each environment. Raise PpmError if a file that its lock names is missing.

    A locked file that neither the restored index has nor the `live` one had when the backup was `taken` (UTC) comes
    from another index. One that was removed is only noted.
    """
    done = Checked()
    for project in store.projects():
        name = environment_of(project)
        content = store.read(project) if name is not None else None
        if name is None or content is None:
            continue
        current = [each for each in environment_files.revisions(content) if each.file.yanked is None]
        if not current:
            continue
        done.names.append(name)
        if not content.status.is_quarantined:
            done.served.append(name)
        path = project_folder.locate(store.volume, project, current[-1].file.filename)
        try:
            forms = read_forms(path)
            pins = lock.read(forms[LOCK].decode()).pins if LOCK in forms else ()
        except (NotARevision, UsageError, UnicodeError) as exc:
            done.notes.append(f"{name}: its latest revision is of an older release and can't be read ({exc})")
            continue
        for pin in pins:
            _check_pin(store, live, taken, name, pin, done)
    return done


def _check_pin(store: Store, live: Volume, taken: str, environment: str, pin: Pin, done: Checked) -> None:
    project = normalise(pin.name)
    if pin.url:
        return
    content = store.read(project) if store.has_project(project) else Folder(project=project)
    here = {file.record.sha256 for file in content.files}
    hashes = {sha256.lower() for sha256 in pin.hashes}
    if not store.has_project(project) and not hashes & _hashes(live, project, taken):
        return
    missing = sorted(hashes - here)
    done.locked_files += len(hashes) - len(missing)
    if not content.status.is_quarantined:
        done.pinned.setdefault(project, set()).update(hashes & here)
    if not missing:
        return
    if _was_removed(content, pin):
        done.notes.append(f"{environment} locks {pin.name} {pin.version}, which was removed from the index")
        return
    raise PpmError(
        f"The environment {environment} locks {pin.name} {pin.version}, and the backup lacks its file"
        f" {some([f'sha256:{sha256[:12]}…' for sha256 in missing])}."
    )


def _hashes(volume: Volume, project: str, until: str) -> set[str]:
    """Return the sha256 of the files of a project that were published until then."""
    content = project_folder.read(volume, project)
    files = content.files if content is not None else ()
    return {file.record.sha256 for file in files if file.record.upload_time[:19] < until[:19]}


def _was_removed(content: Folder, pin: Pin) -> bool:
    for filename in content.removed:
        try:
            if str(distribution.parse_filename(filename, project=content.project).version) == pin.version:
                return True
        except InvalidDistribution:
            continue
    return False
