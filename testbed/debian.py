"""Get `debian:12-slim` and `debian:13-slim`: pull them if a registry can be reached, else make them from a mirror."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import time
from pathlib import Path

from testbed import machine
from testbed.engine import Engine, Failure, Missing
from testbed.errors import BedError
from testbed.place import ENVIRONMENT, cache, need

SUITES = {12: "bookworm", 13: "trixie"}
FRESH_SECONDS = 7 * 24 * 3600

# as in the published images: no documents, and no fsync for each package
_DPKG = "path-exclude /usr/share/{0}/*\npath-exclude /usr/share/man/*\npath-exclude /usr/share/locale/*\n"
_SLIM = {
    "etc/dpkg/dpkg.cfg.d/slim": _DPKG.format("doc"),
    "etc/dpkg/dpkg.cfg.d/speed": "force-unsafe-io\n",
    "usr/sbin/policy-rc.d": "#!/bin/sh\nexit 101\n",
}
_LEFT_OUT = (
    "usr/share/doc/*",
    "usr/share/man/*",
    "usr/share/locale/*",
    "var/cache/apt/*",
    "var/lib/apt/lists/*",
    "dev/*",
)


def base(engine: Engine, release: int) -> str:
    """Return the id of the image debian:`release`-slim; one that is older than a week is fetched again.

    The stand-in replaces an existing image only on the testbed's own engine. The caller holds `lease.turn`.
    """
    tag = f"debian:{release}-slim"
    present = _image_id(engine, tag)
    # named by the image's id, so that an image that the user loaded is not taken for a fresh one
    stamp = cache() / f"base-{present.rpartition(':')[2][:20]}" if present else None
    if present and stamp and stamp.exists() and time.time() - stamp.stat().st_mtime < FRESH_SECONDS:
        return present
    try:
        if not _is_pulled(engine, release) and (engine.own or not present):
            _make(engine, release, tag)
    except (BedError, Failure, OSError, subprocess.SubprocessError):
        if not present:
            raise
    image = _image_id(engine, tag)
    if stamp:
        stamp.unlink(missing_ok=True)
    (cache() / f"base-{image.rpartition(':')[2][:20]}").touch()
    return image


def _image_id(engine: Engine, tag: str) -> str:
    try:
        return str(engine.api.images.get(tag).id)
    except Missing:
        return ""


def _is_pulled(engine: Engine, release: int) -> bool:
    try:
        engine.api.images.pull("debian", f"{release}-slim")
    except (Failure, OSError):  # a refusal of the engine, or a time-out
        return False
    return True


def _make(engine: Engine, release: int, tag: str) -> None:
    """Make the image with debootstrap, with the settings that containers need to reach the archives."""
    try:
        mirrors = machine.mirrors()
    except BedError as exc:
        raise BedError(
            f"No registry of images can be reached. {exc.message}",
            hint="pull debian:12-slim and debian:13-slim on a machine that can, and docker load them here",
        ) from exc
    need("standin")
    folder = Path(tempfile.mkdtemp(prefix="debian-", dir=cache()))
    try:
        command = ["debootstrap", "--variant=minbase", "--include=ca-certificates", SUITES[release], str(folder)]
        done = subprocess.run([*command, mirrors.main], capture_output=True, text=True, timeout=1200, env=ENVIRONMENT)
        if done.returncode:
            raise BedError(
                f"debootstrap could not make Debian {release}", hint=done.stdout[-1500:] + done.stderr[-500:]
            )
        _add_files(folder, release, mirrors)
        _import(engine, folder, tag)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _add_files(folder: Path, release: int, mirrors: machine.Mirrors) -> None:
    """Write the machine's settings and those of a slim image into the tree."""
    suite = SUITES[release]
    sources = f"deb {mirrors.main} {suite} main\ndeb {mirrors.main} {suite}-updates main\n"
    if mirrors.security:
        sources += f"deb {mirrors.security} {suite}-security main\n"
    contents = {"etc/apt/sources.list": sources, **_SLIM}
    files = [machine.File(path=path, content=text.encode()) for path, text in contents.items()]
    for file in files + machine.files():
        # no part of these paths is a symbolic link in a new tree, so nothing is written outside of it
        path = folder / file.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(file.content)
    (folder / "usr/sbin/policy-rc.d").chmod(0o755)
    update = ["chroot", str(folder), "update-ca-certificates"]
    subprocess.run(update, check=True, capture_output=True, timeout=120, env=ENVIRONMENT)


def _import(engine: Engine, folder: Path, tag: str) -> None:
    excluded = [f"--exclude=./{pattern}" for pattern in _LEFT_OUT]
    repository, _, version = tag.partition(":")
    with subprocess.Popen(["tar", "-C", str(folder), *excluded, "-c", "."], stdout=subprocess.PIPE) as tar:
        engine.api.api.import_image_from_stream(
            tar.stdout, repository=repository, tag=version, changes=['CMD ["bash"]']
        )
    if tar.returncode:
        raise BedError(f"tar of {tag} failed")
