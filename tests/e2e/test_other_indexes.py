"""Tests of `ppmctl package` and `ppmctl stats` with foreign indexes, including a malicious one."""

from __future__ import annotations

import gzip
import hashlib
import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import requests
from support import wheels
from support.clients import BIN, Machine, machine, run
from support.evidence import until
from support.foreign import JSON, foreign, listed
from support.servers import clean_environment, free_port


@pytest.fixture
def stranger(tmp_path: Path) -> Machine:
    computer = machine(tmp_path / "stranger")
    credential = {"PPMCTL_USERNAME": "me", "PPMCTL_TOKEN": "ppm_mine"}
    return Machine(home=computer.home, environ={**computer.environ, **credential})


def test_an_index_that_is_not_ppms(stranger: Machine) -> None:
    """It lists names, and summaries of search results; another file server gets no credential; changes fail."""
    with foreign() as other, foreign() as files:
        name, content = wheels.wheel("far", "1.0", summary="Away")
        meta = wheels.metadata("far", "1.0", summary="Away")
        hashed = {"sha256": hashlib.sha256(meta).hexdigest()}
        other.page("/simple/", {"meta": {"api-version": "1.0"}, "projects": [{"name": "Far"}, {"name": "near"}]})
        other.project("far", {**listed(name, content, f"{files.url}/f/{name}"), "core-metadata": hashed})
        files.answers[f"/f/{name}"] = (302, {"Location": "/moved"}, b"")
        files.file("/moved", content)
        files.file(f"/f/{name}.metadata", meta)
        place = ("--index", other.url)
        assert run(stranger, "package", "list", *place).split() == ["far", "near"]
        matches = json.loads(run(stranger, "package", "search", "FAR", "--json", *place))
        assert matches == [{"name": "far", "version": "1.0", "summary": "Away"}]
        assert "Away" in run(stranger, "package", "show", "far", *place)
        run(stranger, "package", "download", "far", "--dest", "got", *place)
        assert (stranger.home / "got" / name).read_bytes() == content
        stats = json.loads(run(stranger, "stats", "--json", *place))
        assert (stats["projects"], stats["files"], stats["bytes"]) == (2, 1, None)
        printed = run(stranger, "package", "yank", "far", "1.0", *place, expect=1)
        assert "Is it an index that ppm serves?" in printed
        assert {credential for _path, credential in files.asked} == {None}
        assert None not in {credential for _path, credential in other.asked}


def test_a_stock_pypiserver(stranger: Machine, tmp_path: Path) -> None:
    """It has only HTML, without sizes and times."""
    made = wheels.write(tmp_path / "packages", wheels.wheel("plain", "1.0", summary="Plain"))
    port = free_port()
    command = [BIN / "pypi-server", "run", "-p", str(port), "-i", "127.0.0.1", "-a", ".", "-P", ".", made.parent]
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=clean_environment(tmp_path / "h"))
    url = f"http://127.0.0.1:{port}"

    def is_up() -> bool:
        try:
            return requests.get(f"{url}/health", timeout=5).ok
        except requests.ConnectionError:
            return False

    try:
        until(is_up, "pypiserver answers")
        place = ("--index", url)
        assert run(stranger, "package", "list", *place) == "plain\n"
        assert json.loads(run(stranger, "package", "search", "pla", "--json", *place))[0]["version"] == "1.0"
        assert "Version: 1.0" in run(stranger, "package", "show", "plain", *place)
        run(stranger, "package", "download", "plain", *place)
        assert (stranger.home / made.name).read_bytes() == made.read_bytes()
        assert "Projects: 1" in run(stranger, "stats", *place)
    finally:
        process.terminate()
        process.wait(timeout=30)


@pytest.mark.parametrize("what", ["changed", "short", "long", "cut"])
def test_a_download_that_differs_from_the_page_is_deleted(what: str, stranger: Machine) -> None:
    name, content = wheels.wheel("bad", "1.0")
    with foreign() as other:
        other.project("bad", listed(name, content, f"/f/{name}", size=len(content)))
        sent = {"changed": content[:-1] + b"x", "short": content[:-1], "long": content + b"x", "cut": content[:50]}[
            what
        ]
        other.file(f"/f/{name}", sent)
        if what == "cut":
            other.answers[f"/f/{name}"] = (200, {"Content-Length": str(len(content))}, sent)
        printed = run(stranger, "package", "download", "bad", "--dest", "got", "--index", other.url, expect=1)
    assert "Traceback" not in printed
    assert list((stranger.home / "got").iterdir()) == []


@pytest.mark.parametrize("name", ["../../evil", "/tmp/evil-1.0.zip", ".bashrc", "a\\b", "evil\x1b[0m"])
def test_a_filename_with_a_path_is_refused(name: str, stranger: Machine) -> None:
    with foreign() as other:
        other.project("evil", listed(name, b"", "/f"))
        other.file("/f", b"")
        printed = run(stranger, "package", "download", "evil", name, "--dest", "got", "--index", other.url, expect=1)
    assert "is not a valid filename" in printed
    assert not (stranger.home / "got").exists()


def test_an_existing_file_is_compared_with_any_kind_of_hash(stranger: Machine) -> None:
    """sha512, md5 or none: the same file stays, another is not replaced, and a wrong download is deleted."""
    made = {name: wheels.wheel(name, "1.0") for name in ("strong", "weak", "bare", "wrong")}
    hashes = {
        "strong": {"sha512": hashlib.sha512(made["strong"][1]).hexdigest(), "md5": "00"},
        "weak": {"md5": hashlib.md5(made["weak"][1], usedforsecurity=False).hexdigest()},
        "bare": {},
        "wrong": {"md5": "00"},
    }
    with foreign() as other:
        for name, (filename, content) in made.items():
            other.project(name, {"filename": filename, "url": f"/f/{filename}", "hashes": hashes[name]})
            other.file(f"/f/{filename}", content)
        place = ("--dest", "got", "--index", other.url)
        assert "its md5 is" in run(stranger, "package", "download", "wrong", *place, expect=1)
        for name in ("strong", "weak", "bare"):
            filename, content = made[name]
            assert run(stranger, "package", "download", name, *place).split()[0] == "downloaded"
            assert run(stranger, "package", "download", name, *place).split()[0] == "same"
            (stranger.home / "got" / filename).write_bytes(b"mine")
            assert "other content" in run(stranger, "package", "download", name, *place, expect=1)
            assert (stranger.home / "got" / filename).read_bytes() == b"mine"
    assert {path.name for path in (stranger.home / "got").iterdir()} == {made[name][0] for name in hashes} - {
        made["wrong"][0]
    }


def test_a_credential_is_sent_only_to_its_server(stranger: Machine) -> None:
    """With a redirect, a link, and an ambiguous link: requests connects to the host before the \\."""
    with foreign() as other, foreign() as thief:
        name, content = wheels.wheel("lured", "1.0")
        host = other.url.removeprefix("http://")
        links = {
            "redirect": f"{other.url}/moved",
            "link": f"{thief.url}/{name}",
            "two ways": f"{thief.url}\\@{host}/{name}",
            "a user": f"http://{host}@{thief.url.removeprefix('http://')}/{name}",
        }
        other.answers["/moved"] = (302, {"Location": f"{thief.url}/{name}"}, b"")
        thief.file(f"/{name}", content)
        for way, link in links.items():
            other.project("lured", listed(name, content, link))
            before = len(thief.asked)
            run(
                stranger,
                "package",
                "download",
                "lured",
                "--dest",
                way,
                "--index",
                other.url,
                expect=way == "two ways",
            )
            assert len(thief.asked) > before, way
        assert {credential for _path, credential in thief.asked} == {None}
        other.answers["/simple/lured/"] = (302, {"Location": f"{thief.url}/simple/lured/"}, b"")
        assert "no project 'lured'" in run(stranger, "package", "download", "lured", "--index", other.url, expect=1)
        assert {credential for _path, credential in thief.asked} == {None}


EMPTY = b'{"meta": {"api-version": "1.0"}, "name": "x", "files": []}'
DEEP = b"[" * 100_000
ANGRY = "\x1b[2J\x9b31m\ud800"


def bomb() -> bytes:
    """Return a small page that is large when decompressed."""
    return gzip.compress(b" " * (129 << 20) + EMPTY, compresslevel=1)


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ({"Content-Type": JSON, "Content-Encoding": "gzip"}, bomb),
        ({"Content-Type": JSON}, DEEP),
        ({"Content-Type": JSON}, b'{"meta": {"api-version": "1.0"}, "name": "x", "files": {"a": 1}}'),
        ({"Content-Type": JSON}, b'{"meta": {"api-version": "2.0\\u001b"}, "name": "x", "files": []}'),
        ({"Content-Type": JSON}, json.dumps(
            {"meta": {"api-version": "1.0"}, "name": "x", "files": [
                {"filename": "x-1.0.zip", "url": "/f", "hashes": {}, "upload-time": "0001-01-01T00:00:00+14:00"}
            ]}
        ).encode()),
        ({"Content-Type": "text/html"}, b'<a href="http://[">x-1.0.zip</a>'),
        ({"Content-Type": "\x1b[2J"}, b""),
    ],
    ids=["too much", "deep", "files", "version", "time", "link", "type"],
)  # fmt: skip
def test_an_invalid_page_is_an_error_of_one_line(
    headers: dict[str, str], body: bytes | Callable[[], bytes], stranger: Machine
) -> None:
    sent = body() if callable(body) else body  # called here, not during collection
    with foreign() as other:
        other.answers["/simple/x/"] = other.answers["/simple/"] = (200, headers, sent)
        output = run(stranger, "package", "show", "x", "--index", other.url, expect=1)
    assert len(output.splitlines()) <= 2, output
    assert output.replace("\n", "").isprintable(), output


@pytest.mark.parametrize(
    "url", ["file:///etc/hostname", "ftp://x/y", "http://x:99999/", f"http://127.0.0.1:1/{ANGRY}"]
)
def test_an_invalid_link(url: str, stranger: Machine) -> None:
    with foreign() as other:
        other.project("x", {"filename": "x-1.0.zip", "url": url, "hashes": {}, "yanked": ANGRY})
        output = run(stranger, "package", "download", "x", "--dest", "got", "--index", other.url, expect=1)
    assert "Traceback" not in output
    assert output.replace("\n", "").isprintable(), output
    assert not [path for path in stranger.home.rglob("*") if path.is_file()]


def test_control_characters_of_an_index_are_not_printed(stranger: Machine) -> None:
    with foreign() as other:
        name, content = wheels.wheel("angry", "1.0")
        other.page("/simple/", {"meta": {"api-version": "1.0"}, "projects": [{"name": "angry"}, {"name": ANGRY}]})
        page = {
            "meta": {"api-version": "1.4"},
            "name": ANGRY,
            "project-status": {"status": ANGRY, "reason": ANGRY},
            "files": [listed(name, content, "/f", yanked=ANGRY)],
        }
        other.page("/simple/angry/", page)
        other.file("/f", content)
        numbers = {"name": ANGRY, "version": ANGRY, "versions": 1, "files": 1, "bytes": 1, "uploaded": ANGRY}
        api = {
            "uploads": {ANGRY: 1},
            "by_project": [numbers],
            "projects": [{"name": ANGRY, "version": 1, "summary": 1}],
        }
        for path in ("/api/stats", "/api/packages?q=ang"):
            other.answers[path] = (200, {"Content-Type": "application/json"}, json.dumps(api).encode())
        for command in (
            "package list",
            "package show angry",
            "package show angry --json",
            "package status angry",
            "package search ang --json",
            "package download angry",
            "stats",
        ):
            output = run(stranger, *command.split(), "--index", other.url)
            assert output.replace("\n", "").isprintable(), (command, output)


def test_a_search_of_another_index_reads_summaries_of_few_results(stranger: Machine) -> None:
    with foreign() as other:
        names = [f"p{number}" for number in range(100)]
        for number in (3, 50):
            name, content = wheels.wheel(f"p{number}", "1.0")
            meta = wheels.metadata(f"p{number}", "1.0", summary="Catches fish")
            hashed = {"sha256": hashlib.sha256(meta).hexdigest()}
            other.project(f"p{number}", {**listed(name, content, f"/f/{name}"), "core-metadata": hashed})
            other.file(f"/f/{name}.metadata", meta)
        for number in {*range(100)} - {3, 50}:
            other.project(f"p{number}")
        search = ("package", "search", "FISH", "--json", "--index", other.url)
        other.page("/simple/", {"meta": {"api-version": "1.0"}, "projects": [{"name": name} for name in names]})
        assert [item["name"] for item in json.loads(run(stranger, *search))] == ["p3", "p50"]
        names.append("one-more")
        other.page("/simple/", {"meta": {"api-version": "1.0"}, "projects": [{"name": name} for name in names]})
        before = len(other.asked)
        assert json.loads(run(stranger, *search)) == []
        assert len(other.asked) == before + 2
