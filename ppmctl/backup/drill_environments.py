"""Check that a restored index has what the locks of its environments name."""

from __future__ import annotations

from dataclasses import dataclass, field

from ppmctl.distributions import distribution, lock
from ppmctl.distributions.distribution import InvalidDistribution, normalise
from ppmctl.distributions.environment_revision import LOCK, environment_of
from ppmctl.distributions.environment_wheel import NotARevision, read_forms
from ppmctl.distributions.lock import Pin
from ppmctl.errors import PpmError, UsageError, some
from ppmctl.index import environment_files, project_folder
from ppmctl.index.project_folder import Folder
from ppmctl.index.store import Store


@dataclass(kw_only=True)
class Checked:
    """The environments that were checked; those of them that are `served`; and how many locked files are here."""

    names: list[str] = field(default_factory=list)
    served: list[str] = field(default_factory=list)
    locked_files: int = 0
    notes: list[str] = field(default_factory=list)


def check(store: Store) -> Checked:
    """Check the latest revision of each environment. Raise PpmError if a file that its lock names is missing.

    Projects that this index does not have come from another one. A file that was removed is only noted.
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
            _check_pin(store, name, pin, done)
    return done


def _check_pin(store: Store, environment: str, pin: Pin, done: Checked) -> None:
    project = normalise(pin.name)
    if pin.url or not store.has_project(project):
        return
    content = store.read(project)
    here = {file.record.sha256 for file in content.files}
    missing = [sha256 for sha256 in pin.hashes if sha256.lower() not in here]
    done.locked_files += len(pin.hashes) - len(missing)
    if not missing:
        return
    if _was_removed(content, pin):
        done.notes.append(f"{environment} locks {pin.name} {pin.version}, which was removed from the index")
        return
    raise PpmError(
        f"The environment {environment} locks {pin.name} {pin.version}, and the backup lacks its file"
        f" {some([f'sha256:{sha256[:12]}…' for sha256 in missing])}."
    )


def _was_removed(content: Folder, pin: Pin) -> bool:
    for filename in content.removed:
        try:
            if str(distribution.parse_filename(filename, project=content.project).version) == pin.version:
                return True
        except InvalidDistribution:
            continue
    return False
