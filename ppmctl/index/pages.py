"""The pages of the Simple API 1.4 in JSON and HTML (PEP 503, 592, 629, 658, 691, 700, 714, 740, 792).

`render_*` are pure functions of a project's folder; `write_*` write their results to `index/simple/`.
"""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import re
import shutil
import time
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any, TypeVar

from ppmctl import files
from ppmctl.distributions.names import is_normalised
from ppmctl.exchange import exchange
from ppmctl.index import environment_files, project_folder
from ppmctl.index.layout import PROVENANCE, ROOT_MARK, ROOT_WRITING_MARK, Volume
from ppmctl.index.project_folder import Folder, StoredFile
from ppmctl.storage import names as shared_names

T = TypeVar("T")

API_VERSION = "1.4"
_META = {"api-version": API_VERSION, "_last-serial": 0}
JSON_PAGE = "index.json"
HTML_PAGE = "index.html"
PACKED = ".gz"
_NAMES = (JSON_PAGE, HTML_PAGE, JSON_PAGE + PACKED, HTML_PAGE + PACKED)
_SERIAL = re.compile(rb'(?<="_last-serial":)\d+')  # only the first one: a text in JSON has its quotes escaped
_SERIAL_WITHIN = 100  # bytes

_RETRY_SECONDS = 10.0  # while another process keeps deleting index/
_GZIP_FROM = 1024  # bytes; packing a smaller page saves no packet
_GZIP_LEVEL = 3  # hashes hardly shrink: level 5 takes twice the time for 6 % less


def render_project(content: Folder) -> dict[str, bytes]:
    """Return the pages of a project by file name, with the serial 0; they depend only on `content`."""
    listed = listed_files(content)
    return {JSON_PAGE: json_page(content, listed), HTML_PAGE: html_page(content, listed)}


def listed_files(content: Folder) -> tuple[StoredFile, ...]:
    """Return the files that a project's pages list."""
    return () if content.status.is_quarantined else content.files


def render_root(projects: Iterable[str]) -> dict[str, bytes]:
    """Return the pages that list all projects, as `render_project` does."""
    names = sorted(projects)
    listing = {"meta": _META, "projects": [{"name": name} for name in names]}
    links = "".join(f'    <a href="{name}/">{name}</a><br>\n' for name in names)
    return {JSON_PAGE: _json(listing), HTML_PAGE: _html("Simple index", "", links)}


def json_page(content: Folder, listed: Iterable[StoredFile]) -> bytes:
    """Return a project's page in JSON (PEP 691)."""
    return _json(page_values(content, tuple(listed)))


def page_values(content: Folder, listed: Sequence[StoredFile]) -> dict[str, Any]:
    """Return the values of a project's page in JSON."""
    page: dict[str, Any] = {
        "meta": _META,
        "name": content.project,
        "project-status": {"status": content.status.state},
        "versions": list(dict.fromkeys(file.record.version for file in listed)),
        "files": [_json_file(content.project, file) for file in listed],
    }
    if content.status.reason:
        page["project-status"]["reason"] = content.status.reason
    return page


def html_page(content: Folder, listed: Iterable[StoredFile]) -> bytes:
    """Return a project's page in HTML (PEP 503)."""
    status = f'    <meta name="pypi:project-status" content="{escape(content.status.state)}">\n'
    if content.status.reason:
        status += f'    <meta name="pypi:project-status-reason" content="{escape(content.status.reason)}">\n'
    links = "".join(_html_link(content.project, file) for file in listed)
    return _html(f"Links for {content.project}", status, links)


def write_project(volume: Volume, content: Folder, *, thorough: bool = False, second: int = 0) -> bool:
    """Write those pages of a project, and files of an environment, that differ; return whether any did.

    `thorough` also compares the files of revisions, which never change. `second` is that of the change that the pages
    show, in the cache of a bucket: pages that differ have the same serial and ETag at no two nodes.
    """
    rendered = render_project(content)
    if not second and volume.is_cache:
        second = files.changed_at(volume.head(content.project))

    def replace() -> bool:
        # written before and published after the pages are replaced: a disk that fills up now changes nothing
        with environment_files.prepared(volume, content, thorough=thorough) as publish:
            changed = _replace_pages(volume.pages(content.project), rendered, second)
            return publish() or changed

    return _retry_while_deleted(replace)


def write_root(volume: Volume) -> None:
    """Write the list of all projects, and remove its mark.

    Of two concurrent writers the one that reads last writes last. A project that is added meanwhile marks the list
    again; a crash always leaves a mark.
    """
    with files.lock(volume.root_lock):
        if volume.mark(ROOT_WRITING_MARK).exists():  # its writer died
            files.drop_temporaries(volume.simple)
        mark(volume, ROOT_WRITING_MARK)
        unmark(volume, ROOT_MARK)
        rendered = render_root(projects(volume))
        _retry_while_deleted(lambda: _replace_pages(volume.simple, rendered))
        unmark(volume, ROOT_WRITING_MARK)


def refresh(volume: Volume, project: str, *, second: int = 0) -> None:
    """Bring a project's pages in line with its folder; without one remove them. The caller holds its lock.

    `second` is as in `write_project`.
    """
    content = project_folder.read(volume, project)
    if content is not None:
        write_project(volume, content, second=second)
    else:
        shutil.rmtree(volume.pages(project), ignore_errors=True)
        environment_files.remove(volume, project)


def projects(volume: Volume) -> list[str]:
    """Return the normalised names of all projects that exist or existed.

    In the cache of a bucket these are also projects that nobody has read here.
    """
    found = local_projects(volume)
    return sorted(shared_names.copied(volume.names).union(found)) if volume.is_cache else found


def local_projects(volume: Volume) -> list[str]:
    """Return the names of the projects with a folder. Other folders are no projects."""
    with os.scandir(volume.packages) as entries:
        return [entry.name for entry in entries if is_normalised(entry.name) and entry.is_dir()]


def mark(volume: Volume, project: str) -> None:
    """Mark the pages of `project` (or with ROOT_MARK the list of projects) as possibly out of date."""
    path = volume.mark(project)

    def touch() -> None:
        try:
            path.touch()
        except FileNotFoundError:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()

    _retry_while_deleted(touch)


def unmark(volume: Volume, project: str) -> None:
    """Remove the mark: the pages are up to date."""
    volume.mark(project).unlink(missing_ok=True)


def marked(volume: Volume) -> list[str]:
    """Return what is marked: projects, and ROOT_MARK."""
    try:
        return sorted(os.listdir(volume.pending))
    except FileNotFoundError:
        return []


def root_is_marked(volume: Volume) -> bool:
    """Return whether the list of projects may be out of date, or is being written."""
    return any(name.startswith(ROOT_MARK) for name in marked(volume))


def differences(pages: Path, rendered: Mapping[str, bytes]) -> list[str]:
    """Return the names of files in `pages` that are missing, differ from `rendered`, or should not exist."""
    return [name for name in _NAMES if not _shows(pages / name, rendered[name.removesuffix(PACKED)])]


def _shows(path: Path, page: bytes) -> bool:
    """Return whether a file has this page, with any serial. The packed form of a short page has to be missing."""
    is_packed = path.name.endswith(PACKED)
    try:
        content = path.read_bytes()
        if is_packed:
            content = gzip.decompress(content)
    except (FileNotFoundError, NotADirectoryError):
        return is_packed and not _has_packed_form(page)
    except (OSError, EOFError, zlib.error):  # not packed, or damaged
        return False
    return _with_serial(content, 0) == page and not (is_packed and not _has_packed_form(page))


def last_serial(pages: Path) -> int:
    """Return the serial of a page: the second of its last change, which only grows. 0 without a page."""
    try:
        with (pages / JSON_PAGE).open("rb") as file:
            match = _SERIAL.search(file.read(_SERIAL_WITHIN))
    except (FileNotFoundError, NotADirectoryError):
        return 0
    return int(match[0]) if match else 0


def _retry_while_deleted(write: Callable[[], T]) -> T:
    """Call `write`, again if another process deletes index/ meanwhile, which is allowed at any time."""
    deadline = time.monotonic() + _RETRY_SECONDS
    while True:
        try:
            return write()
        except (FileNotFoundError, FileExistsError):  # mkdir raises the latter if the folder is just being deleted
            if time.monotonic() > deadline:
                raise


def _replace_pages(pages: Path, rendered: Mapping[str, bytes], second: int = 0) -> bool:
    if all(not _shows(pages / name, rendered[name]) for name in (JSON_PAGE, HTML_PAGE)):
        different = list(_NAMES)  # the usual case; what is packed is then not read
    else:
        different = differences(pages, rendered)
    if not different:
        return False
    if JSON_PAGE in different or JSON_PAGE + PACKED in different:  # both forms have the same serial
        different = [name for name in _NAMES if name in different or name.startswith(JSON_PAGE)]
    pages.mkdir(parents=True, exist_ok=True)
    # nginx makes the ETag of whole seconds and the size: it must differ from that of the old page
    now = second if second > 0 else int(time.time())
    mtime = max(now, 1 + max((files.changed_at(pages / name) for name in different), default=0))
    # all are written before one is replaced: a disk that fills up now changes no page
    with contextlib.ExitStack() as written:
        replacements = {
            name: written.enter_context(files.replacement(pages / name, content, mtime=mtime))
            for name in different
            if (content := _content(rendered, name, serial=mtime)) is not None
        }
        for name in different:
            if name in replacements:
                exchange(replacements[name], pages / name)
            else:
                (pages / name).unlink(missing_ok=True)
    return True


def _content(rendered: Mapping[str, bytes], name: str, *, serial: int) -> bytes | None:
    """Return what the file of this name has to have; None for the packed form of a short page."""
    page = rendered[name.removesuffix(PACKED)]
    if name.endswith(PACKED) and not _has_packed_form(page):
        return None
    page = _with_serial(page, serial)
    return _packed(page) if name.endswith(PACKED) else page


def _with_serial(page: bytes, serial: int) -> bytes:
    # a search through all of a page without a serial takes longer than making the page
    return _SERIAL.sub(b"%d" % serial, page[:_SERIAL_WITHIN], count=1) + page[_SERIAL_WITHIN:]


def packed_page(page: bytes) -> bytes | None:
    """Return a page packed by gzip; None if it is short: packing would save no packet."""
    return _packed(page) if _has_packed_form(page) else None


def _packed(page: bytes) -> bytes:
    return gzip.compress(page, compresslevel=_GZIP_LEVEL, mtime=0)


def _has_packed_form(page: bytes) -> bool:
    """Return whether a page, with the serial 0, is long enough to be packed."""
    return len(page) >= _GZIP_FROM


def _url(project: str, filename: str) -> str:
    return f"../../packages/{project}/{filename}"  # no character of a filename has to be encoded in a path


def _json_file(project: str, file: StoredFile) -> dict[str, Any]:
    record = file.record
    entry: dict[str, Any] = {
        "filename": file.filename,
        "url": _url(project, file.filename),
        "hashes": {"sha256": record.sha256},
        "size": record.size,
        "upload-time": record.upload_time,
        "yanked": file.yanked_in_json,
    }
    if record.requires_python is not None:
        entry["requires-python"] = record.requires_python
    if record.core_metadata is not None:
        # not dist-info-metadata as well: as an object that crashes pip 23.0.1, which Debian 12 ships
        entry["core-metadata"] = {"sha256": record.core_metadata}
    if file.has_provenance:
        entry["provenance"] = _url(project, file.filename + PROVENANCE)
    return entry


def _html_link(project: str, file: StoredFile) -> str:
    record = file.record
    attributes = {"href": f"{_url(project, file.filename)}#sha256={record.sha256}"}
    if record.requires_python is not None:
        attributes["data-requires-python"] = record.requires_python
    if file.yanked is not None:
        attributes["data-yanked"] = file.yanked
    if record.core_metadata is not None:
        attributes["data-core-metadata"] = f"sha256={record.core_metadata}"
        attributes["data-dist-info-metadata"] = f"sha256={record.core_metadata}"
    if file.has_provenance:
        attributes["data-provenance"] = _url(project, file.filename + PROVENANCE)
    text = " ".join(f'{name}="{escape(value)}"' for name, value in attributes.items())
    return f"    <a {text}>{escape(file.filename)}</a><br>\n"


def _json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def _html(title: str, head: str, links: str) -> bytes:
    return (
        "<!DOCTYPE html>\n"
        '<html lang="en">\n'
        "  <head>\n"
        '    <meta charset="utf-8">\n'
        f'    <meta name="pypi:repository-version" content="{API_VERSION}">\n'
        f"{head}"
        f"    <title>{title}</title>\n"
        "  </head>\n"
        "  <body>\n"
        f"    <h1>{title}</h1>\n"
        f"{links}"
        "  </body>\n"
        "</html>\n"
    ).encode()
