"""Tests of `ppmctl token prune`, which removes expired credentials from htpasswd, the only file that nginx reads."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from pathlib import Path

from support import shifted
from support.evidence import until
from support.servers import PPMCTL, ppmctl


def names(root: Path) -> set[str]:
    return {line.partition(":")[0] for line in (root / "credentials/htpasswd").read_text().splitlines()}


def state(root: Path) -> dict[Path, tuple[int, int]]:
    """Return inode and mtime of the volume's files and folders, which a write would change."""
    return {path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in sorted(root.rglob("*"))}


def token(root: Path, name: str, expires: str) -> None:
    ppmctl("token", "create", name, "--role", "reader", "--expires", expires, "--root", str(root))


def test_prune_every_runs_until_a_signal(tmp_path: Path) -> None:
    """Tokens created while it runs are removed when they expire; others stay unchanged."""
    root = tmp_path / "volume"
    root.mkdir()  # as in compose, where the volume is created by the application
    command = [*PPMCTL, "token", "prune", "--every", "1s", "--root", str(root)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        ppmctl("init", "--root", str(root))
        token(root, "ops+short", "2s")
        token(root, "ops+long", "90d")
        assert {"ops+short", "ops+long"} <= names(root)
        until = time.monotonic() + 15
        while "ops+short" in names(root):
            assert time.monotonic() < until
            assert process.poll() is None
            time.sleep(0.05)
        assert names(root) == {"ops+long"}
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=10)
    assert (process.returncode, out) == (0, "")
    assert err == "Taken out of htpasswd, as expired or not valid: ops+short\n"


def test_tokens_work_again_after_a_wrong_clock(tmp_path: Path) -> None:
    """The clock of the pruner jumps ahead by a year, and back."""
    root, ahead = tmp_path / "volume", tmp_path / "ahead"
    ahead.write_text("0")
    ppmctl("init", "--root", str(root))
    token(root, "ops+ci", "90d")
    token(root, "ops+ever", "36500d")
    before = (root / "credentials/htpasswd").read_text()
    command = [*shifted.COMMAND, str(ahead), "token", "prune", "--every", "1s", "--root", str(root)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        for _twice in range(2):
            ahead.write_text(str(365 * 86400))
            until(lambda: names(root) == {"ops+ever"}, "an expired token")
            ahead.write_text("0")
            until(lambda: names(root) == {"ops+ci", "ops+ever"}, "a token that is valid again")
        process.terminate()
        assert process.wait(timeout=30) == 0
    assert sorted((root / "credentials/htpasswd").read_text().splitlines()) == sorted(before.splitlines())


def test_nothing_is_written_if_nothing_has_expired(tmp_path: Path) -> None:
    root = tmp_path / "volume"
    ppmctl("init", "--root", str(root))
    token(root, "ops+long", "90d")
    token(root, "ops+short", "1s")
    until = time.monotonic() + 15
    while (output := ppmctl("token", "prune", "--root", str(root)).stdout) == "":
        assert time.monotonic() < until
    assert output == "ops+short\n"
    before = state(root)
    assert ppmctl("token", "prune", "--root", str(root)).stdout == ""
    assert ppmctl("token", "prune", "--json", "--root", str(root)).stdout == '{\n  "pruned": []\n}\n'
    assert state(root) == before


def test_a_missing_volume_is_not_created(tmp_path: Path) -> None:
    for options in ((), ("--every", "1s")):
        done = ppmctl("token", "prune", *options, "--root", str(tmp_path / "none"), expect=1)
        assert "There is no volume at" in done.stderr
        assert not (tmp_path / "none").exists()
    printed = ppmctl("token", "prune", "--every", "1s", "--json", "--root", str(tmp_path), expect=2).stdout
    assert "--every" in json.loads(printed)["error"]["message"]
    assert "not a duration" in ppmctl("token", "prune", "--every", "now", "--root", str(tmp_path), expect=2).stderr
