"""Raise a version (PEP 440), and find the place in a file where a version is written, to change nothing else."""

from __future__ import annotations

import ast
import configparser
import re
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packaging.version import InvalidVersion, Version

from ppmctl import regular_file
from ppmctl.errors import PpmError, UsageError

_PROBE = "9!9"  # a version that no file has

STEPS = ("major", "minor", "patch", "pre")

# Returns the version in a file, and everything else in it; raises KeyError or ValueError if it has no version.
Reader = Callable[[bytes], tuple[str, object]]


def bump(version: Version, by: str) -> Version:
    """Return the next version: `by` is major, minor, patch, pre, or the version itself.

    A pre-release or development version comes before its release: 1.3.0rc1 by patch or minor is 1.3.0, by major
    2.0.0. `pre` raises the last number: 1.3.0rc1 → 1.3.0rc2, 1.3.0.dev4 → 1.3.0.dev5, but 1.3.0rc1.dev2 → 1.3.0rc1.
    The epoch and the number of parts stay (but 1.2 by patch is 1.2.1); .post1 and +local go. Raise UsageError if `by`
    is not a version, or for `pre` of a release.
    """
    if by == "pre":
        return _next_pre_release(version)
    if by not in STEPS:
        try:
            return Version(by)
        except InvalidVersion as exc:
            raise UsageError(
                f"{by!r} is not a version, and not one of {', '.join(STEPS)}.",
                hint="A version is like 1.2.0 or 1.3.0rc1.",
            ) from exc
    at, release = STEPS.index(by), list(version.release)
    if not version.is_prerelease or version.post is not None or any(release[at + 1 :]):
        release += [0] * (at + 1 - len(release))
        release[at:] = [release[at] + 1, *[0] * (len(release) - at - 1)]
    return version.__replace__(release=tuple(release), pre=None, post=None, dev=None, local=None)


def _next_pre_release(version: Version) -> Version:
    if version.post is not None or not version.is_prerelease:
        raise UsageError(
            f"{version} is not a pre-release, so --bump pre has nothing to count up.",
            hint=f"Choose the first one: --bump {bump(version, 'minor')}rc1",
        )
    if version.pre is None:
        return version.__replace__(dev=(version.dev or 0) + 1, local=None)
    letter, number = version.pre
    return version.__replace__(pre=(letter, number + (version.dev is None)), dev=None, local=None)


@dataclass(frozen=True, kw_only=True)
class Place:
    """The place of a version in a file: `content[start:end]`. `label` is for messages: pyproject.toml [project]."""

    path: Path
    content: bytes
    start: int
    end: int
    label: str

    @property
    def text(self) -> str:
        """Return the version as the file has it."""
        return self.content[self.start : self.end].decode("utf-8")

    @property
    def version(self) -> Version:
        """Return the version; raise PpmError if the text is not one."""
        try:
            return Version(self.text)
        except InvalidVersion as exc:
            raise PpmError(f"{self.label} has {self.text!r}, which is not a version (PEP 440).") from exc

    def edited(self, version: Version) -> bytes:
        """Return the file's content with another version in this place."""
        return self.content[: self.start] + str(version).encode() + self.content[self.end :]


def find(path: Path, label: str, read: Reader) -> Place | None:
    """Return the place of the value that `read` finds in a file; None if there is none, or it is not certain.

    The text may occur several times. The right place is the one where a change changes that value and nothing else.
    """
    content = regular_file.read(path)
    text, rest = read_or_none(read, content) or ("", None)
    for match in re.finditer(re.escape(text.encode()), content) if text else ():
        start, end = match.span()
        if read_or_none(read, content[:start] + _PROBE.encode() + content[end:]) == (_PROBE, rest):
            return Place(path=path, content=content, start=start, end=end, label=label)
    return None


def find_match(path: Path, label: str, pattern: re.Pattern[str], group: str | int) -> Place | None:
    """Return the place of a group in the first match of `pattern` in a file; None without one."""
    content = regular_file.read(path)
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        return None
    match = pattern.search(text)
    if match is None or not match[group]:
        return None
    start = len(text[: match.start(group)].encode())
    return Place(path=path, content=content, start=start, end=start + len(match[group].encode()), label=label)


def find_in_lock(path: Path, name: str) -> Place | None:
    """Return the place of the project's own version in a uv.lock; None without the file or the version."""
    # One search in the form that uv writes, because such a file can have megabytes.
    own = rf'^\[\[package\]\]\r?\nname = "{re.escape(name)}"\r?\nversion = "([^"\n]+)"\r?\nsource = '
    pattern = re.compile(own + r'\{ (?:editable|virtual) = "\."', re.MULTILINE)
    return find_match(path, path.name, pattern, 1) if path.is_file() else None


def read_or_none(read: Reader, content: bytes) -> tuple[str, object] | None:
    """Return what `read` returns, or None if it finds no version."""
    try:
        return read(content)
    except (KeyError, ValueError):
        return None


def in_toml(*keys: str) -> Reader:
    """Return a reader of a string in a TOML file."""

    def read(content: bytes) -> tuple[str, object]:
        data = tomllib.loads(content.decode("utf-8"))
        return _take(data, *keys), data

    return read


def in_ini(section: str, key: str) -> Reader:
    """Return a reader of an option in a file like setup.cfg."""

    def read(content: bytes) -> tuple[str, object]:
        parser = configparser.RawConfigParser()
        try:
            parser.read_string(content.decode("utf-8"))
        except configparser.Error as exc:
            raise ValueError(str(exc)) from exc
        data: dict[str, Any] = {name: dict(parser[name]) for name in parser.sections()}
        return _take(data, section, key), data

    return read


def in_python(name: str) -> Reader:
    """Return a reader of the string that a module assigns to `name` at its top level."""

    def values(tree: ast.Module) -> Iterator[ast.expr]:
        for node in tree.body:
            targets = [node.target] if isinstance(node, ast.AnnAssign) else getattr(node, "targets", [])
            value = getattr(node, "value", None)  # of an annotation it may be missing
            if value and any(isinstance(target, ast.Name) and target.id == name for target in targets):
                yield value

    return _in_code(values)


def in_setup(key: str) -> Reader:
    """Return a reader of the string that setup.py passes to setup() as `key`."""

    def values(tree: ast.Module) -> Iterator[ast.expr]:
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in ("setup", "setuptools.setup"):
                yield from (keyword.value for keyword in node.keywords if keyword.arg == key)

    return _in_code(values)


def in_text(content: bytes) -> tuple[str, object]:
    """Read a file that has a version and nothing else."""
    text = content.decode("utf-8")
    version = text.strip()
    return version, text.partition(version)[::2]


def _take(data: dict[str, Any], *keys: str) -> str:
    """Return the string at `keys` and replace it with None in `data`."""
    for key in keys[:-1]:
        data = data[key]
        if not isinstance(data, dict):
            raise KeyError(key)
    value = data[keys[-1]]
    if not isinstance(value, str):
        raise KeyError(keys[-1])
    data[keys[-1]] = None
    return value


def _in_code(values: Callable[[ast.Module], Iterator[ast.expr]]) -> Reader:
    def read(content: bytes) -> tuple[str, object]:
        content.decode("utf-8")
        try:
            tree = ast.parse(content)
        except SyntaxError as exc:
            raise ValueError(str(exc)) from exc
        (node,) = values(tree)  # ValueError for none or several
        if not isinstance(node, ast.Constant) or not isinstance(node.value, str):
            raise KeyError("version")
        value, node.value = node.value, ""
        return value, ast.dump(tree)

    return read
