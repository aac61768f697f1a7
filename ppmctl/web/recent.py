"""Remember the values that were used last, up to a total size."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

T = TypeVar("T")


class Recent(Generic[T]):
    """Values by key, for any number of threads. Those that were not used for the longest time are forgotten first."""

    def __init__(self, most: int) -> None:
        self._most = most  # the sum of all sizes
        self._guard = threading.Lock()
        self._values: OrderedDict[Hashable, tuple[T, int]] = OrderedDict()
        self.size = 0

    def get(self, key: Hashable) -> T | None:
        """Return the value of a key, or None."""
        with self._guard:
            if key not in self._values:
                return None
            self._values.move_to_end(key)
            return self._values[key][0]

    def put(self, key: Hashable, value: T, size: int) -> T:
        """Remember a value of this size, and return it."""
        with self._guard:
            self.size += size - self._values.pop(key, (None, 0))[1]
            self._values[key] = value, size
            while self.size > self._most:
                self.size -= self._values.popitem(last=False)[1][1]
        return value
