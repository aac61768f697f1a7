"""A list of requirements → the versions and hashes of all that is to be installed (pylock.toml), as uv finds them."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from ppmctl.distributions.environment_revision import LOCK
from ppmctl.environments import lock
from ppmctl.environments.tools import Tools, need_uv, run
from ppmctl.errors import PpmError, UsageError

_PYTHON = re.compile(r"3\.[0-9]{1,2}(\.[0-9]{1,2})?", re.ASCII)
_PLATFORM = re.compile(r"[a-z0-9_-]{1,60}", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What a lock is for: the oldest `python` that it is to work on, and the `platform`, "" for every one."""

    python: str
    platform: str = ""

    def __post_init__(self) -> None:
        if not _PYTHON.fullmatch(self.python):
            raise UsageError(f"{self.python!r} is not a version of Python to lock for.", hint="It looks like 3.12")
        if self.platform and not _PLATFORM.fullmatch(self.platform):
            raise UsageError(
                f"{self.platform!r} is not a platform of uv's.",
                hint="They look like linux, windows, aarch64-apple-darwin",
            )


def this_python() -> str:
    """The version of the Python that runs here, without its last part."""
    return f"{sys.version_info.major}.{sys.version_info.minor}"


def resolve(requirements: Sequence[str], wanted: Wanted, tools: Tools, *, keep: str | None = None) -> str:
    """The text of a pylock.toml for `requirements`; versions that the lock `keep` has stay where they fit.

    PpmError with uv's words where there is no solution; UsageError where the result names a file of this machine, or
    has a credential in it.
    """
    uv = need_uv("A lock")
    source = tools.write("requirements.in", requirements)
    target = tools.folder / LOCK
    target.unlink(missing_ok=True)
    if keep is not None:
        target.write_text(keep, encoding="utf-8")
    scope = ("--python-platform", wanted.platform) if wanted.platform else ("--universal",)
    run(
        (
            *(uv, "pip", "compile", source, "--format", "pylock.toml", "--output-file", target),
            *("--python", sys.executable, "--python-version", wanted.python, *scope),
            *("--no-header", "--no-annotate", "--quiet", *tools.uv_index()),
        ),
        "To lock it",
        environ=tools.environ,
    )
    text = target.read_text(encoding="utf-8")
    pins = lock.read(text, where="The lock").pins
    bare = [pin.name for pin in pins if not pin.hashes and not pin.url.startswith(("git+", "hg+", "svn+", "bzr+"))]
    if bare:
        raise PpmError(f"The index has no hash of {', '.join(bare)}, so that can't be locked.")
    return lock.with_origin(text, python=wanted.python, platform=wanted.platform)
