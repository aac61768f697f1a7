"""Run `ansible-playbook`, and read its result."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import yaml

from testbed.errors import BedError
from testbed.hosts import Host
from testbed.place import CHECKOUT

PLAYBOOK_SECONDS = 1800

_RECAP = re.compile(r"^(\S+)\s+:((?:\s+\w+=\d+)+)\s*$", re.MULTILINE)
_TASK = re.compile(r"^(?:TASK|RUNNING HANDLER) \[(.*)\] \**$")
_CHANGED = re.compile(r"^changed: \[([^\]\s]+)")


@dataclass(frozen=True, kw_only=True)
class Recap:
    """Ansible's counts of task results on one host."""

    ok: int = 0
    changed: int = 0
    unreachable: int = 0
    failed: int = 0
    skipped: int = 0
    rescued: int = 0
    ignored: int = 0


@dataclass(frozen=True, kw_only=True)
class Result:
    """The result of a run: `output` is all that Ansible printed, `changed` are the tasks that changed something."""

    code: int
    output: str
    seconds: float
    hosts: Mapping[str, Recap] = field(default_factory=dict)
    changed: tuple[str, ...] = ()

    @property
    def host(self) -> Recap:
        """Return the recap of the only host."""
        (recap,) = self.hosts.values()
        return recap

    def check(self) -> Result:
        """Return this result; raise BedError with the output if the playbook failed."""
        if self.code:
            raise BedError(f"ansible-playbook exited {self.code}", hint=self.output[-6000:])
        return self


def write_inventory(
    path: Path, hosts: Sequence[Host], *, variables: Mapping[str, object] | None = None, group: str = "ppm"
) -> Path:
    """Write the inventory of `hosts`, in one group that has `variables`, and return its path."""
    by_name = {host.name: host.variables() for host in hosts}
    inventory = {group: {"hosts": by_name, "vars": dict(variables or {})}}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(inventory, sort_keys=False), encoding="utf-8")
    return path


def run(
    playbook: Path,
    inventory: Path,
    *arguments: str,
    variables: Mapping[str, object] | None = None,
    env: Mapping[str, str] | None = None,
    timeout: float = PLAYBOOK_SECONDS,
    folder: Path = CHECKOUT,
    follow: IO[str] | None = None,
) -> Result:
    """Run a playbook with extra `variables`; a failure is in the result, and raises no exception.

    `env` is added to the environment, without this user's own ANSIBLE_ variables. Ansible's output is written to
    `follow` as it comes. `timeout` is in seconds; a run that takes longer is killed, with exit code 124.
    """
    command = [str(Path(sys.executable).parent / "ansible-playbook"), "-i", str(inventory), str(playbook), *arguments]
    if variables:
        command += ["--extra-vars", json.dumps(dict(variables))]
    environ = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")}
    environ |= {
        "ANSIBLE_NOCOLOR": "1",
        "ANSIBLE_FORCE_COLOR": "0",
        "ANSIBLE_STDOUT_CALLBACK": "default",
        "ANSIBLE_NOCOWS": "1",
        "ANSIBLE_DISPLAY_OK_HOSTS": "1",
        "PYTHONWARNINGS": "",
        **(env or {}),
    }
    started = time.monotonic()
    with subprocess.Popen(
        command,
        cwd=folder,
        env=environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,  # so that the processes that it starts are ended with it
    ) as process:
        timer = threading.Timer(timeout, os.killpg, [process.pid, signal.SIGKILL])
        timer.start()
        lines = []
        try:
            for line in process.stdout or ():
                lines.append(line)
                if follow:
                    follow.write(line)
                    follow.flush()
            code = process.wait()
        except BaseException:
            os.killpg(process.pid, signal.SIGTERM)
            raise
        finally:
            timer.cancel()
    seconds = time.monotonic() - started
    output = "".join(lines)
    return Result(
        code=124 if code < 0 and seconds >= timeout else code,
        output=output,
        seconds=seconds,
        hosts=recaps(output),
        changed=changed_tasks(output),
    )


def recaps(output: str) -> dict[str, Recap]:
    """Return the recap at the end of Ansible's output, by host."""
    _, _, last = output.rpartition("PLAY RECAP")
    return {
        name: Recap(**{key: int(value) for key, value in re.findall(r"(\w+)=(\d+)", counts)})
        for name, counts in _RECAP.findall(last)
    }


def changed_tasks(output: str) -> tuple[str, ...]:
    """Return the names of the tasks and handlers that changed something, in their order."""
    names: list[str] = []
    task = ""
    for line in output.splitlines():
        if match := _TASK.match(line):
            task = match[1]
        elif _CHANGED.match(line) and task not in names[-1:]:
            names.append(task)
    return tuple(names)
