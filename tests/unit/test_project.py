"""Tests of the whole repository: its structure, its documents, and texts that no file may contain."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from ppmctl import __version__

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "ppmctl"
TESTBED = ROOT / "testbed"

# A third-party system → the modules that may use it, so that a new version can only break these.
IMPORTERS = {
    "build": {"publishing.build"},
    "defusedxml": {"server.xml_rpc"},
    "gunicorn": {"server.access_log", "server.gunicorn", "server.worker"},
    "keyring": {"client.keyring_store"},
    "passlib": {"access.htpasswd"},
    "prometheus_client": {"server.index_metrics", "server.metrics_api", "server.request_metrics"},
    "pypiserver": {"server.pypiserver_backend"},
    "readme_renderer": {"publishing.metadata_check", "web.description"},
    "requests": {"client.connection_errors", "client.http"},
    "requests_toolbelt": {"client.upload"},
    "rich": {"output"},
    "twine": {"publishing.check", "publishing.upload"},
    "uv": {"environments.tools"},
}
# a command on another machine gets this one's standard streams
PASSES_ON = {"remote.command"}
LONGEST_MODULE = 350


@cache
def files() -> tuple[Path, ...]:
    """Return the files that git tracks or does not ignore, without binary files and what fuzzing found."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", ":!tests/fuzz/corpus"]
    listing = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True, timeout=60)
    paths = (ROOT / name for name in sorted(filter(None, listing.stdout.split("\0"))))
    return tuple(path for path in paths if path.is_file() and b"\0" not in path.read_bytes())


def documents() -> list[Path]:
    return [path for path in files() if path.suffix == ".md"]


@cache
def modules() -> dict[str, ast.Module]:
    """Return each module by its dotted name below `ppmctl`; a package by its own name."""
    trees = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        trees[".".join(parts).removesuffix(".__init__")] = ast.parse(path.read_text(encoding="utf-8"))
    return trees


@cache
def bed_modules() -> dict[str, ast.Module]:
    """Return each module of the testbed by its name."""
    return {path.stem: ast.parse(path.read_text(encoding="utf-8")) for path in sorted(TESTBED.glob("*.py"))}


@cache
def nodes(tree: ast.Module) -> tuple[ast.AST, ...]:
    """Return all nodes of a module."""
    return tuple(ast.walk(tree))


def statements(tree: ast.AST) -> list[ast.stmt | ast.excepthandler | ast.match_case]:
    """Return all statements of a module or statement; skipping expressions takes a tenth of the time."""
    collected, left = [], [tree]
    while left:
        node = left.pop()
        inner = [each for name in ("body", "orelse", "finalbody", "handlers", "cases") for each in inside(node, name)]
        collected += inner
        left += inner
    return collected


def inside(node: ast.AST, name: str) -> list[Any]:
    """Return the statements in one part of a statement; a lambda's body or an expression has none."""
    part = getattr(node, name, [])
    return part if isinstance(part, list) else []


@cache
def imports(tree: ast.Module) -> tuple[str, ...]:
    """Return the dotted names that a module imports when it runs, without those only for a type checker."""
    names: list[str] = []
    ifs = [node for node in statements(tree) if isinstance(node, ast.If)]
    typing = {each for node in ifs if "TYPE_CHECKING" in name_of(node.test) for each in statements(node)}
    for node in statements(tree):
        if isinstance(node, ast.Import) and node not in typing:
            names += (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node not in typing:
            assert not node.level, f"line {node.lineno}: imports are absolute"
            names += (f"{node.module}.{alias.name}" for alias in node.names)
    return tuple(names)


def name_of(node: ast.AST) -> str:
    """Return the dotted name of a node, or of a call's function; "" for another expression."""
    if isinstance(node, ast.Call):
        return name_of(node.func)
    if isinstance(node, ast.Attribute):
        return f"{name_of(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


# imports: the layers are in pyproject.toml, for import-linter


def test_modules_named_in_this_file_exist() -> None:
    assert {module for allowed in IMPORTERS.values() for module in allowed} | PASSES_ON <= set(modules())


def test_only_the_command_line_imports_click() -> None:
    assert {name for name in importers_of("click", modules()) if name.split(".")[0] != "cli"} == set()


@pytest.mark.parametrize("system", IMPORTERS)
def test_only_the_listed_modules_use_a_third_party_system(system: str) -> None:
    assert importers_of(system, modules()) <= IMPORTERS[system]


def importers_of(package: str, trees: dict[str, ast.Module]) -> set[str]:
    return {
        name
        for name, tree in trees.items()
        if package in {name_imported.split(".")[0] for name_imported in imports(tree)}
    }


def test_only_regular_files_are_read_where_a_user_names_them() -> None:
    """A FIFO would keep a command waiting, and /dev/zero fill the memory: regular_file.read reads neither."""
    packages = {"cli", "client", "client_config", "doctor", "environments", "publishing", "remote"}
    # what ppmctl or a program that it started has written, or what is looked at first
    own = {"client.user_file", "doctor.publish", "doctor.release_check", "doctor.resolve", "environments.resolver"}
    own |= {"publishing.release_state", "publishing.source_copy"}
    wrong = {
        name
        for name, tree in modules().items()
        for node in nodes(tree)
        if name.partition(".")[0] in packages
        and isinstance(node, ast.Call)
        and name_of(node).rpartition(".")[2] in ("read_text", "read_bytes")
        and name_of(node) not in ("read_text", "regular_file.read_text")
    }
    assert wrong - own == set()


def test_only_one_module_runs_git() -> None:
    wrong = [
        name
        for name, tree in modules().items()
        for node in nodes(tree)
        if isinstance(node, ast.List | ast.Tuple)
        and node.elts
        and isinstance(node.elts[0], ast.Constant)
        and node.elts[0].value == "git"
        and name != "publishing.git"
    ]
    assert wrong == []


def test_the_package_does_not_import_tests_or_testbed() -> None:
    assert importers_of("testbed", modules()) == set()


def test_only_one_module_of_the_testbed_uses_docker() -> None:
    assert importers_of("docker", bed_modules()) == {"engine"}


# actions of one module only


# the functions of `output` that print
PRINTERS = {"data", "say", "raw", "as_json", "table", "fields", "finding", "error", "progress"}


def test_only_output_prints() -> None:
    wrong = [
        f"{name}: {ast.unparse(node)}"
        for name, tree in modules().items()
        if name != "output"
        for node in nodes(tree)
        if (isinstance(node, ast.Call) and name_of(node) in ("print", "pprint", "click.echo", "click.secho"))
        or (isinstance(node, ast.Attribute) and name_of(node) in ("sys.stdout", "sys.stderr"))
    ]
    assert wrong == []


def test_only_the_command_line_calls_printing_functions() -> None:
    assert {node.name for node in modules()["output"].body if isinstance(node, ast.FunctionDef)} >= PRINTERS
    printers = {f"output.{name}" for name in PRINTERS}
    wrong = [
        f"{name}: {ast.unparse(node)}"
        for name, tree in modules().items()
        if name.split(".")[0] != "cli" and name not in PASSES_ON
        for node in nodes(tree)
        if (isinstance(node, ast.Attribute) and name_of(node) in printers)
        or (
            isinstance(node, ast.ImportFrom)
            and node.module == "ppmctl.output"
            and PRINTERS & {alias.name for alias in node.names}
        )
    ]
    assert wrong == [], "ppmctl.events reports notes and progress"


def test_only_the_command_line_prompts() -> None:
    questions = ("input", "sys.stdin", "click.prompt", "click.confirm", "getpass.getpass")
    wrong = [
        f"{name}: {ast.unparse(node)}"
        for name, tree in modules().items()
        if name.split(".")[0] != "cli" and name not in PASSES_ON
        for node in nodes(tree)
        if isinstance(node, ast.Name | ast.Attribute) and name_of(node) in questions
    ]
    assert wrong == []


def test_only_the_command_line_exits() -> None:
    wrong = [
        f"{name}: {ast.unparse(node)}"
        for name, tree in modules().items()
        if name.split(".")[0] != "cli"
        for node in nodes(tree)
        if (isinstance(node, ast.Call) and name_of(node) in ("exit", "quit", "sys.exit", "os._exit", "os.abort"))
        or (isinstance(node, ast.Name) and node.id == "SystemExit")
    ]
    assert wrong == []


def test_modules_are_not_too_long() -> None:
    written = [*PACKAGE.rglob("*.py"), *TESTBED.rglob("*.py")]
    lengths = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in written}
    assert {path.name: lines for path, lines in lengths.items() if lines > LONGEST_MODULE} == {}


# locks, commands, documents


def test_lock_files_match_pyproject() -> None:
    check = [sys.executable, "scripts/check_locks.py"]
    done = subprocess.run(check, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


def test_images_have_the_projects_version() -> None:
    """The compose files pass the version; each Dockerfile uses it for the label.

    The image of the service `sockets` has none: while it is replaced, connections are refused.
    """
    versioned = {path for path in (ROOT / "docker").glob("*/Dockerfile") if path.parent.name != "sockets"}
    for path in sorted(versioned):
        text = path.read_text()
        assert text.count('org.opencontainers.image.version="${VERSION}"') == 1, path
        assert text.index("ARG VERSION\n") < text.index("${VERSION}"), path
    builds = {
        name: service["build"]
        for file in ("compose.yml", "compose.tls.yml", "compose.bucket.yml")
        for name, service in yaml.safe_load((ROOT / "docker" / file).read_text())["services"].items()
        if "build" in service
    }
    assert "args" not in builds.pop("sockets")
    assert {build["dockerfile"].split("/")[1] for build in builds.values()} == {
        path.parent.name for path in versioned
    }
    assert {name: build["args"]["VERSION"] for name, build in builds.items()} == dict.fromkeys(builds, __version__)


def make(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["make", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=60)


@cache
def listed() -> list[str]:
    return re.findall(r"^make ([a-z][a-z0-9-]*) +\S", make().stdout, re.MULTILINE)


def test_make_without_a_target_lists_the_commands() -> None:
    expected = ["help", "up", "host", "host-exec", "host-down"]
    expected += ["images", "compose-up", "compose-down", "ansible", "compose-config"]
    expected += ["test", "test-fast", "test-e2e", "test-hosts", "test-docker", "test-long"]
    expected += ["mutation", "faults", "fuzz", "corpus", "lint", "audit", "generate", "lock", "bench"]
    expected += ["screenshots", "clean"]
    assert listed() == expected


def test_each_command_that_make_lists_is_a_target() -> None:
    done = make("-n", "--keep-going", *listed())
    assert (done.returncode, done.stderr) == (0, "")


def test_make_commands_in_documents_exist() -> None:
    named = {
        (path.name, target)
        for path in documents()
        for target in re.findall(r"(?:^|`)make ([a-z][a-z0-9-]*)", path.read_text(encoding="utf-8"), re.MULTILINE)
    }
    assert {target for _, target in named} >= {"up", "test"}
    assert {(where, target) for where, target in named if target not in listed()} == set()


def test_links_between_documents_are_valid() -> None:
    broken = [
        f"{path.relative_to(ROOT)}: {link}"
        for path in documents()
        for link in re.findall(r"\]\(([^)#\s]+)[^)]*\)", path.read_text(encoding="utf-8"))
        if "://" not in link and not (path.parent / link).exists()
    ]
    assert broken == []


def test_pictures_of_documents_are_small_and_shown() -> None:
    """Each clone has them for ever. `make screenshots` makes them."""
    pictures = {path.name: path.stat().st_size for path in (ROOT / "docs" / "images").iterdir()}
    text = "".join(path.read_text(encoding="utf-8") for path in documents())
    assert {name for name, size in pictures.items() if size > 150_000 or f"images/{name}" not in text} == set()
    assert len(pictures) > 3


def test_modules_that_documents_name_exist() -> None:
    named = {
        (path.name, module)
        for path in documents()
        for module in re.findall(r"(?<![\w./-])ppmctl/(?:\w+/)*(?:\w+\.py)?", path.read_text(encoding="utf-8"))
    }
    assert len({module for _, module in named}) > 30
    assert {(where, module) for where, module in named if not (ROOT / module).exists()} == set()


# texts that no file may contain


def archive_hosts() -> set[str]:
    """Return hosts of package archives: pip's default, and the distribution's mirrors in this machine's sources."""
    from pip._internal.models.index import PyPI

    hosts = {PyPI.netloc, PyPI.file_storage_domain}
    apt = Path("/etc/apt")
    for source in [apt / "sources.list", *apt.glob("sources.list.d/*")]:
        if source.is_file():
            text = source.read_text(encoding="utf-8", errors="replace")
            mirrors = re.findall(r"^[^#\n]*//([^/\s]+)/(?:debian|ubuntu)(?:-security)?/?(?:\s|$)", text, re.MULTILINE)
            hosts |= set(mirrors)
    return hosts


def test_no_file_contains_the_host_of_a_package_archive() -> None:
    hosts = archive_hosts()
    assert len(hosts) >= 2
    pattern = re.compile(r"(?<![\w-])(?:" + "|".join(map(re.escape, sorted(hosts))) + r")(?![\w-])")
    named = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()[:80]}"
        for path in files()
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
        if pattern.search(line)
    ]
    assert named == [], "derive it: pip's and pypiserver's defaults, the host's apt sources"


def test_a_disabled_lint_rule_has_a_reason() -> None:
    switch = re.compile(r"#\s*(?:noqa|type:\s*ignore|shellcheck disable)(?:[:=]?\s*[A-Z]+\d+,?|\[[^]]*\])*\s*$")
    assert switch.search("x = 1  # noqa: S105, S106")
    assert not switch.search("x = 1  # noqa: S105 - no secret")
    bare = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()[:80]}"
        for path in files()
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
        if switch.search(line)
    ]
    assert bare == []
