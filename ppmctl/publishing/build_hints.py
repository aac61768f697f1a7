"""Find out what a failed build lacked, and which Debian package has it, from the build's output."""

from __future__ import annotations

import os
import re

# A command that installs Debian packages, with {} for their names; an image of ppm sets it.
VARIABLE = "PPMCTL_ADD_PACKAGES"

_PYTHON = "python3-dev"  # has Python.h, which extension modules include

# What is missing, Debian's packages for it, its programs, and another pattern that shows that it is missing.
# The order matters: without a compiler, other things can't be found either.
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
# How build backends report that a program does not exist; {} for its name.
_NOT_FOUND = (
    r"(?:command|execute|executable|program|Program) {quoted}(?: failed)?(?::? No such file|:? not found)"
    r"|No such file or directory: {quoted}$|(?:^|\s){name}(?:: command)?:? (?:executable )?not found"
    r"|Unknown compiler\(s\): \[\['(?:{names})'"
)
_HEADER = re.compile(r"fatal error: (\S+\.h\w*): No such file")
_REQUIREMENT = re.compile(
    r"ERROR: (?:Could not find a version that satisfies the requirement|No matching distribution found for) (\S+)"
)
_NO_NETWORK = re.compile(r"Retrying \(Retry\(.*?\)\) after connection broken by '?(\w+)")


def find(text: str) -> tuple[str, str] | None:
    """Return what a build with this output lacked, and how to get it; None if the output does not show it."""
    for what, packages, programs, other in _KNOWN:
        patterns = [pattern for pattern in (_not_found(programs), other) if pattern]
        if re.search("|".join(patterns), text, re.MULTILINE):
            command = (os.environ.get(VARIABLE) or "apt install {}").replace("{}", packages)
            return what, f"Debian packages that have it: {packages}. To install them: {command}"
    if header := _HEADER.search(text):
        hint = f"Find the development package that has it: search for {header[1]} at https://packages.debian.org"
        return f"the header {header[1]}", hint
    if requirement := _REQUIREMENT.search(text):
        no_network = _NO_NETWORK.search(text)
        why = f", because pip does not reach its index ({no_network[1]})" if no_network else ""
        hint = "pip uses the index in PIP_INDEX_URL or pip.conf, by default the public one."
        return f"its build requirement {requirement[1]}{why}", hint
    return None


def _not_found(programs: tuple[str, ...]) -> str:
    if not programs:
        return ""
    names = "|".join(map(re.escape, programs))
    name = rf"(?:[\w.+-]*-)?(?:{names})(?:-[\d.]+)?"
    quoted = rf"['\"‘“]?(?:/\S*/)?{name}['\"’”]?"
    return _NOT_FOUND.format(names=names, name=name, quoted=quoted)
