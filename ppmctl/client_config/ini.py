"""Edit files of sections and options that configparser reads (pip.conf, .pypirc), as text."""

from __future__ import annotations

import configparser
import re
from collections.abc import Callable, Collection
from dataclasses import replace

from ppmctl.client_config.lines import Add, Body, Edit, Statement, Unreadable, find, has_content, is_header

Values = dict[str, dict[str, str]]


class _Parser(configparser.RawConfigParser):
    def __init__(self, normal: Callable[[str], str]) -> None:
        super().__init__(default_section="\0")
        self._normal = normal

    def optionxform(self, optionstr: str) -> str:
        return self._normal(optionstr)


class IniEdit(Edit):
    """An edit of a file that its program can read; `values` are those that the program sees."""

    def __init__(self, body: Body) -> None:
        super().__init__(body)
        self.values = self.parse(body)
        self._new: dict[str, list[tuple[str, ...]]] = {}

    @staticmethod
    def normal(name: str) -> str:
        """Return the name of an option in the program's form."""
        return name.lower()

    @classmethod
    def parse(cls, body: Body) -> Values:
        """Return all options by section and name; DEFAULT is an ordinary section.

        Raise Unreadable with the line where the program would stop.
        """
        parser = _Parser(cls.normal)
        try:
            parser.read_string(body.plain)
        except (configparser.DuplicateSectionError, configparser.DuplicateOptionError) as exc:
            raise Unreadable("this stands there twice, which its client rejects.", line=exc.lineno) from None
        except configparser.MissingSectionHeaderError as exc:
            raise Unreadable("there is no [section] before it.", line=exc.lineno) from None
        except configparser.ParsingError as exc:
            raise Unreadable("it is neither a [section] nor name = value.", line=exc.errors[0][0]) from None
        except (configparser.Error, AttributeError) as exc:
            raise Unreadable(f"configparser can't read it ({type(exc).__name__}).") from None
        return {section: dict(parser.items(section)) for section in parser.sections()}

    @classmethod
    def scan(cls, body: Body) -> list[Statement]:
        """Return the options and headers by configparser's rules: a line that is indented more continues a value."""
        values = cls.parse(body)
        statements: list[Statement] = []
        for number, text in enumerate(body.texts):
            if not has_content(text):
                continue
            indent = text[: len(text) - len(text.lstrip())]
            last = statements[-1] if statements else Statement(start=0, stop=0, section="")
            if last.values and len(indent) > len(last.indent):
                statements[-1] = replace(last, stop=number + 1)
                continue
            if header := re.match(r"\[(.+)\]", text.strip()):
                statements.append(Statement(start=number, stop=number + 1, section=header[1]))
                continue
            name = cls.normal(re.split(r"[=:]", text.strip(), maxsplit=1)[0].rstrip())
            value = {name: values.get(last.section, {}).get(name)}
            statements.append(
                Statement(start=number, stop=number + 1, section=last.section, values=value, indent=indent)
            )
        seen = {(each.section, name) for each in statements for name in each.values}
        if seen != {(section, name) for section, options in values.items() for name in options}:
            raise Unreadable("its sections are ambiguous.", hint="Edit it by hand.")
        return statements

    @classmethod
    def check(cls, body: Body) -> None:
        """Raise Unreadable where the program would stop."""
        cls.parse(body)

    @classmethod
    def lines_of(cls, body: Body, added: Add) -> Collection[int]:
        """Return the lines of `added`, together or else one by one; a header stays if others put options below it."""
        single = [find(body, Add(at=added.at, texts=(text,))) for text in added.texts if text.strip()]
        ours = set(find(body, added)) or {number for each in single for number in each}
        header = next((number for number in ours if is_header(body.texts[number])), None)
        if header is not None:
            below = [text for at, text in enumerate(body.texts) if at > header and at not in ours]
            if not is_header(next(filter(has_content, below), "[")):
                return {number for number in ours if number > header}
        return ours

    def put(self, section: str, *lines: str) -> None:
        """Put lines after the last option of a section; a missing section is made at the end of the file."""
        options = [each for each in self.statements if each.section == section]
        if options:
            self.add(options[-1].stop, *(options[-1].indent + line for line in lines))
        else:
            self._new.setdefault(section, []).append(lines)

    def set(self, section: str, name: str, value: str, *, is_list: bool = False) -> None:
        """Set an option: add a line to a list, or replace another value, which is commented out."""
        self.touched.add((section, name))
        now = self.values.get(section, {}).get(name)
        option = next((each for each in self.statements if each.section == section and name in each.values), None)
        if now is None or option is None:
            self.put(section, f"{name} = {value}")
        elif is_list and value not in now.split():
            self.add(option.stop, f"{option.indent}    {value}")
        elif not is_list and value != now:
            self.add(option.start, f"{option.indent}{name} = {value}")
            self.comment_out(option.start, option.stop)

    def finish(self) -> IniEdit:
        """Return the edit with the new sections. Raise Unreadable if it would change something else."""
        for section, (first, *more) in self._new.items():
            self.append(f"[{section}]", *first)
            for lines in more:
                self.add(len(self.body.lines), *lines)
        return self.verified()
