"""Read YAML that somebody else may have written: any text gives values, or one kind of error without a secret."""

from __future__ import annotations

import re
from typing import Any

import yaml

from ppmctl.secret import masked

MAX_DEPTH = 50
MAX_NODES = 500_000

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
# what the library's message has → the likely cause; the first one that fits. {line} is where the construct starts.
_CAUSES = {
    r"alias": "a * starts the name of an anchor, and there is none: put a text that starts with * in quotes",
    r"anchor": "a & starts the name of an anchor: put a text that starts with & in quotes",
    r"\btag\b": "a ! starts the name of a type: put a text that starts with ! in quotes",
    r"tab character": "a tab: indent with spaces",
    r"escape": "a \\ in double quotes starts an escape: use single quotes",
    r"quoted scalar": "the quote that starts here is not closed",
    r"',' or '\]'": "the [ of line {line} is not closed, or a text in it needs quotes",
    r"',' or '}'": "the { of line {line} is not closed, or a text in it needs quotes",
    r"mapping values": "a colon where none can be: put a text that has one in quotes, write a space after that of a"
    " name, and check the indentation",
    r"expected key|<block end>": "text where the next name should be: check the indentation, and whether a quote is"
    " missing here or above",
    r"'-' indicator": "a line without - in a list: check the indentation",
    r"flow node": "a [ or { before the end is not closed, or a text in it needs quotes",
    r"node content|comment or line break": "put a text that starts with one of [ ] { } , | > in quotes",
    r"block sequence entries": "a list starts on a line of its own",
    r"single document": "--- starts a second document, and only one is read",
    r"unhashable": "a list or a mapping can't be a name",
    r"for merging": "<< needs a mapping",
}
_NAME = re.compile(r"[\w.+*<=-]{1,60}")  # of a key that a message may show


class InvalidYaml(ValueError):
    """A text is not YAML, or is too deep or too large. `line` counts from 1; None if the fault is in no line.

    `problem` is the likely cause; it quotes no value of the text, since that may be a secret.
    """

    def __init__(self, problem: str, line: int | None = None) -> None:
        self.problem = problem
        self.line = line
        super().__init__(f"line {line}: {problem}" if line else problem)

    def in_file(self, name: object) -> str:
        """Return the sentence for an error that names the file."""
        return f"{name}{f', line {self.line}' if self.line else ''}: {self.problem}."


class _Loader(_LOADER):
    """A safe loader that names the line of a value that is not what its form promises, such as 2026-99-99."""

    def construct_object(self, node: Any, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep)
        except InvalidYaml:
            raise
        except (AttributeError, LookupError, OverflowError, TypeError, ValueError) as exc:
            problem = "a value has a form that it can't have, such as a date that does not exist"
            raise InvalidYaml(problem, _line(node.start_mark)) from exc


def load(text: str, *, first_line: int = 1) -> Any:
    """Return the values of the only document in `text`, which starts at `first_line` of a file. Raise InvalidYaml."""
    try:
        _check_size(text)
        loader = _Loader(text)
        try:
            node = loader.get_single_node()
            if node is None:
                return None
            _check_keys(loader, node, first_line - 1)
            return loader.construct_document(node)
        finally:
            loader.dispose()
    except InvalidYaml as exc:
        raise InvalidYaml(exc.problem, exc.line and exc.line + first_line - 1) from exc.__cause__
    except yaml.MarkedYAMLError as exc:
        problem, line = _cause(text, exc, first_line)
        raise InvalidYaml(problem, line) from exc
    except yaml.reader.ReaderError as exc:
        line = text.count("\n", 0, exc.position) + first_line
        raise InvalidYaml("a control character, or another one that is not allowed in YAML", line) from exc
    except (yaml.YAMLError, AttributeError, LookupError, OverflowError, RecursionError, TypeError, ValueError) as exc:
        raise InvalidYaml("it is not valid YAML") from exc


def _cause(text: str, exc: yaml.MarkedYAMLError, first_line: int) -> tuple[str, int | None]:
    """Return the likely cause of an error, and its line."""
    lines, mark, start = text.split("\n"), exc.problem_mark, exc.context_mark
    if mark is None:
        return "it is not valid YAML", None
    number = min(mark.line, max(text.count("\n") - text.endswith("\n"), 0))  # the end of a text is on its last line
    message = f"{exc.context or ''} {exc.problem or ''}"
    at = lines[number][mark.column : mark.column + 1] if mark.line == number else ""
    indent = lines[number][: len(lines[number]) - len(lines[number].lstrip())]
    if "\t" in indent:
        message = "tab character"
    elif "cannot start any token" in message and at and at in "@`%":
        return f"put a text that starts with {at} in quotes", number + first_line
    cause = next((cause for pattern, cause in _CAUSES.items() if re.search(pattern, message)), "it is not valid YAML")
    if "quoted scalar" in message and "escape" not in message and start is not None:
        number = start.line  # the quote; the error is at the end of the text
    return cause.replace("{line}", str(start.line + first_line if start else "?")), number + first_line


def _line(mark: Any) -> int | None:
    return mark.line + 1 if mark else None


def _check_keys(loader: Any, document: Any, before: int) -> None:
    """Raise InvalidYaml for a name that a mapping has twice; `before`: the lines of the file before the text."""
    waiting, seen = [document], set()
    while waiting:
        node = waiting.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        if isinstance(node, yaml.SequenceNode):
            waiting += node.value
        if not isinstance(node, yaml.MappingNode):
            continue
        first: dict[Any, Any] = {}
        for key, value in node.value:
            waiting += (key, value)
            if not isinstance(key, yaml.ScalarNode):
                continue
            is_plain = key.tag.endswith((":merge", ":value"))  # << and =
            name = (key.tag,) if is_plain else loader.construct_object(key)
            earlier = first.setdefault(name, key)
            if earlier is not key:
                shown = f"the name {key.value!r}" if _is_harmless(key.value) else "this name"
                where = _line(earlier.start_mark)
                raise InvalidYaml(
                    f"{shown} is also in line {where and where + before}; leave out one of them",
                    _line(key.start_mark),
                )


def _is_harmless(text: str) -> bool:
    return _NAME.fullmatch(text) is not None and masked(text) == text


def _check_size(text: str) -> None:
    """Raise InvalidYaml for a document that would take very long to read, or have very many values.

    Reading nested brackets takes the square of their number; an alias can stand for a million values, ten times.
    """
    sizes: list[int] = [0]  # the nodes in each open collection
    anchors: dict[str, int] = {}
    names: list[str | None] = []
    for event in yaml.parse(text, Loader=_LOADER):
        if isinstance(event, yaml.AliasEvent):
            sizes[-1] += anchors.get(str(event.anchor), 1)
        elif isinstance(event, yaml.ScalarEvent):
            sizes[-1] += 1
            if event.anchor:
                anchors[event.anchor] = 1
        elif isinstance(event, yaml.CollectionStartEvent):
            sizes.append(1)
            names.append(event.anchor)
        elif isinstance(event, yaml.CollectionEndEvent):
            size, anchor = sizes.pop(), names.pop()
            sizes[-1] += size
            if anchor:
                anchors[anchor] = size
        if len(sizes) > MAX_DEPTH or sizes[-1] > MAX_NODES:
            problem = f"it is over the limit of {MAX_DEPTH} levels and {MAX_NODES} values"
            raise InvalidYaml(problem, _line(event.start_mark))
