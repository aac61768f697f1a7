"""Move the clock that decides whether a credential has expired, without waiting."""

from __future__ import annotations

import datetime as real
import importlib
import pkgutil
from typing import Any

import pytest

from ppmctl import access


class Clock:
    """The time in the modules of `ppmctl.access`: the machine's, and as much later as it was moved."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.later = real.timedelta()
        clock = self

        class Meta(type):
            def __instancecheck__(cls, value: object) -> bool:
                return isinstance(value, real.datetime)

        class Moved(real.datetime, metaclass=Meta):
            @classmethod
            def now(cls, tz: real.tzinfo | None = None) -> Any:
                return real.datetime.now(tz) + clock.later

        for found in pkgutil.iter_modules(access.__path__, "ppmctl.access."):
            module = importlib.import_module(found.name)
            if getattr(module, "datetime", None) is real.datetime:
                monkeypatch.setattr(module, "datetime", Moved)

    def now(self) -> real.datetime:
        return real.datetime.now(real.UTC) + self.later

    def move(self, **later: float) -> None:
        self.later += real.timedelta(**later)
