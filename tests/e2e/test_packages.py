"""Tests of `ppmctl package` and `ppmctl stats` with our server: reads, and changes over HTTP and on the host."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import pytest
import requests
import yaml
from support import readme, wheels
from support.clients import Machine, machine, run
from support.evidence import remove_tree, until
from support.recorder import recording
from support.servers import Server, ppmctl


@pytest.fixture(scope="module")
def filled(index: Server) -> Server:
    about = {"summary": "Draws maps of the sea", "author": "Ann", "requires_dist": "other>=1"}
    for made in (
        wheels.wheel("sea-maps", "1.0", **about),
        wheels.sdist("sea-maps", "1.0", **about),
        wheels.wheel("sea-maps", "1.1", requires_python=">=3.9", **about),
        wheels.wheel("sea-maps", "2.0rc1", summary="not yet"),
        wheels.sdist("salt", "3.0", summary="Tastes of the SEA, \x1b[31mred"),
        wheels.wheel("other", "1.0", summary="Something else"),
    ):
        assert index.upload(made).status_code == 200
    until(lambda: {"sea-maps", "salt", "other"} <= set(names_of(index, "")), "the search index has followed")
    return index


def names_of(server: Server, text: str) -> list[str]:
    """Return the names that a search finds."""
    return [each["name"] for each in server.get(f"/search?q={text}").json()["projects"]]


@pytest.fixture(scope="module")
def reader(filled: Server, tmp_path_factory: pytest.TempPathFactory) -> Machine:
    """Return the machine of a user who may only read, with PPMCTL_INDEX and a netrc."""
    secret = add(filled, "packages-reader", "reader")
    desk = machine(tmp_path_factory.mktemp("home"))
    (desk.home / ".netrc").write_text(f"machine 127.0.0.1 login packages-reader password {secret}\n")
    return Machine(home=desk.home, environ={**desk.environ, "PPMCTL_INDEX": filled.url})


def add(server: Server, name: str, role: str, *, projects: list[str] | None = None) -> str:
    secret = ppmctl("user", "add", name, "--role", role, "--root", str(server.root)).stdout.strip()
    if projects is not None:
        path = server.root / "credentials" / "access.yml"
        values = yaml.safe_load(path.read_text())
        values[name]["projects"] = projects
        path.write_text(yaml.safe_dump(values))
    return secret


def audited(server: Server) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (server.root / "audit.jsonl").read_text().splitlines()]


# reading


def test_list(filled: Server, reader: Machine) -> None:
    def names() -> set[str]:
        return set(run(reader, "package", "list").split())

    until(lambda: {"sea-maps", "salt", "other"} <= names(), "the list of projects has followed", seconds=10)
    assert "salt" in json.loads(run(reader, "package", "list", "--json"))


def test_search_and_details_over_http(filled: Server, reader: Machine) -> None:
    """`/search` gives the same answer as `/api/packages`, and a project's details are those of the command."""
    for query in ("q=sea", "q=", "q=SEA+draws"):
        found = filled.get(f"/search?{query}")
        assert (found.status_code, found.json()) == (200, filled.get(f"/api/packages?{query}").json())
    assert [one["name"] for one in filled.get("/search?q=maps").json()["projects"]] == ["sea-maps"]
    assert filled.get("/search?q=sea", auth=None).status_code == 401
    assert requests.post(f"{filled.url}/search", auth=filled.auth, timeout=60).status_code == 405
    answer = filled.get("/api/packages/Sea.Maps")
    shown, by_command = answer.json(), json.loads(run(reader, "package", "show", "sea-maps", "--json"))
    urls = [file.pop("url") for values in (shown, by_command) for one in values["releases"] for file in one["files"]]
    assert shown == by_command
    half = len(urls) // 2
    assert [urljoin(answer.url, url) for url in urls[:half]] == urls[half:]
    assert filled.get("/api/packages/unknown").status_code == 404
    assert filled.get("/api/packages/-").status_code == 404
    assert filled.get("/api/packages/sea-maps", auth=None).status_code == 401
    assert requests.delete(answer.url, auth=filled.auth, timeout=60).status_code == 405


def test_show(filled: Server, reader: Machine) -> None:
    printed = run(reader, "package", "show", "Sea.Maps")
    assert "Summary:  Draws maps of the sea" in printed
    assert "Version:  1.1" in printed
    assert "Requires: other>=1" in printed
    shown = json.loads(run(reader, "package", "show", "sea-maps", "2.0rc1", "--json"))
    assert (shown["summary"], shown["version"]) == ("not yet", "2.0rc1")
    assert [release["version"] for release in shown["releases"]] == ["2.0rc1", "1.1", "1.0"]
    assert [len(release["files"]) for release in shown["releases"]] == [1, 1, 2]
    assert "It has 2.0rc1, 1.1, 1.0" in run(reader, "package", "show", "sea-maps", "9", expect=1)
    assert "Is it sea-maps?" in run(reader, "package", "show", "Sea.Map", expect=1)
    assert "no project 'nowhere'" in run(reader, "package", "show", "nowhere", expect=1)
    assert "not a name" in run(reader, "package", "show", "../x", expect=1)


def test_search_finds_names_and_summaries(filled: Server, reader: Machine) -> None:
    """Every word, in any case and spelling; names first; no control characters."""
    matches = json.loads(run(reader, "package", "search", "sea", "--json"))
    assert matches == [
        {"name": "sea-maps", "version": "1.1", "summary": "Draws maps of the sea"},
        {"name": "salt", "version": "3.0", "summary": "Tastes of the SEA, ?[31mred"},
    ]
    assert [item["name"] for item in json.loads(run(reader, "package", "search", "Sea_Maps", "--json"))] == [
        "sea-maps"
    ]
    assert [item["name"] for item in json.loads(run(reader, "package", "search", "sea", "tastes", "--json"))] == [
        "salt"
    ]
    assert json.loads(run(reader, "package", "search", "sea", "nothing", "--json")) == []
    assert "\x1b" not in run(reader, "package", "search", "sea")
    run(reader, "package", "search", "\udcff")
    assert len(json.loads(run(reader, "package", "search", "e", "--limit", "1", "--json"))) == 1


def test_a_search_makes_one_request_and_reads_no_file(filled: Server, reader: Machine) -> None:
    with recording(filled.port) as recorder:
        run(reader, "package", "search", "sea", "--index", recorder.url)
    assert [exchange.path for exchange in recorder.exchanges] == ["/api/packages?q=sea"]


def test_a_search_finds_recent_changes(filled: Server, reader: Machine) -> None:
    """An upload, in the background; a change by a command, when that ends, for the server too."""

    def names() -> list[str]:
        return [item["name"] for item in json.loads(run(reader, "package", "search", "wander", "--json"))]

    def becomes(expected: list[str], change: str) -> None:
        until(lambda: names() == expected, f"the search follows {change}", seconds=10)

    def command(*arguments: str) -> None:
        ppmctl("package", *arguments, "--root", str(filled.root))

    assert names() == []
    meta = wheels.metadata("moves", "1.0", summary="A tale") + b"Of a wanderer.\n"
    assert filled.upload(wheels.wheel("moves", "1.0", meta=meta)).status_code == 200
    becomes(["moves"], "an upload: its description has the word")
    command("status", "moves", "quarantined")
    assert names() == [], "what is quarantined says nothing"
    command("status", "moves", "active")
    assert names() == ["moves"]
    assert filled.upload(wheels.wheel("moves", "2.0", summary="Settled")).status_code == 200
    becomes([], "a newer release without the word")
    command("yank", "moves", "2.0")
    assert names() == ["moves"]
    assert requests.delete(f"{filled.url}/api/packages/moves/1.0", auth=filled.auth, timeout=60).status_code == 200
    becomes([], "a removal over HTTP")


def _is_listed(filled: Server, name: str) -> bool:
    return name in names_of(filled, "spite")


def test_garbage_as_the_search_index_disturbs_no_upload_and_is_replaced(filled: Server) -> None:
    """Also garbage beside it; and `index/` may be deleted, as for the pages."""
    path = filled.root / "index" / "search.sqlite3"
    for number, damage in enumerate((lambda: path.write_bytes(b"garbage" * 9999), lambda: remove_tree(path.parent))):
        damage()
        if number == 0:
            for beside in ("-journal", "-wal", "-shm", ".new"):
                path.with_name(path.name + beside).write_bytes(b"garbage" * 999)
        assert filled.get("/search?q=sea").status_code in (200, 503)
        assert filled.upload(wheels.wheel(f"in-spite-{number}", "1.0")).status_code == 200
        until(lambda: filled.get("/search?q=sea").status_code == 200, "the index is made again", seconds=20)
        made = f"in-spite-{number}"
        until(partial(_is_listed, filled, made), "and has the upload")
        assert names_of(filled, "sea")[0] == "sea-maps"
    ppmctl("index", "rebuild", "--root", str(filled.root))
    assert "0 differences" in ppmctl("index", "check", "--root", str(filled.root)).stderr


def test_download(filled: Server, reader: Machine, tmp_path: Path) -> None:
    """The latest release, a version, a file; repeated downloads; another file with that name is not replaced."""
    dest = tmp_path / "new" / "folder"
    output = run(reader, "package", "download", "sea-maps", "--dest", dest)
    name, content = wheels.wheel(
        "sea-maps",
        "1.1",
        requires_python=">=3.9",
        summary="Draws maps of the sea",
        author="Ann",
        requires_dist="other>=1",
    )
    assert output.split() == ["downloaded", str(dest / name), hashlib.sha256(content).hexdigest()]
    assert (dest / name).read_bytes() == content
    assert run(reader, "package", "download", "sea-maps", "--dest", dest).split()[0] == "same"
    (dest / name).write_bytes(b"mine")
    assert "other content" in run(reader, "package", "download", "sea-maps", "--dest", dest, expect=1)
    assert (dest / name).read_bytes() == b"mine"
    both = json.loads(run(reader, "package", "download", "sea-maps", "1.0", "--dest", dest, "--json"))
    assert {Path(file["path"]).suffix for file in both} == {".whl", ".gz"}
    run(reader, "package", "download", "sea-maps", "sea_maps-1.0.tar.gz", "--dest", tmp_path / "one")
    assert [path.name for path in (tmp_path / "one").iterdir()] == ["sea_maps-1.0.tar.gz"]
    assert len(run(reader, "package", "download", "sea-maps", "--all", "--dest", tmp_path / "all").splitlines()) == 4
    assert "can't be used together" in run(reader, "package", "download", "sea-maps", "1.0", "--all", expect=2)
    assert "It has 2.0rc1, 1.1, 1.0" in run(reader, "package", "download", "sea-maps", "7", expect=1)
    assert "Is it sea-maps?" in run(reader, "package", "download", "seamaps", expect=1)
    assert sorted(path.name for path in dest.iterdir()) == sorted({name, *(Path(f["path"]).name for f in both)})


def test_without_a_credential_and_with_a_wrong_one(filled: Server, reader: Machine) -> None:
    for command in (("list",), ("show", "salt"), ("search", "salt"), ("download", "salt"), ("yank", "salt", "3.0")):
        printed = run(reader, "package", *command, expect=4, NETRC="/dev/null")
        assert "asks for a credential" in printed
        printed = run(reader, "package", *command, expect=4, PPMCTL_USERNAME="admin", PPMCTL_TOKEN="ppm_wrong")
        assert "does not accept" in printed
        assert "ppm_wrong" not in printed


# changing, over HTTP


def test_yank_unyank_status_and_remove_over_http(filled: Server, reader: Machine) -> None:
    """The same output as on the server host; each has a line in the audit, with user and address."""
    name, content = wheels.wheel("changed", "1.0+x.1")
    assert filled.upload((name, content)).status_code == 200
    as_admin = {"PPMCTL_USERNAME": filled.user, "PPMCTL_TOKEN": filled.secret}
    before = len(audited(filled))
    assert run(reader, "package", "yank", "Changed", "1.0+x.1", "--reason", "No é", **as_admin) == f"yank  {name}\n"
    (file,) = filled.page("changed")["files"]
    assert file["yanked"] == "No é"
    assert run(reader, "package", "unyank", "changed", name, **as_admin) == f"unyank  {name}\n"
    (file,) = filled.page("changed")["files"]
    assert file["yanked"] is False
    run(reader, "package", "status", "changed", "archived", "--reason", "done", **as_admin)
    assert run(reader, "package", "status", "changed") == "archived  done\n"
    remove = ("package", "remove", "changed", "1.0+x.1")
    assert "use --yes" in run(reader, *remove, expect=2, **as_admin)
    assert "another name" in run(reader, *remove, expect=1, typed="changes\n", **as_admin)
    assert filled.filenames("changed") == {name}
    assert run(reader, *remove, typed="Changed\n", **as_admin) == f"remove  {name}\n"
    assert filled.filenames("changed") == set()
    assert (filled.root / "packages" / "changed" / f"{name}.removed").exists()
    run(reader, "package", "status", "changed", "active", **as_admin)
    assert filled.upload((name, content)).status_code == 409
    lines = audited(filled)[before:]
    assert [(line["action"], line["what"]) for line in lines] == [
        ("yank", name),
        ("unyank", name),
        ("status", "changed archived"),
        ("remove", name),
        ("status", "changed active"),
        ("publish", name),
    ]
    assert {(line["by"], line["from"]) for line in lines} == {("admin", "127.0.0.1")}
    assert [line["result"] == "done" for line in lines] == [True] * 5 + [False]


def test_each_change_as_json_is_the_same_on_the_host_and_over_http(filled: Server, reader: Machine) -> None:
    """The document of /api/packages, and no other line of text."""
    name, content = wheels.wheel("as-json", "1.0")
    assert filled.upload((name, content)).status_code == 200
    http = {"PPMCTL_USERNAME": filled.user, "PPMCTL_TOKEN": filled.secret}
    beside = {"PPM_ROOT": str(filled.root)}
    for place in (http, beside):
        for action in ("yank", "unyank"):
            document = json.loads(run(reader, "package", action, "As.Json", "1.0", "--json", **place))
            assert document == {"project": "as-json", "action": action, "files": [name]}
        status = {"project": "as-json", "status": "deprecated", "reason": "old"}
        change = ("package", "status", "as-json", "deprecated", "--reason", "old", "--json")
        assert json.loads(run(reader, *change, **place)) == status
        assert json.loads(run(reader, "package", "status", "As.Json", "--json", **place)) == status
        refused = json.loads(run(reader, "package", "yank", "as-json", "9", "--json", expect=1, **place))
        assert "as-json has no release or file '9'" in refused["error"]["message"]
    removed = json.loads(run(reader, "package", "remove", "as-json", "1.0", "--yes", "--json", **http))
    assert removed == {"project": "as-json", "action": "remove", "files": [name]}


CHANGES = (
    ("PUT", "/api/packages/{project}/1.0/yank", "yank"),
    ("DELETE", "/api/packages/{project}/1.0/yank", "unyank"),
    ("PUT", "/api/packages/{project}/status", "status"),
    ("PUT", "/api/claims/{project}", "claim"),
    ("DELETE", "/api/claims/{project}", "unclaim"),
    ("DELETE", "/api/packages/{project}/1.0", "remove"),
)


def test_each_change_needs_its_right(filled: Server) -> None:
    """Roles and scopes are checked before existence; each refusal has an audit line with its status."""
    secrets = {
        "rights-reader": add(filled, "rights-reader", "reader"),
        "rights-publisher": add(filled, "rights-publisher", "publisher"),
        "rights-scoped": add(filled, "rights-scoped", "publisher", projects=["rights-*"]),
        "rights-elsewhere": add(filled, "rights-elsewhere", "publisher", projects=["other-*"]),
        "admin": filled.secret,
    }
    may = {
        "rights-reader": set(),
        "rights-publisher": {"yank", "unyank"},
        "rights-scoped": {"yank", "unyank"},
        "rights-elsewhere": set(),
        "admin": {"yank", "unyank", "status", "claim", "unclaim", "remove"},
    }
    for who, secret in secrets.items():
        project = f"rights-{who}"
        assert filled.upload(wheels.wheel(project, "1.0")).status_code == 200
        for method, path, action in CHANGES:
            for url in (path.format(project=project), path.format(project=f"rights-not-here-{who}")):
                body = {"status": "active"} if action == "status" else None
                answer = requests.request(method, filled.url + url, json=body, auth=(who, secret), timeout=60)
                here = "not-here" not in url or "claim" in action
                expected = (200 if here else 404) if action in may[who] else 403
                assert answer.status_code == expected, (who, method, url, answer.text)
                line = audited(filled)[-1]
                assert (line["by"], line["action"]) == (who, action), line
                assert (line["result"] == "done") is (expected == 200)
                assert expected == 200 or line["status"] == expected
    for method, path, action in CHANGES:
        for auth, by in ((None, ""), (("admin", "ppm_wrong"), "admin"), (("nobody", "x"), "nobody")):
            answer = requests.request(method, filled.url + path.format(project="sea-maps"), auth=auth, timeout=60)
            assert answer.status_code == 401
            line = audited(filled)[-1]
            assert (line["by"], line["status"]) == (by, 401), action
    assert filled.filenames("sea-maps")


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("PUT", "/api/packages/salt/status", b"", 400),
        ("PUT", "/api/packages/salt/status", b'{"status": "gone"}', 400),
        ("PUT", "/api/packages/salt/status", b'{"status": ["active"]}', 400),
        ("PUT", "/api/packages/salt/3.0/yank", b"[]", 400),
        ("PUT", "/api/packages/salt/3.0/yank", b"{", 400),
        ("PUT", "/api/packages/salt/3.0/yank", b"[" * 10_000, 400),
        ("PUT", "/api/packages/salt/3.0/yank", b'{"reason": 5}', 400),
        ("PUT", "/api/packages/salt/3.0/yank", b'{"reason": "\\ud800"}', 400),
        ("PUT", "/api/packages/salt/3.0/yank", b'{"reason": "a\\nb"}', 400),
        ("PUT", "/api/packages/salt/3.0/yank", b'{"reason": "' + b"a" * 501 + b'"}', 400),
        ("PUT", "/api/packages/salt/3.0/yank", b'{"reason": "' + b"a" * 20_000 + b'"}', 413),
        ("PUT", "/api/packages/salt/9.0/yank", b"", 404),
        ("PUT", "/api/packages/..%2fsalt/3.0/yank", b"", 404),
        ("DELETE", "/api/packages/salt/%2e%2e", b"", 404),
        ("DELETE", "/api/packages/salt", b"", 405),
        ("DELETE", "/api/packages/salt/", b"", 404),
        ("DELETE", "/api/packages/salt/status", b"", 405),
        ("POST", "/api/packages", b"", 405),
        ("POST", "/api/packages/salt/3.0", b"", 405),
        ("GET", "/api/packages/salt/3.0/yank", b"", 405),
        ("DELETE", "/api/stats", b"", 405),
        ("PUT", "/api/claims/salt", b'{"by": "me"}', 400),
        ("PUT", "/api/claims/..%2fsalt", b"", 404),
        ("PUT", "/api/claims/", b"", 404),
        ("GET", "/api/claims", b"", 404),
        ("POST", "/api/claims/salt", b"", 405),
        ("GET", "/api/packages/salt/3.0/yank/x", b"", 404),
    ],
)
def test_an_invalid_request_changes_nothing(method: str, path: str, body: bytes, status: int, filled: Server) -> None:
    before = filled.page("salt")
    kind = {"Content-Type": "application/json"}
    answer = requests.request(method, filled.url + path, data=body, headers=kind, auth=filled.auth, timeout=60)
    assert answer.status_code == status, answer.text
    assert answer.text.count("\n") == 1
    assert ("Allow" in answer.headers) is (status == 405)
    assert filled.page("salt") == before


@pytest.mark.parametrize("release", ["3.0/yank", "..", "", "../other/1.0", "9.0", "\udcff"])
def test_an_invalid_release_is_not_part_of_the_url(release: str, filled: Server, reader: Machine) -> None:
    """Unquoted in the URL it would be another request: `remove salt 3.0/yank` would unyank."""
    as_admin = {"PPMCTL_USERNAME": filled.user, "PPMCTL_TOKEN": filled.secret}
    before = (filled.filenames("salt"), filled.filenames("other"))
    printed = run(reader, "package", "remove", "salt", release, "--yes", expect=1, **as_admin)
    assert "salt has no release or file" in printed
    assert (filled.filenames("salt"), filled.filenames("other")) == before


def test_the_api_needs_the_same_rights_as_pages(filled: Server, serve: Callable[..., Server]) -> None:
    public = serve("--read-access", "public")
    for path in ("/api/packages", "/api/packages?q=x", "/api/stats"):
        assert requests.get(filled.url + path, timeout=60).status_code == 401
        assert requests.get(public.url + path, timeout=60).status_code == 200
    refused = requests.delete(f"{public.url}/api/packages/x/1.0", timeout=60)
    assert refused.status_code == 401


def test_a_reason_with_control_characters_or_lines_is_refused(filled: Server) -> None:
    for reason in ("a\nb", "\x1b[2J", "a" * 501):
        done = ppmctl("package", "yank", "salt", "3.0", "--reason", reason, "--root", str(filled.root), expect=2)
        assert "one line of text" in done.stderr
    assert filled.page("salt")["files"][0]["yanked"] is False


@pytest.mark.parametrize("command", ["list", "show x", "search x", "yank x 1.0", "status x"])
def test_a_mistyped_root_is_not_created(command: str, tmp_path: Path) -> None:
    done = ppmctl("package", *command.split(), "--root", str(tmp_path / "none"), expect=1)
    assert "There is no volume at" in done.stderr
    assert not (tmp_path / "none").exists()


# statistics


def test_stats(serve: Callable[..., Server], tmp_path: Path) -> None:
    """Over HTTP the data for readers; on the server host also users' actions, removals and refusals."""
    server = serve()
    made = [wheels.wheel("counted", "1.0"), wheels.sdist("counted", "1.0"), wheels.wheel("gone", "1.0")]
    for file in made:
        assert server.upload(file).status_code == 200
    assert server.upload(made[0]).status_code == 200, "the same again is no change"
    assert server.upload(wheels.wheel("counted", "1.0", files={"counted.py": b"other"})).status_code == 409
    ppmctl("package", "remove", "gone", "1.0", "--yes", "--root", str(server.root))
    computer = machine(tmp_path / "home", server)
    over = json.loads(run(computer, "stats", "--json", "--index", server.url))
    assert (over["projects"], over["files"]) == (2, 2)
    assert over["bytes"] == sum(len(content) for _name, content in made[:2])
    assert sum(over["uploads"].values()) == 2
    assert [(item["name"], item["files"]) for item in over["by_project"]] == [("counted", 2), ("gone", 0)]
    assert "publishers" not in over
    beside = json.loads(ppmctl("stats", "--json", "--root", str(server.root)).stdout)
    assert beside["publishers"] == {"admin": 3}
    assert sum(beside["uploads"].values()) == 3
    assert beside["changes"]["publish"] == 3
    assert beside["changes"]["remove"] == 1
    assert beside["refused"] == {"409": 1}
    assert "counted" in ppmctl("stats", "--root", str(server.root)).stdout


def test_options_override_the_environment(filled: Server, reader: Machine, tmp_path: Path) -> None:
    """--index overrides PPM_ROOT; --root together with --index is an error."""
    empty = str(tmp_path / "empty")
    ppmctl("init", "--root", empty)
    assert json.loads(run(reader, "stats", "--json", PPM_ROOT=empty))["projects"] == 0
    assert json.loads(run(reader, "stats", "--json", "--index", filled.url, PPM_ROOT=empty))["projects"] > 2
    assert json.loads(run(reader, "stats", "--json", "--root", empty))["projects"] == 0
    assert "can't be used together" in run(reader, "stats", "--index", filled.url, "--root", empty, expect=2)


def test_the_commands_of_the_documents(serve: Callable[..., Server], tmp_path: Path) -> None:
    """Run the commands of docs/packages.md, and of packages in docs/http.md, as an admin."""
    server = serve()
    for made in (wheels.wheel("sea-maps", "1.0"), wheels.sdist("sea-maps", "1.0"), wheels.wheel("sea-maps", "0.9")):
        assert server.upload(made).status_code == 200
    admin = machine(tmp_path / "home", server)
    commands = [block for section in readme.blocks("docs/packages.md").values() for block in section]
    commands += readme.blocks("docs/http.md")["Packages and numbers"]
    assert len(commands) == 6
    typed = "".join(commands).replace("http://127.0.0.1:8080", server.url).replace("/srv/ppm", str(server.root))
    readme.paste(typed, admin.home, admin.environ)
    assert {path.name for path in (admin.home / "everything").iterdir()} > server.filenames("sea-maps")
    assert [line["action"] for line in audited(server)[-5:]] == ["status", "status", "remove", "yank", "yank"]


@pytest.mark.parametrize("command", ["list --json", "show sea-maps --json", "show sea-maps 1.0", "search sea"])
def test_commands_on_the_server_host_print_the_same(command: str, filled: Server, reader: Machine) -> None:
    until(lambda: "other" in run(reader, "package", "list").split(), "the list of projects has followed", seconds=10)
    over = run(reader, "package", *command.split()).replace(f"{filled.url}/", "")
    assert run(reader, "package", *command.split(), PPM_ROOT=str(filled.root)) == over
    assert "no project" in run(reader, "package", "show", "nowhere", "--root", filled.root, expect=1)
