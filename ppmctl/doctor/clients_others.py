"""poetry, pdm, pipenv, hatch and twine: what their files and variables say of the visited index."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ppmctl import user_dirs
from ppmctl.client.index_url import read_sections
from ppmctl.doctor.client_model import Setting, configure, found, hidden, is_index, table_of, variable
from ppmctl.doctor.finding import Finding, Visit
from ppmctl.errors import UsageError


def check(visit: Visit) -> Iterator[Finding]:
    """What is to be said of each that is installed. Only files are read: each takes seconds to say anything."""
    for name, of in _PROGRAMS.items():
        if found((name,), visit.environ):
            yield of(visit)
            if name == "twine":
                yield from _certificates(visit)


def _poetry(visit: Visit) -> Finding:
    project = user_dirs.above(visit.cwd, "pyproject.toml")
    table = table_of(project, "tool", "poetry")
    backend = str(table_of(project, "build-system").get("build-backend", ""))
    if project is None or not (table or backend.startswith("poetry")):
        return _no_project("poetry", visit)
    sources, ours = _sources(table, visit)
    if not ours:
        said = f"poetry does not ask this index: no [[tool.poetry.source]] of {project} has it"
        return Finding("poetry", "warn", said, configure("poetry", visit))
    priority = str(ours[0].get("priority", "primary"))
    name = str(ours[0].get("name", ""))
    # without a primary source poetry asks the public index too
    primary = [each for each in sources if each.get("url") and each.get("priority", "primary") == "primary"]
    if priority == "explicit" or (priority == "primary" and len(primary) == 1):
        return Finding("poetry", "ok", f"poetry asks this index as {name} ({priority}) of {project}")
    said = f"poetry asks this index as {name} ({priority}) of {project} beside others, which may have a name of yours"
    return Finding("poetry", "warn", said, configure("poetry", visit, form="explicit"))


def _pdm(visit: Visit) -> Finding:
    project = user_dirs.above(visit.cwd, "pyproject.toml")
    table = table_of(project, "tool", "pdm")
    over = variable(visit.environ, "PDM_PYPI_URL")
    sources, ours = _sources(table, visit)
    if ours:
        own = [source for source in sources if source.get("name") == "pypi"]
        kept_apart = ours[0].get("include_packages") or (own and own[0] is ours[0] and len(sources) == 1)
        said = f"pdm asks this index as {ours[0].get('name')} of {project}"
        if kept_apart:
            return Finding("pdm", "ok", said)
        said += " beside others, and takes the highest version of any, also of a name of yours at another index"
        return Finding("pdm", "warn", said, configure("pdm", visit, form="explicit"))
    files = [user_dirs.config(visit.environ, visit.home) / "pdm" / "config.toml"]
    files += [project.with_name("pdm.toml")] if project else []
    urls = [
        Setting(name="pypi.url", value=url, file=path, undo=f"pdm config --delete pypi.url  # {path}")
        for path in files
        if isinstance(url := table_of(path, "pypi").get("url"), str)
    ]
    written = [setting for setting in urls if is_index(setting.value, visit.address)]
    if over is not None and written and not is_index(over.value, visit.address):
        said = f"pdm asks {hidden(over.value)}: {over.name} overrides {written[-1].place}, which has this index"
        return Finding("pdm", "fail", said, over.undo)
    if written or (over is not None and is_index(over.value, visit.address)):
        setting = over or written[-1]
        return Finding("pdm", "ok", f"pdm asks this index in place of the public one, by {setting.place}")
    if not table:
        return _no_project("pdm", visit)
    said = f"pdm does not ask this index: no [[tool.pdm.source]] of {project} has it"
    return Finding("pdm", "warn", said, configure("pdm", visit))


def _pipenv(visit: Visit) -> Finding:
    pipfile = user_dirs.above(visit.cwd, "Pipfile")
    if pipfile is None:
        return _no_project("pipenv", visit)
    _all, ours = _sources(table_of(pipfile), visit)
    if not ours:
        said = f"pipenv does not ask this index: no [[source]] of {pipfile} has it"
        return Finding("pipenv", "warn", said, configure("pipenv", visit))
    if ours[0].get("verify_ssl") is False and visit.address.is_encrypted:
        said = f"pipenv does not check who {visit.address.host} is: verify_ssl = false in {pipfile}"
        return Finding("pipenv", "fail", said, f"sed -i 's/^verify_ssl *= *false/verify_ssl = true/' {pipfile}")
    mirror = variable(visit.environ, "PIPENV_PYPI_MIRROR")
    also = f"; {mirror.name} takes the place of the public one" if mirror else ""
    return Finding("pipenv", "ok", f"pipenv asks this index as {ours[0].get('name')} of {pipfile}{also}")


def _hatch(visit: Visit) -> Finding:
    repo = variable(visit.environ, "HATCH_INDEX_REPO")
    says = f"; it publishes to {hidden(repo.value)} ({repo.name})" if repo else ""
    return Finding("hatch", "ok", f"hatch installs by pip or uv, as they are set up{says}")


def _twine(visit: Visit) -> Finding:
    path = visit.home / ".pypirc"
    try:
        sections = read_sections(path)
    except UsageError as exc:
        return Finding("twine", "fail", exc.phrase, exc.hint or f"Mend {path}")
    over = variable(visit.environ, "TWINE_REPOSITORY_URL")
    ours = [section for section in sections.values() if is_index(section.repository or "", visit.address)]
    if over is not None and ours and not is_index(over.value, visit.address):
        said = f"twine uploads to {hidden(over.value)}: {over.name} overrides {ours[0].source}, which has this index"
        return Finding("twine", "fail", said, over.undo)
    if ours:
        return Finding("twine", "ok", f"twine knows this index: twine upload --repository {ours[0].name}")
    if over is not None and is_index(over.value, visit.address):
        return Finding("twine", "ok", f"twine uploads to this index, by {over.name}")
    said = f"twine is not set up for this index; ppmctl publish  does without {path}"
    return Finding("twine", "skip", said, configure("twine", visit))


def _certificates(visit: Visit) -> Iterator[Finding]:
    cert = variable(visit.environ, "TWINE_CERT")
    if cert is not None and not Path(visit.cwd, cert.value).exists():
        said = f"twine is told by TWINE_CERT to use {cert.value}, which does not exist"
        yield Finding("twine", "fail", said, cert.undo)


_PROGRAMS: Mapping[str, Callable[[Visit], Finding]] = {
    "poetry": _poetry,
    "pdm": _pdm,
    "pipenv": _pipenv,
    "hatch": _hatch,
    "twine": _twine,
}


def _no_project(name: str, visit: Visit) -> Finding:
    said = f"{name} is told by each project which indexes to ask, and there is none of its in {visit.cwd}"
    return Finding(name, "skip", said)


def _sources(table: Mapping[str, Any], visit: Visit) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return the indexes that a project names, and those of them that are the visited one."""
    value = table.get("source")
    sources = [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
    return sources, [source for source in sources if is_index(str(source.get("url", "")), visit.address)]
