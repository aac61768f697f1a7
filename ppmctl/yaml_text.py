"""Read YAML that somebody else may have written: any text gives values, or one kind of error."""

from __future__ import annotations

from typing import Any

import yaml

MAX_DEPTH = 50
MAX_NODES = 500_000

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class InvalidYaml(ValueError):
    """A text is not YAML, or is too deep or too large. `line` counts from 1; None if the fault is in no line."""

    def __init__(self, problem: str, line: int | None = None) -> None:
        super().__init__(f"{problem}, line {line}" if line else problem)
        self.line = line


def load(text: str) -> Any:
    """Return the values of the only document in `text`. Raise InvalidYaml; its text may quote a value."""
    try:
        _check(text)
        return yaml.load(text, Loader=_LOADER)  # noqa: S506 # nosec B506 # both values of _LOADER are safe loaders
    except yaml.MarkedYAMLError as exc:
        line = (
            min(exc.problem_mark.line, text.count("\n")) + 1 if exc.problem_mark else None
        )  # the end is a line, too
        raise InvalidYaml(exc.problem or "it is invalid", line) from exc
    except (yaml.YAMLError, RecursionError) as exc:
        raise InvalidYaml(" ".join(str(exc).split())) from exc
    except (AttributeError, LookupError, OverflowError, TypeError, ValueError) as exc:
        # the library does not check what a tag, or the form of a value, promises: !!bool x, 2026-99-99
        raise exc if isinstance(exc, InvalidYaml) else InvalidYaml(f"a value is invalid ({exc})") from exc


def _check(text: str) -> None:
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
            line = event.start_mark.line + 1 if event.start_mark else None
            raise InvalidYaml(f"it is over the limit of {MAX_DEPTH} levels and {MAX_NODES} values", line)
