"""Answer requests for files that are not on the disk of a node: fetch them from the bucket, or redirect to it."""

from __future__ import annotations

import contextlib
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as NotDone
from pathlib import Path

from werkzeug.wrappers import Request, Response

from ppmctl.errors import PpmError, Refused
from ppmctl.index import project_folder
from ppmctl.index.cache import UNKNOWN
from ppmctl.index.layout import SERVED, TOMBSTONE
from ppmctl.index.store import Store
from ppmctl.server.settings import ServerSettings
from ppmctl.storage import keys
from ppmctl.storage.bucket import Unavailable

_LARGE = 8 << 20  # bytes; smaller files are never redirected
_URL_WORKS = 300  # seconds
_PATIENCE = 10.0  # seconds that a request waits for a file, less than an installer waits for an answer
_DOWNLOADS = 16  # at the same time


class BucketFiles:
    """The files of one index in its bucket. Each is fetched once for all requests that ask for it meanwhile."""

    def __init__(self, settings: ServerSettings, store: Store, *, patience: float = _PATIENCE) -> None:
        self._store = store
        self._mirror = store.cache.mirror
        self._redirects = settings.storage_redirect
        self._patience = patience
        self._guard = threading.Lock()
        self._pool: ThreadPoolExecutor | None = None
        self._running: dict[tuple[str, str], Future[Path]] = {}
        # so that requests that wait for large files leave threads for others
        self._waiting = threading.BoundedSemaphore(max(settings.threads // 2, 1))

    def answer(self, request: Request, project: str, filename: str, *, kind: str) -> Response | None:
        """Return a redirect, or the answer to HEAD; None when the file is on the disk.

        Raise FileNotFoundError if the index does not have it. Refused: 503 if it can't be fetched, or takes longer.
        """
        volume = self._store.volume
        owner = filename.removesuffix(next(filter(filename.endswith, SERVED), ""))
        record = project_folder.read_record(volume, project, owner)
        is_removed = volume.side_file(project, owner, TOMBSTONE).exists()
        if is_removed or project_folder.read_status(volume, project).is_quarantined:
            raise FileNotFoundError(filename)
        if owner == filename and request.method == "HEAD":
            response = Response(headers={"Content-Type": kind, "Accept-Ranges": "bytes"})
            response.content_length = record.size
            return response
        if self._redirects and owner == filename and record.size > _LARGE and self._mirror is not None:
            key = keys.file(project, record.sha256, filename)
            with contextlib.suppress(Unavailable):  # the account may not sign, for example
                return _redirect(self._mirror.bucket.signed_url(key, seconds=_URL_WORKS))
        self._fetch(project, filename)
        return None

    def _fetch(self, project: str, filename: str) -> None:
        if not self._waiting.acquire(blocking=False):
            raise Refused(503, "Too many requests wait for files from the storage; ask again in a few seconds")
        try:
            self._job(project, filename).result(self._patience)
        except NotDone:
            raise Refused(503, f"{filename} is being fetched from the storage; ask again in a few seconds") from None
        except PpmError as exc:
            if exc.status == 503:  # the message names the bucket
                raise Refused(503, UNKNOWN) from exc
            raise
        finally:
            self._waiting.release()

    def _job(self, project: str, filename: str) -> Future[Path]:
        with self._guard:
            if self._pool is None:  # made at the first use, so after a fork
                self._pool = ThreadPoolExecutor(_DOWNLOADS, thread_name_prefix="fetch")
            job = self._running.get((project, filename))
            if job is None:
                job = self._running[project, filename] = self._pool.submit(self._get, project, filename)
            return job

    def _get(self, project: str, filename: str) -> Path:
        try:
            return self._store.cache.fetch_served(project, filename)
        finally:
            with self._guard:
                del self._running[project, filename]


def _redirect(url: str) -> Response:
    """Return a redirect to a signed URL, which no cache may store. The client's credential is not in it."""
    headers = {"Location": url, "Cache-Control": "no-store", "Referrer-Policy": "no-referrer"}
    return Response("The file is in the storage of this index\n", status=302, mimetype="text/plain", headers=headers)
