"""What a server does before its first request, in threads beside its requests, and at its end."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

from ppmctl import files
from ppmctl.access import audit_rotation, credential_files, expiry
from ppmctl.distributions import inspection
from ppmctl.downloads import counter
from ppmctl.errors import PpmError
from ppmctl.index import cache_mark, pages, rebuild, recovery
from ppmctl.index.eviction import Eviction
from ppmctl.index.layout import Volume
from ppmctl.index.search_index import SearchIndex
from ppmctl.index.store import Store
from ppmctl.server import drop_folder, node_follower
from ppmctl.server.renewals import Renewals
from ppmctl.server.settings import ServerSettings
from ppmctl.storage import before_fork

log = logging.getLogger(__name__)

_BOOT_ID = "PPM_BOOT_ID"  # systemd's %b, for a service whose sandbox hides the kernel's file
_BOOT_ID_FILE = Path("/proc/sys/kernel/random/boot_id")
_ROOT_EVERY = 1.0  # seconds between two writes of the list of projects, at least
# seconds of the search index: between two updates, at least; before another attempt; between two comparisons of all
# projects, which find what a killed command left; and for the last update of a server that ends
_SEARCH_EVERY, _SEARCH_AGAIN, _COMPARE_EVERY, _ENDS_WITHIN = 0.1, 1.0, 60.0, 1.0


def prepare(volume: Volume) -> None:
    """Make what the volume lacks, and set HOME. The modules that import pypiserver can be imported after that."""
    volume.prepare()
    cache_mark.serve(volume)
    os.environ.setdefault("HOME", "/")  # pypiserver needs it when it is imported; a uid without a name has none
    credential_files.ensure_htpasswd(volume)
    before_fork.run(volume.root, _prune, volume)


def _prune(volume: Volume) -> None:
    expiry.Pruner(volume).prune()


def repair(store: Store) -> None:
    """Complete or undo what a crash has interrupted."""
    if store.mirror is not None and _is_new_boot(store.volume):
        store.mirror.forget_all()  # what follows a head is not synced to the disk
    repaired = recovery.repair(store)
    if repaired.projects or repaired.swept:
        log.warning("Repaired after a crash: %d projects, %d folders.", len(repaired.projects), repaired.swept)


def start(store: Store, settings: ServerSettings, more: Mapping[str, Callable[[], None]] | None = None) -> None:
    """Start the threads, which end with the process: old pages, search, the folder `drop/`, and so on, and `more`."""
    inspection.start(threads=settings.threads)
    for name, work in {
        **_bucket_threads(store, settings),
        "root list": lambda: _write_root(store),
        "search index": lambda: _update_search(store),
        "drop folder": drop_folder.Watcher(store).run,
        "pages": lambda: _after_reboot(store),
        "credentials": expiry.Pruner(store.volume).run,
        "audit": lambda: audit_rotation.run(store.volume, settings.audit_limits),
        "downloads": counter.Counter(store.volume, pause=counter.PAUSE).run,
        **_certificate_thread(store.volume, settings),
        **(more or {}),
    }.items():
        threading.Thread(target=work, name=name, daemon=True).start()


def _certificate_thread(volume: Volume, settings: ServerSettings) -> dict[str, Callable[[], None]]:
    return {} if settings.certificate is None else {"renewals": Renewals(volume, settings.certificate).run}


def _bucket_threads(store: Store, settings: ServerSettings) -> dict[str, Callable[[], None]]:
    """Return the threads of a volume that is a cache of a bucket; nginx begins to ask the application."""
    freshness = store.cache.freshness
    if freshness is None:
        return {}
    freshness.sweep(age=0)
    return {
        "marks": freshness.run,
        "projects": store.cache.fill,
        "other nodes": lambda: node_follower.run(store),
        "eviction": Eviction(store.volume, settings.cache_max_size).run,
    }


def finish(store: Store) -> None:
    """Do at the end of the process what the threads have left."""
    if store.cache.freshness is not None:
        store.cache.freshness.sweep(age=0)
    if pages.root_is_marked(store.volume):  # the thread that writes it may die halfway
        store.write_root()
    store.changes.wait_until_done(_ENDS_WITHIN)
    store.area.close()


def boot_id(environ: Mapping[str, str]) -> str:
    """Return the id of the machine's current boot: PPM_BOOT_ID, or the kernel's. Raise OSError without either."""
    return _without_hyphens(environ.get(_BOOT_ID, "")) or _without_hyphens(_BOOT_ID_FILE.read_text(encoding="ascii"))


def _after_reboot(store: Store) -> None:
    """Write outdated pages again, once after each boot: a power failure loses what was not synced to disk."""
    boot = store.volume.boot
    try:
        current = boot_id(os.environ)
        before = _without_hyphens(boot.read_text(encoding="ascii", errors="replace")) if boot.exists() else ""
        if before == current:
            return
        if before:
            done = rebuild.rebuild(store, with_bucket=False)
            log.warning("After a reboot or upgrade %d of %d projects had old pages.", done.written, done.projects)
            if done.problems:
                log.error("These could not be written; the next start tries it again: %s", "; ".join(done.problems))
                return
        files.write_atomic(boot, f"{current}\n".encode())
    except (OSError, PpmError) as exc:
        log.error("The pages can't be checked after a reboot; run ppmctl index rebuild: %s", exc)


def _is_new_boot(volume: Volume) -> bool:
    """Return whether the machine was started after this volume was last used; True if that is unknown."""
    try:
        before = volume.boot.read_text(encoding="ascii", errors="replace")
        return _without_hyphens(before) != boot_id(os.environ)
    except OSError:
        return True


def _write_root(store: Store) -> None:
    pause = threading.Event()
    while store.root_is_old.wait():
        try:
            store.write_root()
        except OSError as exc:
            store.root_is_old.set()
            log.error("The list of projects can't be written, trying again: %s", exc)
        pause.wait(_ROOT_EVERY)


def _update_search(store: Store) -> None:
    index, pause, is_failing = SearchIndex(store), threading.Event(), False
    store.changes.add_any()
    while True:
        projects = store.changes.take(_COMPARE_EVERY)
        try:
            index.update_all(projects)
            is_failing = False
        except Exception as exc:  # a bug too: no later update may be lost with it
            store.changes.add_any()
            if not is_failing:
                is_expected = isinstance(exc, PpmError | OSError)
                log.error("The search index can't be updated, trying again: %s", exc, exc_info=not is_expected)
            is_failing = True
        pause.wait(_SEARCH_AGAIN if is_failing else _SEARCH_EVERY)


def _without_hyphens(boot: str) -> str:
    return boot.strip().replace("-", "")  # the kernel writes hyphens, systemd does not
