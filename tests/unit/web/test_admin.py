"""Tests of the administration: what an administrator sees and changes, what is refused, and that nobody else may."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path
from typing import NoReturn

import pytest
from support import wheels
from support.environments import revision
from support.nodes import new_node
from support.pages import HTML, Page, Visitor

from ppmctl.access import accounts, audit_log, credential_files, invites
from ppmctl.access.account import SERVER
from ppmctl.distributions import inspection
from ppmctl.index import project_folder
from ppmctl.index.search_index import SearchIndex
from ppmctl.index.store import Store
from ppmctl.server.content_negotiation import JSON
from ppmctl.storage.bucket import Unavailable
from ppmctl.web import numbers, site
from ppmctl.web.route import Route

HOSTILE = "<script>alert(1)</script>\"'&"


@pytest.fixture
def admin(visitor: Visitor) -> Visitor:
    """Return the browser of the administrator root."""
    visitor.as_user("root", "admin")
    return visitor


def put(store: Store, name: str, version: str, *, by: str = "ann") -> str:
    return store_file(store, wheels.wheel(name, version), by=by)


def store_file(store: Store, made: tuple[str, bytes], *, by: str) -> str:
    filename, content = made
    with store.area.new_file() as received:
        received.write(content)
        received.finish()
        store.put(received, inspection.inspect(received.path, filename), by=by)
    return filename


def state(visitor: Visitor, name: str) -> str:
    return accounts.account(visitor.store.volume, name).state


def audit(visitor: Visitor) -> list[dict[str, str]]:
    return [json.loads(line) for line in visitor.store.volume.audit.read_text().splitlines()]


# rights


def routes() -> list[Route]:
    return [route for route in site.ROUTES if route.need != "nothing"]


def path_of(route: Route) -> str:
    return re.sub(r"<[^>]+>", "sample", route.path)


def snapshot(folder: Path) -> dict[str, bytes]:
    """Return what the volume has, apart from what a refused request writes too."""
    ignored = ("audit.jsonl", "sessions", "locks", ".lock")
    paths = (path for path in folder.rglob("*") if path.is_file() and not any(each in str(path) for each in ignored))
    return {str(path): path.read_bytes() for path in paths}


def ask(visitor: Visitor, route: Route, **fields: str) -> Page:
    if route.method == "GET":
        return visitor.get(path_of(route))
    if route.is_form:
        return visitor.send(path_of(route), **fields)
    data = {**fields, "files": (io.BytesIO(), "sample-1.0-py3-none-any.whl")}
    headers = {"Origin": visitor.base, **HTML}
    return Page(visitor.client.post(path_of(route), base_url=visitor.base, data=data, headers=headers))


def test_every_page_is_refused_without_its_right(visitor: Visitor) -> None:
    """Each route of the site, also new ones: by strangers, readers and publishers, and without a form's token."""
    anonymous, reader, publisher = visitor.another(), visitor.another(), visitor
    reader.as_user("rea", "reader")
    publisher.as_user("pub", "publisher")
    put(visitor.store, "sample", "1.0")
    accounts.create_user(visitor.store.volume, SERVER, "sample", role="admin")
    before = snapshot(visitor.store.volume.root)
    tokens = {each: each.get("/").fields["form_token"] for each in (reader, publisher)}
    seen = 0
    for route in routes():
        answer = ask(anonymous, route)
        expected = (303, "login") if route.method == "GET" else (401, "")
        assert answer.status == expected[0], route
        assert expected[1] in answer.location, route
        for browser, refused in ((reader, ("publish", "admin")), (publisher, ("admin",))):
            if route.need in refused:
                seen += 1
                assert ask(browser, route, form_token=tokens[browser]).status == 403, route
        assert route.need == "admin" or not route.path.startswith("/admin"), route
        if route.method == "POST":
            for wrong in ({"other": "x"}, {"form_token": "x"}, {"form_token": tokens[reader]}):
                assert ask(publisher, route, **wrong).status == 403, route
    assert seen > 30
    assert snapshot(visitor.store.volume.root) == before


def test_an_administrator_needs_the_token_of_a_form(admin: Visitor) -> None:
    accounts.create_user(admin.store.volume, SERVER, "sample", role="reader")
    put(admin.store, "sample", "1.0")
    before = snapshot(admin.store.volume.root)
    for route in routes():
        if route.method == "POST":
            assert ask(admin, route, other="x").status == 403, route
    assert snapshot(admin.store.volume.root) == before


def test_pages_without_the_slash_at_the_end_lead_to_those_with_it(admin: Visitor) -> None:
    page = admin.get("/admin")
    assert (page.status, page.location) == (303, "./admin/")


# users


def test_a_user_is_created_with_a_secret_that_is_shown_once(admin: Visitor) -> None:
    page = admin.post(
        "/admin/users/", how="create", name="bob", role="publisher", projects="acme-*, billing", days="9"
    )
    assert (page.status, page.headers["Cache-Control"]) == (200, "no-store")
    secret = re.findall(r"ppm_[A-Za-z0-9_-]+", page.text)
    assert len(set(secret)) == 1
    assert admin.another().log_in("bob", secret[0]).status == 303
    access = accounts.account(admin.store.volume, "bob").access
    assert (access.role, access.projects, access.by) == ("publisher", ("acme-*", "billing"), "root")
    assert access.expires is not None
    assert secret[0] not in admin.store.volume.audit.read_text() + admin.get("/admin/users/bob/").html
    listed = admin.get("/admin/users/")
    assert "bob active publisher acme-* billing all" in listed.text


def test_an_invite_makes_a_link_whose_code_is_stored_nowhere(admin: Visitor) -> None:
    page = admin.post("/admin/users/", how="invite", name="bob", role="reader")
    assert (page.status, page.headers["Cache-Control"]) == (200, "no-store")
    link = re.search(r"http://index.test/join#(ppm_join_[A-Za-z0-9_-]+)", page.text)
    assert link is not None
    assert invites.find(invites.read(admin.store.volume), link[1]) is not None
    assert link[1] not in "".join(map(repr, snapshot(admin.store.volume.root).values()))
    assert link[1] not in admin.store.volume.audit.read_text()
    assert "bob invited reader" in admin.get("/admin/users/").text
    again = admin.post("/admin/users/bob/invite", at="/admin/users/bob/")
    assert link[1] not in again.text
    assert invites.find(invites.read(admin.store.volume), link[1]) is None, "the earlier one stopped working"
    assert admin.post("/admin/users/bob/withdraw", at="/admin/users/bob/").status == 303
    assert invites.read(admin.store.volume) == ()


@pytest.mark.parametrize(
    ("fields", "status", "message"),
    [
        ({"name": "root"}, 409, "There is a credential 'root' already"),
        ({"name": HOSTILE}, 400, "can't be the name of a credential"),
        ({"name": "ppm"}, 400, "the index uses it itself"),
        ({"name": "bob", "role": "owner"}, 400, "is not a role"),
        ({"name": "bob", "role": "admin", "projects": "acme-*"}, 400, "An admin manages the whole index"),
        ({"name": "bob", "email": "x"}, 400, "is not an e-mail address"),
        ({"name": "bob", "days": "soon"}, 400, "is not a number of days"),
        ({"name": "bob", "days": "99999"}, 400, "is not a duration"),
        ({"name": "root", "how": "invite"}, 400, "There is a user 'root' already"),
    ],
)
def test_a_refused_user_shows_the_form_again_with_its_values(
    admin: Visitor, fields: dict[str, str], status: int, message: str
) -> None:
    sent = {"how": "create", "role": "reader", "projects": "", "reads": "team-*", **fields}
    page = admin.post("/admin/users/", **sent)
    assert (page.status, message in page.text) == (status, True), page.text
    assert 'value="team-*"' in page.html
    assert HOSTILE not in page.html
    assert [each.access.name for each in accounts.accounts(admin.store.volume)] == ["root"]
    assert (audit(admin)[-1]["by"], audit(admin)[-1]["result"] != "done") == ("root", True)


def test_rights_are_changed_for_the_next_request(admin: Visitor) -> None:
    other = admin.another()
    other.as_user("bob", "reader")
    at = "/admin/users/bob/"
    changed = {"role": "publisher", "projects": "acme-*", "reads": "", "email": "bob@example.com"}
    assert admin.post(f"{at}change", at=at, **changed).status == 303
    access = accounts.account(admin.store.volume, "bob").access
    assert (access.role, access.projects, access.email) == ("publisher", ("acme-*",), "bob@example.com")
    assert other.get("/").status == 303, "the session ended"
    page = admin.post(f"{at}change", at=at, **{**changed, "projects": "a b/c"})
    assert (page.status, "is not a name of projects" in page.text, 'value="a b/c"' in page.html) == (400, True, True)
    assert admin.post("/admin/users/nobody/change", at=at, **changed).status == 404


def test_a_user_is_disabled_enabled_and_gets_a_new_secret(admin: Visitor) -> None:
    other = admin.another()
    secret = other.as_user("bob", "publisher")
    accounts.create_token(admin.store.volume, SERVER, "bob+ci", role="reader")
    at = "/admin/users/bob/"
    question = admin.get(f"{at}disable")
    assert "bob+ci (active)" in question.text
    assert state(admin, "bob") == "active", "a question changes nothing"
    assert admin.post(f"{at}disable", at=f"{at}disable").status == 303
    assert (state(admin, "bob"), state(admin, "bob+ci")) == ("disabled", "disabled")
    refused = admin.post(f"{at}rotate", at=at)
    assert (refused.status, "bob is disabled" in refused.text) == (409, True)
    assert admin.post(f"{at}enable", at=at, days="5").status == 303
    assert other.log_in("bob", secret).status == 303
    page = admin.post(f"{at}rotate", at=at)
    new = re.search(r"ppm_[A-Za-z0-9_-]+", page.text)
    assert (page.status, page.headers["Cache-Control"], new is not None) == (200, "no-store", True)
    assert other.get("/").status == 303
    assert new is not None
    assert (other.log_in("bob", secret).status, other.log_in("bob", new[0]).status) == (401, 303)


def test_a_removal_names_the_tokens_that_go_with_it(admin: Visitor) -> None:
    volume = admin.store.volume
    accounts.create_user(volume, SERVER, "bob", role="publisher")
    for purpose in ("ci", "laptop"):
        accounts.create_token(volume, SERVER, f"bob+{purpose}", role="reader")
    assert "bob+ci active reader" in admin.get("/admin/tokens/").text
    assert admin.post("/admin/users/bob+ci/remove", at="/admin/users/bob+ci/remove").location.endswith(
        "admin/tokens/"
    )
    question = admin.get("/admin/users/bob/remove")
    assert ("bob+laptop (active)" in question.text, "bob+ci" in question.text) == (True, False)
    assert admin.post("/admin/users/bob/remove", at="/admin/users/bob/remove").location.endswith("admin/users/")
    assert [each.access.name for each in accounts.accounts(volume)] == ["root"]
    assert admin.get("/admin/users/bob/").status == 404
    assert [line["action"] for line in audit(admin)[-3:]] == ["token revoke", "user remove", "token revoke"]


def test_the_last_administrator_is_warned(admin: Visitor) -> None:
    warning, own = "No other administrator is left then", "you will be logged out"
    page = admin.get("/admin/users/root/remove")
    assert (warning in page.text, own in page.text) == (True, True)
    accounts.create_user(admin.store.volume, SERVER, "second", role="admin")
    page = admin.get("/admin/users/second/disable")
    assert (warning in page.text, own in page.text) == (False, False)


def test_long_lists_have_parts_and_a_search(admin: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ppmctl.web.admin_users._ON_PAGE", 2)
    for name in ("amy", "bob", "cleo"):
        accounts.prepare_user(admin.store.volume, SERVER, name, role="reader")
    first = admin.get("/admin/users/")
    assert ("4 users" in first.text, "bob" in first.text, "cleo" in first.text) == (True, True, False)
    (following,) = (link for link in first.links if "from=" in link)
    assert "cleo" in admin.get("/admin/users/?" + following.partition("?")[2]).text
    assert "1 user " in admin.get("/admin/users/?name=CLE").text
    assert admin.get("/admin/users/?from=-7").status == admin.get("/admin/users/?from=x").status == 200


# projects


def test_a_publisher_yanks_its_own_projects_and_removes_nothing(visitor: Visitor) -> None:
    visitor.as_user("ann", "publisher", projects=["mine"])
    for name in ("mine", "other"):
        put(visitor.store, name, "1.0")
    at = "/project/mine/manage"
    page = visitor.get(at)
    assert (page.status, "Remove" in page.text, "Set the status" in page.text) == (200, False, False)
    assert visitor.post(f"{at}/yank", at=at, release="1.0", reason=HOSTILE).status == 303
    (file,) = visitor.store.read("mine").files
    assert file.yanked == HOSTILE
    page = visitor.get(at)
    assert (HOSTILE in page.text, HOSTILE in page.html) == (True, False)
    assert visitor.post(f"{at}/unyank", at=at, release="1.0").status == 303
    assert visitor.store.read("mine").files[0].yanked is None
    for path in ("/project/other/manage", "/project/mine/manage/remove?release=1.0"):
        assert visitor.get(path).status == 403
    for path, fields in {
        "/project/other/manage/yank": {"release": "1.0"},
        "/project/mine/manage/remove": {"release": "1.0", "confirm": "mine"},
        "/project/mine/manage/status": {"status": "archived"},
    }.items():
        assert visitor.post(path, at=at, **fields).status == 403, path
    assert (visitor.store.read("mine").status.state, visitor.store.read("other").files[0].yanked) == ("active", None)


def test_a_project_that_may_not_be_read_does_not_exist(visitor: Visitor) -> None:
    visitor.as_user("ann", "publisher", reads=["mine"], projects=["mine"])
    put(visitor.store, "secret", "1.0")
    missing, hidden = visitor.get("/project/nothing/manage"), visitor.get("/project/secret/manage")
    assert (missing.status, hidden.status) == (404, 404)
    assert missing.text.replace("nothing", "secret") == hidden.text


def test_an_administrator_sets_a_status_and_removes_after_a_question(admin: Visitor) -> None:
    filename = put(admin.store, "acme-lib", "1.0")
    put(admin.store, "acme-lib", "2.0")
    at = "/project/Acme_Lib/manage"
    assert admin.post(f"{at}/status", at=at, status="deprecated", reason="use other").status == 303
    status = admin.store.read("acme-lib").status
    assert (status.state, status.reason) == ("deprecated", "use other")
    bad = admin.post(f"{at}/status", at=at, status="archived", reason="x" * 501)
    assert (bad.status, "The reason is one line" in bad.text) == (400, True)
    assert admin.post(f"{at}/status", at=at, status="gone", reason="").status == 400
    assert admin.store.read("acme-lib").status.state == "deprecated"

    question = admin.get(f"{at}/remove?release=1.0")
    assert filename in question.text
    wrong = admin.post(f"{at}/remove", at=at, release="1.0", confirm="acme")
    assert (wrong.status, "Nothing was removed" in wrong.text) == (400, True)
    assert admin.store.has_file("acme-lib", filename)
    assert admin.post(f"{at}/remove", at=at, release="1.0", confirm="acme_lib").status == 303
    assert not admin.store.has_file("acme-lib", filename)
    assert [(line["action"], line["what"]) for line in audit(admin)[-1:]] == [("remove", filename)]
    assert admin.get(f"{at}/remove?release=1.0").status == 404
    assert admin.post(f"{at}/yank", at=at, release="7").status == 404


# the server


def test_a_project_is_managed_as_another_node_left_it(tmp_path: Path) -> None:
    here = new_node(tmp_path / "here", f"memory://{tmp_path.name}")
    credential_files.ensure_htpasswd(here.volume)
    admin = Visitor(here)
    admin.as_user("root", "admin")
    put(new_node(tmp_path / "other", here.volume.bucket), "alpha", "1.0")
    assert "1.0" in admin.get("/project/alpha/manage").text


@pytest.mark.parametrize(
    ("user", "offered"),
    [("root", {"Yank", "Set the status", "Remove…"}), ("ann", {"Yank", "Set the status"}), ("bob", set[str]())],
)
def test_the_page_of_an_environment_that_is_on_the_disk_needs_no_bucket(
    user: str, offered: set[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = new_node(tmp_path / "here", f"memory://{tmp_path.name}")
    credential_files.ensure_htpasswd(here.volume)
    visitor = Visitor(here)
    visitor.as_user(user, "admin" if user == "root" else "publisher")
    store_file(here, revision("ml", 1, "numpy", shared=False), by="ann")
    at, asked = "/project/ppm-env-ml/manage", list[str]()

    def fail(key: str, *_arguments: object, **_options: object) -> NoReturn:
        asked.append(key)
        raise Unavailable("The bucket does not answer.")

    assert here.mirror is not None
    for request in ("read", "replace"):
        monkeypatch.setattr(here.mirror.bucket, request, fail)
    page = visitor.get(at)
    assert (page.status, len(asked)) == (200, 1)
    assert set(re.findall(r">(Yank|Set the status|Remove…)</", page.html)) == offered
    assert visitor.get(f"{at}/remove?release=1").status == (200 if user == "root" else 403)
    refused = visitor.post(f"{at}/yank", at=at, release="1", reason="broken")
    assert (refused.status, "The bucket does not answer" in refused.text) == (503, True)


def test_the_first_page_shows_the_state_and_the_newest_uploads(admin: Visitor) -> None:
    for number in range(3):
        audit_log.write(
            admin.store.volume, action="publish", by="ann", origin="", what=f"lib-{number}.tar.gz", result="done"
        )
    audit_log.write(admin.store.volume, action="publish", by="ann", origin="", what=HOSTILE, result="done")
    admin.store.write_root()
    page = admin.get("/admin/")
    assert page.status == 200
    for text in ("are free", "the volume written", "all project pages are up to date", "max_upload_size", "4.3 GB"):
        assert text in page.text, text
    assert page.text.index("lib-2.tar.gz") < page.text.index("lib-0.tar.gz")
    assert HOSTILE in page.text
    assert HOSTILE not in page.html
    (admin.store.volume.simple / JSON.page).unlink()
    admin.store.volume.mark("acme").touch()
    page = admin.get("/admin/")
    assert ("pages may be old (1: acme)" in page.text, "can't be used: No such file" in page.text) == (True, True)


def test_the_first_page_leads_to_a_project(admin: Visitor) -> None:
    put(admin.store, "acme-lib", "1.0")
    assert admin.get("/admin/project?project=Acme.Lib").location.endswith("project/acme-lib/manage")
    page = admin.get("/admin/project?project=nothing")
    assert "There is no project 'nothing'" in page.text


def test_statistics_have_plots_with_a_table(admin: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    put(admin.store, "acme-lib", "1.0")
    put(admin.store, "a" * 60, "1.0")
    SearchIndex(admin.store).refresh()
    with monkeypatch.context() as patched:
        patched.setattr(project_folder, "read", None)  # no project is read
        page = admin.get("/admin/statistics/")
    assert re.search(r"Projects 2 Files 2", page.text), page.text
    assert page.html.count("<svg") == page.html.count("<title id=") == page.html.count("<desc id=") == 2
    assert "style=" not in page.html
    assert "a" * 60 in page.text
    month = admin.store.read("acme-lib").files[0].record.upload_time[:7]
    assert f"{month} 2" in page.text
    put(admin.store, "new", "1.0")
    assert "Projects 2" in admin.get("/admin/statistics/").text, "they are not counted for each request"
    monkeypatch.setattr(numbers.Numbers, "get", lambda self: None)
    assert "being counted" in admin.get("/admin/statistics/").text


def test_the_audit_is_filtered_and_has_pages(admin: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ppmctl.web.admin_audit._ON_PAGE", 2)
    for number in range(5):
        audit_log.write(admin.store.volume, action="yank", by="ann", origin="", what=f"acme {number}", result="done")
    audit_log.write(admin.store.volume, action="yank", by="eve", origin="", what="acme 9", result=HOSTILE)
    seen, link = [], "?action=yank&user=ann"
    while link:
        page = admin.get(f"/admin/audit{link}")
        seen += re.findall(r"acme (\d)", page.text)
        link = next((each[each.index("?") :] for each in page.links if "before=" in each), "")
    assert seen == ["4", "3", "2", "1", "0"]
    page = admin.get("/admin/audit?refused=1&project=acme&since=1h")
    assert ("acme 9" in page.text, "acme 4" in page.text, HOSTILE in page.html) == (True, False, False)
    for query in ("since=soon", "project=a/b", "before=x"):
        bad = admin.get(f"/admin/audit?user=bob&{query}")
        assert (bad.status, 'role="alert"' in bad.html, 'value="bob"' in bad.html) == (400, True, True)
