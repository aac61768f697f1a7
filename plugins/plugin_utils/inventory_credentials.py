"""Rules for the users and tokens that an inventory declares (ppm_users, ppm_tokens)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from datetime import date, datetime
from typing import Any

from ansible_collections.ppm.index.plugins.plugin_utils.inventory_types import EMAIL, wrong_type
from ansible_collections.ppm.index.plugins.plugin_utils.inventory_wording import CREDENTIAL_MUST_BE, KINDS, suggestion
from ansible_collections.ppm.index.ppmctl.distributions import name_glob

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}(\+[A-Za-z0-9._-]{1,64})?", re.ASCII)
# As in ppmctl/access/rights.py, which need not be installed here.
_RESERVED = frozenset({"__token__", "adopt", "anonymous", "drop", "ppm", "rebuild"})
_SECRET = re.compile(r"[!-~]{32,200}", re.ASCII)


def credential_problems(variable: str, options: Mapping[str, Any], value: Any) -> Iterator[str]:
    """Yield the problems of declared users or tokens. Only names are shown: any other value could be a secret."""
    if not isinstance(value, list | tuple):
        yield f"{variable}: it must be a list of mappings, such as [{{name: ann, role: reader}}]."
        return
    kind = "token" if variable == "ppm_tokens" else "user"
    allowed = [key for key in options if (kind, key) != ("token", "email")]
    names = [entry.get("name") for entry in value if isinstance(entry, Mapping)]
    for number, entry in enumerate(value, start=1):
        where = f"{variable}, number {number}"
        if not isinstance(entry, Mapping):
            yield f"{where}: it must be a mapping with a name and a role."
            continue
        name = entry.get("name")
        if not isinstance(name, str) or not _NAME.fullmatch(name) or ("+" in name) != (kind == "token"):
            yield f"{where}: its name must be {CREDENTIAL_MUST_BE[f'name of a {kind}']}."
            continue
        where += f" ({name})"
        if name.partition("+")[0].lower() in _RESERVED and entry.get("state") != "absent":
            yield f"{where}: the index uses this name itself; reserved are {', '.join(sorted(_RESERVED))}."
        if names.count(name) > 1 and names.index(name) == number - 1:
            yield f"{where}: the name is used twice."
        if entry.get("role") is None and entry.get("state") != "absent":
            yield f"{where}: its role is missing; one of {', '.join(options['role']['choices'])}."
        for key, given in entry.items():
            if key not in allowed:
                hint = suggestion(str(key), allowed, f"the keys are {', '.join(allowed)}.")
                yield f"{where}: {key} is not known; {hint}"
            elif given is not None and (wanted := _wrong_part(key, options[key], given)):
                yield f"{where}: its {key} must be {wanted}."


def _wrong_part(key: str, spec: Mapping[str, Any], given: Any) -> str | None:
    """Return what a value of an entry must be, or None if it is valid."""
    if key == "expires" and isinstance(given, date):  # YAML without quotes
        return None
    if wrong_type(spec, given) is not None:
        return " or ".join(spec["choices"]) if "choices" in spec else KINDS[spec["type"]]
    forms: dict[str, Callable[[Any], object]] = {
        "secret": _SECRET.fullmatch,
        "email": EMAIL.fullmatch,
        "projects": _are_globs,
        "reads": _are_globs,
        "expires": _is_time,
    }
    return CREDENTIAL_MUST_BE[key] if key in forms and not forms[key](given) else None


def _are_globs(globs: list[str]) -> bool:
    return not any(map(name_glob.problem, globs)) and not name_glob.excess(map(name_glob.normalise, globs))


def _is_time(text: str) -> bool:
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return False
    return True
