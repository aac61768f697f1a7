"""Tests that a name that the index has or had, or a private name, is never redirected, whatever happens to its page.

This makes one index URL safe: a project of the same name on the public index is never used.
"""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import pytest
import requests
from support import limited, servers, wheels
from support.clients import Installer
from support.evidence import remove_tree, until
from support.servers import JSON, Server, ppmctl

UPSTREAM = ("--upstream-url", "http://upstream.invalid/simple/")
KINDS = ("active", "emptied", "quarantined", "archived", "yanked")


@pytest.fixture(scope="module")
def redirecting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Yield a server that redirects unknown names, and has a project of each kind."""
    root = tmp_path_factory.mktemp("redirecting") / "root"
    server = servers.start(root, options=(*UPSTREAM, "--private-name", "acme-*", "--private-name", "Billing"))
    for kind in KINDS:
        assert server.upload(wheels.wheel(kind, "1.0")).status_code == 200
    place = ("--root", str(root))
    ppmctl("package", "remove", "emptied", "1.0", "--yes", *place)
    ppmctl("package", "status", "quarantined", "quarantined", *place)
    ppmctl("package", "status", "archived", "archived", *place)
    ppmctl("package", "yank", "yanked", "1.0", *place)
    until(lambda: names(server) == sorted(KINDS), "the list of projects follows the uploads", seconds=5)
    yield server
    server.kill()


def names(server: Server) -> list[str]:
    """Return the projects that the index lists."""
    answer = server.get("/simple/", headers={"Accept": JSON})
    assert answer.status_code == 200, f"{answer.status_code} {answer.text}"
    return [project["name"] for project in answer.json()["projects"]]


def listed(answer: requests.Response) -> set[str]:
    assert answer.status_code == 200, f"{answer.status_code} {answer.headers.get('Location')} {answer.text}"
    return {file["filename"] for file in answer.json()["files"]}


def expected(kind: str) -> set[str]:
    return set() if kind in {"emptied", "quarantined"} else {f"{kind}-1.0-py3-none-any.whl"}


def test_unknown_names_are_redirected(redirecting: Server) -> None:
    """By default they are redirected to the public index; the name is normalised, and nothing else is added."""
    for accept in (JSON, "text/html", "*/*"):
        answer = redirecting.get("/simple/not-here/", headers={"Accept": accept})
        assert (answer.status_code, answer.headers["Location"]) == (302, "http://upstream.invalid/simple/not-here/")
        assert answer.headers["Cache-Control"] == "no-cache", "a name that is published later is seen then"
    assert redirecting.get("/simple/Not.Here/").headers["Location"] == "../not-here/"
    assert redirecting.get("/simple/not-here").headers["Location"] == "not-here/"
    assert redirecting.get("/packages/not-here/not_here-1.0.tar.gz").status_code == 404


def test_the_public_index_is_the_default(serve: Callable[..., Server]) -> None:
    """A new server redirects other names to pypiserver's fallback index, and published names not."""
    server = serve()
    answer = server.get("/simple/example-name/")
    assert answer.status_code == 302
    assert answer.headers["Location"].startswith("https://")
    assert answer.headers["Location"].endswith("/simple/example-name/")
    assert server.upload(wheels.wheel("example-name", "1.0")).status_code == 200
    assert server.filenames("example-name") == {"example_name-1.0-py3-none-any.whl"}


def test_a_limited_reader_sees_only_its_projects(serve: Callable[..., Server], tmp_path: Path) -> None:
    """It can't tell a hidden project from one that does not exist, and neither is looked up in the public index."""
    server = serve(*UPSTREAM, "--private-name", "acme-*")
    limited.fill(server)

    def ask(method: str, path: str, **options: Any) -> requests.Response:
        return requests.request(method, server.url + path, allow_redirects=False, timeout=60, **options)

    reader = limited.add(server, "reader")
    limited.check(ask, server.auth, reader)
    for name in (limited.HIDDEN, limited.MISSING, "requests", "acme-x"):
        assert ask("GET", f"/simple/{name}/", auth=reader).status_code == 404
    assert ask("GET", "/simple/limited-nothing/", auth=reader).status_code == 302, "a name that it may read"
    publisher = limited.add(server, "publisher", role="publisher")
    assert limited.differences(ask, publisher) == []
    assert server.upload(wheels.wheel("limited-new", "1.0"), auth=publisher).status_code == 200
    assert server.upload(wheels.wheel(limited.HIDDEN, "2.0"), auth=publisher).status_code == 403
    limited.install(tmp_path / "one", server, reader, limited.SHOWN, expect=0)
    refused = limited.install(tmp_path / "two", server, reader, limited.HIDDEN, expect=1)
    assert "No matching distribution" in refused.output
    assert "upstream.invalid" not in refused.output


def test_a_limit_of_reads_has_no_effect_where_everyone_may_read(serve: Callable[..., Server]) -> None:
    """The answer is the same as without a credential; what the credential may publish is limited all the same."""
    server = serve("--read-access", "public")
    limited.fill(server)
    publisher = limited.add(server, "publisher", role="publisher")
    assert server.get(f"/simple/{limited.HIDDEN}/", auth=publisher).status_code == 200
    assert server.upload(wheels.wheel(limited.HIDDEN, "2.0"), auth=publisher).status_code == 403


@pytest.mark.parametrize("name", ["acme-billing", "acme-", "billing", "Acme.Billing", "ACME_x"])
def test_private_names_are_never_redirected(redirecting: Server, name: str) -> None:
    """Also before their first release, when a squatter could use them."""
    path = f"/simple/{name}/"
    while (answer := redirecting.get(path)).status_code == 301:
        path = urljoin(path, answer.headers["Location"])
        assert path.startswith("/simple/")
    assert answer.status_code == 404, answer.headers.get("Location")
    assert "Location" not in answer.headers


def test_names_that_only_look_private_are_redirected(redirecting: Server) -> None:
    """A pattern matches the whole name."""
    for name in ("acme", "acmeworks", "my-acme-x", "billing-2"):
        assert redirecting.get(f"/simple/{name}/").status_code == 302, name


DAMAGE: dict[str, str] = {
    "its JSON page": "index/simple/{kind}/index.json",
    "its pages": "index/simple/{kind}",
    "all pages": "index/simple",
    "the index": "index",
}


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("kind", KINDS)
def test_known_names_are_not_redirected_when_pages_are_deleted(redirecting: Server, kind: str, damage: str) -> None:
    """A deleted derived file is made again at the next request; there is never a redirect."""
    ppmctl("index", "rebuild", "--root", str(redirecting.root))
    target = redirecting.root / DAMAGE[damage].format(kind=kind)
    if target.is_file():
        target.unlink()
    else:
        shutil.rmtree(target)
    for accept in (JSON, "text/html"):
        assert redirecting.get(f"/simple/{kind}/", headers={"Accept": accept}).status_code == 200
    assert listed(redirecting.get(f"/simple/{kind}/", headers={"Accept": JSON})) == expected(kind)
    assert names(redirecting) == sorted(KINDS)


def test_a_start_without_the_index_folder_knows_all_names(serve: Callable[..., Server]) -> None:
    """After a restore from a backup without derived files, the first request has everything."""
    server = serve(*UPSTREAM)
    server.upload(wheels.wheel("kept", "1.0"))
    server.stop()
    shutil.rmtree(server.root / "index")
    server.start_again()
    assert names(server) == ["kept"]
    assert server.filenames("kept") == {"kept-1.0-py3-none-any.whl"}


def test_names_are_not_redirected_while_the_index_is_deleted_and_rebuilt(redirecting: Server) -> None:
    """Clients read without retries while the index is deleted and rebuilt repeatedly."""
    done = threading.Event()
    wrong: list[str] = []
    asked = 0

    def read() -> None:
        nonlocal asked
        while not done.is_set() and not wrong:
            for kind in KINDS:
                answer = redirecting.get(f"/simple/{kind}/", headers={"Accept": JSON})
                if answer.status_code != 200 or listed(answer) != expected(kind):
                    wrong.append(f"{kind}: {answer.status_code} {answer.headers.get('Location')} {answer.text}")
            root = redirecting.get("/simple/", headers={"Accept": JSON})
            if root.status_code != 200 or len(root.json()["projects"]) != len(KINDS):
                wrong.append(f"the list: {root.status_code} {root.text}")
            asked += 1

    def went_on(before: int) -> bool:
        return asked > before + 2 or bool(wrong)

    readers = [threading.Thread(target=read) for _number in range(4)]
    for reader in readers:
        reader.start()
    try:
        for turn in range(8):
            for _again in range(20):
                shutil.rmtree(redirecting.root / "index", ignore_errors=True)
            until(partial(went_on, asked), "the readers go on")
            if turn % 2:
                ppmctl("index", "rebuild", "--root", str(redirecting.root))
    finally:
        done.set()
        for reader in readers:
            reader.join()
    assert wrong == []
    assert asked > 20


def test_uploads_succeed_while_the_index_is_deleted(serve: Callable[..., Server]) -> None:
    """An upload writes pages and marks; it must succeed even if their folders are deleted."""
    server = serve(*UPSTREAM)
    done = threading.Event()

    def delete() -> None:
        while not done.is_set():
            shutil.rmtree(server.root / "index", ignore_errors=True)

    deleting = threading.Thread(target=delete)
    deleting.start()
    try:
        for number in range(40):
            for project in ("same", f"new-{number}"):
                answer = server.upload(wheels.wheel(project, f"1.{number}"))
                assert answer.status_code == 200, answer.text
    finally:
        done.set()
        deleting.join()
    assert len(server.filenames("same")) == 40
    until(lambda: len(names(server)) == 41, "the list of projects follows", seconds=5)


def test_without_an_upstream_nothing_is_redirected(serve: Callable[..., Server]) -> None:
    """`--upstream none`: an unknown name is 404."""
    server = serve("--upstream", "none")
    server.upload(wheels.wheel("here", "1.0"))
    for path in ("/simple/not-here/", "/simple/acme-x/", "/packages/not-here/x-1.0.tar.gz"):
        answer = server.get(path)
        assert answer.status_code == 404
        assert "Location" not in answer.headers
    remove_tree(server.root / "index")
    assert server.get("/simple/not-here/").status_code == 404
    assert server.get("/simple/here/").status_code == 200


@pytest.fixture(scope="module")
def confusing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Yield our index; the one that it redirects to has higher versions of our names."""
    folder = tmp_path_factory.mktemp("confusing")
    public = servers.start(folder / "public", options=("--read-access", "public", "--upstream", "none"))
    ours = servers.start(folder / "ours", options=("--upstream-url", public.simple, "--private-name", "acme-*"))
    for name in ("team-tool", "removed-tool", "acme-tool", "public-lib"):
        assert public.upload(wheels.wheel(name, "99.0")).ok
    for made in (wheels.wheel("team-tool", "1.0", requires_dist="public-lib"), wheels.wheel("removed-tool", "1.0")):
        assert ours.upload(made).ok
    ppmctl("package", "remove", "removed-tool", "1.0", "--yes", "--root", str(ours.root))
    yield ours
    ours.kill()
    public.kill()


def test_installers_do_not_use_the_same_name_on_another_index(
    confusing: Server, new_installer: Callable[..., Installer]
) -> None:
    """A dependency confusion attack, also right after all pages were deleted."""
    remove_tree(confusing.root / "index")
    installer = new_installer(confusing)
    installer.install("team-tool", index=confusing.simple)
    assert installer.version("team-tool") == "1.0"
    assert installer.version("public-lib") == "99.0"
    for name in ("removed-tool", "acme-tool"):
        assert installer.install(name, index=confusing.simple, expect=None).code != 0
        assert installer.version(name) is None
