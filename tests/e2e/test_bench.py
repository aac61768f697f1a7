"""Test that the benchmark runs and prints every figure; the figures are not asserted."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from bench import beside, promises

ROOT = Path(__file__).parents[2]


def test_a_small_run_has_every_row(tmp_path: Path) -> None:
    """Guards the command behind docs/performance.md: both servers, every size, every column, all above zero."""
    arguments = ["--files", "20", "40", "--rounds", "1", "--requests", "8", "--json", str(tmp_path / "out.json")]
    done = subprocess.run(
        [sys.executable, "-m", "bench", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    rounds = json.loads((tmp_path / "out.json").read_text())["rounds"]
    assert [(row["subject"], row["files"]) for row in rounds] == [
        ("ppm", 20),
        ("pypiserver", 20),
        ("ppm", 40),
        ("pypiserver", 40),
    ]
    for row in rounds:
        figures = [value for name, value in row.items() if name not in ("subject", "files", "round")]
        assert len(figures) == 6
        assert all(value > 0 for value in figures)
    assert done.stdout.count("| ppm |") == 2


def test_counting_a_log(tmp_path: Path) -> None:
    """The measured run counts each line, and every install."""
    arguments = ["--downloads", "20000", "--rounds", "1", "--json", str(tmp_path / "out.json")]
    command = [sys.executable, "-m", "bench", *arguments]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=300)
    (row,) = json.loads((tmp_path / "out.json").read_text())["rounds"]
    assert (row["subject"], row["files"]) == ("counter", 20_000)
    assert row["lines/s"] > 0


def test_the_deployed_nginx_beside_a_bare_one(tmp_path: Path) -> None:
    """Pages, files and metadata have every figure."""
    arguments = ["--nginx", "--files", "20", "--rounds", "1", "--seconds", "1", "--json", str(tmp_path / "out.json")]
    command = [sys.executable, "-m", "bench", *arguments]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=300)
    rounds = json.loads((tmp_path / "out.json").read_text())["rounds"]
    assert [row["what"] for row in rounds] == ["page", "file", "metadata"]
    assert all(row["deployed/s"] > 0 and row["bare/s"] > 0 for row in rounds)


def test_nodes_on_a_bucket(tmp_path: Path) -> None:
    """A server without a bucket, one node and three nodes have every figure."""
    arguments = ["--bucket", "5", "--rounds", "1", "--requests", "8", "--json", str(tmp_path / "out.json")]
    command = [sys.executable, "-m", "bench", *arguments]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=300)
    rounds = json.loads((tmp_path / "out.json").read_text())["rounds"]
    assert [(row["subject"], row["files"]) for row in rounds] == [("no bucket", 0), ("nodes", 1), ("nodes", 3)]
    assert all(
        value > 0 for row in rounds for name, value in row.items() if name not in ("subject", "files", "round")
    )


def test_uploads_with_and_without_the_inspecting_child(tmp_path: Path) -> None:
    """Both sizes have every figure."""
    arguments = ["--inspection", "--rounds", "1", "--requests", "16", "--json", str(tmp_path / "out.json")]
    command = [sys.executable, "-m", "bench", *arguments]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=300)
    rounds = json.loads((tmp_path / "out.json").read_text())["rounds"]
    assert [row["subject"] for row in rounds] == ["a wheel of 1 KB", "a wheel of 1 MB"]
    assert all(row[f"ratio, {what}"] > 0 for row in rounds for what in ("one client", "8 clients", "processor time"))


def test_one_index_of_those_beside_each_other() -> None:
    """A run with a name measures every workload on a server that keeps all promises, and writes no document."""
    document = (ROOT / "docs" / "performance.md").read_bytes()
    arguments = ["--peers", "embedded", "--rounds", "1", "--seconds", "1", "--files", "20"]
    command = [sys.executable, "-m", "bench", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    rows = [[cell.strip() for cell in line.split("|")[1:3]] for line in done.stdout.splitlines() if line[:1] == "|"]
    shown = {name: value for name, value in rows if name.strip("-")}
    promised = [name for name in promises.ALL if name != promises.TLS]
    assert [shown.pop(name) for name in promised] == ["yes"] * len(promised)
    assert shown.pop(promises.TLS) == "**no**"
    assert list(shown) == list(beside.MEASURES)
    assert all(float(value.replace(",", "")) > 0 for value in shown.values())
    assert (ROOT / "docs" / "performance.md").read_bytes() == document
