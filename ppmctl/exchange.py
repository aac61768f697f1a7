"""Replace a file without waiting for the disk."""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path

_AT_FDCWD, _RENAME_EXCHANGE = -100, 2  # renameat2(2)
_renameat2 = getattr(ctypes.CDLL(None), "renameat2", None)  # Linux has it


def exchange(new: Path, path: Path) -> None:
    """Give the file `new` the name `path` in one step, and the old file the name `new`, if the file system can.

    ext4 begins to write a file that replaces another one by a rename to the disk, which takes longer than to write a
    page. It does not if two files exchange their names. After a power failure such a file may be empty, so this is
    only for files that are then made again.
    """
    sys.audit("os.rename", new, path, -1, -1)  # as os.replace does
    names = (_AT_FDCWD, os.fsencode(new), _AT_FDCWD, os.fsencode(path), _RENAME_EXCHANGE)
    if _renameat2 is None or _renameat2(*names) != 0:  # also if there is no old file
        os.replace(new, path)
