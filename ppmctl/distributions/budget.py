"""What a file that a stranger made may cost. The limits of archives and metadata are here and nowhere else.

`inspection` adds limits of processor time and memory, for what these limits do not cover.
"""

from __future__ import annotations

import re

from ppmctl.errors import InvalidDistribution

MAX_MEMBERS = 100_000  # of an archive; wheels of generated clients have up to 60,000
MAX_PATH = 1024  # bytes, of a member's path
MAX_DEPTH = 64  # components, of a member's path
# An archive that grows by more than this factor, and beyond BOMB_FLOOR bytes, counts as a decompression bomb.
BOMB_RATIO = 50
BOMB_FLOOR = 64 << 20
MAX_TAR_HEADER = 64 << 10  # bytes; of each extended header in a tar archive, which tarfile reads as a whole

MAX_METADATA = 1 << 20  # bytes, of METADATA or PKG-INFO
MAX_FIELD_NAMES = 100  # different names of fields in the metadata, whose parser takes quadratic time; about 40 exist
MAX_FIELDS = 10_000  # in the metadata; generated packages have some hundred
MAX_REQUIRES_PYTHON = 300  # characters

# For a file of any size, and for each of its megabytes.
CPU_SECONDS = 10
CPU_SECONDS_PER_MB = 0.2
MAX_MEMORY = 256 << 20  # bytes, in addition to the memory of an empty reader
MAX_SECONDS = 300  # of waiting for a reader; the disk may be slow, so this says nothing about the file
MAX_ANSWER = 8 << 20  # bytes, of a reader's answer
MAX_MESSAGE = 2000  # characters, of a message in it

_LEAVES_ROOT = re.compile(r"\0|^[/\\]|^[A-Za-z]:|(?:^|[/\\])\.\.(?:[/\\]|$)")
_FIELD = re.compile(rb"[!-9;-~]+(?=\s*:)")


def cpu_seconds(size: int) -> int:
    """Return the limit of processor time, in seconds, for reading a file of `size` bytes."""
    return CPU_SECONDS + int(size / (1 << 20) * CPU_SECONDS_PER_MB)


class ArchiveBudget:
    """Counts what is read of an archive of `packed` bytes. InvalidDistribution is raised over a limit."""

    def __init__(self, packed: int) -> None:
        self._allowed = max(BOMB_FLOOR, BOMB_RATIO * packed)
        self._members = 0

    def count_member(self, name: str) -> None:
        """Count a member of the archive, and check its path: below the root, and not too long."""
        self._members += 1
        self.require_members(self._members)
        if len(name.encode(errors="surrogatepass")) > MAX_PATH or name.count("/") > MAX_DEPTH:
            limits = f"{MAX_PATH} bytes and {MAX_DEPTH} folders"
            raise InvalidDistribution(f"the path of its member {shown(name)} is longer than {limits}.")
        if leaves_root(name):
            raise InvalidDistribution(f"its member {shown(name)} would leave the folder that it is unpacked into.")

    def require_members(self, count: int) -> None:
        """Raise InvalidDistribution if the archive has so many members, or says so."""
        if count > MAX_MEMBERS:
            raise InvalidDistribution(f"it has more than {MAX_MEMBERS} members.")

    def require_folders(self, count: int) -> None:
        """Raise InvalidDistribution if the members of the archive are in that many different folders."""
        if count > MAX_MEMBERS:
            raise InvalidDistribution(f"its members are in more than {MAX_MEMBERS} folders.")

    def require_size(self, unpacked: int) -> None:
        """Raise InvalidDistribution if it unpacks to at least `unpacked` bytes, and this is too much."""
        if unpacked > self._allowed:
            raise InvalidDistribution(
                f"it unpacks to more than {BOMB_RATIO} times its size, which is what a decompression bomb does."
            )


def shown(name: str) -> str:
    """Return a member's name as part of a message."""
    return repr(name[:200])


def leaves_root(path: str) -> bool:
    """Return whether a member or link target of this path can be outside of the folder that it is unpacked into.

    A backslash is a part of a name, or on Windows a separator: neither way may leave it.
    """
    return _LEAVES_ROOT.search(path) is not None


def require_plain_fields(metadata: bytes) -> None:
    """Raise ValueError for metadata that is slow to parse: with too many fields or names, or nested as an e-mail."""
    names: set[bytes] = set()
    fields = 0
    for number, line in enumerate(re.split(rb"\r\n|\r|\n", metadata), 1):
        if line.startswith((b" ", b"\t")):
            continue  # a field goes on
        if line.startswith((b":", b"From ")):  # the parser of e-mails would read on behind these
            raise ValueError(f"line {number} has no field's name")
        field = _FIELD.match(line)
        if field is None:
            return  # the description starts
        name = field[0].lower()
        if name.startswith(b"content-"):
            raise ValueError(f"it has the field {field[0].decode()} of e-mails")
        names.add(name)
        fields += 1
        if fields > MAX_FIELDS:
            raise ValueError(f"it has more than {MAX_FIELDS} fields")
        if len(names) > MAX_FIELD_NAMES:
            raise ValueError(f"it has more than {MAX_FIELD_NAMES} different fields")
