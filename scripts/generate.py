"""Write the files that are generated from the code and the roles, so that each fact has one source.

python scripts/generate.py           write them
python scripts/generate.py --check   fail, and print the path, if a file differs
"""

from __future__ import annotations

import inspect
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import yaml

from ppmctl.access import secret_mask
from ppmctl.cli.commands import cli
from ppmctl.server import content_negotiation
from ppmctl.web import forms, site

ROOT = Path(__file__).parents[1]
ROLES = ("base", "release", "pypiserver", "credentials", "nginx", "letsencrypt", "backup", "logs", "hardening")
_BY = "by `python scripts/generate.py`"


def nginx_accept_table() -> str:
    """Return nginx's table of Accept headers and the page formats that they get."""
    lines = [
        "---",
        f"# Generated from ppmctl/server/content_negotiation.py {_BY}.",
        f'nginx_accept_anything: "{content_negotiation.PLAIN_HTML.content_type}"',
        "nginx_accept:",
    ]
    for client, header, form in content_negotiation.TABLE:
        lines += [
            f"  - client: {client}",
            "    header: >-",
            f"      {header}",
            f"    page: {form.page}",
            f'    content_type: "{form.content_type}"',
        ]
    return "\n".join(lines) + "\n"


def nginx_secret_patterns() -> str:
    """Return the patterns by which nginx finds secrets before it logs them."""
    lines = ["---", f"# Generated from ppmctl/access/secret_mask.py {_BY}."]
    for name, pattern in (("likely", secret_mask.LIKELY), ("whole", secret_mask.WHOLE)):
        lines += [f"nginx_{name}_secret: >-", f"  {pattern}"]
    return "\n".join(lines) + "\n"


def nginx_web_pages() -> str:
    """Return the patterns by which nginx finds requests for web pages, and the limit of their forms."""
    lines = ["---", f"# Generated from ppmctl/web/site.py {_BY}."]
    lines += [f'nginx_web_shared: "{"|".join(sorted(site.SHARED))}"']
    lines += [f'nginx_web_first: "{"|".join(sorted(site.FIRST))}"']
    lines += [f'nginx_web_uploads: "{"|".join(sorted(site.PATHS))}"', f"nginx_web_max_form: {forms.MAX_FORM >> 10}k"]
    return "\n".join(lines) + "\n"


def role_reference(role: str) -> str:
    """Return a role's README: its purpose and its variables, from its argument specs and defaults."""
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
        lines.append(f"| `{name}` | {_default(name, option, defaults)} | {_description(option)} |")
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


def _description(option: dict[str, Any]) -> str:
    text = " ".join(_paragraphs(option["description"]))
    if option.get("choices"):
        text += " One of " + ", ".join(f"`{choice}`" for choice in option["choices"]) + "."
    kind = option.get("type", "str")
    return " ".join(f"({kind}) {text}".split()).replace("|", "\\|")


# the part that holds for all commands
_ANSWERS = (
    "Results go to stdout; notes, questions, errors and progress bars go to stderr. On a terminal a result is",
    "aligned and coloured ([`NO_COLOR`](https://no-color.org) is obeyed), sizes are in kB and MB and times in the",
    "local zone. In a pipe the same result is plain: sizes in bytes, times in UTC.",
    "",
    "With `--json` a command prints one JSON document on stdout: its result, or, where it fails, the error:",
    "",
    "```json",
    '{"error": {"message": "what failed, on what", "hint": "what to do or type next, or null", "exit_code": 1}}',
    "```",
    "",
    "What was done before it failed, such as files that were published, is beside `error` in the same document.",
    "",
    "The exit code is the same with and without `--json`: 0 done, 1 failed, 2 wrong usage, 3 a bug in ppm, 4 a",
    "credential is missing, wrong or has not the right that is needed, 75 the same is being done already, 130",
    "interrupted.",
)


def command_reference() -> str:
    """Return the reference of ppmctl's commands: the help, usage and options of each."""
    lines = ["# The commands of ppmctl", "", f"<!-- Generated from ppmctl/cli/ {_BY}. -->", "", *_ANSWERS, ""]
    pages = list(_commands(cli, click.Context(cli, info_name="ppmctl", **cli.context_settings)))
    lines += [f"[{context.command_path}](#{context.command_path.replace(' ', '-')}) ·" for _, context in pages[1:-1]]
    lines += [f"[{pages[-1][1].command_path}](#{pages[-1][1].command_path.replace(' ', '-')})"]
    for command, context in pages:
        usage = " ".join([context.command_path, *command.collect_usage_pieces(context)])
        lines += ["", f"## {context.command_path}", "", "```text", usage, "```", ""]
        lines += [_help(command.help or ""), "", _help(command.epilog or ""), ""]
        options = [record for one in command.get_params(context) if (record := one.get_help_record(context))]
        lines += ["| option | what it says |", "| --- | --- |"]
        lines += [f"| `{option}` | {_cell(description)} |" for option, description in options]
    return "\n".join(lines) + "\n"


def _commands(command: click.Command, context: click.Context) -> Iterator[tuple[click.Command, click.Context]]:
    yield command, context
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            child = command.get_command(context, name)
            if child is None:
                raise AssertionError(name)
            yield from _commands(child, click.Context(child, info_name=name, parent=context))


def _help(text: str) -> str:
    paragraphs = inspect.cleandoc(text).split("\n\n")
    # click's \b marks a paragraph whose line breaks are kept
    return "\n\n".join(
        f"```text\n{paragraph[1:].strip()}\n```" if paragraph.startswith("\b") else " ".join(paragraph.split())
        for paragraph in paragraphs
    )


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def generated() -> dict[Path, str | None]:
    """Return each generated file with its text."""
    texts: dict[Path, str | None] = {ROOT / "roles" / "nginx" / "vars" / "accept.yml": nginx_accept_table()}
    texts[ROOT / "roles" / "nginx" / "vars" / "secrets.yml"] = nginx_secret_patterns()
    texts[ROOT / "roles" / "nginx" / "vars" / "web.yml"] = nginx_web_pages()
    texts[ROOT / "docs" / "commands.md"] = command_reference()
    for role in ROLES:
        texts[ROOT / "roles" / role / "README.md"] = role_reference(role)
    return texts


# RFC 1918 and RFC 4193; engines and clusters give their containers such addresses
PRIVATE_NETWORKS = ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fd00::/8"]


def rendered() -> dict[Path, str | None]:
    """Return each file of docker/*/rendered with the text of the roles' templates, or None if it has no template.

    docker/nginx/bucket has the files of nginx that are different for an index with its files in a bucket.
    """
    # its nodes are behind a balancer in a network of its own, and log the addresses that it passes on
    balanced = {"ppm_storage": "s3://bucket/ppm", "ppm_trusted_proxies": PRIVATE_NETWORKS}
    plain, bucket = _render(), _render(json.dumps(balanced))
    texts: dict[Path, str | None] = {
        ROOT / "docker" / role / "rendered" / path: text for (role, path), text in plain.items()
    }
    texts |= {
        ROOT / "docker" / role / "bucket" / path: text
        for (role, path), text in bucket.items()
        if role == "nginx" and text != plain.get((role, path))
    }
    folders = ("docker/*/rendered/**/*", "docker/nginx/bucket/**/*")
    return dict.fromkeys((path for folder in folders for path in ROOT.glob(folder) if path.is_file()), None) | texts


def _render(*variables: str) -> dict[tuple[str, str], str]:
    """Return the configuration of the images by role and path."""
    with tempfile.TemporaryDirectory() as folder:
        playbook = Path(sys.executable).with_name("ansible-playbook")
        command = [str(playbook), str(ROOT / "playbooks" / "render.yml")]
        for variable in ("render_for=containers", f"render_to={folder}/ROLE", *variables):
            command += ["-e", variable]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
        if done.returncode:
            raise SystemExit(f"playbooks/render.yml failed:\n{done.stdout}{done.stderr}")
        files = [path.relative_to(folder) for path in Path(folder).rglob("*") if path.is_file()]
        return {
            (path.parts[0], "/".join(path.parts[1:])): Path(folder, path).read_text(encoding="utf-8")
            for path in files
        }


def main() -> int:
    check = "--check" in sys.argv[1:]
    differs = False
    for make in (generated, rendered):  # rendered() reads files that generated() returns
        for path, text in make().items():
            if (path.read_text(encoding="utf-8") if path.exists() else None) == text:
                continue
            differs = True
            outcome = "is not up to date: make generate" if check else "written"
            print(f"{path.relative_to(ROOT)} {outcome}")
            if not check:
                _write(path, text)
    return 1 if check and differs else 0


def _write(path: Path, text: str | None) -> None:
    if text is None:
        path.unlink()
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
