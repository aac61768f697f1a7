"""Types of inventory variables, and the forms that variables and declared credentials share."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ansible_collections.ppm.index.plugins.plugin_utils.inventory_wording import KINDS

EMAIL = re.compile(r"[A-Za-z0-9][A-Za-z0-9.!#&'*+/=?^_`|~-]*@[A-Za-z0-9.-]+\.[A-Za-z0-9-]+")

_TYPES: dict[str, tuple[type, ...]] = {
    "str": (str,),
    "path": (str,),
    "int": (int,),
    "bool": (bool,),
    "list": (list, tuple),
    "dict": (dict,),
}


def wrong_type(spec: Mapping[str, Any], value: Any) -> str | None:
    """Return what a value must be, if its type or its choice does not match its spec, else None."""
    kind = spec.get("type", "str")
    if not isinstance(value, _TYPES[kind]) or (kind == "int" and isinstance(value, bool)):
        example = f", such as {spec['default']}" if kind in ("str", "path") and spec.get("default") else ""
        return f"it must be {KINDS.get(kind, kind)}{example}."
    if isinstance(value, list | tuple) and (wrong := [item for item in value if not isinstance(item, str)]):
        return f"it must be a list of texts, and {wrong[0]!r} is not a text."
    if spec.get("choices") and value not in spec["choices"]:
        return f"it must be {' or '.join(spec['choices'])}."
    return None
