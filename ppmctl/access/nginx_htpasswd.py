"""`credentials/nginx/`: who may read right now, in parts that nginx looks into.

nginx goes through the whole file of `auth_basic_user_file` for each request; with 10,000 lines that is several times
what a page costs otherwise. Each part has a hundredth of the names, and nginx knows which by its own `split_clients`.
The parts follow from htpasswd and access.yml, and are made again where they don't.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path

from ppmctl import files
from ppmctl.access.htpasswd import Line
from ppmctl.index.layout import Volume

PARTS = 100

_MODE = 0o640
_SHARE = 0xFFFFFFFF * 100 // 10000  # of the hashes: how nginx counts one percent
_WORD = 0xFFFFFFFF


def part_of(name: str) -> int:
    """The part that nginx looks for `name` in: `split_clients` by equal percentages, the last one taking the rest."""
    return min(_murmur2(name.encode()) // _SHARE, PARTS - 1)


def divided(lines: Iterable[Line]) -> list[str]:
    """The text of each part, those lines being what lets in."""
    texts: Mapping[int, list[str]] = defaultdict(list)
    for line in lines:
        texts[part_of(line.name)].append(f"{line.text}\n")
    return ["".join(texts[number]) if number in texts else "" for number in range(PARTS)]


def narrow(volume: Volume, wanted: list[str]) -> None:
    """Take out what is not `wanted`, and add nothing. OSError where that can't be done."""
    files.drop_temporaries(volume.parts)
    for path, text in zip(_paths(volume), wanted, strict=True):
        there = _read(path)
        if there is not None and there != text:
            kept = set(text.splitlines(keepends=True))
            _put(path, there, "".join(line for line in there.splitlines(keepends=True) if line in kept))


def write(volume: Volume, wanted: list[str]) -> None:
    """Have all parts as `wanted`: nginx answers 403 where one is missing. OSError where that can't be done."""
    volume.parts.mkdir(mode=0o750, exist_ok=True)
    for path, text in zip(_paths(volume), wanted, strict=True):
        _put(path, _read(path), text)


def _paths(volume: Volume) -> list[Path]:
    return [volume.parts / f"{number:02d}" for number in range(PARTS)]


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8", errors="surrogateescape")
    except FileNotFoundError:
        return None


def _put(path: Path, there: str | None, text: str) -> None:
    if there != text:
        content = text.encode(errors="surrogateescape")
        files.write_atomic(path, content, mode=_MODE, sync=bool(content or there))


def _murmur2(data: bytes) -> int:
    """MurmurHash2 in 32 bits as nginx has it (ngx_murmur_hash2): its seed is 0, words are little-endian."""
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
