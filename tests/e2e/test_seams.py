"""Tests of the requests that pypiserver handles, with the real server: search, project JSON, lists, removal."""

from __future__ import annotations

import xmlrpc.client
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import pytest
import requests
from support import servers, volumes, wheels
from support.servers import Server, ppmctl

from ppmctl.server.pypiserver_backend import MAX_FOUND


@pytest.fixture(scope="module")
def filled(index: Server) -> Server:
    for made in (
        wheels.wheel("sought-after", "1.0"),
        wheels.wheel("sought-after", "10.0"),
        wheels.sdist("sought-after", "9.0"),
        wheels.wheel("other", "1.0"),
    ):
        assert index.upload(made).status_code == 200
    return index


@pytest.fixture(scope="module")
def public(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Yield an index with public reads."""
    server = servers.start(tmp_path_factory.mktemp("public") / "root", options=("--read-access", "public"))
    yield server
    server.kill()


def test_search_by_xml_rpc(filled: Server) -> None:
    """As `pip search` and old tools do; the result has names that contain the word, with their versions."""
    url = filled.url.replace("://", f"://{filled.user}:{filled.secret}@")
    with xmlrpc.client.ServerProxy(f"{url}/RPC2") as proxy:
        packages = proxy.search({"name": "sought"})
    assert isinstance(packages, list)
    assert sorted((item["name"], item["version"]) for item in packages) == [
        ("sought-after", "1.0"),
        ("sought-after", "10.0"),
        ("sought-after", "9.0"),
    ]


def test_a_search_by_xml_rpc_reads_only_projects_that_match(serve: Callable[..., Server], tmp_path: Path) -> None:
    """To read 10,000 projects for each search would take 5 seconds, with public reads for anyone."""
    root = tmp_path / "root"
    volume = volumes.fill(root, projects=MAX_FOUND + 2)
    (volume.packages / "other").mkdir()
    server = serve(root=root)
    url = server.url.replace("://", f"://{server.user}:{server.secret}@")
    with xmlrpc.client.ServerProxy(f"{url}/RPC2") as proxy:
        assert proxy.search({"name": "nothing"}) == []
        found = proxy.search({"name": "filler-00"})
    assert isinstance(found, list)
    assert len({each["name"] for each in found}) == MAX_FOUND
    assert {each["name"] for each in found} < {volumes.project(number) for number in range(MAX_FOUND + 2)}


def test_search_needs_the_rights_of_reading(filled: Server, public: Server) -> None:
    """A search reveals names: without a credential it is 401, with public reads it is answered."""
    body = xmlrpc.client.dumps(({"name": "x"},), "search")
    assert requests.post(f"{filled.url}/RPC2", data=body, timeout=60).status_code == 401
    assert requests.post(f"{public.url}/RPC2", data=body, timeout=60).status_code == 200


def test_a_read_with_a_body_needs_a_credential(public: Server) -> None:
    """As behind nginx, which would store the body."""
    for path in ("/simple/", "/packages/", "/.well-known/ppm.json"):
        assert public.get(path, auth=None).status_code == 200
        assert public.get(path, auth=None, data=b"x").status_code == 401
        assert public.get(path, auth=None, data=iter([b"x"])).status_code == 401  # chunked
        assert public.get(path, data=b"x").status_code == 200


def test_an_invalid_search_is_refused(filled: Server) -> None:
    """No XML, wrong XML, and XML with entity expansion: a 4xx, never a bug."""
    growing = '<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;&a;">]>'
    growing += "<methodCall><methodName>search</methodName><params><param><value><string>&b;</string></value></param>"
    growing += "</params></methodCall>"
    for body in ("", "nonsense", "<a/>", "<methodCall><methodName>search</methodName></methodCall>", growing):
        answer = requests.post(f"{filled.url}/RPC2", data=body, auth=filled.auth, timeout=60)
        assert 400 <= answer.status_code < 500, (body, answer.status_code, answer.text)


def test_the_length_of_a_search_is_limited(public: Server) -> None:
    """pypiserver would hold any length in memory or on the disk, with public reads from anyone."""
    large = xmlrpc.client.dumps(({"name": "x" * (1 << 20)},), "search").encode()
    assert requests.post(f"{public.url}/RPC2", data=large, timeout=60).status_code == 413
    chunked = requests.post(f"{public.url}/RPC2", data=iter([large]), timeout=60)
    assert chunked.status_code == 411


def test_a_projects_json(filled: Server) -> None:
    """It has the newest version and the files of each version, with working links."""
    answer = filled.get("/sought-after/json")
    assert answer.status_code == 200
    document = answer.json()
    assert document["info"] == {"version": "10.0"}
    assert sorted(document["releases"]) == ["1.0", "10.0", "9.0"]
    for files in document["releases"].values():
        for file in files:
            assert filled.get(file["url"].removeprefix(filled.url)).status_code == 200
    assert filled.get("/Sought.After/json").status_code == 301
    assert filled.get("/nothing/json").status_code == 404


def test_legacy_json_has_the_values_of_the_page(index: Server) -> None:
    """`/pypi/NAME/json`, which renovate and others read: each file with a URL that works as it is."""
    first = wheels.wheel("legacy.json", "1.0", requires_python=">=3.9", home_page="https://a.test")
    local = wheels.wheel("legacy.json", "1!2.0+cpu.1", summary="Old form")
    for made in (first, local, wheels.sdist("legacy.json", "1.0")):
        assert index.upload(made).status_code == 200
    ppmctl("package", "yank", "legacy-json", "1!2.0+cpu.1", "--reason", "broken", "--root", str(index.root))
    answer = index.get("/pypi/legacy-json/json")
    page, document = index.page("legacy-json"), answer.json()
    serial = page["meta"]["_last-serial"]
    assert document["last_serial"] == serial == int(answer.headers["X-PyPI-Last-Serial"])
    assert document["info"] | {"version": "1.0", "requires_python": ">=3.9"} == document["info"]
    assert document["info"]["home_page"] == "https://a.test"
    assert list(document["releases"]) == page["versions"]
    files = [file for listed in document["releases"].values() for file in listed]
    for file, listed in zip(files, page["files"], strict=True):
        assert file["url"] == urljoin(f"{index.url}/simple/legacy-json/", listed["url"])
        assert file["digests"] == listed["hashes"]
        assert (file["size"], file["upload_time_iso_8601"]) == (listed["size"], listed["upload-time"])
        assert file["requires_python"] == listed.get("requires-python")
        assert file["yanked"] == bool(listed["yanked"])
        assert requests.get(file["url"], auth=index.auth, timeout=60).status_code == 200
    assert [file["packagetype"] for file in files] == ["bdist_wheel", "sdist", "bdist_wheel"]
    assert document["urls"] == document["releases"]["1.0"]
    assert files[2]["url"].endswith("/packages/legacy-json/legacy.json-1!2.0+cpu.1-py3-none-any.whl")
    yanked = index.get("/pypi/legacy-json/1!2.0+cpu.1/json").json()
    assert yanked["urls"] == [files[2]]
    assert "releases" not in yanked
    expected = {"version": "1!2.0+cpu.1", "summary": "Old form", "yanked": True, "yanked_reason": "broken"}
    assert yanked["info"] | expected == yanked["info"]


def test_legacy_json_has_the_rights_and_states_of_pages(filled: Server, public: Server) -> None:
    assert filled.get("/pypi/sought-after/json", auth=None).status_code == 401
    assert public.get("/pypi/nothing/json", auth=None).status_code == 404
    assert filled.get("/pypi/Sought.After/json").headers["Location"] == "../sought-after/json"
    assert filled.get("/pypi/Sought.After/1.0/json").headers["Location"] == "../../sought-after/1.0/json"
    for path in ("nothing/json", "sought-after/3.0/json", "sought-after/x/json", "sought-after/json/", "-/json"):
        assert filled.get(f"/pypi/{path}").status_code == 404, path
    assert requests.post(f"{filled.url}/pypi/other/json", auth=filled.auth, timeout=60).status_code == 405
    ppmctl("package", "status", "other", "quarantined", "--root", str(filled.root))
    assert filled.get("/pypi/other/json").status_code == 404
    ppmctl("package", "status", "other", "active", "--root", str(filled.root))


@pytest.mark.parametrize("path", ["/RPC2", "/pypi", "/pypi/"])
def test_xml_rpc_of_mirrors(filled: Server, path: str) -> None:
    """What bandersnatch asks: the projects with their serials, and those that have changed since one."""
    url = filled.url.replace("://", f"://{filled.user}:{filled.secret}@")
    faults = (("release_data", ("other", "1.0"), -32601), ("changelog_since_serial", (), -32602))
    with xmlrpc.client.ServerProxy(url + path) as server:
        proxy: Any = server
        listed = proxy.list_packages_with_serial()
        assert sorted(listed) == sorted(proxy.list_packages())
        assert 0 < listed["other"] <= filled.page("other")["meta"]["_last-serial"]
        assert proxy.changelog_last_serial() >= max(listed.values())
        changes = proxy.changelog_since_serial(listed["other"] - 1)
        assert ("other", "change") in [(name, action) for name, _version, _time, action, _serial in changes]
        assert proxy.changelog_since_serial(2**31 - 1) == []
        assert {item["name"] for item in proxy.search({"name": "sought"})} == {"sought-after"}
        for method, arguments, code in faults:
            with pytest.raises(xmlrpc.client.Fault) as fault:
                getattr(proxy, method)(*arguments)
            assert fault.value.faultCode == code


def test_a_form_at_the_xml_rpc_is_told_where_uploads_go(filled: Server) -> None:
    answer = filled.upload(wheels.wheel("misplaced", "1.0"), path="/pypi")
    assert answer.status_code == 400
    assert "uploads go to /legacy/" in answer.reason


def test_the_list_of_all_files(filled: Server) -> None:
    """`/packages/` names each file with its hash, and no side file."""
    page = filled.get("/packages/")
    assert page.status_code == 200
    for file in filled.page("sought-after")["files"]:
        assert f'"sought-after/{file["filename"]}#sha256={file["hashes"]["sha256"]}' in page.text
    for suffix in (".upload", ".metadata", ".yanked"):
        assert suffix not in page.text


def test_the_front_page_has_the_commands_to_use(filled: Server) -> None:
    """In a browser it shows how to install and publish, with the URL in use."""
    page = filled.get("/")
    assert page.status_code == 200
    assert f"pip install --index-url {filled.url}/simple/ NAME" in page.text
    assert "projects" in page.text
    assert "pypiserver" in page.text
    assert "2.4.2" not in page.text  # with public reads anyone may read it


def test_a_name_at_the_root_redirects_to_its_page(filled: Server) -> None:
    """For URLs typed by hand, as in pypiserver."""
    answer = filled.get("/sought-after", allow_redirects=True)
    assert answer.url == f"{filled.url}/simple/sought-after/"
    assert answer.status_code == 200
