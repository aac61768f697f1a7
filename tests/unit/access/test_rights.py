"""What a credential may do: roles, projects, expiry and owners."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from ppmctl.access import rights, rules
from ppmctl.access.account import SERVER
from ppmctl.access.rights import Access, Action, with_holders
from ppmctl.errors import UsageError
from ppmctl.index import import_folder
from ppmctl.index.project_folder import NOBODY, REBUILD
from ppmctl.server import drop_folder

NOW = datetime(2027, 3, 1, 12, 0, 0, 250_000, tzinfo=UTC)


def entry(name: str, role: str = "publisher", **more: Any) -> Access:
    return Access(name=name, role=role, created="", **more)


@pytest.mark.parametrize(
    ("role", "projects", "expires", "action", "project", "may"),
    [
        ("reader", (), None, "read", None, True),
        ("reader", (), None, "publish", "x", False),
        ("reader", (), None, "manage", None, False),
        ("publisher", (), None, "publish", "x", True),
        ("publisher", ("acme-*",), None, "publish", "acme-x", True),
        ("publisher", ("acme-*",), None, "publish", "x", False),
        ("publisher", ("acme-*",), None, "publish", None, True),
        ("publisher", ("acme-*",), None, "read", "x", True),
        ("publisher", (), None, "manage", "x", False),
        ("admin", (), None, "manage", "x", True),
        ("admin", ("acme-*",), None, "manage", "x", False),
        ("admin", ("acme-*",), None, "manage", None, False),
        ("admin", ("?*",), None, "manage", None, False),
        ("admin", (), "2020-01-01T00:00:00+00:00", "read", None, False),
        ("admin", (), "2020-01-01T00:00:00Z", "read", None, False),
        ("admin", (), "2999-01-01T00:00:00.5Z", "manage", "x", True),
    ],
)
def test_may_depends_on_role_projects_and_expiry(
    role: str, projects: tuple[str, ...], expires: str | None, action: Action, project: str | None, may: bool
) -> None:
    assert entry("x", role, projects=projects, expires=expires).may(action, project) is may


def test_a_monitor_reads_the_metrics_and_nothing_else() -> None:
    monitor = entry("m", "monitor")
    assert monitor.may("monitor")
    assert not any(monitor.may(action, "x") for action in ("read", "publish", "manage"))
    assert (monitor.is_read_limited, monitor.readable(["x"])) == (True, []), "nginx must not answer it from disk"
    assert [role for role in rights.ROLES if entry("x", role).may("monitor")] == ["monitor", "admin"]
    assert {role: rights.included(role) for role in rights.ROLES} == {
        "monitor": ("monitor",),
        "reader": ("reader",),
        "publisher": ("reader", "publisher"),
        "admin": rights.ROLES,
    }
    owners = {role: with_holders({"o": entry("o", role), "o+m": entry("o+m", "monitor")}) for role in rights.ROLES}
    assert {role for role, both in owners.items() if both["o+m"].may("monitor")} == {"monitor", "admin"}
    assert "the role monitor" in rights.exceeds(entry("o+m", "monitor"), entry("o", "publisher"))
    assert "the role reader" in rights.exceeds(entry("o+m", "reader"), entry("o", "monitor"))


@pytest.mark.parametrize(
    ("role", "projects", "action", "project", "may"),
    [
        ("reader", (), "read", "acme-x", True),
        ("reader", (), "read", "other", False),
        ("reader", (), "read", None, True),
        ("reader", ("other",), "read", "other", False),  # of an older release: publishing
        ("publisher", (), "publish", "acme-x", True),
        ("publisher", (), "publish", "other", False),
        ("publisher", ("other",), "publish", "other", False),
        ("publisher", ("acme-x",), "publish", "acme-y", False),
        ("publisher", ("acme-x",), "read", "acme-y", True),
        ("publisher", (), "publish", None, True),
        ("admin", (), "manage", "acme-x", True),
        ("admin", (), "manage", "other", False),
        ("admin", (), "manage", None, False),
    ],
)
def test_reads_limit_every_action(
    role: str, projects: tuple[str, ...], action: Any, project: str | None, may: bool
) -> None:
    """What a credential may not see, it may not change either."""
    limited = entry("x", role, projects=projects, reads=("acme-*",))
    assert limited.may(action, project) is may


def test_a_token_reads_what_each_of_its_holders_reads() -> None:
    entries = {
        "o": entry("o", reads=("acme-*",)),
        "o+a": entry("o+a", reads=("acme-x", "acme-y")),
        "o+b": entry("o+b", by="o+a"),
        "o+c": entry("o+c", reads=("other",)),
    }
    names = ["acme-x", "acme-z", "other"]
    left = {name: access.readable(names) for name, access in with_holders(entries).items()}
    assert left == {"o": ["acme-x", "acme-z"], "o+a": ["acme-x"], "o+b": ["acme-x"], "o+c": []}
    assert all(access.is_read_limited for access in with_holders(entries).values())
    assert with_holders(entries)["o+b"].effective.reads == ("acme-x", "acme-y")
    assert entry("all").readable(names) == names
    assert not entry("all").is_read_limited


@pytest.mark.parametrize(
    ("owner", "what"),
    [
        (entry("ops", "reader"), "the role"),
        (entry("ops", projects=("other",)), "the project"),
        (entry("ops", disabled=True), "being enabled"),
        (entry("ops", expires="2020-01-01T00:00:00Z"), "time"),
        (None, "an owner"),
    ],
)
def test_a_token_has_no_more_rights_than_its_owner(owner: Access | None, what: str) -> None:
    token = entry("ops+ci", projects=("acme",))
    assert with_holders({"ops": entry("ops"), "ops+ci": token})["ops+ci"].may("publish", "acme")
    limited = with_holders({"ops+ci": token} if owner is None else {"ops": owner, "ops+ci": token})["ops+ci"]
    assert not limited.may("publish", "acme"), f"its owner lacks {what}"
    assert limited.may("read") is (what in ("the role", "the project"))


def test_a_token_has_no_more_rights_than_the_token_that_created_it() -> None:
    entries = {"ops": entry("ops"), "ops+a": entry("ops+a", "reader"), "ops+b": entry("ops+b", by="ops+a")}
    assert not with_holders(entries)["ops+b"].may("publish")
    assert with_holders(entries)["ops+b"].may("read")
    assert with_holders(entries)["ops+b"].effective.role == "reader"
    del entries["ops+a"]
    assert not with_holders(entries)["ops+b"].may("read")
    # another user's token can't have created it, whatever the entry has
    assert with_holders({**entries, "ops+b": entry("ops+b", by="eve+a")})["ops+b"].may("publish")


def test_tokens_created_in_a_circle_have_no_rights() -> None:
    circle = with_holders({"o": entry("o"), "o+a": entry("o+a", by="o+b"), "o+b": entry("o+b", by="o+a")})
    assert not circle["o+a"].may("read")
    assert not circle["o+b"].may("read")
    assert not with_holders({"o": entry("o"), "o+a": entry("o+a", by="o+a")})["o+a"].may("read")
    makers = {"o+a": "o+b", "o+b": "o+c", "o+c": "o+a"}
    of_three = with_holders({"o": entry("o")} | {name: entry(name, by=by) for name, by in makers.items()})
    assert not any(of_three[name].may("read") for name in makers)


def test_effective_rights_of_a_token_are_limited_by_its_owner() -> None:
    owner = entry("o", "reader", projects=("a-*",), expires="2028-01-01T00:00:00Z")
    left = with_holders({"o": owner, "o+x": entry("o+x", "admin", expires="2029-01-01T00:00:00Z")})["o+x"].effective
    assert (left.role, left.projects, left.expires) == ("reader", ("a-*",), "2028-01-01T00:00:00Z")


def test_a_token_expires_with_its_owner() -> None:
    end = datetime(2999, 1, 1, tzinfo=UTC)
    token = with_holders({"o": entry("o", expires=rights.stamp(end)), "o+x": entry("o+x")})["o+x"]
    assert token.is_live(end - timedelta(seconds=1))
    assert not token.is_live(end)


def test_as_values_for_json() -> None:
    token = entry("o+x", projects=("a-*",), expires="2028-01-01T00:00:00Z", email="ada@example.org", by="o")
    assert token.as_values() == {
        "name": "o+x",
        "owner": "o",
        "role": "publisher",
        "projects": ["a-*"],
        "reads": [],
        "expires": "2028-01-01T00:00:00Z",
        "created": "",
        "disabled": False,
        "email": "ada@example.org",
    }


@pytest.mark.parametrize(
    ("wanted", "holder", "more"),
    [
        (entry("o+x"), entry("o"), ""),
        (entry("o+x", "reader"), entry("o", projects=("a",)), ""),
        (entry("o+x", "admin"), entry("o"), "the role admin (o is a publisher)"),
        (entry("o+x", "reader"), entry("o", reads=("a-*",)), "reads of * (o may read a-*)"),
        (entry("o+x", reads=("a-b", "b")), entry("o", reads=("a-*",)), "reads of b (o may read a-*)"),
        (entry("o+x", reads=("a-b",)), entry("o", reads=("a-*",)), ""),
        (entry("o+x", reads=("a-b",)), entry("o"), ""),
        (entry("o+x"), entry("o", projects=("a-*",)), "the projects * (o has a-*)"),
        (entry("o+x", projects=("a-b", "a-c*")), entry("o", projects=("a-*",)), ""),
        (entry("o+x", projects=("a-b", "b")), entry("o", projects=("a-*",)), "the projects b (o has a-*)"),
        (entry("o+x", projects=("b", "c")), entry("o", projects=("a", "d")), "the projects b, c (o has a, d)"),
        # ? is one letter, and * any number of them, although the pattern matches the text of the other
        (entry("o+x", projects=("a-*",)), entry("o", projects=("a-?",)), "the projects a-* (o has a-?)"),
        (entry("o+x", projects=("a-?",)), entry("o", projects=("a-?",)), ""),
        (
            entry("o+x", projects=("[a-foo]",)),
            entry("o", projects=("*-foo*",)),
            "the projects [a-foo] (o has *-foo*)",
        ),
        (
            entry("o+x"),
            entry("o", expires="2028-01-01T00:00:00Z"),
            "a life without end (o ends at 2028-01-01T00:00:00Z)",
        ),
        (
            entry("o+x", expires="2028-01-01T00:00:01Z"),
            entry("o", expires="2028-01-01T00:00:00Z"),
            "a life until 2028-01-01T00:00:01Z (o ends at 2028-01-01T00:00:00Z)",
        ),
        (entry("o+x", expires="2027-01-01T00:00:00Z"), entry("o", expires="2028-01-01T00:00:00Z"), ""),
    ],
)
def test_exceeds_names_the_rights_that_the_holder_lacks(wanted: Access, holder: Access, more: str) -> None:
    assert rights.exceeds(wanted, holder) == more


@pytest.mark.parametrize(
    ("duration", "moment"),
    [
        ("45s", "2027-03-01T12:00:45.250Z"),
        ("59s", "2027-03-01T12:00:59.250Z"),
        ("60s", "2027-03-01T12:01:00Z"),
        ("90s", "2027-03-01T12:01:30Z"),
        ("36500d", "2127-02-05T12:00:00Z"),
        ("10m", "2027-03-01T12:10:00Z"),
        ("12h", "2027-03-02T00:00:00Z"),
        ("90d", "2027-05-30T12:00:00Z"),
    ],
)
def test_expiry_of_valid_durations(duration: str, moment: str) -> None:
    assert rights.expiry(duration, now=NOW) == moment


@pytest.mark.parametrize(
    "duration", ["", "90", "d", "0s", "-1d", "1.5h", "1w", "36501d", "9999999d", "1d ", "١d", "1D"]
)
def test_invalid_durations_are_refused(duration: str) -> None:
    with pytest.raises(UsageError, match="is not a duration"):
        rights.expiry(duration, now=NOW)


def test_stamp_is_in_utc(monkeypatch: pytest.MonkeyPatch) -> None:
    """In any time zone of the time and of the machine."""
    moment = datetime(2027, 3, 1, 12, tzinfo=timezone(timedelta(hours=2)))
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        assert rights.stamp(moment) == "2027-03-01T10:00:00Z"
        assert rights.stamp(moment, fine=True) == "2027-03-01T10:00:00.000Z"
    finally:
        monkeypatch.undo()
        time.tzset()


def test_a_credential_expires_exactly_at_its_time() -> None:
    access = entry("x", expires=rights.expiry("10m", now=NOW))
    end = NOW.replace(microsecond=0) + timedelta(minutes=10)
    assert access.is_live(end - timedelta(milliseconds=1))
    assert not access.is_live(end)


def test_project_globs_are_normalised() -> None:
    """Otherwise Acme_* would match nothing, because names of projects are always normalised."""
    assert rules.check_projects(["Acme_*", "a..b", "x", "x"]) == ("acme-*", "a-b", "x")
    for wrong in ("", "a b", "a/b", "ü", "a\n", "{a,b}", "acme-[", "!x", "acme-", "[z-a]", "[a_c]"):
        with pytest.raises(UsageError):
            rules.check_projects([wrong])


def test_a_list_has_at_most_fifty_patterns_and_any_number_of_names() -> None:
    """Each request of its owner compares them, also with every project of the index."""
    names = [f"acme-{number}" for number in range(2000)]
    rules.check_projects([*names, *(f"{name}*" for name in names[:50])])
    with pytest.raises(UsageError, match="51 patterns"):
        rules.check_projects([f"{name}*" for name in names[:51]])
    with pytest.raises(UsageError, match="patterns of 1001 characters"):
        rules.check_projects(["*" + "a" * 99, *(f"*{letter}" + "a" * 98 for letter in "bcdefghij"), "*"])
    access = entry("x", reads=(*names, "b[ab]*", "c?", "d-["))
    assert access.readable(["acme-0", "acme", "acme-2000", "bac", "bc", "cx", "cxx", "d-["]) == [
        "acme-0",
        "bac",
        "cx",
        "d-[",
    ]


@pytest.mark.parametrize("name", ["", "a:b", "a b", "+x", "a+b+c", "ü", "a\n", "-a", "a" * 65, "a+", "a+" + "b" * 65])
def test_invalid_names_are_refused(name: str) -> None:
    with pytest.raises(UsageError):
        rights.check_name(name)


@pytest.mark.parametrize("email", ["", "a", "a@", "a b@c", "a@b\n", "<a@b>", "a@b,c@d"])
def test_invalid_email_addresses_are_refused(email: str) -> None:
    with pytest.raises(UsageError):
        rights.check_email(email)
    assert rights.check_email("ada@example.org") == "ada@example.org"


def test_errors_name_the_allowed_values() -> None:
    with pytest.raises(UsageError) as refused:
        rights.check_name("a" * 90)
    assert refused.value.message == (
        f"{'a' * 80!r} can't be the name of a credential: letters, digits, and . _ @ - ; a purpose after one +;"
        " 64 characters each at most."
    )
    with pytest.raises(UsageError) as refused:
        rights.check_role("root")
    assert (refused.value.message, refused.value.hint) == (
        "'root' is not a role.",
        "One of: monitor, reader, publisher, admin.",
    )
    assert [rights.check_role(role) for role in rights.ROLES] == list(rights.ROLES)


@pytest.mark.parametrize(
    "name", ["ppm", "drop", "adopt", "rebuild", "anonymous", "__token__", "Drop", "PPM", "ppm+ci"]
)
def test_names_that_the_index_uses_itself_are_reserved(name: str) -> None:
    """The audit log and the records of files have them where no user did something."""
    with pytest.raises(UsageError) as refused:
        rights.check_name(name)
    assert "the index uses it itself" in refused.value.message
    assert refused.value.hint == "Reserved: __token__, adopt, anonymous, drop, ppm, rebuild."
    assert rights.is_reserved(name)
    assert name.partition("+")[0] in rights.reserved_warning(["ann", name, "ann+ci"])


def test_all_names_that_records_and_the_audit_log_have_are_reserved() -> None:
    names = {import_folder.BY, drop_folder.BY, REBUILD, SERVER.name, rights.ANYONE.name, *NOBODY}
    assert names < rights.RESERVED


def test_similar_names_are_not_reserved() -> None:
    for name in ("ppm-bot", "dropper", "ann+drop", "ppm_env", "adopt.it"):
        rights.check_name(name)
    assert rights.reserved_warning(["ann+drop", "ppm-bot"]) == ""


def test_a_name_that_looks_like_a_secret_is_refused() -> None:
    """nginx refuses it, and logs mask it."""
    with pytest.raises(UsageError) as refused:
        rights.check_name("ppm_" + "aB3_" * 10 + "xyz")
    assert "aB3" not in refused.value.message
