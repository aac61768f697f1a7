"""Write `credentials/nginx/`: nginx's copy of htpasswd, in 100 parts.

nginx reads the whole file of `auth_basic_user_file` for each request; with 10,000 lines that costs several times as
much as the rest of a page. `split_clients` tells nginx which part has a name. Wrong parts are written again.

A credential that may read only some projects is in no part, so nginx sends it nothing from disk. Its line is in
`credentials/nginx-limited/NAME`: nginx authenticates it with this file, and passes its requests to the application.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from ppmctl import files
from ppmctl.access import htpasswd
from ppmctl.access.htpasswd import Line
from ppmctl.index.layout import Volume

PARTS = 100

_MODE = 0o640
_SHARE = 0xFFFFFFFF * 100 // 10000  # one percent of the hashes, as nginx computes it
_WORD = 0xFFFFFFFF


def part_of(name: str) -> int:
    """Return the part that nginx reads for `name`: `split_clients` with equal percentages; the last has the rest."""
    return min(_murmur2(name.encode()) // _SHARE, PARTS - 1)


def split(lines: Iterable[Line]) -> list[str]:
    """Return the text of each part, with these lines."""
    parts = [""] * PARTS
    for line in lines:
        parts[part_of(line.name)] += f"{line.text}\n"
    return parts


def remove_lines(volume: Volume, parts: list[str]) -> None:
    """Remove the lines that `parts` do not have, and add none. Raise OSError if a part can't be written."""
    files.drop_temporaries(volume.parts)
    for path, text in zip(paths(volume), parts, strict=True):
        before = htpasswd.read(path)
        if before is not None and before != text:
            staying = set(text.splitlines(keepends=True))
            _put(path, before, "".join(line for line in before.splitlines(keepends=True) if line in staying))


def write(volume: Volume, parts: list[str]) -> None:
    """Write all parts: nginx answers 403 if one is missing. Raise OSError if a part can't be written."""
    volume.parts.mkdir(mode=0o750, exist_ok=True)
    for path, text in zip(paths(volume), parts, strict=True):
        _put(path, htpasswd.read(path), text)


def write_limited(volume: Volume, lines: Mapping[str, str]) -> None:
    """Write the files of credentials with limited reads: each name's line. Raise OSError if one can't be written.

    Call it before their lines are removed from the parts, so that the credentials work all the time.
    """
    if lines or volume.limited.is_dir():
        volume.limited.mkdir(mode=0o750, exist_ok=True)
        files.drop_temporaries(volume.limited)
    for name, text in lines.items():
        path = volume.limited / name
        _put(path, htpasswd.read(path), text)


def remove_limited(volume: Volume, staying: Iterable[str]) -> None:
    """Remove the files of all other credentials.

    Call it last: while a file is there, the application decides about each request of the credential.
    """
    if volume.limited.is_dir():
        for name in set(os.listdir(volume.limited)).difference(staying):
            (volume.limited / name).unlink(missing_ok=True)


def paths(volume: Volume) -> list[Path]:
    """Return the paths of all parts."""
    return [volume.parts / f"{number:02d}" for number in range(PARTS)]


def _put(path: Path, before: str | None, text: str) -> None:
    if before != text:
        content = text.encode(errors="surrogateescape")
        files.write_atomic(path, content, mode=_MODE, sync=bool(content or before))


def _murmur2(data: bytes) -> int:
    """Return the 32-bit MurmurHash2 as nginx computes it (ngx_murmur_hash2): seed 0, little-endian words."""
    value = len(data)
    whole = len(data) & ~3
    for start in range(0, whole, 4):
        word = int.from_bytes(data[start : start + 4], "little") * 0x5BD1E995 & _WORD
        word = (word ^ word >> 24) * 0x5BD1E995 & _WORD
        value = value * 0x5BD1E995 & _WORD ^ word
    if rest := data[whole:]:
        value = (value ^ int.from_bytes(rest, "little")) * 0x5BD1E995 & _WORD
    value = (value ^ value >> 13) * 0x5BD1E995 & _WORD
    return value ^ value >> 15
