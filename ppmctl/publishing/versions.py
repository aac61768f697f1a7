"""A version (PEP 440) raised; and a file with another version in the place of its own, nothing else changed."""

from __future__ import annotations

import ast
import configparser
import re
import tomllib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from packaging.version import InvalidVersion, Version

from ppmctl.errors import PpmError, UsageError

_PROBE = "9!9"  # a version that no file names

STEPS = ("major", "minor", "patch", "pre")

# What a file names as its version, and all else that it says; KeyError or ValueError where it names none.
Reader = Callable[[bytes], tuple[str, object]]


def parse(text: str) -> Version:
    """A version as a person gives it; UsageError where it is none."""
    try:
        return Version(text)
    except InvalidVersion as exc:
        raise UsageError(
            f"{text!r} is no version, nor one of {', '.join(STEPS)}.", hint="A version is like 1.2.0 or 1.3.0rc1."
        ) from exc


def raised(version: Version, by: str) -> Version:
    """The version that follows by `by`: major, minor, patch, pre, or a version, which is taken as it is.

    A pre-release or a development version is of the version that it comes before: 1.3.0rc1 by patch or minor is
    1.3.0, by major 2.0.0. `pre` counts up what is counted: 1.3.0rc1 → 1.3.0rc2, 1.3.0.dev4 → 1.3.0.dev5, and
    1.3.0rc1.dev2 → 1.3.0rc1. The epoch and the number of parts stay (but 1.2 by patch is 1.2.1); what comes after
    a release (.post1, +local) goes. UsageError for what is no version, or for `pre` where nothing counts.
    """
    if by not in STEPS:
        return parse(by)
    if by == "pre":
        return _counted(version)
    at, release = STEPS.index(by), list(version.release)
    if not version.is_prerelease or version.post is not None or any(release[at + 1 :]):
        release += [0] * (at + 1 - len(release))
        release[at:] = [release[at] + 1, *[0] * (len(release) - at - 1)]
    return version.__replace__(release=tuple(release), pre=None, post=None, dev=None, local=None)


def _counted(version: Version) -> Version:
    if version.post is not None or not version.is_prerelease:
        raise UsageError(
            f"{version} is no pre-release, so --bump pre has nothing to count up.",
            hint=f"Name the first one: --bump {raised(version, 'minor')}rc1",
        )
    if version.pre is None:
        return version.__replace__(dev=(version.dev or 0) + 1, local=None)
    letter, number = version.pre
    return version.__replace__(pre=(letter, number + (version.dev is None)), dev=None, local=None)


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a file names a version: `content[start:end]`. `label` says it to people: pyproject.toml [project]."""

    path: Path
    content: bytes
    start: int
    end: int
    label: str

    @property
    def text(self) -> str:
        """The version as it is written there."""
        return self.content[self.start : self.end].decode("utf-8")

    @property
    def version(self) -> Version:
        """PpmError where what is written there is no version."""
        try:
            return Version(self.text)
        except InvalidVersion as exc:
            raise PpmError(f"{self.label} says {self.text!r}, which is no version (PEP 440).") from exc

    def edited(self, version: Version) -> bytes:
        """The file with `version` in this place; nothing else differs."""
        return self.content[: self.start] + str(version).encode() + self.content[self.end :]


def place(path: Path, label: str, read: Reader) -> Place | None:
    """Where the file at `path` names what `read` finds in it; None where it can't be found, or not be told apart.

    Every place with that text is tried: the right one is that whose change is the change of that value alone.
    """
    content = path.read_bytes()
    text, rest = _tried(read, content) or ("", None)
    for match in re.finditer(re.escape(text.encode()), content) if text else ():
        start, end = match.span()
        if _tried(read, content[:start] + _PROBE.encode() + content[end:]) == (_PROBE, rest):
            return Place(path=path, content=content, start=start, end=end, label=label)
    return None


def matched(path: Path, label: str, pattern: re.Pattern[str], group: str | int) -> Place | None:
    """Where the first match of `pattern` in a file has its group `group`; None where it has none."""
    content = path.read_bytes()
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        return None
    match = pattern.search(text)
    if match is None or not match[group]:
        return None
    start = len(text[: match.start(group)].encode())
    return Place(path=path, content=content, start=start, end=start + len(match[group].encode()), label=label)


def _tried(read: Reader, content: bytes) -> tuple[str, object] | None:
    try:
        return read(content)
    except (KeyError, ValueError):
        return None


def in_lock(path: Path, name: str) -> Place | None:
    """Where a uv.lock names the version of the project itself; None where it does not, or is not there."""
    # as uv writes it, and in one pass: such a file can have megabytes
    own = rf'^\[\[package\]\]\r?\nname = "{re.escape(name)}"\r?\nversion = "([^"\n]+)"\r?\nsource = '
    pattern = re.compile(own + r'\{ (?:editable|virtual) = "\."', re.MULTILINE)
    return matched(path, path.name, pattern, 1) if path.is_file() else None


def in_toml(*keys: str) -> Reader:
    """Of a TOML file, the string that these keys lead to."""
    return partial(_toml, keys)


def in_ini(section: str, key: str) -> Reader:
    """Of a file such as setup.cfg, an option of a section."""

    def read(content: bytes) -> tuple[str, object]:
        parser = configparser.RawConfigParser()
        try:
            parser.read_string(content.decode("utf-8"))
            data: dict[str, Any] = {name: dict(parser[name]) for name in parser.sections()}
        except configparser.Error as exc:
            raise ValueError(str(exc)) from exc
        return _taken(data, (section, key)), data

    return read


def in_python(name: str) -> Reader:
    """Of a module, the string that is assigned to `name` at its top."""
    return partial(_constant, lambda tree: _assigned(tree, name))


def in_setup(key: str) -> Reader:
    """Of setup.py, the string that is given to setup() as `key`."""
    return partial(_constant, lambda tree: _given(tree, key))


def in_text(content: bytes) -> tuple[str, object]:
    """Of a file that has nothing but a version in it."""
    text = content.decode("utf-8")
    version = text.strip()
    return version, text.partition(version)[::2]


def _toml(keys: Sequence[str], content: bytes) -> tuple[str, object]:
    data = tomllib.loads(content.decode("utf-8"))
    return _taken(data, keys), data


def _taken(data: dict[str, Any], keys: Sequence[str]) -> str:
    """The string that `keys` lead to; it is taken out of `data`."""
    for key in keys[:-1]:
        data = data[key]
        if not isinstance(data, dict):
            raise KeyError(key)
    value = data[keys[-1]]
    if not isinstance(value, str):
        raise KeyError(keys[-1])
    data[keys[-1]] = None
    return value


def _constant(find: Callable[[ast.Module], Iterator[ast.expr]], content: bytes) -> tuple[str, object]:
    content.decode("utf-8")
    try:
        tree = ast.parse(content)
    except SyntaxError as exc:
        raise ValueError(str(exc)) from exc
    (node,) = find(tree)  # ValueError where there are several, or none
    if not isinstance(node, ast.Constant) or not isinstance(node.value, str):
        raise KeyError("version")
    value, node.value = node.value, ""
    return value, ast.dump(tree)


def _assigned(tree: ast.Module, name: str) -> Iterator[ast.expr]:
    for node in tree.body:
        targets = [node.target] if isinstance(node, ast.AnnAssign) else getattr(node, "targets", [])
        if any(isinstance(target, ast.Name) and target.id == name for target in targets):
            value = getattr(node, "value", None)
            if isinstance(value, ast.expr):
                yield value


def _given(tree: ast.Module, key: str) -> Iterator[ast.expr]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("setup", "setuptools.setup"):
            yield from (keyword.value for keyword in node.keywords if keyword.arg == key)
