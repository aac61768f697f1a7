"""Check that locks/ and pyproject.toml agree, without a network: print each difference, and exit with 1 if any.

    python scripts/check_locks.py [ROOT]
    python scripts/check_locks.py --build-requires    print what pyproject.toml builds with, for `make lock`

They agree if, in each lock, every direct requirement has a pin that satisfies it, on every Python that the project
supports; no requirement is pinned that was removed from pyproject.toml; every pin has a hash, and no URL; and all
locks pin the same versions of the packages that they share, so that one .venv works with any of them. dev has what
the others have, except for what only fuzz adds.
"""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

# lock → the extras that it includes, in addition to the project's own dependencies
LOCKS = {
    "server": ("server",),
    "hosts": ("server", "hosts"),
    "dev": ("server", "hosts", "dev"),
    "fuzz": ("fuzz",),
}

_PIN = re.compile(r"^(?P<name>[A-Za-z0-9._-]+)(?:\[[^]]*\])?==(?P<version>[^\s;]+)(?: ; (?P<marker>[^\\]+))?")
_OURS = "ppmctl (pyproject.toml)"


@dataclass(frozen=True, kw_only=True)
class Pin:
    name: str
    version: Version
    marker: Marker | None
    hashed: bool
    direct: bool  # whether the project itself requires it, according to the lock

    def holds_on(self, environment: dict[str, str]) -> bool:
        return self.marker is None or self.marker.evaluate(environment)


def main(arguments: list[str]) -> int:
    build_requires = arguments == ["--build-requires"]
    root = Path(arguments[0]) if arguments and not build_requires else Path()
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    if build_requires:
        print(*project["build-system"]["requires"], sep="\n")
        return 0
    differences = list(out_of_step(root, project))
    for line in differences:
        print(line)
    if differences:
        print("`make lock` writes the locks again.")
    return 1 if differences else 0


def out_of_step(root: Path, project: dict[str, Any]) -> Iterator[str]:
    texts = {lock: (root / "locks" / f"{lock}.txt").read_text(encoding="utf-8") for lock in LOCKS}
    pins = {lock: list(read_pins(text)) for lock, text in texts.items()}
    for lock, extras in LOCKS.items():
        for line in texts[lock].splitlines():
            if "//" in line or line.startswith("-"):
                yield f"locks/{lock}.txt: says where packages come from: {line}"
        wanted = direct_requirements(project, extras)
        yield from (f"locks/{lock}.txt: {fault}" for fault in faults(pins[lock], wanted, pythons(project)))
    dev = {(pin.name, pin.version) for pin in pins["dev"]}
    names = {name for name, _version in dev}
    for lock in LOCKS:
        for pin in pins[lock]:
            if (pin.name, pin.version) not in dev and (lock != "fuzz" or pin.name in names):
                yield f"locks/dev.txt: does not have {pin.name} {pin.version}, which locks/{lock}.txt has"


def read_pins(lock: str) -> Iterator[Pin]:
    for block in re.split(r"\n(?=[^\s#])", "\n" + lock):
        match = _PIN.match(block)
        if match is None:
            continue
        comments = [line.strip(" #") for line in block.splitlines() if line.startswith("    #")]
        yield Pin(
            name=canonicalize_name(match["name"]),
            version=Version(match["version"]),
            marker=Marker(match["marker"]) if match["marker"] else None,
            hashed="--hash=sha256:" in block,
            direct=any(line.removeprefix("via ") == _OURS for line in comments),
        )


def direct_requirements(project: dict[str, Any], extras: tuple[str, ...]) -> list[Requirement]:
    texts = [*project["build-system"]["requires"], *project["project"]["dependencies"]]
    for extra in extras:
        texts += project["project"]["optional-dependencies"][extra]
    return [Requirement(text) for text in texts]


def pythons(project: dict[str, Any]) -> list[str]:
    supported = SpecifierSet(project["project"]["requires-python"])
    return [f"3.{minor}" for minor in range(100) if f"3.{minor}" in supported]


def faults(pins: list[Pin], wanted: list[Requirement], versions: list[str]) -> Iterator[str]:
    for requirement in wanted:
        name = canonicalize_name(requirement.name)
        for python in versions:
            environment = {"python_version": python, "python_full_version": f"{python}.0"}
            if requirement.marker is not None and not requirement.marker.evaluate(environment):
                continue
            pinned = [pin.version for pin in pins if pin.name == name and pin.holds_on(environment)]
            if len(pinned) != 1 or not requirement.specifier.contains(pinned[0], prereleases=True):
                pinned_versions = ", ".join(map(str, pinned)) or "nothing"
                yield f"pyproject.toml asks for {requirement}; for Python {python} it has {pinned_versions}"
                break
    names = {canonicalize_name(requirement.name) for requirement in wanted}
    for pin in pins:
        if pin.direct and pin.name not in names:
            yield f"has {pin.name} {pin.version}, which pyproject.toml no longer asks for"
        if not pin.hashed:
            yield f"has {pin.name} {pin.version} without a hash"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
