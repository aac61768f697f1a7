"""Pages of the audit log: each entry once, newest first, at a cost that does not grow with the log."""

from __future__ import annotations

import gzip
import json
import os
from datetime import UTC, datetime, timedelta
from itertools import chain

import pytest

from ppmctl import files
from ppmctl.access import audit_log, audit_pages
from ppmctl.access.audit_query import Selection
from ppmctl.errors import UsageError
from ppmctl.index.layout import Volume


def write(volume: Volume, *whats: str, action: str = "user add", by: str = "ann", result: str = "done") -> None:
    for what in whats:
        audit_log.write(volume, action=action, by=by, origin="192.0.2.1", what=what, result=result)


def pages(volume: Volume, selection: Selection | None = None, *, limit: int = 3, **options: int) -> list[list[str]]:
    """Return what all pages have, one after the other."""
    read, before = [], ""
    while True:
        page = audit_pages.read(volume, selection or Selection(), limit=limit, before=before, **options)
        read.append([entry.what for entry in page.entries])
        before = page.before
        if not before:
            return read


def flat(read: list[list[str]]) -> list[str]:
    return list(chain.from_iterable(read))


def test_each_entry_is_on_one_page_newest_first(volume: Volume, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_pages, "_BLOCK", 300)  # less than two lines
    assert pages(volume) == [[]]
    names = [f"n{number:02}" + "x" * (number % 4 * 60) for number in range(20)]
    write(volume, *names)
    assert flat(pages(volume)) == names[::-1]
    assert [len(page) for page in pages(volume, limit=7)] == [7, 7, 6]


def test_a_page_continues_after_new_lines_and_a_rotation(volume: Volume) -> None:
    write(volume, "a", "b", "c")
    first = audit_pages.read(volume, Selection(), limit=1)
    rotated = volume.audit.with_name("audit.jsonl.1")
    volume.audit.rename(rotated)
    os.utime(rotated, (1, 1))
    write(volume, "d", "e")
    older = audit_pages.read(volume, Selection(), limit=5, before=first.before)
    assert [entry.what for entry in (*first.entries, *older.entries)] == ["c", "b", "a"]
    assert flat(pages(volume)) == ["e", "d", "c", "b", "a"]
    rotated.with_name("audit.jsonl.2.gz").write_bytes(gzip.compress(rotated.read_bytes()))
    rotated.unlink()
    assert flat(pages(volume)) == ["e", "d"]
    with pytest.raises(UsageError, match="is gone"):
        audit_pages.read(volume, Selection(), limit=5, before=first.before)
    with pytest.raises(UsageError, match="no place"):
        audit_pages.read(volume, Selection(), limit=5, before="../x")


def test_each_filter_selects(volume: Volume) -> None:
    write(volume, "bob as reader")
    write(volume, "acme_lib-1.0-py3-none-any.whl", action="publish", by="bob+ci")
    write(volume, "acme-lib archived", action="status", by="carl", result="not allowed")
    assert pages(volume, Selection(user="bob")) == [["acme_lib-1.0-py3-none-any.whl", "bob as reader"]]
    assert pages(volume, Selection(project="acme-lib")) == [["acme-lib archived", "acme_lib-1.0-py3-none-any.whl"]]
    assert pages(volume, Selection(action="publish")) == [["acme_lib-1.0-py3-none-any.whl"]]
    assert pages(volume, Selection(is_done=False)) == [["acme-lib archived"]]
    assert pages(volume, Selection(since=datetime(2999, 1, 1, tzinfo=UTC))) == [[]]


def test_a_page_reads_no_more_than_its_limit(volume: Volume) -> None:
    write(volume, "wanted")
    write(volume, *(f"n{number}" for number in range(50)))
    selection = Selection(user="wanted")
    page = audit_pages.read(volume, selection, limit=5, max_read=1000)
    assert (page.entries, bool(page.before)) == ((), True)
    found = pages(volume, selection, limit=5, max_read=1000)
    assert len(found) > 5
    assert flat(found) == ["wanted"]


def test_old_lines_of_other_nodes_hide_no_newer_ones(volume: Volume) -> None:
    """A new node takes over the audit of the others a part at a time."""
    now = datetime.now(UTC)
    for node, what, days in (("", "own", 9), ("a", "wanted", 1), ("b", "old", 8), ("a", "newest", 0)):
        line = {"time": (now - timedelta(days=days)).isoformat(), "what": what, "action": "user add", "by": "ann"}
        files.append(volume.audit, json.dumps(line | ({"node": node} if node else {})).encode() + b"\n")
    write(volume, "now")
    since = Selection(since=now - timedelta(days=2))
    assert pages(volume, since, limit=5) == [["now", "newest", "wanted"]]
