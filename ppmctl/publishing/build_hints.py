"""What a failed build lacked, by what it printed: the program or the file, and where Debian has it."""

from __future__ import annotations

import os
import re

# A command that adds Debian packages, {} for their names: that of whoever made this environment.
VARIABLE = "PPMCTL_ADD_PACKAGES"

_PYTHON = "python3-dev"  # Python.h: what is compiled for Python includes it

# What is missing, Debian's packages that have it, its programs, and what else is printed where it is missing.
# In this order: a compiler that is missing hides what else is.
_KNOWN = (
    ("a C compiler", f"gcc {_PYTHON}", ("gcc", "cc", "clang"), r"CMAKE_C_COMPILER (?:not set|could be found)"),
    (
        *("a C++ compiler", f"g++ {_PYTHON}", ("g++", "c++", "clang++")),
        r"CMAKE_CXX_COMPILER (?:not set|could be found)|cannot execute [‘'`]cc1plus['’]",
    ),
    ("a Fortran compiler", "gfortran", ("gfortran",), None),
    ("Python's headers (Python.h)", _PYTHON, (), r"fatal error: Python\.h: No such file"),
    (
        *("a Rust compiler", "cargo", ("cargo", "rustc")),
        r"can't find Rust compiler|(?:Rust toolchain|Cargo)\b.* not (?:installed|found)",
    ),
    ("pg_config", "libpq-dev", ("pg_config",), None),
    ("pkg-config", "pkgconf", ("pkg-config", "pkgconf"), None),
    *((name, name, (name,), None) for name in ("cmake", "swig", "make", "git")),
    ("node", "nodejs npm", ("node", "npm"), None),
)
# The ways in which build backends print that a program is not there; {} for its name.
_NOT_THERE = (
    r"(?:command|execute|executable|program|Program) {quoted}(?: failed)?(?::? No such file|:? not found)"
    r"|No such file or directory: {quoted}$|(?:^|\s){name}(?:: command)?:? (?:executable )?not found"
    r"|Unknown compiler\(s\): \[\['(?:{names})'"
)
_HEADER = re.compile(r"fatal error: (\S+\.h\w*): No such file")
_REQUIREMENT = re.compile(
    r"ERROR: (?:Could not find a version that satisfies the requirement|No matching distribution found for) (\S+)"
)
_NO_NETWORK = re.compile(r"Retrying \(Retry\(.*?\)\) after connection broken by '?(\w+)")


def find(printed: str) -> tuple[str, str] | None:
    """Return what a failed build lacked, and what to do about it; None where its output does not tell."""
    for what, packages, programs, other in _KNOWN:
        patterns = [pattern for pattern in (_program(programs), other) if pattern]
        if re.search("|".join(patterns), printed, re.MULTILINE):
            command = (os.environ.get(VARIABLE) or "apt install {}").replace("{}", packages)
            return what, f"Debian has it in: {packages}. To add it: {command}"
    if header := _HEADER.search(printed):
        remedy = f"It is in a library's development package, which https://packages.debian.org finds by {header[1]}."
        return f"the header {header[1]}", remedy
    if requirement := _REQUIREMENT.search(printed):
        no_network = _NO_NETWORK.search(printed)
        why = f", because pip does not reach its index ({no_network[1]})" if no_network else ""
        remedy = "pip gets it from the index that PIP_INDEX_URL or pip.conf names, by default the public one."
        return f"its build requirement {requirement[1]}{why}", remedy
    return None


def _program(programs: tuple[str, ...]) -> str:
    if not programs:
        return ""
    names = "|".join(map(re.escape, programs))
    name = rf"(?:[\w.+-]*-)?(?:{names})(?:-[\d.]+)?"
    quoted = rf"['\"‘“]?(?:/\S*/)?{name}['\"’”]?"
    return _NOT_THERE.format(names=names, name=name, quoted=quoted)
