"""Compare a virtual environment with a list of requirements or a lock, and with what these need in turn."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from packaging.requirements import InvalidRequirement, Requirement
from packaging.version import InvalidVersion, Version

from ppmctl.distributions.distribution import normalise
from ppmctl.distributions.lock import Lock
from ppmctl.environments.venv import Content, Installed

# tools that make an environment are not part of its list
TOOLS = frozenset({"pip", "setuptools", "wheel", "uv"})


@dataclass(frozen=True, kw_only=True)
class Disagreement:
    """A difference: `wanted` is a requirement, `found` the installed version, `why` what needs it, or ""."""

    state: Literal["missing", "differs", "extra"]
    name: str
    wanted: str
    found: str = ""
    why: str = ""


def compare(requirements: Iterable[str], content: Content, *, lock: Lock | None, exact: bool) -> list[Disagreement]:
    """Return what is missing or differs from the lock, or without one from the list; with `exact` also the extras."""
    problems, needed = _match(requirements, content, lock)
    if exact:
        problems += _extras(content, needed)
    return sorted(problems, key=lambda item: item.name)


def extras(requirements: Iterable[str], content: Content, *, lock: Lock | None) -> list[str]:
    """Return the names of what is installed and not needed by the lock, or without one by the list."""
    return [item.name for item in _extras(content, _match(requirements, content, lock)[1])]


def _extras(content: Content, needed: set[str]) -> list[Disagreement]:
    left = sorted(set(content.installed) - needed - TOOLS)
    return [Disagreement(state="extra", name=name, wanted="", found=content.installed[name].version) for name in left]


def _match(requirements: Iterable[str], content: Content, lock: Lock | None) -> tuple[list[Disagreement], set[str]]:
    """Return what is missing or differs, and the names of what is needed."""
    if lock is None:
        return _walk(requirements, content)
    pinned = [requirement for pin in lock.pins if _applies(requirement := Requirement(pin.text), content)]
    problems = (_problem(each, content.installed.get(normalise(each.name)), "") for each in pinned)
    return [problem for problem in problems if problem is not None], {pin.name for pin in lock.pins}


def _walk(requirements: Iterable[str], content: Content) -> tuple[list[Disagreement], set[str]]:
    """Do the same for a list: follow the requirements of what is installed."""
    waiting = [(Requirement(text), "", "") for text in requirements]
    problems: list[Disagreement] = []
    needed: set[str] = set()
    seen: set[tuple[str, str]] = set()
    while waiting:
        requirement, why, extra = waiting.pop()
        if not _applies(requirement, content, extra):
            continue
        name = normalise(requirement.name)
        needed.add(name)
        installed = content.installed.get(name)
        problem = _problem(requirement, installed, why)
        if problem is not None and problem not in problems:
            problems.append(problem)
        if installed is not None:
            extras_left = [key for of in ("", *sorted(requirement.extras)) if (key := (name, of)) not in seen]
            seen.update(extras_left)
            waiting += [(other, name, of) for _name, of in extras_left for other in _parsed(installed.requires)]
    return problems, needed


def _applies(requirement: Requirement, content: Content, extra: str = "") -> bool:
    return requirement.marker is None or requirement.marker.evaluate({**content.environment, "extra": extra})


def _problem(requirement: Requirement, installed: Installed | None, why: str) -> Disagreement | None:
    name, wanted = normalise(requirement.name), str(requirement)
    if installed is None:
        return Disagreement(state="missing", name=name, wanted=wanted, why=why)
    if requirement.url:
        fits = _location(installed.url) == _location(requirement.url)
    else:
        fits = _allows(requirement, installed.version)
    if fits:
        return None
    present = installed.url or installed.version
    return Disagreement(state="differs", name=name, wanted=wanted, found=present, why=why)


def _parsed(texts: Iterable[str]) -> list[Requirement]:
    requirements = []
    for text in texts:
        try:
            requirements.append(Requirement(text))
        except InvalidRequirement:
            continue  # metadata from before PEP 508; installers skip it too
    return requirements


def _allows(requirement: Requirement, version: str) -> bool:
    try:
        return requirement.specifier.contains(Version(version), prereleases=True)
    except InvalidVersion:
        return not requirement.specifier


def _location(url: str) -> str:
    """Return a URL without scheme and fragment; for a checkout without its commit."""
    scheme, _, rest = url.partition("#")[0].partition("://")
    return rest.rpartition("@")[0] if "+" in scheme and "@" in rest.partition("/")[2] else rest
