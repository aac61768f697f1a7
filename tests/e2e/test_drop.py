"""Files that somebody copies into `drop/` are taken when they are whole and valid."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable

import pytest
from support import wheels
from support.evidence import until
from support.servers import Server, ppmctl

REJECTED = ".rejected"


@pytest.fixture
def server(serve: Callable[..., Server]) -> Server:
    return serve("--upstream", "none")


def test_a_valid_file_is_taken(server: Server) -> None:
    """By scp or rsync: it vanishes from drop/, is on its page, and the audit has it."""
    for made in (wheels.wheel("Dropped.One", "1.0"), wheels.sdist("dropped-one", "1.0")):
        path = wheels.write(server.root / "drop", made)
        os.utime(path, (1_600_000_000, 1_600_000_000))  # rsync -t: the time of a file tells nothing
    until(lambda: not list((server.root / "drop").iterdir()), "both are taken")
    assert server.filenames("dropped-one") == {"Dropped.One-1.0-py3-none-any.whl", "dropped_one-1.0.tar.gz"}
    lines = [json.loads(line) for line in (server.root / "audit.jsonl").read_text().splitlines()]
    said = [line for line in lines if line["what"] == "dropped_one-1.0.tar.gz"]
    assert [(line["by"], line["action"], line["result"]) for line in said] == [("drop", "publish", "done")]
    ppmctl("index", "check", "--root", str(server.root))


def test_a_growing_file_is_not_taken_early(server: Server) -> None:
    """Half of a wheel has no directory yet and half of an sdist may even look whole."""
    name, content = wheels.wheel("slow", "1.0", files={"noise": os.urandom(100_000)})
    path = server.root / "drop" / name
    reason = path.with_name(name + REJECTED)
    pieces = 12
    with path.open("wb", buffering=0) as file:
        for number in range(pieces):
            file.write(content[number * len(content) // pieces : (number + 1) * len(content) // pieces])
            if number < pieces - 1:
                time.sleep(0.6)  # slower than the server looks, so that it looks between any two
            assert path.exists()
            assert not reason.exists(), reason.read_text()
    until(lambda: not path.exists(), "it is taken when it has stopped growing")
    assert server.get(f"/packages/slow/{name}").content == content


def test_a_strange_name_is_rejected_and_keeps_nobody_waiting(server: Server) -> None:
    """Names of 255 bytes leave no room for an ending, and a name need not be text at all."""
    drop = server.root / "drop"
    strange = ["a" * 251 + ".whl", "漢" * 83 + ".zip", os.fsdecode(b"\xff\xfe-1.0.tar.gz")]
    for name in strange:
        (drop / name).write_bytes(b"no archive")
    wheels.write(drop, wheels.wheel("zebra", "1.0"))
    until(lambda: not (drop / "zebra-1.0-py3-none-any.whl").exists(), "the last of them is taken")

    def reasons() -> list[str]:
        return sorted(path.read_text() for path in drop.iterdir() if path.name.endswith(REJECTED))

    until(lambda: len(reasons()) == len(strange), "each of the others has its reason")
    assert all("is not a filename for a distribution" in reason for reason in reasons())
    lines = [json.loads(line) for line in (server.root / "audit.jsonl").read_text(encoding="utf-8").splitlines()]
    assert {line["what"] for line in lines} >= set(strange)
    time.sleep(2.5)  # it looks again, and leaves the reasons where they are
    assert len(reasons()) == len(strange)
    for name in strange:
        (drop / name).unlink()
    until(lambda: list(drop.iterdir()) == [], "the reasons go with what they are about")
    assert "Traceback" not in server.log.read_text()


def test_what_is_on_its_way_is_not_looked_at(server: Server) -> None:
    """Hidden names are what rsync and others write to, and folders are nobody's files."""
    drop = server.root / "drop"
    name, content = wheels.wheel("hidden", "1.0")
    (drop / f".{name}.Xy12z").write_bytes(content)
    wheels.write(drop / "folder", wheels.wheel("nested", "1.0"))
    (drop / "link-1.0.tar.gz").symlink_to("/etc/passwd")
    beside = wheels.write(drop, wheels.wheel("beside", "1.0"))
    until(lambda: not beside.exists(), "the file beside them is taken")
    assert sorted(path.name for path in drop.iterdir()) == sorted([f".{name}.Xy12z", "folder", "link-1.0.tar.gz"])
    assert server.get("/simple/hidden/").status_code == 404


def test_a_broken_file_stays_with_its_reason_until_it_is_replaced(server: Server) -> None:
    """The reason lies beside it in words; a good one in its place is taken, and the reason goes."""
    drop = server.root / "drop"
    name, content = wheels.wheel("broken", "1.0")
    broken = {
        name: (content[:-40], "not a readable archive"),
        "other-1.0.tar.gz": (wheels.sdist("broken", "1.0")[1], "'broken'"),
        "notes.txt": (b"Hello", "neither a wheel"),
    }
    for filename, (data, _reason) in broken.items():
        (drop / filename).write_bytes(data)
    for filename, (data, reason) in broken.items():
        beside = drop / (filename + REJECTED)
        until(beside.exists, f"the reason for {filename}")
        assert reason in beside.read_text()
        assert beside.read_text().count("\n") == 1
        assert (drop / filename).read_bytes() == data
    assert server.get("/simple/broken/").status_code == 404

    arriving = drop / ".arriving"
    arriving.write_bytes(content)
    arriving.replace(drop / name)
    until(lambda: not (drop / name).exists(), "the good one is taken")
    assert not (drop / (name + REJECTED)).exists()
    assert server.filenames("broken") == {name}

    (drop / "notes.txt").unlink()
    until(lambda: not (drop / ("notes.txt" + REJECTED)).exists(), "a reason goes with its file")


def test_the_same_again_vanishes_and_another_of_the_name_stays(server: Server) -> None:
    """A sync that runs every night copies the same files; a different one of a name that is taken is named."""
    made = wheels.wheel("taken", "1.0")
    assert server.upload(made).status_code == 200
    path = wheels.write(server.root / "drop", made)
    until(lambda: not path.exists(), "the same content is here already")
    assert not path.with_name(path.name + REJECTED).exists()
    path = wheels.write(server.root / "drop", wheels.wheel("taken", "1.0", files={"taken.py": b"other"}))
    reason = path.with_name(path.name + REJECTED)
    until(reason.exists, "the reason why the other stays")
    assert "other content" in reason.read_text()
    assert path.exists()
    assert server.get(f"/packages/taken/{made[0]}").content == made[1]


def test_what_came_while_the_server_was_down_is_taken(server: Server) -> None:
    """drop/ needs no server to be copied into."""
    server.stop()
    path = wheels.write(server.root / "drop", wheels.wheel("early", "1.0"))
    server.start_again()
    until(lambda: not path.exists(), "it is taken after the start")
    assert server.filenames("early") == {path.name}
