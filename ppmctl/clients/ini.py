"""Files of sections and options, as configparser reads them (pip.conf, .pypirc), edited as text."""

from __future__ import annotations

import configparser
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from ppmctl.clients.lines import Add, Body, Mute, Plan, Unreadable, cut, edited, find, is_header, says_something

Normal = Callable[[str], str]
Values = dict[str, dict[str, str]]


@dataclass(frozen=True, kw_only=True)
class Option:
    """An option, from the line `start` up to `stop`; `indent` is what stands before its name."""

    name: str
    start: int
    stop: int
    indent: str


@dataclass(frozen=True, kw_only=True)
class Section:
    """A section: the line of its header, and its options in their order."""

    name: str
    header: int
    options: list[Option] = field(default_factory=list)

    def option(self, name: str) -> Option | None:
        return next((option for option in self.options if option.name == name), None)

    @property
    def end(self) -> int:
        """The line after its last option."""
        return self.options[-1].stop if self.options else self.header + 1


class File:
    """A file that its client can read; `values` are those that the client sees. Unreadable, with the line."""

    def __init__(self, body: Body, normal: Normal) -> None:
        self.body = body
        self.values = values(body, normal)
        self.sections = _scanned(body, normal)
        seen = {(section.name, option.name) for section in self.sections for option in section.options}
        if seen != {(section, name) for section, options in self.values.items() for name in options}:
            raise Unreadable("its sections can't be told apart for sure.", hint="Edit it by hand.")

    def section(self, name: str) -> Section | None:
        return next((section for section in self.sections if section.name == name), None)

    def set_one(self, section: Section, name: str, value: str) -> list[Add | Mute]:
        """The edits for an option that has one value: in place of another, which is commented out."""
        if self.values[section.name].get(name) == value:
            return []
        there = section.option(name)
        if there is None:
            indent = section.options[-1].indent if section.options else ""
            return [Add(at=section.end, texts=(f"{indent}{name} = {value}",))]
        texts = self.body.texts
        muted = [Mute(at=at) for at in range(there.start, there.stop) if says_something(texts[at])]
        return [Add(at=there.start, texts=(f"{there.indent}{name} = {value}",)), *muted]

    def put_into(self, section: Section, name: str, value: str) -> list[Add | Mute]:
        """The edits for an option that has several values: one more line of it."""
        there = section.option(name)
        if there is None:
            return self.set_one(section, name, value)
        if value in self.values[section.name][name].split():
            return []
        return [Add(at=there.stop, texts=(f"{there.indent}    {value}",))]

    def new_section(self, name: str, *lines: str) -> Add:
        """The edit for a section at the end."""
        blank = [""] if self.body.lines else []
        return Add(at=len(self.body.lines), texts=(*blank, f"[{name}]", *lines))


def values(body: Body, normal: Normal) -> Values:
    """All options by section and name, DEFAULT as a section. Unreadable, with the line, as the client would stop."""
    parser = configparser.RawConfigParser(default_section="\0")
    parser.optionxform = normal  # type: ignore[assignment,method-assign]  # how configparser has it done
    try:
        parser.read_string(body.plain)
    except (configparser.DuplicateSectionError, configparser.DuplicateOptionError) as exc:
        raise Unreadable("what stands there is there twice; its client stops at that.", line=exc.lineno) from None
    except configparser.MissingSectionHeaderError as exc:
        raise Unreadable("there is no [section] before it.", line=exc.lineno) from None
    except configparser.ParsingError as exc:
        raise Unreadable("it is neither a [section] nor name = value.", line=exc.errors[0][0]) from None
    except (configparser.Error, AttributeError) as exc:
        raise Unreadable(f"configparser can't read it ({type(exc).__name__}).") from None
    return {section: dict(parser.items(section)) for section in parser.sections()}


def same_but_for(before: Values, after: Values, touched: Mapping[tuple[str, str], object]) -> bool:
    """Whether only the options that are named by section and name differ."""

    def others(found: Values) -> dict[tuple[str, str], str]:
        flat = {(section, name): text for section, options in found.items() for name, text in options.items()}
        return {place: text for place, text in flat.items() if place not in touched}

    return others(before) == others(after)


def take(body: Body, put: Add) -> Body | None:
    """The file without the lines that were put in; a section's header stays while others have options there."""
    texts = put.texts
    at = find(body, texts, put.at)
    if at is None and not texts[0].strip():
        texts = texts[1:]
        at = find(body, texts, put.at)
    if at is not None:
        stop = at + len(texts)
        header = next((at + offset for offset, text in enumerate(texts) if is_header(text)), None)
        if header is not None and _goes_on(body, stop):
            return cut(body, header + 1, stop)
        return cut(body, at, stop)
    return _take_each(body, put)


def _take_each(body: Body, put: Add) -> Body | None:
    found = False
    for text in reversed(put.texts):
        at = find(body, (text,), put.at) if text.strip() else None
        if at is None or (is_header(text) and _goes_on(body, at + 1)):
            continue
        found = True
        body = cut(body, at, at + 1)
    return body if found else None


def _goes_on(body: Body, at: int) -> bool:
    """Whether the section has something from the line `at` on."""
    following = next((text for text in body.texts[at:] if says_something(text)), "[")
    return not is_header(following)


def _scanned(body: Body, normal: Normal) -> list[Section]:
    """The sections with their lines, by configparser's rules: what is indented more goes on with the option."""
    sections: list[Section] = []
    option: tuple[str, int, str] | None = None  # its name, first line, indentation
    for number, text in enumerate(body.texts):
        if not says_something(text):
            continue
        indent = text[: len(text) - len(text.lstrip())]
        if option is not None and len(indent) > len(option[2]):
            known = sections[-1].options
            known[-1] = Option(name=option[0], start=option[1], stop=number + 1, indent=option[2])
            continue
        if header := re.match(r"\[(.+)\]", text.strip()):
            sections.append(Section(name=header[1], header=number))
            option = None
        elif sections:
            option = (normal(re.split(r"[=:]", text.strip(), maxsplit=1)[0].rstrip()), number, indent)
            sections[-1].options.append(Option(name=option[0], start=number, stop=number + 1, indent=indent))
    return sections


def proven(
    file: File,
    edits: list[Add | Mute],
    normal: Normal,
    touched: Mapping[tuple[str, str], object],
    notes: Sequence[str] = (),
) -> Plan:
    """The edits as a plan, once it is sure that they touch no other options. Unreadable if not."""
    after, _ = edited(file.body, edits, "# ")
    if not same_but_for(file.values, values(after, normal), touched):
        raise Unreadable("it can't be edited without changing something else.", hint="Edit it by hand.")
    return Plan(edits=tuple(edits), notes=tuple(notes))
