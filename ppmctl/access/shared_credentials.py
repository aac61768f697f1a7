"""The credentials of an index with storage: `credentials.json` in the bucket, of which volumes have copies.

A node reads the object, changes it, and writes it on the condition that nobody else wrote meanwhile; otherwise the
change is made again, on what the other node wrote. Whether a credential has expired is decided by each node alone, so
the object depends on no clock: the hash of an expired credential stays among those that work.
"""

from __future__ import annotations

import functools
import json
import logging
import random
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from typing import ParamSpec, TypeVar

from ppmctl.errors import NOT_SUCH_JSON, PpmError
from ppmctl.storage import keys, last_changes
from ppmctl.storage.bucket import Bucket, Changed, Exists, NotChanged, Unavailable

log = logging.getLogger(__name__)

_VERSION = 1
_ATTEMPTS = 20
_PAUSE = 0.05  # seconds before another attempt, times the number of attempts, at most

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


class ChangedElsewhere(Exception):
    """Another node changed the credentials meanwhile. Nothing was changed here; the change can be made again."""


@dataclass(frozen=True, kw_only=True)
class Content:
    """The lines of htpasswd, of `disabled` and of `invites`, and the text of access.yml.

    `changes` has random names of the last changes. Contents that differ only in these are equal.
    """

    htpasswd: tuple[str, ...] = ()
    disabled: tuple[str, ...] = ()
    invites: tuple[str, ...] = ()
    access: str = ""
    changes: tuple[str, ...] = field(default=(), compare=False)

    def as_bytes(self) -> bytes:
        return json.dumps({"version": _VERSION, **asdict(self)}).encode()

    @classmethod
    def parse(cls, content: bytes) -> Content:
        """Return the content of the object. Raise PpmError if it has another form."""
        try:
            values = json.loads(content)
            if values["version"] != _VERSION:
                raise ValueError(values["version"])
            lines = {name: tuple(map(str, values[name])) for name in ("htpasswd", "disabled", "invites")}
            changes = tuple(map(str, values.get("changes", ())))  # an older release writes none
            return cls(access=str(values["access"]), changes=changes, **lines)
        except NOT_SUCH_JSON as exc:
            raise PpmError(f"{keys.CREDENTIALS} in the bucket has an unknown form.", hint="Upgrade ppm.") from exc


class Copy:
    """What the bucket had when it was read: `content` is None without the object."""

    def __init__(self, storage: Bucket) -> None:
        """Read the object. Raise Unavailable."""
        self._bucket = storage
        found = storage.read(keys.CREDENTIALS)
        self.tag = None if found is None else found.tag
        self.content = None if found is None else Content.parse(found.content)

    def commit(self, content: Content) -> Content:
        """Write `content` instead of what was read, unless it is the same. Raise ChangedElsewhere or Unavailable.

        Return what the bucket has then: something else if another node has changed it since.
        """
        before = self.content or Content()
        if content == before:
            return content
        change, changes = last_changes.with_another(before.changes)
        content = replace(content, changes=changes)
        body = content.as_bytes()
        try:
            if self.tag is None:
                self.tag = self._bucket.create(keys.CREDENTIALS, body)
            else:
                self.tag = self._bucket.replace(keys.CREDENTIALS, body, self.tag)
        except (Exists, Changed, Unavailable) as exc:
            # the answer to an attempt that succeeded may have been lost
            found = Copy(self._bucket)
            if found.content is None or change not in found.content.changes:
                raise exc if isinstance(exc, Unavailable) else ChangedElsewhere from exc
            self.tag, content = found.tag, found.content
        self.content = content
        return content


def is_current(storage: Bucket, tag: str | None) -> bool:
    """Return whether the object still has this tag, None if there was none: one read. Raise Unavailable."""
    try:
        return storage.read(keys.CREDENTIALS, unless=tag) is None and tag is None
    except NotChanged:
        return True


def repeated(function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """Call `function` again if another node changed the credentials at the same moment.

    Until then it must not have changed anything but what its next call replaces.
    """

    @functools.wraps(function)
    def call(*arguments: Arguments.args, **options: Arguments.kwargs) -> Result:
        for attempt in range(1, _ATTEMPTS):
            try:
                return function(*arguments, **options)
            except ChangedElsewhere:
                time.sleep(random.uniform(0, _PAUSE * attempt))
        try:
            return function(*arguments, **options)
        except ChangedElsewhere as exc:
            message = "Other nodes change the credentials all the time; nothing was changed. Try again."
            raise Unavailable(message) from exc

    return call
