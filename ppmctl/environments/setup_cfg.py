"""Read the requirements in a setup.cfg of setuptools."""

from __future__ import annotations

import configparser
from collections.abc import Sequence

from ppmctl.distributions.distribution import normalise, one_line
from ppmctl.environments.imported import Imported, Lines, listed
from ppmctl.environments.source import Source
from ppmctl.errors import UsageError
from ppmctl.secret import masked

_EXTRAS = "options.extras_require"


def read(source: Source, extras: Sequence[str]) -> Imported:
    """Return what `install_requires` and the `extras` of the file require. Raise UsageError."""
    text = source.text()
    values = configparser.RawConfigParser()
    try:
        values.read_string(text)
    except configparser.Error as exc:
        raise UsageError(f"{source} can't be read: {one_line(masked(str(exc)))}.") from exc
    imported, lines = Imported(name=normalise(values.get("metadata", "name", fallback=""))), Lines(source, text)
    optional = dict(values[_EXTRAS]) if values.has_section(_EXTRAS) else {}
    by_name = {normalise(name): texts for name, texts in optional.items()}
    texts = [values.get("options", "install_requires", fallback="")]
    for extra in extras:
        if normalise(extra) not in by_name:
            known = listed(by_name)
            raise UsageError(f"{source} has no extra {extra!r}.", hint=f"It has: {known}." if known else "")
        texts.append(by_name[normalise(extra)])
    if not values.has_option("options", "install_requires") and not extras:
        raise UsageError(f"{source} has no install_requires.", hint="Import the file that has the requirements.")
    for entry in (entry for each in texts for entry in _entries(each)):
        where = lines.where(entry)
        if entry.startswith("file:"):
            imported.leave(entry, where, "it names other files: import those.")
        elif (requirement := imported.take(entry, where)) is not None:
            imported.requirements.append(requirement)
    if left := set(by_name) - {normalise(extra) for extra in extras}:
        imported.notes.append(f"The extras {listed(left)} were left out (--extra NAME).")
    return imported


def _entries(text: str) -> list[str]:
    """Return the entries of a list: one a line, or separated by semicolons if it is one line."""
    entries = text.splitlines() if "\n" in text else text.split(";")
    return [entry.strip() for entry in entries if entry.strip() and not entry.strip().startswith("#")]
