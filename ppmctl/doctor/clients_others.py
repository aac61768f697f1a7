"""poetry, pdm, pipenv, hatch and twine: what their files and variables say of the visited index."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ppmctl import user_dirs
from ppmctl.address import read_sections
from ppmctl.doctor.clients_values import Setting, configure, found, hidden, is_index, table_of, variable
from ppmctl.doctor.finding import Finding, Visit
from ppmctl.errors import UsageError


def check(visit: Visit) -> Iterator[Finding]:
    """What is to be said of each that is installed. Only files are read: each takes seconds to say anything."""
    for name, of in _PROGRAMS.items():
        if found((name,), visit.environ):
            yield from of(visit)


def _poetry(visit: Visit) -> Iterator[Finding]:
    project = user_dirs.above(visit.cwd, "pyproject.toml")
    table = table_of(project, "tool", "poetry")
    sources = [source for source in _list(table.get("source")) if source.get("url")]
    if project is None or not (table or _backend(project).startswith("poetry")):
        yield _no_project("poetry", visit)
        return
    ours = [source for source in sources if is_index(str(source["url"]), visit.address)]
    if not ours:
        said = f"poetry does not ask this index: no [[tool.poetry.source]] of {project} has it"
        yield Finding("poetry", "warn", said, configure("poetry", visit))
        return
    priority = str(ours[0].get("priority", "primary"))
    name = str(ours[0].get("name", ""))
    # without a primary source poetry asks the public index too
    primary = [source for source in sources if source.get("priority", "primary") == "primary"]
    if priority == "explicit" or (priority == "primary" and len(primary) == 1):
        yield Finding("poetry", "ok", f"poetry asks this index as {name} ({priority}) of {project}")
        return
    said = f"poetry asks this index as {name} ({priority}) of {project} beside others, which may have a name of yours"
    yield Finding("poetry", "warn", said, configure("poetry", visit, form="explicit"))


def _pdm(visit: Visit) -> Iterator[Finding]:
    project = user_dirs.above(visit.cwd, "pyproject.toml")
    table = table_of(project, "tool", "pdm")
    over = variable(visit.environ, "PDM_PYPI_URL")
    sources = _list(table.get("source"))
    ours = [source for source in sources if is_index(str(source.get("url", "")), visit.address)]
    if ours:
        own = [source for source in sources if source.get("name") == "pypi"]
        kept_apart = ours[0].get("include_packages") or (own and own[0] is ours[0] and len(sources) == 1)
        said = f"pdm asks this index as {ours[0].get('name')} of {project}"
        if kept_apart:
            yield Finding("pdm", "ok", said)
        else:
            said += " beside others, and takes the highest version of any, also of a name of yours at another index"
            yield Finding("pdm", "warn", said, configure("pdm", visit, form="explicit"))
        return
    files = [
        user_dirs.config(visit.environ, visit.home) / "pdm" / "config.toml",
        *([project.with_name("pdm.toml")] if project else []),
    ]
    urls = [
        Setting(name="pypi.url", value=url, file=path, undo=f"pdm config --delete pypi.url  # {path}")
        for path in files
        if isinstance(url := table_of(path, "pypi").get("url"), str)
    ]
    written = [setting for setting in urls if is_index(setting.value, visit.address)]
    if over is not None and written and not is_index(over.value, visit.address):
        said = f"pdm asks {hidden(over.value)}: {over.name} overrides {written[-1].place}, which has this index"
        yield Finding("pdm", "fail", said, over.undo)
    elif written or (over is not None and is_index(over.value, visit.address)):
        setting = over or written[-1]
        yield Finding("pdm", "ok", f"pdm asks this index in place of the public one, by {setting.place}")
    elif table:
        said = f"pdm does not ask this index: no [[tool.pdm.source]] of {project} has it"
        yield Finding("pdm", "warn", said, configure("pdm", visit))
    else:
        yield _no_project("pdm", visit)


def _pipenv(visit: Visit) -> Iterator[Finding]:
    pipfile = user_dirs.above(visit.cwd, "Pipfile")
    if pipfile is None:
        yield _no_project("pipenv", visit)
        return
    mirror = variable(visit.environ, "PIPENV_PYPI_MIRROR")
    sources = _list(table_of(pipfile).get("source"))
    ours = [source for source in sources if is_index(str(source.get("url", "")), visit.address)]
    if not ours:
        said = f"pipenv does not ask this index: no [[source]] of {pipfile} has it"
        yield Finding("pipenv", "warn", said, configure("pipenv", visit))
    elif ours[0].get("verify_ssl") is False and visit.address.is_encrypted:
        said = f"pipenv does not check who {visit.address.host} is: verify_ssl = false in {pipfile}"
        yield Finding("pipenv", "fail", said, f"sed -i 's/^verify_ssl *= *false/verify_ssl = true/' {pipfile}")
    else:
        also = f"; {mirror.name} takes the place of the public one" if mirror else ""
        yield Finding("pipenv", "ok", f"pipenv asks this index as {ours[0].get('name')} of {pipfile}{also}")


def _hatch(visit: Visit) -> Iterator[Finding]:
    repo = variable(visit.environ, "HATCH_INDEX_REPO")
    says = f"; it publishes to {hidden(repo.value)} ({repo.name})" if repo else ""
    yield Finding("hatch", "ok", f"hatch installs by pip or uv, as they are set up{says}")


def _twine(visit: Visit) -> Iterator[Finding]:
    path = visit.home / ".pypirc"
    try:
        sections = read_sections(path)
    except UsageError as exc:
        yield Finding("twine", "fail", exc.phrase, exc.hint or f"Mend {path}")
        return
    over = variable(visit.environ, "TWINE_REPOSITORY_URL")
    ours = [section for section in sections.values() if is_index(section.repository or "", visit.address)]
    if over is not None and ours and not is_index(over.value, visit.address):
        said = f"twine uploads to {hidden(over.value)}: {over.name} overrides {ours[0].source}, which has this index"
        yield Finding("twine", "fail", said, over.undo)
    elif ours:
        yield Finding("twine", "ok", f"twine knows this index: twine upload --repository {ours[0].name}")
    elif over is not None and is_index(over.value, visit.address):
        yield Finding("twine", "ok", f"twine uploads to this index, by {over.name}")
    else:
        said = f"twine is not set up for this index; ppmctl publish  does without {path}"
        yield Finding("twine", "skip", said, configure("twine", visit))
    cert = variable(visit.environ, "TWINE_CERT")
    if cert is not None and not Path(visit.cwd, cert.value).exists():
        yield Finding(
            "twine", "fail", f"twine is told by TWINE_CERT to use {cert.value}, which does not exist", cert.undo
        )


_PROGRAMS: Mapping[str, Callable[[Visit], Iterator[Finding]]] = {
    "poetry": _poetry,
    "pdm": _pdm,
    "pipenv": _pipenv,
    "hatch": _hatch,
    "twine": _twine,
}


def _no_project(name: str, visit: Visit) -> Finding:
    return Finding(
        name, "skip", f"{name} is told by each project which indexes to ask, and there is none of its in {visit.cwd}"
    )


def _backend(project: Path) -> str:
    return str(table_of(project, "build-system").get("build-backend", ""))


def _list(value: object) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
