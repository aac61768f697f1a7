"""Files of sections and options, as configparser reads them (pip.conf, .pypirc), edited as text."""

from __future__ import annotations

import configparser
import re
from collections.abc import Collection
from dataclasses import replace

from ppmctl.client_config.lines import Add, Body, Edit, Statement, Unreadable, find, is_header, says_something

Values = dict[str, dict[str, str]]


class IniEdit(Edit):
    """An edit of a file that its program can read; `values` are those that the program sees."""

    def __init__(self, body: Body) -> None:
        super().__init__(body)
        self.values = self.parse(body)
        self._new: dict[str, list[tuple[str, ...]]] = {}

    @staticmethod
    def normal(name: str) -> str:
        """Return the name of an option as the program has it."""
        return name.lower()

    @classmethod
    def parse(cls, body: Body) -> Values:
        """Return all options by section and name, DEFAULT as a section.

        Raise Unreadable with the line where the program would stop.
        """
        parser = configparser.RawConfigParser(default_section="\0")
        parser.optionxform = cls.normal  # type: ignore[assignment,method-assign]  # assigned as its documentation does
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

    @classmethod
    def scan(cls, body: Body) -> list[Statement]:
        """Return the options and headers by configparser's rules: what is indented more goes on with the option."""
        values = cls.parse(body)
        found: list[Statement] = []
        for number, text in enumerate(body.texts):
            if not says_something(text):
                continue
            indent = text[: len(text) - len(text.lstrip())]
            last = found[-1] if found else Statement(start=0, stop=0, section="")
            if last.values and len(indent) > len(last.indent):
                found[-1] = replace(last, stop=number + 1)
                continue
            if header := re.match(r"\[(.+)\]", text.strip()):
                found.append(Statement(start=number, stop=number + 1, section=header[1]))
                continue
            name = cls.normal(re.split(r"[=:]", text.strip(), maxsplit=1)[0].rstrip())
            value = {name: values.get(last.section, {}).get(name)}
            found.append(Statement(start=number, stop=number + 1, section=last.section, values=value, indent=indent))
        seen = {(each.section, name) for each in found for name in each.values}
        if seen != {(section, name) for section, options in values.items() for name in options}:
            raise Unreadable("its sections can't be told apart for sure.", hint="Edit it by hand.")
        return found

    @classmethod
    def check(cls, body: Body) -> None:
        """Raise Unreadable where the program would stop."""
        cls.parse(body)

    @classmethod
    def of_ours(cls, body: Body, put: Add) -> Collection[int]:
        """Return the lines of `put`, together or each by itself; a header stays if others have options below it."""
        alone = [find(body, Add(at=put.at, texts=(text,))) for text in put.texts if text.strip()]
        ours = set(find(body, put)) or {number for found in alone for number in found}
        header = next((number for number in ours if is_header(body.texts[number])), None)
        if header is not None:
            below = [text for at, text in enumerate(body.texts) if at > header and at not in ours]
            following = next(filter(says_something, below), "[")
            if not is_header(following):
                return {number for number in ours if number > header}
        return ours

    def put(self, section: str, *lines: str) -> None:
        """Put lines after the last option of a section, which is made at the end of the file if it isn't there."""
        there = [each for each in self.statements if each.section == section]
        if there:
            self.add(there[-1].stop, *(there[-1].indent + line for line in lines))
        else:
            self._new.setdefault(section, []).append(lines)

    def set(self, section: str, name: str, value: str, *, is_list: bool = False) -> None:
        """Set an option: one more line of a list, or instead of another value, which is commented out."""
        self.touched.add((section, name))
        now = self.values.get(section, {}).get(name)
        there = next((each for each in self.statements if each.section == section and name in each.values), None)
        if now is None or there is None:
            self.put(section, f"{name} = {value}")
        elif is_list and value not in now.split():
            self.add(there.stop, f"{there.indent}    {value}")
        elif not is_list and value != now:
            self.add(there.start, f"{there.indent}{name} = {value}")
            self.mute(there.start, there.stop)

    def finish(self) -> IniEdit:
        """Return the edit with the new sections. Raise Unreadable if it would change something else."""
        for section, (first, *more) in self._new.items():
            self.append(f"[{section}]", *first)
            for lines in more:
                self.add(len(self.body.lines), *lines)
        return self.proven()
