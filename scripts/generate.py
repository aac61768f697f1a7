"""Write what is derived from the code or from the roles, so that each fact has one source.

python scripts/generate.py           write it
python scripts/generate.py --check   fail, and name the file, where what is there differs
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import yaml

from ppmctl import accept

ROOT = Path(__file__).parents[1]
ROLES = ("base", "pypiserver", "credentials", "nginx", "letsencrypt")
_BY = "by `python scripts/generate.py`"


def accept_table() -> str:
    """nginx's half of the negotiation of a page's form."""
    lines = [
        "---",
        f"# Generated from ppmctl/accept.py {_BY}.",
        f'__nginx_accept_anything: "{accept.PLAIN_HTML.content_type}"',
        "__nginx_accept:",
    ]
    for client, header, form in accept.TABLE:
        lines += [
            f"  - client: {client}",
            "    header: >-",
            f"      {header}",
            f"    page: {form.page}",
            f'    content_type: "{form.content_type}"',
        ]
    return "\n".join(lines) + "\n"


def variables(role: str) -> str:
    """A role's reference: its purpose and each of its variables, from its argument specs and defaults."""
    folder = ROOT / "roles" / role
    specs = yaml.safe_load((folder / "meta" / "argument_specs.yml").read_text(encoding="utf-8"))
    entry = specs["argument_specs"]["main"]
    defaults = yaml.safe_load((folder / "defaults" / "main.yml").read_text(encoding="utf-8")) or {}
    lines = [f"# {role}", "", f"<!-- Generated from meta/argument_specs.yml and defaults/ {_BY}. -->", ""]
    lines += [*_paragraphs(entry["description"]), ""]
    options: dict[str, Any] = entry.get("options", {})
    if not options:
        return "\n".join([*lines, "It has no variables of its own.", ""])
    lines += ["| variable | default | what it says |", "| --- | --- | --- |"]
    for name, option in options.items():
        lines.append(f"| `{name}` | {_default(name, option, defaults)} | {_about(option)} |")
    return "\n".join(lines) + "\n"


def _paragraphs(description: str | list[str]) -> list[str]:
    return [description] if isinstance(description, str) else "\n\n".join(description).splitlines()


def _default(name: str, option: dict[str, Any], defaults: dict[str, Any]) -> str:
    if option.get("required"):
        return "required"
    value = defaults.get(name)
    if value is None:
        return "none"
    return f"`{value!r}`" if isinstance(value, str) and not value else f"`{value}`"


def _about(option: dict[str, Any]) -> str:
    text = " ".join(_paragraphs(option["description"]))
    if option.get("choices"):
        text += " One of " + ", ".join(f"`{choice}`" for choice in option["choices"]) + "."
    kind = option.get("type", "str")
    return " ".join(f"({kind}) {text}".split()).replace("|", "\\|")


def generated() -> dict[Path, str]:
    """Each generated file with its text."""
    texts = {ROOT / "roles" / "nginx" / "vars" / "accept.yml": accept_table()}
    for role in ROLES:
        texts[ROOT / "roles" / role / "README.md"] = variables(role)
    return texts


def main() -> int:
    check = "--check" in sys.argv[1:]
    different = [
        path for path, text in generated().items() if not path.exists() or path.read_text(encoding="utf-8") != text
    ]
    for path in different:
        print(f"{path.relative_to(ROOT)} {'is not what it is generated from: make generate' if check else 'written'}")
        if not check:
            path.write_text(generated()[path], encoding="utf-8")
    return 1 if check and different else 0


if __name__ == "__main__":
    sys.exit(main())
