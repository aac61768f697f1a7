"""Choose old releases to yank, and those to remove after a waiting time: a plan, and its application.

Never the latest release of a project, never one that a shared environment's lock or exact requirement names, and no
revision of an environment. `prune.json` in the volume has what a run yanked and when; a release that someone has
unyanked since then is left alone from then on.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from fnmatch import fnmatchcase
from typing import Any, Literal, Protocol

from packaging.version import Version

from ppmctl import files
from ppmctl.distributions.environment_revision import environment_of
from ppmctl.errors import PpmError, UsageError
from ppmctl.index import lookup, named_releases, project_folder
from ppmctl.index.layout import Volume
from ppmctl.index.named_releases import Named
from ppmctl.index.project_folder import Folder, StoredFile
from ppmctl.index.store import Store


class Usage(Protocol):
    """The days of the last installs; see ppmctl.downloads.usage."""

    @property
    def since(self) -> date | None:
        """Return the first day since which downloads were counted without a gap; None if none were counted."""

    def gap(self, start: date, today: date) -> str:
        """Return a sentence that says which installs from `start` to `today` are not known; "" if all are."""

    def of(self, project: str, version: str) -> date | None:
        """Return the day of the last install of a release; None if there was none."""


@dataclass(frozen=True, kw_only=True)
class Rules:
    """What to prune; a rule that is None selects nothing.

    `keep`: the number of final releases of each series (major.minor) to keep. `prereleases`: the age from which
    pre-releases go. `unused`: the time without an install. `wait`: the time between yank and removal. `projects`:
    patterns of normalised names.
    """

    keep: int | None = None
    prereleases: timedelta | None = None
    unused: timedelta | None = None
    wait: timedelta = timedelta(days=30)
    projects: tuple[str, ...] = ("*",)


@dataclass(frozen=True, kw_only=True)
class Step:
    """A release, what is to be done with its files, and why."""

    project: str
    version: str
    action: Literal["yank", "remove", "keep"]
    why: str
    filenames: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class _Release:
    """The files of a version in its project."""

    project: str
    version: Version
    files: tuple[StoredFile, ...]

    @property
    def is_yanked(self) -> bool:
        return all(file.yanked is not None for file in self.files)

    @property
    def series(self) -> tuple[int, int, int]:
        return (self.version.epoch, self.version.major, self.version.minor)

    @property
    def uploaded(self) -> datetime:
        return max(datetime.fromisoformat(file.record.upload_time) for file in self.files)

    def step(self, action: Literal["yank", "remove", "keep"], why: str) -> Step:
        names = tuple(file.filename for file in self.files)
        return Step(project=self.project, version=str(self.version), action=action, why=why, filenames=names)


@dataclass(kw_only=True)
class _State:
    """The content of prune.json: by filename when it was yanked, why, and whether the yank was done."""

    volume: Volume
    files: dict[str, dict[str, Any]] = field(default_factory=dict)

    @classmethod
    def read(cls, volume: Volume) -> _State:
        """Read it. Raise PpmError if it is damaged: without it nobody knows what waits for its removal."""
        try:
            content = json.loads(volume.pruned.read_bytes())
            for entry in content.values():
                datetime.fromisoformat(entry["yanked"])
            return cls(volume=volume, files=content)
        except FileNotFoundError:
            return cls(volume=volume)
        except (ValueError, KeyError, TypeError, AttributeError) as exc:
            hint = "Delete it: what was yanked stays yanked, and waits again."
            raise PpmError(f"{volume.pruned} is not a list of yanked files.", hint=hint) from exc

    def write(self) -> None:
        files.write_atomic(self.volume.pruned, json.dumps(self.files, indent=1).encode() + b"\n", sync=True)

    def has_undone(self, file: StoredFile) -> bool:
        """Return whether someone unyanked a file that a run had yanked."""
        entry = self.files.get(file.filename)
        return entry is not None and entry.get("done") is True and file.yanked is None

    def yanked(self, release: _Release) -> datetime | None:
        """Return when a run yanked all files of a release; None if it did not, or if a person yanked one since."""
        entries = [self.files.get(file.filename) for file in release.files]
        if not all(
            entry and file.yanked == _yank_reason(entry["why"])
            for entry, file in zip(entries, release.files, strict=True)
        ):
            return None
        return max(datetime.fromisoformat(entry["yanked"]) for entry in entries if entry)


def plan(store: Store, rules: Rules, usage: Usage, *, now: datetime | None = None) -> list[Step]:
    """Return the steps for all projects that match, by project and version; nothing is changed.

    Raise PpmError for a lock that can't be read: what it names would not be known. Raise Unavailable
    (`storage.bucket`) if a bucket can't be asked what other nodes have, UsageError for `unused` on one of its nodes.
    """
    if rules.unused is not None and store.volume.is_cache:
        why = "Each node of a bucket counts the downloads from itself alone, so none knows what is unused."
        raise UsageError(why, hint="Use --keep and --prereleases.")
    now = now or datetime.now(UTC)
    state, named = _State.read(store.volume), named_releases.read(store)
    planner = _Planner(rules=rules, usage=usage, state=state, named=named, now=now)
    steps: list[Step] = []
    for project in store.projects():
        if environment_of(project) is None and any(fnmatchcase(project, glob) for glob in rules.projects):
            store.pull(project)
            content = project_folder.read(store.volume, project)
            if content is not None and not content.status.is_quarantined:
                steps += planner.steps(_releases(content))
    return steps


def apply(store: Store, steps: list[Step], *, now: datetime | None = None) -> Iterator[tuple[str, str, str]]:
    """Make the changes of a plan; yield the action, the filename and the reason of each when it is done.

    An interrupted run is continued by the next: a file is noted before it is yanked. What was changed since the plan
    was made is left to the next: a file that is gone, and a release that was unyanked or that a lock names now.
    """
    now = now or datetime.now(UTC)
    with files.lock(store.volume.prune_lock):
        state = _State.read(store.volume)
        for step in steps:
            if step.action == "yank":
                for name in step.filenames:
                    state.files[name] = {"yanked": project_folder.timestamp(now), "why": step.why, "done": False}
        state.write()
        named = named_releases.read(store) if any(step.action == "remove" for step in steps) else {}
        try:
            for step in steps:
                if (step.project, Version(step.version)) not in named:
                    yield from _apply(store, step, state)
        finally:
            state.write()


def _apply(store: Store, step: Step, state: _State) -> Iterator[tuple[str, str, str]]:
    for name in step.filenames if step.action != "keep" else ():
        try:
            if step.action == "yank":
                store.yank(step.project, name, _yank_reason(step.why))
                state.files[name]["done"] = True
            else:
                store.remove(step.project, name, only_yanked=True)
                state.files.pop(name, None)
        except lookup.NotHere:
            continue
        yield step.action, name, step.why


def _yank_reason(why: str) -> str:
    return f"Pruned: {why}"


def _releases(content: Folder) -> list[_Release]:
    by_version: dict[Version, list[StoredFile]] = defaultdict(list)
    for file in content.files:
        by_version[Version(file.record.version)].append(file)
    return [
        _Release(project=content.project, version=version, files=tuple(of_version))
        for version, of_version in sorted(by_version.items())
    ]


@dataclass(frozen=True, kw_only=True)
class _Planner:
    """Decides what to do with the releases of a project."""

    rules: Rules
    usage: Usage
    state: _State
    named: Named
    now: datetime

    def steps(self, releases: list[_Release]) -> Iterator[Step]:
        listed = [release for release in releases if not release.is_yanked]
        finals = [release for release in listed if not release.version.is_prerelease]
        latest = max(finals or listed, key=lambda release: release.version, default=None)
        surplus = _surplus(finals, self.rules.keep)
        for release in releases:
            environment = self.named.get((release.project, release.version))
            if release.is_yanked:
                yield from self._after_waiting(release, latest, environment)
                continue
            why = self._reason(release, surplus)
            if not why or release is latest:
                continue
            if environment:
                yield release.step("keep", f"the environment {environment} names it")
            elif any(self.state.has_undone(file) for file in release.files):
                yield release.step("keep", "it was unyanked after an earlier run")
            else:
                yield release.step("yank", why)

    def _reason(self, release: _Release, surplus: set[Version]) -> str:
        """Return the rule that selects a release, or ""."""
        rules = self.rules
        if release.version in surplus:
            return f"not among the newest {rules.keep} of {release.version.major}.{release.version.minor}"
        age = self.now - release.uploaded
        if rules.prereleases is not None and release.version.is_prerelease and age > rules.prereleases:
            return f"a pre-release older than {rules.prereleases.days} days"
        if rules.unused is not None and age > rules.unused and self._is_unused(release, rules.unused):
            return f"not installed for {rules.unused.days} days"
        return ""

    def _is_unused(self, release: _Release, unused: timedelta) -> bool:
        """Return whether no install was counted for so long; what was not counted for so long is not known."""
        limit, last = (self.now - unused).date(), self._last_install(release)
        return not self._gap(unused) and (last is None or last < limit)

    def _gap(self, period: timedelta) -> str:
        return self.usage.gap((self.now - period).date(), self.now.date())

    def _last_install(self, release: _Release) -> date | None:
        return self.usage.of(release.project, str(release.version))

    def _after_waiting(self, release: _Release, latest: _Release | None, environment: str | None) -> Iterator[Step]:
        """Yield the removal of a release that a run yanked long enough ago, or why it stays."""
        yanked = self.state.yanked(release)
        if yanked is None or self.now - yanked < self.rules.wait:
            return
        last, is_final = self._last_install(release), not release.version.is_prerelease
        if environment:
            yield release.step("keep", f"the environment {environment} names it")
        elif latest is None or (is_final and (latest.version < release.version or latest.version.is_prerelease)):
            yield release.step("keep", "no newer release is left")
        elif last is not None and last > yanked.date():
            yield release.step("keep", f"it was installed on {last}, after the yank")
        elif self.usage.since is not None and (gap := self._gap(self.rules.wait)):
            yield release.step("keep", gap.rstrip("."))
        else:
            why = self.state.files[release.files[0].filename]["why"]
            yield release.step("remove", f"yanked on {yanked.date()}: {why}")


def _surplus(finals: list[_Release], keep: int | None) -> set[Version]:
    """Return the versions that are not among the newest `keep` of their series."""
    if keep is None:
        return set()
    by_series: dict[tuple[int, int, int], list[Version]] = defaultdict(list)
    for release in finals:  # sorted by version
        by_series[release.series].append(release.version)
    return {version for versions in by_series.values() for version in versions[:-keep]}
