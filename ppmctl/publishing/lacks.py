"""What a build lacked, from what it printed: the program or the file, and where Debian has it."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

# A command that adds Debian packages, {} for their names: that of whoever made this environment.
VARIABLE = "PPMCTL_ADD_PACKAGES"

_PYTHON = "python3-dev"  # Python.h: what is compiled for Python includes it


@dataclass(frozen=True, kw_only=True)
class Lack:
    """What was missing, in words; `packages` are Debian's that have it, "" where it is not one of theirs."""

    what: str
    packages: str = ""
    remedy: str = ""

    @property
    def hint(self) -> str:
        """What to do about it."""
        if not self.packages:
            return self.remedy
        command = (os.environ.get(VARIABLE) or "apt install {}").replace("{}", self.packages)
        return f"Debian has it in: {self.packages}. To add it: {command}"


def _program(*names: str) -> str:
    """The ways in which build backends say that a program is not there."""
    name = rf"(?:[\w.+-]*-)?(?:{'|'.join(map(re.escape, names))})(?:-[\d.]+)?"
    quoted = rf"['\"‘“]?(?:/\S*/)?{name}['\"’”]?"
    return (
        rf"(?:command|execute|executable|program|Program) {quoted}(?: failed)?(?::? No such file|:? not found)"
        rf"|No such file or directory: {quoted}$|(?:^|\s){name}(?:: command)?:? (?:executable )?not found"
    )


# in this order: a compiler that is missing hides what else is
_KNOWN: tuple[tuple[str, Lack], ...] = (
    (
        _program("gcc", "cc", "clang") + r"|Unknown compiler\(s\): \[\['(?:cc|gcc|clang)'|CMAKE_C_COMPILER not set"
        r"|No CMAKE_C_COMPILER could be found",
        Lack(what="a C compiler", packages=f"gcc {_PYTHON}"),
    ),
    (
        _program("g++", "c++", "clang++")
        + r"|Unknown compiler\(s\): \[\['(?:c\+\+|g\+\+|clang\+\+)'|CMAKE_CXX_COMPILER not set"
        r"|No CMAKE_CXX_COMPILER could be found|cannot execute [‘'`]cc1plus['’]",
        Lack(what="a C++ compiler", packages=f"g++ {_PYTHON}"),
    ),
    (
        _program("gfortran") + r"|Unknown compiler\(s\): \[\['gfortran'",
        Lack(what="a Fortran compiler", packages="gfortran"),
    ),
    (r"fatal error: Python\.h: No such file", Lack(what="Python's headers (Python.h)", packages=_PYTHON)),
    (
        _program("cargo", "rustc")
        + r"|can't find Rust compiler|(?:Rust toolchain|Cargo)\b.* not (?:installed|found)",
        Lack(what="a Rust compiler", packages="cargo"),
    ),
    (_program("pg_config"), Lack(what="pg_config", packages="libpq-dev")),
    (_program("pkg-config", "pkgconf"), Lack(what="pkg-config", packages="pkgconf")),
    (_program("cmake"), Lack(what="cmake", packages="cmake")),
    (_program("swig"), Lack(what="swig", packages="swig")),
    (_program("make"), Lack(what="make", packages="make")),
    (_program("node", "npm"), Lack(what="node", packages="nodejs npm")),
    (_program("git"), Lack(what="git", packages="git")),
)
_HEADER = re.compile(r"fatal error: (\S+\.h\w*): No such file")
_REQUIREMENT = re.compile(
    r"ERROR: (?:Could not find a version that satisfies the requirement|No matching distribution found for) (\S+)"
)
_NO_NETWORK = re.compile(r"Retrying \(Retry\(.*?\)\) after connection broken by '?(\w+)")


def find(printed: str) -> Lack | None:
    """What a failed build lacked, if its output says so in words that are known here."""
    for pattern, lack in _KNOWN:
        if re.search(pattern, printed, re.MULTILINE):
            return lack
    if header := _HEADER.search(printed):
        remedy = f"It is in a library's development package, which https://packages.debian.org finds by {header[1]}."
        return Lack(what=f"the header {header[1]}", remedy=remedy)
    if requirement := _REQUIREMENT.search(printed):
        no_network = _NO_NETWORK.search(printed)
        why = f", because pip does not reach its index ({no_network[1]})" if no_network else ""
        remedy = "pip gets it from the index that PIP_INDEX_URL or pip.conf names, by default the public one."
        return Lack(what=f"its build requirement {requirement[1]}{why}", remedy=remedy)
    return None
