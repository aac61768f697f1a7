"""Look at what an index does with an upload and with a reader, besides being fast."""

from __future__ import annotations

import contextlib
import re
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

from bench import workloads
from bench.indexes import Index
from bench.workloads import Upload

TIMES = 5
_CALLS = "fsync,fdatasync,sync,syncfs,rename,renameat,renameat2,link,linkat,openat,creat"
_LINE = re.compile(r"^(\d+) +(\d+\.\d+) (?:<\.\.\. )?(\w+)(.*)$")
_QUOTED = re.compile(r'"([^"]*)"')
_DESCRIPTOR = re.compile(r"^\(\d+<([^>]*)>")

FILE = "the file is synced before the 200"
NAME = "its name in the folder, too"
SHOWN = "the page shows it at the 200"
READERS = "reads need a credential"
METADATA = "metadata of wheels (PEP 658)"
TLS = "TLS of its own"
ALL = (FILE, NAME, SHOWN, READERS, METADATA, TLS)

Promises = dict[str, bool | None]  # None: it could not be found out


def look(index: Index, project: str) -> Promises:
    """Return what an index does, as it is set up here; `project` exists."""
    found: Promises = dict.fromkeys(ALL)
    page = f"{index.simple}{project}/{index.page}"
    found[READERS] = index.get(page, {"Accept": index.reading()["Accept"]})[0] == 401
    _status, content_type, content = index.get(page)
    link = workloads.links(page, content_type, content)[0]
    found[METADATA] = link.has_metadata and index.get(link.path + ".metadata")[0] == 200
    found[TLS] = index.has_tls or index.can_tls
    if index.takes_uploads:
        found[SHOWN] = all(_is_shown(index, number) for number in range(TIMES))
        found[FILE], found[NAME] = _synced(index)
    return found


def _is_shown(index: Index, number: int) -> bool:
    upload = workloads.upload_of("shown", f"1.{number}")
    with contextlib.closing(index.connect()) as connection:
        workloads.post(index, connection, upload)
    return upload.filename.encode() in index.get(f"{index.simple}shown/{index.page}")[2]


def _synced(index: Index) -> tuple[bool | None, bool | None]:
    """Upload under strace; return (None, None) where there is none, or it may not look."""
    if shutil.which("strace") is None:
        return None, None
    with tempfile.TemporaryDirectory(prefix="ppm-bench-") as work:
        trace = Path(work) / "trace"
        pids = index.processes()
        command = ["strace", "-f", "-ttt", "-y", "-s", "0", "-e", f"trace={_CALLS}", "-e", "signal=none"]
        command += ["-o", str(trace), *(part for pid in pids for part in ("-p", str(pid)))]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
            try:
                assert process.stderr is not None  # nosec B101 # for mypy
                attached = 0
                while attached < len(pids):
                    line = process.stderr.readline()
                    if not line or "Operation not permitted" in line:
                        return None, None
                    attached += "attached" in line
                upload = workloads.upload_of("traced", "1.0")
                with contextlib.closing(index.connect()) as connection:
                    workloads.post(index, connection, upload)
                answered = time.time()
            finally:
                process.terminate()
        files = [path for path in index.folder.rglob("*") if _is_content(path, upload)]
        found = [synced(trace.read_text(errors="replace"), path, answered) for path in files]
    return (any(file for file, _name in found), any(name for _file, name in found)) if found else (None, None)


def _is_content(path: Path, upload: Upload) -> bool:
    size = len(upload.content)
    return path.is_file() and path.stat().st_size == size and path.read_bytes() == upload.content


def synced(trace: str, stored: Path, answered: float) -> tuple[bool, bool]:
    """Return whether a stored file and, after it got its name, its folder were synced before the answer.

    `trace` is strace's output with times (-ttt) and paths of descriptors (-y).
    """
    calls = _finished(trace, answered)
    names, named = {stored.name}, 0.0
    for time_of, call, arguments in reversed(calls):
        paths = [Path(path).name for path in _QUOTED.findall(arguments)]
        if call.startswith(("rename", "link")) and paths[-1] in names:
            names.add(paths[0])
            named = max(named, time_of)
    file = name = False
    for time_of, call, arguments in calls:
        path = _DESCRIPTOR.match(arguments)
        everything = call in ("sync", "syncfs")
        if "sync" not in call:
            continue
        file |= (everything and time_of > named) or (path is not None and Path(path[1]).name in names)
        is_folder = path is not None and path[1].rstrip("/") == str(stored.parent)
        name |= time_of > named and (everything or is_folder)
    return file, name


def _finished(trace: str, answered: float) -> list[tuple[float, str, str]]:
    """Return the calls that ended before the answer, with their time, name and arguments."""
    calls, begun = [], {}
    for thread, time_of, call, rest in (match.groups() for match in map(_LINE.match, trace.splitlines()) if match):
        if rest.endswith("<unfinished ...>"):
            begun[thread] = rest
            continue
        arguments = begun.pop(thread, rest) if rest.startswith(" resumed>") else rest
        if float(time_of) < answered and " = -1 " not in rest:
            calls.append((float(time_of), call, arguments))
    return calls
