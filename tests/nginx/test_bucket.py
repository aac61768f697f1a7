"""A node of a bucket: nginx sends what the disk has, and the application compares it once a second."""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests
from support import buckets, debian, rendering, servers, wheels
from support.buckets import Bucket
from support.debian import Tree
from support.environments import revision
from support.evidence import until
from support.servers import JSON, Server, ppmctl
from support.webserver import Site

Sites = Callable[..., Site]
WITHIN = 10.0  # seconds, for what takes one; more because the machine does other work too
LOCK = 'lock-version = "1.0"\ncreated-by = "a test"\npackages = []\n'


@dataclass(frozen=True, kw_only=True)
class Nodes:
    """Two nodes of one bucket: `first`, which publishes, and `second`, behind nginx."""

    bucket: Bucket
    first: Server
    second: Site

    def publish(self, made: tuple[str, bytes]) -> None:
        answer = self.first.upload(made)
        assert answer.status_code == 200, answer.text

    def asked(self) -> list[dict[str, Any]]:
        """Return the lines of nginx's log for requests that the application answered, too."""
        lines = map(json.loads, self.second.access_log().splitlines())
        return [line for line in lines if line["application"]]


@contextlib.contextmanager
def running(new_sites: Sites, folder: Path, **settings: Any) -> Iterator[Nodes]:
    """Start two nodes of a new bucket; the second one makes the admin of both."""
    with buckets.serving() as bucket, pytest.MonkeyPatch.context() as patch:
        for name, value in bucket.environ("second").items():
            patch.setenv(name, value)
        second = new_sites(ppm_storage=bucket.address, **settings)
        first = servers.start(folder / "first", environ=bucket.environ("first"))
        first.user, first.secret = second.auth
        try:
            yield Nodes(bucket=bucket, first=first, second=second)
        finally:
            first.kill()


@pytest.fixture(scope="module")
def nodes(new_sites: Sites, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodes]:
    with running(new_sites, tmp_path_factory.mktemp("nodes")) as nodes:
        yield nodes


def requests_of_reads(name: str, filename: str) -> list[tuple[str, str, dict[str, str]]]:
    """Return the requests of installers for a project: method, path and headers."""
    asked = [
        (method, path, {"Accept": accept})
        for method in ("GET", "HEAD")
        for path in (f"/simple/{name}/", "/simple/")
        for accept in (JSON, "*/*")
    ]
    for path in (f"/packages/{name}/{filename}", f"/packages/{name}/{filename}.metadata"):
        asked += [("GET", path, {}), ("HEAD", path, {}), ("GET", path, {"Range": "bytes=0-9"})]
    return asked


def test_a_project_of_another_node_is_listed_and_read(nodes: Nodes) -> None:
    """Page, file, metadata and list, within a second; a new version is listed within a second too."""
    made = wheels.wheel("from-first", "1.0")
    nodes.publish(made)
    started = time.monotonic()
    assert nodes.second.filenames("from-first") == {made[0]}
    assert time.monotonic() - started < WITHIN
    assert nodes.second.get(f"/packages/from-first/{made[0]}").content == made[1]
    answer = nodes.second.get(f"/packages/from-first/{made[0]}.metadata")
    assert answer.content == nodes.first.get(f"/packages/from-first/{made[0]}.metadata").content
    until(lambda: "from-first" in nodes.second.get("/simple/").text, "the list has it", seconds=WITHIN)
    nodes.publish(wheels.wheel("from-first", "2.0"))
    until(lambda: len(nodes.second.filenames("from-first")) == 2, "the new version is listed", seconds=WITHIN)


def test_one_conditional_read_serves_many_requests(nodes: Nodes) -> None:
    """nginx answers the others by itself."""
    made = wheels.wheel("often", "1.0")
    nodes.publish(made)
    paths = ["/simple/often/", f"/packages/often/{made[0]}", f"/packages/often/{made[0]}.metadata"]
    for path in paths:
        assert nodes.second.get(path).status_code == 200
    before = len(nodes.asked())
    started = time.monotonic()
    with nodes.bucket.recording(lambda request: request.node == "second") as recorded:
        for _ in range(100):
            for path in paths:
                assert nodes.second.get(path).status_code == 200
    seconds = time.monotonic() - started
    heads = [request for request in recorded if "often" in request.key]
    assert {(request.kind, request.key) for request in heads} <= {("read", "projects/often.json")}
    assert len(heads) <= seconds / 0.7 + 2
    until(lambda: len(nodes.asked()) >= before, "the log is written")
    assert len(nodes.asked()) - before <= 3 * (seconds / 0.7 + 2)


def test_what_is_read_all_the_time_is_compared_without_a_wait(nodes: Nodes) -> None:
    """More comparisons than requests that the application answered: nginx did not ask for all of them."""
    made = wheels.wheel("busy", "1.0")
    nodes.publish(made)
    path = f"/packages/busy/{made[0]}"
    assert nodes.second.get(path).status_code == 200

    def is_renewed() -> bool:
        before = len(nodes.asked())
        with nodes.bucket.recording(lambda request: request.node == "second") as recorded:
            started = time.monotonic()
            while time.monotonic() - started < 2:
                assert nodes.second.get(path).status_code == 200
        compared = [request for request in recorded if request.key == "projects/busy.json"]
        assert len(compared) <= 2 / 0.7 + 2
        nodes.second.get("/simple/never-there/")  # a later line than the others
        until(lambda: any("never-there" in line["path"] for line in nodes.asked()[before:]), "the log is written")
        return len(compared) > len([line for line in nodes.asked()[before:] if line["path"] == path])

    until(is_renewed, "a comparison that no request waits for")


def test_a_file_that_was_removed_elsewhere_is_not_served(nodes: Nodes) -> None:
    made = wheels.wheel("removed-elsewhere", "1.0")
    nodes.publish(made)
    path = f"/packages/removed-elsewhere/{made[0]}"
    assert nodes.second.get(path).status_code == 200
    root = ("--root", str(nodes.first.root))
    ppmctl("package", "remove", "removed-elsewhere", "1.0", "--yes", *root, env=environment(nodes))
    until(lambda: nodes.second.get(path).status_code == 404, "the file is not served", seconds=WITHIN)
    assert nodes.second.get(f"{path}.metadata").status_code == 404
    assert nodes.second.filenames("removed-elsewhere") == set()


def test_a_quarantined_file_is_not_fetched(nodes: Nodes) -> None:
    made = wheels.wheel("evil", "1.0")
    nodes.publish(made)
    ppmctl("package", "status", "evil", "quarantined", "--root", str(nodes.first.root), env=environment(nodes))
    until(lambda: nodes.second.page("evil")["project-status"]["status"] == "quarantined", "the status follows")
    for suffix in ("", ".metadata"):
        assert nodes.second.get(f"/packages/evil/{made[0]}{suffix}").status_code == 404


def environment(nodes: Nodes) -> dict[str, str]:
    return servers.clean_environment(nodes.first.root.parent / "home", **nodes.bucket.environ("first"))


def test_other_names_are_redirected_only_after_a_look_into_the_bucket(nodes: Nodes) -> None:
    for _ in range(3):
        answer = nodes.second.get("/simple/not-here/")
        assert (answer.status_code, answer.headers["Location"]) == (302, f"{rendering.UPSTREAM}not-here/")
    assert nodes.second.get("/simple/acme-unknown/").status_code == 404
    assert nodes.second.get("/packages/not-here/not_here-1.0-py3-none-any.whl").status_code == 404
    nodes.publish(wheels.wheel("not-here", "1.0"))
    until(lambda: nodes.second.get("/simple/not-here/").status_code == 200, "it is not redirected", seconds=WITHIN)


def test_an_environment_of_another_node(nodes: Nodes) -> None:
    nodes.publish(revision("team", 1, "six==1.16.0", lock=LOCK))
    for path in ("/env/team/", "/env/team/requirements.txt", "/env/team/1/pylock.toml"):
        answer = nodes.second.get(path)
        assert (answer.status_code, answer.content) == (200, nodes.first.get(path).content), path
    nodes.publish(revision("team", 2, "six==1.17.0", lock=LOCK))
    until(
        lambda: nodes.second.get("/env/team/requirements.txt").text.endswith("six==1.17.0\n"), "the new one follows"
    )
    assert nodes.second.get("/env/team/3/pylock.toml").status_code == 404


def test_reads_work_without_the_application_and_without_the_bucket(nodes: Nodes) -> None:
    """Answers are those of before; what the disk lacks gets a 503, and no name is redirected."""
    made, cold = wheels.wheel("kept", "1.0"), wheels.wheel("cold", "1.0")
    nodes.publish(made)
    nodes.publish(cold)
    nodes.publish(revision("kept", 1, "six==1.16.0", lock=LOCK))
    nodes.second.get("/simple/cold/")
    until(lambda: "ppm-env-kept" in nodes.second.get("/simple/").text, "the list has it")
    asked = requests_of_reads("kept", made[0])
    asked += [("GET", f"/env/kept/{form}", {}) for form in ("", "requirements.txt", "env.json", "1/pylock.toml")]
    for method, path, headers in asked:  # the first answer about a file is the application's
        nodes.second.request(method, path, headers=headers)
    before = [comparable(nodes.second.request(*row[:2], headers=row[2])) for row in asked]
    assert {answer["status"] for answer in before} == {200, 206}

    def check() -> None:
        for (method, path, headers), expected in zip(asked, before, strict=True):
            assert comparable(nodes.second.request(method, path, headers=headers)) == expected, (method, path)
        for path in (f"/packages/cold/{cold[0]}", "/simple/public-name/"):
            answer = nodes.second.get(path)
            assert (answer.status_code, "Retry-After" in answer.headers) == (503, True), (path, answer.headers)
        assert nodes.second.get("/simple/kept/", auth=None).status_code == 401
        refused = nodes.second.upload(wheels.wheel("kept", "2.0"))
        assert (refused.status_code, "Retry-After" in refused.headers) == (503, True), refused.text

    with nodes.bucket.away():
        time.sleep(1)  # the marks are gone
        check()
    with nodes.second.without_application():
        check()
        with nodes.bucket.away():
            check()
    assert nodes.second.get(f"/packages/cold/{cold[0]}").content == cold[1]


def comparable(answer: requests.Response) -> dict[str, Any]:
    names = ("Content-Type", "Content-Encoding", "Content-Range", "Cache-Control", "ETag", "Last-Modified", "Vary")
    headers = {name: answer.headers.get(name) for name in (*names, "Content-Length")}
    return {"status": answer.status_code, "headers": headers, "body": answer.content}


def test_only_credentials_that_may_read_get_something(nodes: Nodes) -> None:
    """Also while nothing is marked, and for files that only the bucket has."""
    shown, hidden = wheels.wheel("limited-lib", "1.0"), wheels.wheel("secret-tool", "1.0")
    nodes.publish(shown)
    nodes.publish(hidden)
    place = ("--root", str(nodes.second.root))
    secret = ppmctl("user", "add", "limited", "--role", "reader", "--project", "limited-*", *place).stdout.strip()
    paths = {"limited-lib": shown[0], "secret-tool": hidden[0]}
    for _ in range(2):
        for name, filename in paths.items():
            for path in (f"/simple/{name}/", f"/packages/{name}/{filename}"):
                for auth in (None, (nodes.second.user, "ppm_wrong")):
                    assert nodes.second.get(path, auth=auth).status_code == 401
                expected = 200 if name == "limited-lib" else 404
                assert nodes.second.get(path, auth=("limited", secret)).status_code == expected, path
                assert nodes.second.get(path).status_code == 200


@debian.only(13)
def test_large_files_come_from_the_bucket(tree: Tree, new_sites: Sites, tmp_path: Path) -> None:
    """By a short-lived URL without the client's credential; metadata and small files from the node."""
    assert tree.release == 13
    with running(new_sites, tmp_path, ppm_storage_redirect=True) as nodes:
        large = wheels.wheel("large", "1.0", files={"large.bin": os.urandom(9 << 20)})
        small = wheels.wheel("small", "1.0")
        for made in (large, small):
            nodes.publish(made)
        path = f"/packages/large/{large[0]}"
        answer = nodes.second.get(path)
        assert answer.status_code == 302
        assert answer.headers["Referrer-Policy"].startswith("no-referrer")
        assert answer.headers["Cache-Control"] == "no-store"
        location = answer.headers["Location"]
        assert location.startswith(nodes.bucket.url)
        assert "X-Amz-Expires=300" in location
        assert nodes.second.secret not in location
        followed = requests.get(nodes.second.url + path, auth=nodes.second.auth, verify=nodes.second.session.verify)
        assert followed.content == large[1]
        assert "Authorization" not in followed.request.headers
        head = nodes.second.request("HEAD", path)
        assert (head.status_code, head.headers["Content-Length"]) == (200, str(len(large[1])))
        for other, content in ((f"{path}.metadata", None), (f"/packages/small/{small[0]}", small[1])):
            answer = nodes.second.get(other)
            assert answer.status_code == 200
            assert content in (None, answer.content)
