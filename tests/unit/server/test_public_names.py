"""Who may upload the first file of a much used public name."""

from __future__ import annotations

import re
from unittest.mock import Mock

import pytest
from support import wheels

from ppmctl.access.rights import Access
from ppmctl.distributions import distribution
from ppmctl.distributions.distribution import one_line
from ppmctl.distributions.names import is_normalised
from ppmctl.errors import Refused
from ppmctl.index.store import Store
from ppmctl.server.public_names import PublicNames, most_used
from ppmctl.storage.bucket import Unavailable

ADMIN = Access(name="ops", role="admin", created="")
PUBLISHER = Access(name="ci", role="publisher", created="")
PART = Access(name="part", role="admin", created="", projects=("acme-*",))


def put(store: Store, made: tuple[str, bytes]) -> None:
    with store.area.new_file() as received:
        received.write(made[1])
        received.finish()
        store.put(received, distribution.inspect(received.path, made[0]), by="ops")


def test_the_list_has_the_names_of_public_projects() -> None:
    names = most_used()
    assert len(names) == 5000
    assert {"pip", "requests", "setuptools", "ruamel-yaml"} <= names
    assert all(map(is_normalised, names))
    assert not [name for name in names if name.startswith("ppm-env-")]


@pytest.mark.parametrize(
    ("setting", "by", "may"),
    [
        ("admin", ADMIN, True),
        ("admin", PUBLISHER, False),
        ("admin", PART, False),
        ("deny", ADMIN, False),
        ("deny", PUBLISHER, False),
        ("allow", ADMIN, True),
        ("allow", PUBLISHER, True),
    ],
)
def test_the_first_file_of_a_public_name(store: Store, setting: str, by: Access, may: bool) -> None:
    """A claim allows it to everybody, whatever the setting; another name needs none."""
    rule = PublicNames(setting=setting)
    rule.require(store, "acme-tools", by)
    if may:
        rule.require(store, "requests", by)
    else:
        with pytest.raises(Refused) as refused:
            rule.require(store, "requests", by)
        assert refused.value.status == 403
    assert store.claim("requests", by="unix:root").by == "unix:root"
    rule.require(store, "requests", by)
    store.unclaim("requests")
    if not may:
        with pytest.raises(Refused):
            rule.require(store, "requests", by)


@pytest.mark.parametrize(
    ("setting", "cause"), [("admin", "only an admin may upload the first"), ("deny", "nobody may upload the first")]
)
def test_the_refusal_has_the_cause_and_the_ways_out_on_one_line(store: Store, setting: str, cause: str) -> None:
    with pytest.raises(Refused) as refused:
        PublicNames(setting=setting).require(store, "requests", PUBLISHER)
    text = refused.value.message
    assert text == one_line(text)
    assert text.isascii()
    assert text.startswith("requests is one of the most used public names, and has no file here: ")
    for part in (cause, "`ppmctl package claim requests`", "private_names", f"public_names: {setting}"):
        assert part in text


def test_the_refusal_of_the_longest_name_is_not_cut(store: Store) -> None:
    with pytest.raises(Refused) as refused:
        PublicNames().require(store, max(most_used(), key=len), PUBLISHER)
    assert one_line(refused.value.message) == refused.value.message


def test_private_names_and_environments_are_not_asked_about(store: Store) -> None:
    rule = PublicNames(setting="deny", private_names=("req*", "pip"))
    for project in ("requests", "pip", "ppm-env-requests"):
        rule.require(store, project, PUBLISHER)
    with pytest.raises(Refused):
        rule.require(store, "setuptools", PUBLISHER)


def test_a_project_that_has_or_had_files_is_not_asked_about(store: Store) -> None:
    put(store, wheels.wheel("requests", "1.0"))
    PublicNames(setting="deny").require(store, "requests", PUBLISHER)
    store.remove("requests", "1.0")
    PublicNames(setting="deny").require(store, "requests", PUBLISHER)


def test_a_claim_reserves_no_name_and_names_who_made_it(store: Store) -> None:
    """Until the first file, the name is redirected like before: installs of the public project go on."""
    first = store.claim("requests", by="ops")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT.*Z", first.at)
    assert store.claim("requests", by="bob") == first == store.claim_of("requests")
    assert not store.has_project("requests")
    assert store.projects() == []
    store.unclaim("requests")
    store.unclaim("requests")
    assert store.claim_of("requests") is None
    store.volume.claim("pip").touch()
    claim = store.claim_of("pip")
    assert claim is not None
    assert (claim.by, claim.at) == ("", "")


def test_a_claim_that_was_taken_back_is_not_believed_if_the_bucket_can_not_be_asked(
    here: Store, other: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    other.claim("requests", by="ops")
    PublicNames().require(here, "requests", PUBLISHER)
    other.unclaim("requests")
    assert here.mirror is not None
    monkeypatch.setattr(here.mirror.claims, "read", Mock(side_effect=Unavailable("The bucket does not answer.")))
    with pytest.raises(Unavailable):
        PublicNames().require(here, "requests", PUBLISHER)
    assert here.last_claim_of("requests") is not None, "a page shows what is known"
