"""Find what looks like a secret of ppm in a text that is logged, and replace it.

nginx uses the same patterns (roles/nginx/vars/secrets.yml, which `scripts/generate.py` writes).
"""

from __future__ import annotations

import logging
import re
from typing import Any

MASKED = "ppm_***"


def _encoded(letter: str, code: str) -> str:
    """Return a pattern for a letter in upper or lower case, also URL-encoded once or more often."""
    return f"(?i:{letter}|%(?:25)*{code})"


_PREFIX = _encoded("p", "[57]0") * 2 + _encoded("m", "[46]d") + _encoded("_", "5f")
_SIGN = r"(?:[A-Za-z0-9_-]|%(?:25)*(?i:2d|3[0-9]|4[1-9a-f]|5[0-9af]|6[1-9a-f]|7[0-9a]))"
_UPPER = r"(?:[A-Z]|%(?:25)*(?i:4[1-9a-f]|5[0-9a]))"
_LOWER = r"(?:[a-z]|%(?:25)*(?i:6[1-9a-f]|7[0-9a]))"
_DIGIT = r"(?:[0-9]|%(?:25)*3[0-9])"


def _has(sign: str) -> str:
    """Return a pattern that looks ahead for `sign`, not beyond a secret's length: a long text must cost little."""
    return f"(?={_SIGN}{{0,42}}?{sign})"


# Names of projects and users have no upper-case letters and digits among so many signs, or are shorter.
LIKELY = f"{_PREFIX}{_has(_UPPER)}{_has(_LOWER)}(?:{_has(_DIGIT)}{_SIGN}{{20}}|{_SIGN}{{36}})"
# As long as an issued secret or an invite's code, to the sign: for paths, where names of files may look likely.
WHOLE = (
    f"{_PREFIX}{_has(_UPPER)}{_has(_LOWER)}(?:(?i:join){_encoded('_', '5f')}{_SIGN}{{32}}|{_SIGN}{{43}})(?!{_SIGN})"
)

_LIKELY = re.compile(LIKELY)
_WHOLE = re.compile(WHOLE)
_TO_MASK = re.compile(rf"{LIKELY}{_SIGN}*+")
_BASIC = re.compile(r"(?i:basic)[ \t]+[A-Za-z0-9+/_-]{8,}={0,2}")  # "Basic dXNlcjpzZWNyZXQ=", name and secret


def has_secret(text: str) -> bool:
    """Return whether `text` contains what is likely a secret, or a part of one."""
    return _LIKELY.search(text) is not None


def has_whole_secret(text: str) -> bool:
    """Return whether `text` contains a complete secret, for texts with names of files."""
    return _WHOLE.search(text) is not None


def mask(text: str) -> str:
    """Return `text` with `ppm_***` in the place of each likely secret."""
    return _TO_MASK.sub(MASKED, text)


def mask_logs() -> None:
    """Mask secrets in every log record of this process from now on, whichever library logs it."""
    logging.setLogRecordFactory(_masked_record)


def _masked_record(*arguments: Any, **options: Any) -> logging.LogRecord:
    record = logging.LogRecord(*arguments, **options)
    try:
        text = record.getMessage()
    except (TypeError, ValueError):  # arguments that do not fit; logging reports them
        return record
    record.msg, record.args = _mask_line(text), None
    if record.exc_info:
        record.exc_text = _mask_line(logging.Formatter().formatException(record.exc_info))  # formatters use this text
    return record


def _mask_line(text: str) -> str:
    return _BASIC.sub("Basic ***", mask(text))
