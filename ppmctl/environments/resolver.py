"""Lock a list of requirements with uv: find the versions and hashes of all packages (pylock.toml)."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from ppmctl.distributions import lock
from ppmctl.distributions.environment_revision import LOCK
from ppmctl.environments.tools import Tools, require_uv, run
from ppmctl.errors import PpmError, UsageError

_PYTHON = re.compile(r"3\.[0-9]{1,2}(\.[0-9]{1,2})?", re.ASCII)
_PLATFORM = re.compile(r"[a-z0-9_-]{1,60}", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """The oldest Python and the platform that a lock is for; `platform` is "" for all."""

    python: str
    platform: str = ""

    def __post_init__(self) -> None:
        if not _PYTHON.fullmatch(self.python):
            raise UsageError(f"{self.python!r} is not a Python version.", hint="It looks like 3.12")
        if self.platform and not _PLATFORM.fullmatch(self.platform):
            raise UsageError(
                f"{self.platform!r} is not the name of a platform in uv.",
                hint="Examples: linux, windows, aarch64-apple-darwin",
            )


def this_python() -> str:
    """Return the version of the running Python: 3.12."""
    return f"{sys.version_info.major}.{sys.version_info.minor}"


def resolve(requirements: Sequence[str], wanted: Wanted, tools: Tools, *, keep: str | None = None) -> str:
    """Return a pylock.toml for `requirements`; the versions of the lock `keep` stay if they fit.

    Raise PpmError with uv's message if there is no solution, UsageError for a local file or a credential in the lock.
    """
    uv = require_uv("A lock")
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
    pins = lock.read(text).pins
    bare = [pin.name for pin in pins if not pin.hashes and not pin.url.startswith(("git+", "hg+", "svn+", "bzr+"))]
    if bare:
        raise PpmError(f"The index has no hash of {', '.join(bare)}, so they can't be locked.")
    return lock.with_origin(text, python=wanted.python, platform=wanted.platform)
