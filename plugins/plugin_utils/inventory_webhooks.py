"""Rules for the webhooks that an inventory declares (ppm_webhooks)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from ansible_collections.ppm.index.plugins.plugin_utils.inventory_types import wrong_type
from ansible_collections.ppm.index.plugins.plugin_utils.inventory_wording import KINDS, suggestion

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}", re.ASCII)
_URL = re.compile(r"https?://[A-Za-z0-9._:\[\]-]+(?:[/?][A-Za-z0-9._~/%+,=&?:@!*()-]*)?", re.ASCII)
_SECRET = re.compile(r"whsec_(?:[A-Za-z0-9+/]{4}){8,21}(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?", re.ASCII)
_GLOB = re.compile(r"[a-z.*?]{1,60}", re.ASCII)


def webhook_problems(options: Mapping[str, Any], value: Any) -> Iterator[str]:
    """Yield the problems of declared webhooks. Only names and keys are shown: a URL may have a secret too."""
    if not isinstance(value, list | tuple):
        yield "ppm_webhooks: it must be a list of mappings, such as [{name: chat, url: https://chat.example/hook}]."
        return
    names = [entry.get("name") for entry in value if isinstance(entry, Mapping)]
    for number, entry in enumerate(value, start=1):
        where = f"ppm_webhooks, number {number}"
        if not isinstance(entry, Mapping):
            yield f"{where}: it must be a mapping with a name and a url."
            continue
        name = entry.get("name")
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            yield f"{where}: its name must be letters, digits and _ -."
            continue
        where += f" ({name})"
        if names.count(name) > 1 and names.index(name) == number - 1:
            yield f"{where}: the name is used twice."
        if entry.get("url") is None:
            yield f"{where}: its url is missing."
        for key, given in entry.items():
            if key not in options:
                hint = suggestion(str(key), options, f"the keys are {', '.join(options)}.")
                yield f"{where}: {key} is not known; {hint}"
            elif given is not None and (wanted := _wrong_part(key, options[key], given, entry)):
                yield f"{where}: its {key} must be {wanted}."


def _wrong_part(key: str, spec: Mapping[str, Any], given: Any, entry: Mapping[str, Any]) -> str | None:
    """Return what a value of an entry must be, or None if it is valid."""
    if wrong_type(spec, given) is not None:
        return KINDS[spec["type"]]
    if key == "url" and not _URL.fullmatch(given):
        return "a URL without a credential, such as https://chat.example/hook"
    if key == "url" and given.startswith("http:") and entry.get("allow_http") is not True:
        return "a URL that starts with https:// (or set allow_http: true)"
    if key == "secret" and not _SECRET.fullmatch(given):
        return "whsec_ and base64 of 24 to 64 bytes: echo whsec_$(openssl rand -base64 32)"
    if key == "events" and not (given and all(map(_GLOB.fullmatch, given))):
        return "a list of types such as package.publish or backup.*"
    return None
