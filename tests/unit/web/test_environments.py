"""Tests of the pages of environments: every flow, what is refused, two users at once, and who may see and do what."""

from __future__ import annotations

import re
from typing import Any

import pytest
from support import wheels
from support.environments import revision
from support.pages import Page, Visitor

from ppmctl.access import accounts
from ppmctl.access.account import SERVER
from ppmctl.distributions import distribution
from ppmctl.index import environment_files, project_folder
from ppmctl.server.environment_changes import EnvironmentChanges
from ppmctl.web import environment_edit, environment_view

LOCK = (
    'lock-version = "1.0"\ncreated-by = "a test"\n[[packages]]\nname = "numpy"\nversion = "2.1"\n'
    'index = "https://h.test/simple/"\n[[packages.wheels]]\nurl = "https://h.test/numpy-2.1-py3-none-any.whl"\n'
    f'hashes = {{sha256 = "{"0" * 64}"}}\n'
)


def put(visitor: Visitor, made: tuple[str, bytes], *, by: str = "ann") -> None:
    """Store a file as an upload of this user."""
    store = visitor.store
    with store.area.new_file() as received:
        received.write(made[1])
        received.finish()
        store.put(received, distribution.inspect(received.path, made[0]), by=by)


def create(visitor: Visitor, name: str, packages: str = "", **fields: str) -> Page:
    return visitor.post("/environments/", name=name, packages=packages, **fields)


def send(visitor: Visitor, name: str, action: str, seen: Page | None = None, **fields: str) -> Page:
    """Send a form of an environment's page, by default of the page as it is now."""
    page = seen or visitor.get(f"/environment/{name}/")
    hidden = {key: page.fields[key] for key in ("form_token", "revision")}
    return visitor.send(f"/environment/{name}/{action}", **hidden, **fields)


def add(visitor: Visitor, name: str, packages: str, seen: Page | None = None) -> Page:
    return send(visitor, name, "add", seen, packages=packages)


def line(visitor: Visitor, name: str) -> str:
    """Return the packages on one line, as the page has them to copy."""
    match = re.search(r"<pre><code>(.*?)</code></pre>", visitor.get(f"/environment/{name}/").html)
    assert match is not None
    return match[1]


def numbers(visitor: Visitor, name: str) -> list[int]:
    content = project_folder.read(visitor.store.volume, f"ppm-env-{name}")
    return [] if content is None else [stored.number for stored in environment_files.revisions(content)]


def buttons(page: Page) -> set[str]:
    """Return the paths of the forms of a page, without those of every page."""
    actions = {
        action.split("/", 1)[1].lstrip("./") for action in re.findall(r'<form[^>]*action="([^"]*)"', page.html)
    }
    return actions - {"search", "logout"}


def ann(visitor: Visitor, **grant: Any) -> Visitor:
    visitor.as_user("ann", "publisher", **grant)
    return visitor


def bob(visitor: Visitor, role: str = "publisher", **grant: Any) -> Visitor:
    other = visitor.another()
    other.as_user("bob", role, **grant)
    return other


def test_a_user_makes_environments_copies_their_packages_and_deletes_all_of_their_own(visitor: Visitor) -> None:
    """The whole of document 000, from the login to the logout."""
    create(bob(visitor), "theirs")
    ann(visitor)
    assert create(visitor, "Web.Site").location == "../environment/web-site/"
    assert create(visitor, "data").status == 303
    sent = add(visitor, "web-site", "flask passlib flask-login")
    assert (sent.status, sent.location) == (303, "../../environment/web-site/")
    assert line(visitor, "web-site") == "flask flask-login passlib"
    page = visitor.get("/environments/")
    assert [link for link in page.links if "/environment/" in link] == [
        f"../environment/{name}/" for name in ("data", "web-site", "theirs")
    ]
    assert "../environments/delete" in page.links
    question = visitor.get("/environments/delete")
    assert "Delete 2 environments? data , revision 1 web-site , revision 2" in question.text
    assert visitor.send("/environments/delete", **question.fields).location == "../environments/"
    assert "You have no environments." in visitor.get("/environments/").text
    assert visitor.get("/environment/data/").status == 404
    assert visitor.get("/environment/theirs/").status == 200
    assert "You have no environments that you can delete" in visitor.get("/environments/delete").text
    assert visitor.post("/logout", at="/environments/").location == "./login"
    audit = visitor.store.volume.audit.read_text()
    assert len(re.findall(r'"action": "(?:publish|status|yank)", "by": "ann"', audit)) == 8


@pytest.mark.parametrize(
    ("name", "status", "why"),
    [
        ("", 400, "can't be the name of an environment"),
        ("-x", 400, "can't be the name"),
        ("x" * 61, 400, "60 characters at most"),
        ("a/../b", 400, "can't be the name"),
        ("ppm-env-web", 400, "The environment's name is web."),
        ('<script>"x', 400, "can't be the name"),
        ("WEB", 409, "There is an environment web already"),
        ("theirs", 409, "There is an environment theirs already"),
    ],
)
def test_a_refused_name_stays_in_the_form(visitor: Visitor, name: str, status: int, why: str) -> None:
    create(bob(visitor), "theirs")
    create(ann(visitor), "web")
    page = create(visitor, name, "flask<3", shared="yes")
    assert (page.status, why in page.text) == (status, True)
    value = name.replace("<", "&lt;").replace(">", "&gt;").replace('"', "&#34;")
    assert f'value="{value}" required' in page.html
    assert ">flask&lt;3</textarea>" in page.html
    assert "checked" in page.html
    assert "<script>&" not in page.html
    assert status == 400 or why in visitor.store.volume.audit.read_text()


def test_requirements_are_written_as_for_pip_and_as_the_page_shows_them(visitor: Visitor) -> None:
    create(ann(visitor), "web")
    typed = "numpy>=2,<3 uvicorn[standard]\nrich ; python_version < '4'\n\n  Flask.Login\n'passlib>1' \"six\""
    assert add(visitor, "web", typed).status == 303
    shown = line(visitor, "web").replace("&lt;", "<").replace("&gt;", ">").replace("&#39;", "'").replace("&#34;", '"')
    assert shown == "Flask.Login 'numpy<3,>=2' 'passlib>1' 'rich; python_version < \"4\"' six 'uvicorn[standard]'"
    assert add(visitor, "web", shown).location.endswith("?unchanged=1"), "the line can be pasted"
    assert (
        "Nothing was changed: revision 2 has exactly that already"
        in visitor.get("/environment/web/?unchanged=1").text
    )
    assert add(visitor, "web", "NumPy==2.1").status == 303
    assert "numpy&lt;3" not in line(visitor, "web")
    assert "NumPy==2.1" in line(visitor, "web")


@pytest.mark.parametrize(
    ("typed", "why"),
    [
        (" \n", "Type the packages to add, separated by spaces."),
        ("flask, passlib", "Separate several requirements by spaces."),
        ("-e .", "An environment has no options"),
        ("--index-url=https://x.test/ flask", "An environment has no options"),
        ("${TOKEN}", "An environment has no variables"),
        ("x @ file:///etc/passwd", "a path on one machine"),
        ("x @ https://ann:hunter2@h.test/x.whl", "a credential in its URL"),
        ("./x.whl", "This is not a requirement"),
        ("flask # all", "This is not a requirement"),
        ("<script>alert(1)</script>", "This is not a requirement"),
        ("flask‮", "A requirement is a line of up to"),
        ("flask;'", "This is not a requirement"),
        ("a" * 3000, "A requirement is a line of up to 2000 characters"),
    ],
)
def test_a_refused_requirement_stays_in_the_form(visitor: Visitor, typed: str, why: str) -> None:
    create(ann(visitor), "web", "six")
    for page in (add(visitor, "web", f"rich {typed}" if typed.strip() == "${TOKEN}" else typed),):
        assert (page.status, why in page.text) == (400, True), page.text
        assert typed.replace("<", "&lt;").replace(">", "&gt;").replace("'", "&#39;") + "</textarea>" in page.html
        assert "<script>alert" not in page.html
    assert numbers(visitor, "web") == [1]
    assert "hunter2" not in visitor.store.volume.audit.read_text()


def test_a_requirement_is_removed_alone(visitor: Visitor) -> None:
    create(ann(visitor), "web", "six\nrich>=1; python_version < '4'\nrich>=2; python_version >= '4'")
    assert send(visitor, "web", "remove", requirement='rich>=1; python_version < "4"').status == 303
    assert line(visitor, "web") == "&#39;rich&gt;=2; python_version &gt;= &#34;4&#34;&#39; six"
    page = send(visitor, "web", "remove", requirement="<b>")
    assert (page.status, "The list has no &#39;&lt;b&gt;&#39;" in page.html) == (400, True)
    for requirement in ("six", 'rich>=2; python_version >= "4"'):
        assert send(visitor, "web", "remove", requirement=requirement).status == 303
    assert "It has no packages" in visitor.get("/environment/web/").text


def test_revisions_show_their_difference_and_an_old_list_comes_back_with_its_lock(visitor: Visitor) -> None:
    ann(visitor)
    put(visitor, revision("web", 1, "numpy", "six", lock=LOCK))
    put(visitor, revision("web", 2, "numpy>=2", "six"), by="bob+ci")
    page = visitor.get("/environment/web/")
    assert "2 bob 20" in page.text
    assert "change 2 + numpy>=2 − numpy" in page.text
    assert "change 1 + numpy + six" in page.text
    assert (send(visitor, "web", "rollback", to="1").status, numbers(visitor, "web")) == (303, [1, 2, 3])
    assert "roll back to revision 1 + numpy − numpy>=2" in visitor.get("/environment/web/").text
    current = visitor.get("/environment/web/").text
    assert "Revision 3, locked" in current
    assert "numpy 2.1 Remove numpy" in current
    assert send(visitor, "web", "rollback", to="1").location.endswith("?unchanged=1")
    for to, status in (("9", 404), ("0", 400), ("x", 400), ("", 400)):
        assert send(visitor, "web", "rollback", to=to).status == status
    visitor.store.yank("ppm-env-web", "2", "<i>bad</i>")
    assert "deleted: <i>bad</i>" in visitor.get("/environment/web/").text
    assert send(visitor, "web", "rollback", to="2").status == 303
    assert line(visitor, "web") == "&#39;numpy&gt;=2&#39; six"


def test_old_revisions_are_on_further_pages(visitor: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment_view, "SHOWN", 2)
    create(ann(visitor), "web", "p1")
    for number in range(2, 6):
        add(visitor, "web", f"p{number}")

    def shown(page: Page) -> list[str]:
        return re.findall(r'<th scope="row">(\d+)</th>', page.html)

    page = visitor.get("/environment/web/")
    assert shown(page) == ["5", "4"]
    assert "../../environment/web/?before=4#revisions" in page.links
    assert "add p4 + p4 Roll" in page.text, "the difference to one of the next page"
    assert shown(visitor.get("/environment/web/?before=4")) == ["3", "2"]
    last = visitor.get("/environment/web/?before=2")
    assert (shown(last), any("before" in link for link in last.links)) == (["1"], False)
    assert shown(visitor.get("/environment/web/?before=%3Cb%3E&since=x")) == ["5", "4"]


def test_changes_of_two_users_are_both_kept(visitor: Visitor) -> None:
    other = bob(visitor)
    create(ann(visitor), "web", "six rich", shared="yes")
    seen = visitor.get("/environment/web/")
    add(other, "web", "flask numpy==1")
    sent = add(visitor, "web", "passlib numpy==1", seen)
    assert sent.location == "../../environment/web/?since=1"
    assert "Others changed the list after revision 1" in visitor.get("/environment/web/?since=1").text
    assert line(visitor, "web") == "flask numpy==1 passlib rich six"
    send(visitor, "web", "remove", seen, requirement="six")
    assert line(other, "web") == "flask numpy==1 passlib rich"


def test_a_conflict_shows_both_sides_and_loses_nothing(visitor: Visitor) -> None:
    other = bob(visitor)
    create(ann(visitor), "web", "numpy", shared="yes")
    seen = visitor.get("/environment/web/")
    add(other, "web", "numpy<2")
    page = add(visitor, "web", "numpy>=2 flask", seen)
    assert (page.status, numbers(visitor, "web")) == (409, [1, 2])
    assert "numpy numpy numpy>=2 numpy<2 Packages" in page.text
    assert ">numpy&gt;=2 flask</textarea>" in page.html
    assert page.fields["revision"] == "2"
    assert "Conflict" in visitor.store.volume.audit.read_text()
    assert add(visitor, "web", "numpy>=2 flask", page).status == 303, "sent again, it is meant"
    assert line(visitor, "web") == "flask &#39;numpy&gt;=2&#39;"
    add(other, "web", "numpy<3")
    assert send(visitor, "web", "remove", page, requirement="numpy<2").status == 409
    assert send(visitor, "web", "rollback", page, to="1").status == 409


def test_what_was_typed_survives_a_deletion_and_a_refusal(visitor: Visitor) -> None:
    other = bob(visitor)
    create(ann(visitor), "web", "numpy", shared="yes")
    seen = other.get("/environment/web/")
    send(visitor, "web", "share", shared="no")
    page = add(other, "web", "flask", seen)
    assert page.status == 403
    assert "belongs to ann, and is not shared" in page.text
    assert "You typed: flask" in page.text
    send(visitor, "web", "share", shared="yes")
    question = visitor.get("/environment/web/delete")
    assert visitor.send("/environment/web/delete", **question.fields).status == 303
    page = add(other, "web", "flask", seen)
    assert (page.status, "web was deleted meanwhile" in page.text) == (409, True)
    assert ">flask</textarea>" in page.html
    assert add(other, "nowhere", "flask", seen).status == 404
    assert create(visitor, "web", "flask").status == 303
    assert numbers(visitor, "web") == [1, 2, 3, 4]


def test_a_lost_race_is_tried_again(visitor: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    create(ann(visitor), "web", "numpy")
    original, left = EnvironmentChanges.change, [3]

    def slow(self: EnvironmentChanges, *arguments: Any, **options: Any) -> Any:
        if left[0]:
            left[0] -= 1
            number = numbers(visitor, "web")[-1] + 1
            put(visitor, revision("web", number, "numpy", *(f"p{each}" for each in range(number))))
        return original(self, *arguments, **options)

    monkeypatch.setattr(EnvironmentChanges, "change", slow)
    assert add(visitor, "web", "flask").location.endswith("?since=1")
    assert line(visitor, "web") == "flask numpy p0 p1 p2 p3"
    left[0] = 1000
    monkeypatch.setattr(environment_edit, "_MOST_RACES", 2)
    page = add(visitor, "web", "six")
    assert (page.status, ">six</textarea>" in page.html) == (412, True)


def test_sharing_keeps_the_list_and_the_lock_and_only_the_owner_ends_it(visitor: Visitor) -> None:
    other = bob(visitor)
    ann(visitor)
    put(visitor, revision("web", 1, "numpy", lock=LOCK))
    assert not buttons(other.get("/environment/web/")) & {"environment/web/add", "environment/web/share"}
    assert add(other, "web", "six", visitor.get("/environment/web/")).status == 403
    assert send(visitor, "web", "share", shared="yes").status == 303
    page = other.get("/environment/web/")
    assert "Revision 2, locked" in page.text
    assert "share it none" in page.text
    assert "environment/web/share" not in buttons(page)
    assert send(other, "web", "share", shared="no").status == 403
    assert add(other, "web", "six").status == 303
    assert send(visitor, "web", "share", shared="no").status == 303
    assert add(other, "web", "rich", page).status == 403
    admin = visitor.another()
    admin.as_user("root", "admin")
    assert add(admin, "web", "rich").status == 303


def test_what_changed_since_the_question_is_asked_again(visitor: Visitor) -> None:
    create(ann(visitor), "web")
    create(visitor, "data")
    for path in ("/environments/delete", "/environment/web/delete"):
        question = visitor.get(path)
        add(visitor, "web", f"p{path.count('/environments')}")
        page = visitor.send(path, **question.fields)
        assert (page.status, "Nothing was deleted: they have changed meanwhile" in page.text) == (409, True)
        create(visitor, "new")
    assert visitor.send("/environments/delete", form_token=question.fields["form_token"]).status == 409
    assert visitor.send("/environment/web/delete", **page.fields).status == 303
    assert visitor.get("/environment/web/delete").status == 404
    assert "Delete 2 environments? data , revision 1 new , revision 1" in visitor.get("/environments/delete").text


def test_a_revision_that_comes_during_a_deletion_is_asked_about(
    visitor: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    create(ann(visitor), "web", "numpy")
    require, others = EnvironmentChanges.require_deletion, [revision("web", 2, "numpy", "six")]

    def slow(self: EnvironmentChanges, *arguments: Any) -> Any:
        state = require(self, *arguments)
        while others:
            put(visitor, others.pop())
        return state

    monkeypatch.setattr(EnvironmentChanges, "require_deletion", slow)
    page = visitor.send("/environment/web/delete", **visitor.get("/environment/web/delete").fields)
    assert (page.status, "web , revision 2" in page.text) == (409, True)
    assert numbers(visitor, "web") == [1, 2]
    assert visitor.send("/environment/web/delete", **page.fields).status == 303


def test_a_reader_sees_environments_and_no_forms(visitor: Visitor) -> None:
    create(ann(visitor), "web", "numpy", shared="yes")
    reader = bob(visitor, "reader")
    pages = reader.get("/environments/"), reader.get("/environment/web/")
    assert [page.status for page in pages] == [200, 200]
    assert all(not buttons(page) for page in pages)
    token = pages[1].fields["form_token"]
    paths = [f"/environment/web/{action}" for action in ("add", "remove", "rollback", "share", "delete")]
    for path in ("/environments/", "/environments/delete", *paths):
        sent = reader.send(path, form_token=token, revision="1", name="x", packages="six", to="1", shared="no")
        assert sent.status == 403, path
    assert numbers(visitor, "web") == [1]
    stranger = visitor.another()
    assert stranger.get("/environment/web/").location.startswith("../../login")
    assert stranger.post("/environment/web/add", at="/login", packages="x").status == 401
    public = Visitor(visitor.store, read_access="public")
    assert "Log in to change it" in public.get("/environment/web/").text
    assert "All web ann" in public.get("/environments/").text.replace("Name Owner Packages Shared Last change ", "")


def test_what_a_limited_reader_may_not_read_does_not_exist(visitor: Visitor) -> None:
    put(visitor, wheels.wheel("secret-maps", "1.0"))
    put(visitor, wheels.wheel("open-maps", "1.0"))
    create(ann(visitor), "hidden", "six")
    create(visitor, "seen", "secret-maps open-maps")
    limited = bob(visitor, reads=("ppm-env-seen", "ppm-env-own", "open-*"))
    page = limited.get("/environment/seen/")
    assert [link for link in page.links if "/project/" in link] == ["../../project/open-maps/"]
    assert "hidden" not in limited.get("/environments/").text
    hidden, nothing = limited.get("/environment/hidden/"), limited.get("/environment/nothing/")
    assert (hidden.status, hidden.text.replace("hidden", "nothing")) == (404, nothing.text)
    assert create(limited, "own").status == 303
    page = limited.get("/environment/own/")
    for name in ("hidden", "nothing"):
        assert add(limited, name, "six", page).status == 403
        assert send(limited, name, "rollback", page, to="7").status == 403
        assert limited.get(f"/environment/{name}/delete").status == 403
    assert create(limited, "hidden").text.replace("hidden", "x") == create(limited, "x").text


def test_a_limited_token_lists_and_deletes_what_it_may_of_its_owners(visitor: Visitor) -> None:
    for name in ("data", "web", "x"):
        create(visitor if name != "data" else ann(visitor), name)
    volume, browser = visitor.store.volume, visitor.another()
    grant: Any = {"role": "publisher", "projects": ("ppm-env-web",), "reads": ("ppm-env-web", "ppm-env-x")}
    secret = accounts.create_token(volume, SERVER, "ann+web", **grant).secret.reveal()
    assert browser.log_in("ann+web", secret).status == 303
    links = [link for link in browser.get("/environments/").links if "/environment/" in link]
    assert links == ["../environment/web/", "../environment/x/"]
    question = browser.get("/environments/delete")
    assert "Delete web? web , revision 1 They" in question.text
    assert browser.send("/environments/delete", **question.fields).status == 303
    assert visitor.get("/environment/x/").status == 200


def test_projects_that_no_index_answers_for_are_marked(visitor: Visitor) -> None:
    create(ann(visitor), "web", "acme-tool other\nx @ https://h.test/x.whl")
    assert "not in this index" not in visitor.get("/environment/web/").text
    for settings, names in (
        ({"private_names": ["acme-*"]}, ["acme-tool"]),
        ({"upstream": "none"}, ["acme-tool", "other"]),
    ):
        strict = Visitor(visitor.store, read_access="public", **settings)
        page = strict.get("/environment/web/")
        assert re.findall(r"([\w-]+) not in this index", page.text) == names


def test_the_page_has_the_commands_that_install_it(visitor: Visitor) -> None:
    put(visitor, revision("web", 1, "numpy", lock=LOCK))
    page = ann(visitor).get("/environment/web/")
    for command in (
        "pip install ppm-env-web==1",
        "ppmctl env install web",
        "pip install -r http://index.test/env/web/requirements.txt",
        "pip install --require-hashes -r http://index.test/env/web/requirements-locked.txt",
        "uv pip sync http://index.test/env/web/pylock.toml",
    ):
        assert f'<code>{command}</code></pre><button type="button" class="copy"' in page.html
    put(visitor, revision("web", 2, "numpy"))
    assert "pylock" not in visitor.get("/environment/web/").text


def test_an_environment_has_one_url(visitor: Visitor) -> None:
    create(ann(visitor), "web")
    assert visitor.get("/environments").location == "./environments/"
    assert visitor.get("/environment/web").location == "../environment/web/"
    assert visitor.get("/environment/WEB/").location == "../../environment/web/"
    for name in ("-", "%3Cscript%3E", "a%20b", "x" * 500):
        page = visitor.get(f"/environment/{name}/")
        assert (page.status, "<script>" in page.html) == (404, False)
    assert visitor.get("/environments/?after=%3Cscript%3E").status == 200


def test_others_environments_have_pages(visitor: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ppmctl.web.environments._SHOWN", 2)
    for name in ("a", "b", "c"):
        put(visitor, revision(name, 1), by="bob")
    page = ann(visitor).get("/environments/")
    assert "../environments/?after=b" in page.links
    last = visitor.get("/environments/?after=b")
    assert [link for link in last.links if "environment/" in link] == ["../environment/c/"]
    assert "First page" in last.text
