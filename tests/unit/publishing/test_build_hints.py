"""The output of builds that lack something, as build backends print it."""

from __future__ import annotations

import pytest

from ppmctl.publishing import build_hints

GCC, GXX, RUST, PYTHON_H = "a C compiler", "a C++ compiler", "a Rust compiler", "Python's headers (Python.h)"


@pytest.mark.parametrize(
    ("printed", "what"),
    [
        ("error: [Errno 2] No such file or directory: 'x86_64-linux-gnu-gcc'", GCC),
        ("error: command 'gcc' failed: No such file or directory", GCC),
        ("error: command '/usr/bin/gcc-14' failed: No such file or directory", GCC),
        ("unable to execute 'cc': No such file or directory", GCC),
        ("/bin/sh: 1: gcc: not found", GCC),
        ("bash: line 1: cc: command not found", GCC),
        ("../meson.build:1:0: ERROR: Unknown compiler(s): [['cc'], ['gcc'], ['clang'], ['nvc']]", GCC),
        ("CMake Error at CMakeLists.txt:2 (project):\n  No CMAKE_C_COMPILER could be found.", GCC),
        ("CMake Error: CMAKE_CXX_COMPILER not set, after EnableLanguage", GXX),
        ("error: [Errno 2] No such file or directory: 'x86_64-linux-gnu-g++'", GXX),
        ("gcc: fatal error: cannot execute ‘cc1plus’: execvp: No such file or directory", GXX),
        ("../meson.build:1:0: ERROR: Unknown compiler(s): [['c++'], ['g++']]", GXX),
        ("src/fast.c:1:10: fatal error: Python.h: No such file or directory", PYTHON_H),
        ("src/a.c:3:10: fatal error: libpq-fe.h: No such file or directory", "the header libpq-fe.h"),
        ("error: can't find Rust compiler", RUST),
        ("Cargo, the Rust package manager, is not installed or is not on PATH.", RUST),
        ("Error: pg_config executable not found.", "pg_config"),
        ("FileNotFoundError: [Errno 2] No such file or directory: 'cmake'", "cmake"),
        ("make: command not found", "make"),
        (
            "ERROR: Could not find a version that satisfies the requirement flitt_core>=3 (from versions: none)",
            "its build requirement flitt_core>=3",
        ),
        (
            "Retrying (Retry()) after connection broken by 'OSError()':\nERROR: No matching distribution found for x",
            "its build requirement x, because pip does not reach its index (OSError)",
        ),
    ],
)
def test_a_missing_program_header_or_requirement_is_recognised(printed: str, what: str) -> None:
    hint = build_hints.find(f"running build_ext\n{printed}\nERROR Backend subprocess exited\n")
    assert hint is not None
    assert hint[0] == what
    assert hint[1]


@pytest.mark.parametrize(
    "printed",
    [
        "",
        "gcc -c fast.c\nfast.c:1:1: error: unknown type name 'foo'\nerror: command 'gcc' failed with exit code 1",
        "Running command cmake\nCMake Error: something else",
        "FileNotFoundError: [Errno 2] No such file or directory: 'README.md'",
        "FileNotFoundError: [Errno 2] No such file or directory: '/project/make.txt'",
        "ModuleNotFoundError: No module named 'numpy'",
    ],
)
def test_other_failures_get_no_hint(printed: str) -> None:
    assert build_hints.find(printed) is None


@pytest.mark.parametrize(
    ("variable", "command"),
    [("", "apt install gcc python3-dev"), ("docker build --build-arg EXTRA='{}' .", "EXTRA='gcc python3-dev' .")],
)
def test_the_hint_has_the_command_of_the_variable(
    variable: str, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PPMCTL_ADD_PACKAGES", variable)
    hint = build_hints.find("error: command 'gcc' failed: No such file or directory")
    assert hint is not None
    assert hint[1].endswith(command)
