"""`ppmctl doctor`: each fault is a real one, planted; it is found, and what mends it is named."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from support.servers import PPMCTL, clean_environment


def doctor(home: Path, *arguments: str, expect: int, **more: str) -> dict[str, tuple[str, str, str]]:
    """Run it in an empty home: what is found by the name of the check, as (state, found, mend)."""
    command = [*PPMCTL, "doctor", *arguments, "--json"]
    environ = clean_environment(home, **more)
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=environ, stdin=subprocess.DEVNULL)
    assert (done.returncode, done.stderr) == (expect, ""), done.stdout + done.stderr
    document = json.loads(done.stdout)
    assert document["ok"] == (expect == 0)
    return {each["check"]: (each["state"], each["found"], each["mend"]) for each in document["findings"]}


def test_a_host_without_an_address(tmp_path: Path) -> None:
    state, found, mend = doctor(tmp_path, "https://no.such.invalid/", expect=1)["dns"]
    assert (state, found.startswith("no.such.invalid has no address")) == ("fail", True)
    assert "getent hosts no.such.invalid" in mend


def test_no_index_is_meant(tmp_path: Path) -> None:
    found = doctor(tmp_path, expect=1)
    assert list(found) == ["index"]
    assert "PPMCTL_INDEX" in found["index"][2]
