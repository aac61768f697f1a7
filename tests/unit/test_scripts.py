"""Tests of the scripts behind `make` on machines that lack programs. A machine is a PATH of fake programs."""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import ModuleType

import pytest
import yaml

ROOT = Path(__file__).parents[2]
NO_SUCH = "command -v no-such-command-anywhere"


@cache
def script(name: str) -> ModuleType:
    """Import a script, to call its functions in this process."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "scripts" / f"{name}.py")
    assert spec
    assert spec.loader
    sys.modules[name] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Machine:
    """A PATH with only the programs that the scripts need, and those that a test adds."""

    def __init__(self, folder: Path) -> None:
        self.bin = folder / "bin"
        self.log = folder / "log"
        self.bin.mkdir()
        for tool in ("sh", "sed", "cat", "dirname"):
            path = shutil.which(tool)
            assert path
            (self.bin / tool).symlink_to(path)
        self.has("id", "echo 1000")

    def has(self, name: str, script: str) -> None:
        (self.bin / name).unlink(missing_ok=True)
        (self.bin / name).write_text(f"#!/bin/sh\n{script}\n")
        (self.bin / name).chmod(0o755)

    def has_python(self, name: str, version: str, *, venv: bool = True) -> None:
        """Add a Python that reports `version`: the real one, without site-packages to start faster."""
        told = f"import sys; sys.version_info = (*map(int, '{version}'.split('.')), 0)"
        without = "" if venv else "; sys.modules['ensurepip'] = None"
        self.has(name, f'exec {sys.executable} -S -c "{told}{without}; exec(sys.argv[1])" "$2"')

    def run(self, script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [str(ROOT / "scripts" / script), *arguments]
        environment = {"PATH": str(self.bin), "LOG": str(self.log)}
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


# find-python


@pytest.mark.parametrize(("name", "version"), [("python3", "3.11"), ("python3", "3.13"), ("python3.12", "3.12")])
def test_a_supported_python_is_found(machine: Machine, name: str, version: str) -> None:
    machine.has_python(name, version)
    done = machine.run("find-python")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{sys.executable}\n", "")


@pytest.mark.parametrize("version", ["3.10", "3.14"])
def test_an_unsupported_python_is_skipped(machine: Machine, version: str) -> None:
    machine.has_python("python3", version)
    done = machine.run("find-python")
    assert done.returncode == 1
    assert done.stdout == ""
    assert "needs Python 3.11 to 3.13" in done.stderr
    assert done.stderr.endswith("sudo apt-get update && sudo apt-get install python3-venv\n")


def test_a_shim_without_a_python_is_skipped(machine: Machine) -> None:
    machine.has("python3.13", "echo 'not installed' >&2; exit 127")
    machine.has_python("python3", "3.11")
    assert machine.run("find-python").stdout == f"{sys.executable}\n"


@pytest.mark.parametrize(
    ("names", "package"),
    [
        (["python3"], "python3-venv"),
        (["python3.11", "python3"], "python3-venv"),
        (["python3.11"], "python3.11-venv"),
    ],
)
def test_the_missing_package_for_venv_is_named(machine: Machine, names: list[str], package: str) -> None:
    for name in names:
        machine.has_python(name, "3.11", venv=False)
    done = machine.run("find-python")
    assert done.returncode == 1
    assert done.stderr.endswith(f"    sudo apt-get update && sudo apt-get install {package}\n")


def test_a_python_with_venv_is_preferred_to_a_newer_one_without(machine: Machine) -> None:
    machine.has_python("python3.13", "3.13", venv=False)
    machine.has_python("python3.11", "3.11")
    assert machine.run("find-python").stdout == f"{sys.executable}\n"


def test_without_a_python_the_package_of_apt_is_named(machine: Machine) -> None:
    machine.has("apt-cache", '[ "$2" = python3.12-venv ]')
    done = machine.run("find-python")
    assert done.returncode == 1
    assert done.stderr.endswith("install python3.12-venv\n")


def test_a_requested_python_is_used_or_rejected(machine: Machine) -> None:
    machine.has_python("python3", "3.11")
    machine.has_python("mine", "3.12")
    machine.has_python("old", "3.9")
    assert machine.run("find-python", "mine").stdout == f"{sys.executable}\n"
    done = machine.run("find-python", "old")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("PYTHON=old is not a Python 3.11 to 3.13 that runs")


# apt-needs


@pytest.fixture
def needs(machine: Machine, tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    def run(**packages: str) -> subprocess.CompletedProcess[str]:
        lines = [f"{package} {test}" for package, test in packages.items()]
        (tmp_path / "list").write_text("\n".join(["# a comment", "", *lines]) + "\n")
        return machine.run("apt-needs", str(tmp_path / "list"))

    return run


def test_no_output_if_no_package_is_missing(needs: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    done = needs(here="command -v cat")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_user_gets_the_apt_command_to_type_and_nothing_is_run(
    machine: Machine, needs: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    machine.has("apt-get", 'echo "$*" >>"$LOG"')
    done = needs(here="command -v cat", one=NO_SUCH, two=NO_SUCH)
    assert done.returncode == 1
    assert done.stderr.endswith("    sudo apt-get update && sudo apt-get install one two\n")
    assert not machine.log.exists()


def test_root_installs_the_missing_packages_and_names_them(
    machine: Machine, needs: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    machine.has("id", "echo 0")
    machine.has("apt-get", 'echo "$DEBIAN_FRONTEND $*" >>"$LOG"')
    done = needs(here="command -v cat", one=NO_SUCH, two=NO_SUCH)
    assert done.returncode == 0
    assert "one two" in done.stdout
    update, install = machine.log.read_text().splitlines()
    assert update.startswith("noninteractive update")
    assert install.startswith("noninteractive install")
    assert "DPkg::Lock::Timeout=" in install, "another apt is waited for"
    assert install.endswith(" one two")


def test_an_installed_package_leaves_no_service_running(
    machine: Machine, needs: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    """Prometheus's package starts its service where systemd runs; one without a service is no error."""
    machine.has("id", "echo 0")
    machine.has("apt-get", "true")
    machine.has("systemctl", 'echo "$*" >>"$LOG"; exit 1')
    assert needs(prometheus=NO_SUCH).returncode == 0
    expected = ["disable --quiet prometheus.service", "stop --quiet prometheus.service"]
    assert machine.log.read_text().splitlines() == expected


def test_another_update_of_the_package_lists_is_waited_for(
    machine: Machine, needs: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    machine.has("id", "echo 0")
    machine.has("sleep", "true")
    lock = "E: Could not get lock /var/lib/apt/lists/lock. It is held by process 7 (apt-get)"
    machine.has(
        "apt-get",
        f'echo "$1" >>"$LOG"; for turn in a b; do [ -e "$LOG.$turn" ] ||'
        f' {{ : >"$LOG.$turn"; echo "{lock}" >&2; exit 100; }}; done',
    )
    assert needs(one=NO_SUCH).returncode == 0
    assert machine.log.read_text().split() == ["update", "update", "update", "install"]


@pytest.mark.parametrize("step", ["update", "install"])
def test_a_failed_apt_fails(
    machine: Machine, needs: Callable[..., subprocess.CompletedProcess[str]], step: str
) -> None:
    machine.has("id", "echo 0")
    machine.has("apt-get", f'[ "$1" != {step} ] || exit 100')
    assert needs(one=NO_SUCH).returncode == 100


def test_without_apt_missing_programs_are_named(needs: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    done = needs(one=NO_SUCH)
    assert done.returncode == 1
    assert "Missing here: one." in done.stderr


# audit

KNOWN = {"name": "urllib3", "version": "1.24.1", "vulns": [{"id": "PYSEC-1", "fix_versions": ["1.24.2"]}]}
LOCK = """\
first==1.0 \\
    --hash=sha256:aa
second==2.0 ; python_full_version < '3.12' \\
    --hash=sha256:bb
second==2.1 ; sys_platform == 'win32' \\
    --hash=sha256:cc
"""
# It looks up what is asked, and knows only what a test gives it.
PIP_AUDIT = """\
import json, os, sys
options = json.loads(os.environ["OPTIONS"])
if options["is_down"]:
    sys.exit("no network")
assert "--no-deps" in sys.argv and "--disable-pip" in sys.argv
wanted = open(sys.argv[sys.argv.index("--requirement") + 1]).read().split()
found = []
for name, version in (line.split("==") for line in wanted):
    entry = {"name": name, "version": version, "vulns": []}
    if name == options["skipped"]:
        entry = {"name": name, "skip_reason": "not found"}
    for known in filter(None, (options["known"], options["more"])):
        if "vulns" in entry and [name, version] == [known["name"], known["version"]]:
            entry = known
    if name != options["left_out"]:
        found.append(entry)
assert len({entry["name"] for entry in found}) == len(found), "pip-audit refuses two versions of a package"
print(json.dumps({"dependencies": found, "fixes": []}))
"""


@pytest.fixture
def audit(tmp_path: Path) -> Callable[..., tuple[int, str]]:
    """Return a function that audits two locks with a program in place of pip-audit, which needs a network."""
    (tmp_path / "locks").mkdir()
    (tmp_path / "docker" / "s3").mkdir(parents=True)
    (tmp_path / "docker" / "s3" / "requirements.txt").write_text("first==1.0 \\\n    --hash=sha256:aa\n")
    (tmp_path / "locks" / "one.txt").write_text(LOCK)
    (tmp_path / "locks" / "two.txt").write_text(LOCK.partition("second")[0])
    (tmp_path / "pip_audit.py").write_text(PIP_AUDIT)

    def run(**options: object) -> tuple[int, str]:
        options = {"known": KNOWN, "more": None, "skipped": "", "left_out": "", "is_down": False} | options
        command = [sys.executable, str(ROOT / "scripts" / "audit.py"), str(tmp_path)]
        environ = {"PYTHONPATH": str(tmp_path), "OPTIONS": json.dumps(options)}
        done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=60, check=False)
        return done.returncode, done.stdout + done.stderr

    return run


def test_an_audit_looks_up_every_pin_of_every_lock(audit: Callable[..., tuple[int, str]]) -> None:
    """Also two versions of a package, for other Pythons and platforms."""
    assert audit() == (0, "3 pins of docker/s3/requirements.txt, locks/one.txt, locks/two.txt; problems: 0.\n")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"more": {**KNOWN, "name": "second", "version": "2.1"}},
            "second==2.1 (locks/one.txt): PYSEC-1, fixed in 1.24.2",
        ),
        ({"known": None}, "does not know that urllib3==1.24.1 is vulnerable: it has no advisory of it"),
        ({"skipped": "urllib3"}, "does not know that urllib3==1.24.1 is vulnerable: not found"),
        (
            {"skipped": "first"},
            "first==1.0 (locks/one.txt, locks/two.txt, docker/s3/requirements.txt): not looked up: not found",
        ),
        ({"left_out": "second"}, "second==2.0 (locks/one.txt): not looked up: pip-audit left it out"),
        ({"is_down": True}, "No lock was audited: pip-audit printed no result:\n    no network"),
        ({"is_down": True}, "It needs a network, and the advisories of the public index (--service pypi or osv)."),
    ],
)
def test_an_audit_fails_for_what_is_vulnerable_or_was_not_looked_up(
    audit: Callable[..., tuple[int, str]], options: dict[str, object], message: str
) -> None:
    code, printed = audit(**options)
    assert code == 1
    assert message in printed


# check_locks

PROJECT = """\
[build-system]
requires = ["builder>=3,<5"]
[project]
requires-python = ">=3.11,<3.14"
dependencies = ["Some_Thing>=2"]
[project.optional-dependencies]
server = ["old-shim>=1; python_version<'3.12'"]
hosts = ["steerer>=2"]
dev = ["tester>=9"]
fuzz = ["mutator>=1"]
"""
HASH = f" \\\n    --hash=sha256:{'0' * 64}\n"
DIRECT = "    # via ppmctl (pyproject.toml)\n"
THING = "some-thing==2.1" + HASH + DIRECT
SHIM = "old-shim==1.0 ; python_full_version < '3.12'" + HASH + DIRECT
SERVER = "# made by make lock\nbuilder==4.0" + HASH + SHIM + THING
STEERER = "steerer==2.0" + HASH + DIRECT
FUZZ = "builder==4.0" + HASH + "mutator==1.0" + HASH + DIRECT + THING
TESTER = "tester[more]==9.0" + HASH + "    # via\n    #   -c locks/server.txt\n    #   ppmctl (pyproject.toml)\n"


@pytest.fixture
def check(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str]]:
    def run(
        *,
        project: str = PROJECT,
        server: str = SERVER,
        dev: str = SERVER + STEERER + TESTER,
        fuzz: str = FUZZ,
    ) -> tuple[int, str]:
        (tmp_path / "locks").mkdir()
        (tmp_path / "pyproject.toml").write_text(project)
        (tmp_path / "locks/server.txt").write_text(server)
        (tmp_path / "locks/hosts.txt").write_text(SERVER + STEERER)
        (tmp_path / "locks/dev.txt").write_text(dev)
        (tmp_path / "locks/fuzz.txt").write_text(fuzz)
        code = script("check_locks").main([str(tmp_path)])
        output = capsys.readouterr()
        assert output.err == ""
        return code, output.out

    return run


def test_matching_locks_pass(check: Callable[..., tuple[int, str]]) -> None:
    assert check() == (0, "")


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        (">=2", ">=3", "asks for Some_Thing>=3; for Python 3.11 it has 2.1"),
        ('"Some_Thing>=2"', '"Some_Thing>=2", "new"', "asks for new; for Python 3.11 it has nothing"),
        ('"Some_Thing>=2"', "", "has some-thing 2.1, which pyproject.toml no longer asks for"),
        ("; python_version<'3.12'", "", "asks for old-shim>=1; for Python 3.12 it has nothing"),
        (">=9", ">=10", "locks/dev.txt: pyproject.toml asks for tester>=10"),
        ("builder>=3", "builder>=4.1", "asks for builder"),
    ],
)
def test_a_lock_that_misses_a_change_of_pyproject_is_named(
    check: Callable[..., tuple[int, str]], before: str, after: str, message: str
) -> None:
    assert before in PROJECT
    code, text = check(project=PROJECT.replace(before, after))
    assert code == 1
    assert message in text
    assert text.endswith("`make lock` writes the locks again.\n")


def test_a_pin_without_a_hash_is_named(check: Callable[..., tuple[int, str]]) -> None:
    code, text = check(server=SERVER.replace(THING, "some-thing==2.1\n" + DIRECT))
    assert code == 1
    assert "some-thing 2.1 without a hash" in text


def test_a_lock_with_an_index_url_is_named(check: Callable[..., tuple[int, str]]) -> None:
    code, text = check(server="--index-url https://example.invalid/simple\n" + SERVER)
    assert code == 1
    assert "says where packages come from" in text


def test_two_locks_that_differ_are_named(check: Callable[..., tuple[int, str]]) -> None:
    code, text = check(dev=SERVER.replace("builder==4.0", "builder==4.1") + STEERER + TESTER)
    assert code == 1
    assert "locks/dev.txt: does not have builder 4.0, which locks/server.txt has" in text
    assert "locks/dev.txt: does not have builder 4.0, which locks/hosts.txt has" in text


def test_only_the_lock_of_the_fuzzer_may_have_more_than_that_of_developers(
    check: Callable[..., tuple[int, str]],
) -> None:
    code, text = check(fuzz=FUZZ.replace("builder==4.0", "builder==4.1"))
    assert code == 1
    assert text.startswith("locks/dev.txt: does not have builder 4.1, which locks/fuzz.txt has\n`make lock`")


# generate


def test_generated_files_are_up_to_date() -> None:
    """nginx's Accept table, the roles' READMEs and the reference of commands; `make generate` writes them."""
    written = script("generate").generated()
    assert len(written) > 6
    assert [path.name for path, text in written.items() if path.read_text(encoding="utf-8") != text] == []


@pytest.mark.parametrize(
    "role", ["base", "pypiserver", "credentials", "nginx", "letsencrypt", "backup", "logs", "hardening"]
)
def test_defaults_and_argument_specs_agree(role: str) -> None:
    """Each default stands in Ansible's defaults and in the argument specs: both must be equal."""
    folder = ROOT / "roles" / role
    specs = yaml.safe_load((folder / "meta/argument_specs.yml").read_text(encoding="utf-8"))
    options = specs["argument_specs"]["main"]["options"]
    defaults = yaml.safe_load((folder / "defaults/main.yml").read_text(encoding="utf-8"))
    assert {name: option.get("default") for name, option in options.items() if not option.get("required")} == defaults
