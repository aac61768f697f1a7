"""Read an index's pages and volume, and compare them."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import random
import shutil
import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from html.parser import HTMLParser
from pathlib import Path
from typing import TypeVar
from urllib.parse import unquote, urljoin

import requests

from ppmctl.index import verify
from ppmctl.index.layout import Volume
from ppmctl.index.store import Store
from support.servers import JSON, Server

HTML = "application/vnd.pypi.simple.v1+html"
Result = TypeVar("Result")
_KEPT_HIDDEN = frozenset({".lock", ".status"})


def seed() -> int:
    """Return the seed of a random test: PPM_TEST_SEED, or a new one; printed, so that a failure can be reproduced."""
    chosen = int(os.environ.get("PPM_TEST_SEED") or random.SystemRandom().randrange(1 << 32))
    print(f"PPM_TEST_SEED={chosen}")
    return chosen


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def until(condition: Callable[[], object], what: str, *, seconds: float = 180) -> None:
    """Wait until `condition` holds; after `seconds` fail with `what` in the message."""
    patience = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < patience, f"never came about: {what}"
        time.sleep(0.01)


def at_once(works: Collection[Callable[[], Result]]) -> list[Result]:
    """Run all of `works` at the same moment; return their results."""
    start = threading.Barrier(len(works))

    def run(work: Callable[[], Result]) -> Result:
        start.wait(timeout=60)
        return work()

    with ThreadPoolExecutor(len(works)) as pool:
        return list(pool.map(run, works))


def remove_tree(folder: Path) -> None:
    """Remove a folder in which a running server makes and removes files at the same time."""
    for _attempt in range(100):
        shutil.rmtree(folder, ignore_errors=True)
        if not folder.exists():
            return
    shutil.rmtree(folder)


def is_waited_for(lock: Path) -> bool:
    """Return whether a process waits for the lock on this file, which another holds (proc_locks(5))."""
    waiting = [line.split() for line in Path("/proc/locks").read_text().splitlines() if " -> " in line]
    return lock.exists() and any(words[-3].endswith(f":{lock.stat().st_ino}") for words in waiting)


def wait_for_locks_of_killed(root: Path, *, living: Collection[Server] = ()) -> None:
    """Wait until only `living` servers lock folders in incoming/: a killed one may still wait for the disk."""
    groups = {server.process.pid for server in living}

    def held(lock: Path) -> bool:
        with contextlib.suppress(ProcessLookupError):
            if os.getpgid(int(lock.parent.name.partition("-")[0])) in groups:
                return False
        with lock.open() as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
        return False

    locks = list((root / "incoming").glob("*/.lock"))
    until(lambda: not any(held(lock) for lock in locks), "an end of the processes that were killed")


class _Links(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.hrefs: list[str] = []
        self.closed = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "a":
            self.hrefs.append(dict(attrs)["href"] or "")

    def handle_endtag(self, tag: str) -> None:
        self.closed = self.closed or tag == "html"


def listed_in(form: str, answer: requests.Response) -> dict[str, str]:
    """Return the URLs that a project's page lists, each with its sha256; fail if the page does not parse."""
    assert answer.status_code == 200, f"{answer.url}: {answer.status_code} {answer.text[:300]}"
    if form == JSON:
        page = json.loads(answer.content)
        return {urljoin(answer.url, file["url"]): file["hashes"]["sha256"] for file in page["files"]}
    parser = _Links()
    parser.feed(answer.content.decode())
    parser.close()
    assert parser.closed, f"{answer.url}: half a page: {answer.text[-100:]}"
    return dict(urljoin(answer.url, href).split("#sha256=") for href in parser.hrefs)


def listing(server: Server, project: str, *, settled: bool = True) -> dict[str, str]:
    """Return the files of a project's pages, filename → sha256; {} if the index has no such project.

    Both forms must be equal; while the project changes (not `settled`), return the files that both list.
    """
    forms = []
    for form in (JSON, HTML):
        answer = server.get(f"/simple/{project}/", headers={"Accept": form})
        links = {} if answer.status_code == 404 else listed_in(form, answer)
        forms.append({unquote(url.rpartition("/")[2]): digest for url, digest in links.items()})
    in_json, in_html = forms
    if not settled:
        return dict(in_json.items() & in_html.items())
    assert in_json == in_html, f"{project}: JSON and HTML differ"
    return in_json


def served(server: Server, project: str, filename: str) -> bytes:
    """Return a file's content, downloaded from the index."""
    answer = server.get(f"/packages/{project}/{filename}")
    assert answer.status_code == 200, f"{filename}: {answer.status_code} {answer.text[:300]}"
    return answer.content


def leftovers(root: Path) -> list[str]:
    """Return what should not be there when no change runs: partial and hidden files, marks, empty project folders."""
    paths = []
    for top in ("packages", "index", "drop", "incoming", "credentials"):
        for folder, folders, names in os.walk(root / top):
            below = Path(folder)
            paths += [below / name for name in (*folders, *names) if name[0] == "." and name not in _KEPT_HIDDEN]
            if top == "incoming" or below.name == "pending":
                paths += [below / name for name in names if name != ".lock"]
            if top == "packages" and below.parent.name == top and not (folders or names):
                paths.append(below)
    return sorted({str(path.relative_to(root)) for path in paths})


def nothing_is_left(root: Path) -> None:
    """Wait until no change is running on the volume; fail with the leftovers."""
    patience = time.monotonic() + 30
    while remaining := leftovers(root):
        assert time.monotonic() < patience, f"this stays: {', '.join(remaining)}"
        time.sleep(0.02)


def agrees(root: Path, *, hashes: bool = True, searches: bool = True) -> None:
    """Assert that the checks of `ppmctl index check` find nothing: pages, records and hashes match the folders.

    Without `searches` the search index may be behind, as on a full disk, and after a kill until the next start.
    """
    differences = list(verify.check(Store(Volume(root=root)), hashes=hashes, searches=searches))
    assert not differences, differences


@contextmanager
def readers(
    servers: Sequence[Server], projects: Callable[[], Collection[str]], *, threads: int = 2
) -> Iterator[None]:
    """During the block, read the pages of `projects` in both forms, also compressed, and each linked file.

    Each request is made once, on a new connection. The first one that fails, or whose answer does not parse or has
    another hash, fails the test at the end.
    """
    over = threading.Event()
    fetched: set[str] = set()

    def read(number: int) -> None:
        chance = random.Random(number)
        digests: dict[str, str] = {}
        shown: set[str] = set()
        while not over.is_set():
            for project in list(projects()):
                server, form = chance.choice(servers), chance.choice((JSON, HTML))
                accept = {"Accept": form, "Accept-Encoding": chance.choice(("gzip", "identity"))}
                answer = server.get(f"/simple/{project}/", headers=accept)
                if answer.status_code == 404 and project not in shown:
                    continue  # not published yet
                shown.add(project)
                for url, digest in listed_in(form, answer).items():
                    path = url.partition("/packages/")[2]
                    assert digests.setdefault(path, digest) == digest, f"{url}: another hash"
                    if path not in fetched or chance.random() < 0.1:
                        linked = requests.get(url, auth=server.auth, timeout=60)
                        assert linked.status_code == 200, f"{url}: {linked.status_code} {linked.text[:300]}"
                        assert sha256(linked.content) == digest, f"{url}: other content than its page says"
                        fetched.add(path)

    with ThreadPoolExecutor(threads) as pool:
        under_way = [pool.submit(read, number) for number in range(threads)]
        try:
            yield
        finally:
            over.set()
    for done in under_way:
        done.result()
    assert fetched, "the readers came to read nothing"
