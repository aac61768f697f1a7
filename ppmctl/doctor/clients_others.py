"""Check what the files and variables of poetry, pdm, pipenv, hatch and twine say about the index."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ppmctl import user_dirs
from ppmctl.client.index_url import read_sections
from ppmctl.doctor import programs
from ppmctl.doctor.client_model import Setting, configure_hint, missing_file_predicate, table_of, variable
from ppmctl.doctor.finding import Context, Finding
from ppmctl.doctor.index_url import is_same_index
from ppmctl.errors import UsageError
from ppmctl.secret import masked

_PYPROJECT = "pyproject.toml"


def check(context: Context) -> Iterator[Finding]:
    """Check each of them that is installed. None is run: each takes seconds to report its configuration."""
    for name, check_client in _CHECKS.items():
        if programs.on_path((name,), context.environ):
            yield check_client(context)
    cert = variable(context, "TWINE_CERT")
    if cert and (problem := missing_file_predicate(cert, context)) and programs.on_path(("twine",), context.environ):
        yield Finding("twine", "fail", f"twine {problem}", cert.undo)


def _poetry(context: Context) -> Finding:
    project = user_dirs.above(context.cwd, _PYPROJECT)
    table = table_of(project, "tool", "poetry")
    backend = str(table_of(project, "build-system").get("build-backend", ""))
    if project is None or not (table or backend.startswith("poetry")):
        return _no_project("poetry", context)
    sources, ours = _sources(table, context)
    if not ours:
        return _unknown("poetry", f"[[tool.poetry.source]] of {project}", context)
    priority = str(ours[0].get("priority", "primary"))
    message = f"poetry asks this index as {ours[0].get('name', '')} ({priority}) of {project}"
    # without a primary source poetry asks the public index too
    primary = [each for each in sources if each.get("url") and each.get("priority", "primary") == "primary"]
    if priority == "explicit" or (priority == "primary" and len(primary) == 1):
        return Finding("poetry", "ok", message)
    return _unsafe("poetry", f"{message}, and others, which may have a project of the same name", context)


def _pdm(context: Context) -> Finding:
    project = user_dirs.above(context.cwd, _PYPROJECT)
    table = table_of(project, "tool", "pdm")
    sources, ours = _sources(table, context)
    if ours:
        message = f"pdm asks this index as {ours[0].get('name')} of {project}"
        replaces_public = len(sources) == 1 and ours[0].get("name") == "pypi"
        if ours[0].get("include_packages") or replaces_public:
            return Finding("pdm", "ok", message)
        return _unsafe("pdm", f"{message}, and others: it installs the highest version of any", context)
    files = [user_dirs.config(context.environ, context.home) / "pdm" / "config.toml"]
    files += [project.with_name("pdm.toml")] if project else []
    written = [
        Setting(name="pypi.url", value=url, file=path, undo=f"pdm config --delete pypi.url  # {path}")
        for path in files
        if is_same_index(url := str(table_of(path, "pypi").get("url")), context.address)
    ]
    override = variable(context, "PDM_PYPI_URL")
    if override is not None and not is_same_index(override.value, context.address):
        if written:
            message = f"pdm asks {masked(override.value)}: {override.name} overrides {written[-1].place}"
            return Finding("pdm", "fail", f"{message}, which has this index", override.undo)
    elif setting := override or next(reversed(written), None):
        return Finding("pdm", "ok", f"pdm asks this index instead of the public one, by {setting.place}")
    if not table:
        return _no_project("pdm", context)
    return _unknown("pdm", f"[[tool.pdm.source]] of {project}", context)


def _pipenv(context: Context) -> Finding:
    pipfile = user_dirs.above(context.cwd, "Pipfile")
    if pipfile is None:
        return _no_project("pipenv", context)
    _all, ours = _sources(table_of(pipfile), context)
    if not ours:
        return _unknown("pipenv", f"[[source]] of {pipfile}", context)
    if ours[0].get("verify_ssl") is False and context.address.is_encrypted:
        message = f"pipenv does not verify the certificate of {context.address.host}: verify_ssl = false in {pipfile}"
        return Finding("pipenv", "fail", message, f"sed -i 's/^verify_ssl *= *false/verify_ssl = true/' {pipfile}")
    mirror = variable(context, "PIPENV_PYPI_MIRROR")
    also = f"; {mirror.name} replaces the public one" if mirror else ""
    return Finding("pipenv", "ok", f"pipenv asks this index as {ours[0].get('name')} of {pipfile}{also}")


def _hatch(context: Context) -> Finding:
    repository = variable(context, "HATCH_INDEX_REPO")
    target = f"; it publishes to {masked(repository.value)} ({repository.name})" if repository else ""
    return Finding("hatch", "ok", f"hatch installs by pip or uv, with their configuration{target}")


def _twine(context: Context) -> Finding:
    path = context.home / ".pypirc"
    try:
        sections = read_sections(path)
    except UsageError as exc:
        return Finding("twine", "fail", exc.phrase, exc.hint or f"Repair {path}")
    ours = [section for section in sections.values() if is_same_index(section.repository or "", context.address)]
    override = variable(context, "TWINE_REPOSITORY_URL")
    is_overridden = override is not None and not is_same_index(override.value, context.address)
    if override is not None and is_overridden and ours:
        message = f"twine uploads to {masked(override.value)}: {override.name} overrides {ours[0].source}"
        return Finding("twine", "fail", f"{message}, which has this index", override.undo)
    if ours:
        return Finding("twine", "ok", f"twine knows this index: twine upload --repository {ours[0].name}")
    if override is not None and not is_overridden:
        return Finding("twine", "ok", f"twine uploads to this index, by {override.name}")
    message = f"twine is not configured for this index; ppmctl publish  does not need {path}"
    return Finding("twine", "skip", message, configure_hint("twine", context))


_CHECKS = {"poetry": _poetry, "pdm": _pdm, "pipenv": _pipenv, "hatch": _hatch, "twine": _twine}


def _no_project(name: str, context: Context) -> Finding:
    return Finding(name, "skip", f"{name} is configured in each project, and {context.cwd} is in none")


def _unknown(name: str, table: str, context: Context) -> Finding:
    return Finding(name, "warn", f"{name} does not ask this index: no {table} has it", configure_hint(name, context))


def _unsafe(name: str, message: str, context: Context) -> Finding:
    return Finding(name, "warn", message, configure_hint(name, context, form="explicit"))


def _sources(table: Mapping[str, Any], context: Context) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return the indexes that a project names, and those of them that are this index."""
    value = table.get("source")
    sources = [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
    return sources, [source for source in sources if is_same_index(str(source.get("url", "")), context.address)]
