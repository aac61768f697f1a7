"""Credentials of several nodes on one bucket: each change is at all nodes, and of two at once none is lost."""

from __future__ import annotations

import errno
import json
import os
import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from support.clock import Clock

from ppmctl import files
from ppmctl.access import accounts, declarative, first_admin, htpasswd, invite_exchange, rights
from ppmctl.access.account import SERVER, Actor, Issued, Taken
from ppmctl.access.credential_files import Credentials
from ppmctl.access.expiry import Pruner
from ppmctl.access.invite_exchange import InvalidCode
from ppmctl.errors import PpmError
from ppmctl.index.layout import Volume
from ppmctl.storage import configured, keys
from ppmctl.storage.bucket import Bucket, Changed, Unavailable

pytestmark = pytest.mark.usefixtures("few_parts")

ME = Actor(name="unix:ada", origin="here")
FILES = ("htpasswd", "access.yml", "disabled", "invites")


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Bucket:
    monkeypatch.setenv("PPM_STORAGE", f"memory://{secrets.token_hex(8)}")
    opened = configured.of(Path())
    assert opened is not None
    return opened


def node(path: Path) -> Volume:
    volume = Volume(root=path)
    volume.prepare()
    return volume


@pytest.fixture
def a(bucket: Bucket, tmp_path: Path) -> Volume:
    return node(tmp_path / "a")


@pytest.fixture
def b(bucket: Bucket, tmp_path: Path) -> Volume:
    return node(tmp_path / "b")


def works(volume: Volume, issued: Issued) -> bool:
    Pruner(volume).prune()
    return Credentials(volume).authenticate(issued.account.access.name, issued.secret.reveal()) is not None


def content(volume: Volume) -> dict[str, str]:
    paths = [volume.credentials / name for name in FILES]
    return {path.name: path.read_text() if path.exists() else "" for path in paths}


@contextmanager
def away(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    def refuse(*_arguments: object, **_options: object) -> None:
        raise Unavailable("The bucket can't be used now.")

    with monkeypatch.context() as patched:
        for name in ("read", "create", "replace"):
            patched.setattr(bucket, name, refuse)
        yield


def test_changes_of_a_node_are_those_of_all(a: Volume, b: Volume) -> None:
    ann = accounts.create_user(a, ME, "ann", role="publisher")
    laptop = accounts.create_token(b, ME, "ann+laptop", role="reader")
    assert works(a, laptop)
    assert works(b, ann)
    accounts.disable(b, ME, "ann")
    assert not works(a, laptop)
    assert not works(a, ann)
    accounts.enable(a, ME, "ann")
    assert works(b, laptop)
    accounts.rotate(b, ME, "ann")
    assert not works(a, ann)
    accounts.remove(a, ME, "ann")
    assert not works(b, laptop)
    assert content(a) == content(b)
    assert laptop.secret.reveal() not in str(content(a))


def test_a_new_node_gets_all_and_records_nothing(a: Volume, b: Volume) -> None:
    ann = accounts.create_user(a, ME, "ann", role="publisher")
    accounts.create_token(a, ME, "ann+old", role="reader", expires="2020-01-01T00:00:00Z")
    invite_exchange.invite(a, ME, "ann")
    accounts.prune(a)
    assert works(b, ann)
    assert content(b) == content(a)
    assert not b.audit.exists()


def test_an_existing_index_brings_its_credentials(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A bucket without any must not take them away."""
    monkeypatch.delenv("PPM_STORAGE", raising=False)
    old = node(tmp_path / "old")
    ann = accounts.create_user(old, ME, "ann", role="admin")
    monkeypatch.setenv("PPM_STORAGE", f"memory://{secrets.token_hex(8)}")
    assert works(Volume(root=old.root), ann)
    assert works(node(tmp_path / "new"), ann)


def test_a_change_is_made_again_if_another_node_was_faster(a: Volume, b: Volume) -> None:
    """Both are there; the secret of the first attempt does not work."""
    tried: list[Issued] = []

    def disturb(issued: Issued) -> None:
        tried.append(issued)
        if len(tried) == 1:
            accounts.create_user(b, ME, "bob", role="reader")

    ann = accounts.create_user(a, ME, "ann", role="reader", deliver=disturb)
    assert len(tried) == 2
    assert works(b, ann)
    assert not works(b, tried[0])
    assert {each.access.name for each in accounts.accounts(a)} == {"ann", "bob"}
    lines = [json.loads(line) for line in a.audit.read_text().splitlines()]
    assert [(line["what"], line["result"]) for line in lines] == [("ann as reader", "done")]


def test_of_two_nodes_one_makes_a_user(a: Volume, b: Volume) -> None:
    made: list[Issued] = []

    def disturb(_issued: Issued) -> None:
        made.append(accounts.create_user(b, ME, "bob", role="admin"))

    with pytest.raises(Taken):
        accounts.create_user(a, ME, "bob", role="reader", deliver=disturb)
    assert works(a, made[0])
    assert accounts.account(a, "bob").access.role == "admin"


def test_changes_of_many_threads_and_nodes_are_all_made(a: Volume, b: Volume) -> None:
    accounts.create_user(a, ME, "ann", role="reader")
    issued: list[Issued] = []

    def create(volume: Volume, name: str) -> None:
        issued.append(accounts.create_token(volume, ME, f"ann+{name}{volume.root.name}", role="reader"))

    threads = [threading.Thread(target=create, args=(volume, f"t{n}")) for n in range(6) for volume in (a, b)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(issued) == 12
    assert all(works(volume, each) for each in issued for volume in (a, b))


def test_an_invite_of_a_node_works_once_at_another(a: Volume, b: Volume) -> None:
    accounts.create_user(a, ME, "ann", role="reader")
    _invite, code = invite_exchange.invite(a, ME, "ann")
    Pruner(b).prune()
    joined: list[Issued] = []

    def join(volume: Volume, purpose: str) -> None:
        with suppress(InvalidCode):
            joined.append(invite_exchange.join(volume, "192.0.2.1", code.reveal(), purpose=purpose))

    threads = [threading.Thread(target=join, args=(volume, volume.root.name)) for volume in (a, b)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(joined) == 1
    assert works(a, joined[0])
    assert works(b, joined[0])


def test_the_first_admin_is_made_once(a: Volume, b: Volume, monkeypatch: pytest.MonkeyPatch) -> None:
    """The node that was too late leaves no secret that does not work."""
    new_secret = htpasswd.new_secret

    def disturb() -> str:
        monkeypatch.setattr(htpasswd, "new_secret", new_secret)
        assert first_admin.make(b)
        return new_secret()

    monkeypatch.setattr(htpasswd, "new_secret", disturb)
    assert not first_admin.make(a)
    assert not a.first_credential.exists()
    assert not a.first_netrc.exists()
    name, secret = b.first_credential.read_text().strip().split(":")
    Pruner(a).prune()
    assert Credentials(a).authenticate(name, secret) is not None


def test_a_list_that_two_nodes_apply_is_applied_once(a: Volume, b: Volume) -> None:
    listed = declarative.parse('{"users": [{"name": "ci", "role": "publisher", "secret": "' + "x" * 40 + '"}]}')
    assert declarative.apply(a, ME, listed)
    assert declarative.apply(b, ME, listed) == ()
    assert content(a) == content(b)


def test_what_the_clock_of_a_node_takes_out_is_not_taken_from_others(
    a: Volume, b: Volume, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    ends = rights.stamp(datetime.now(UTC) + timedelta(minutes=5))
    ann = accounts.create_user(a, ME, "ann", role="reader", expires=ends)
    before = bucket.read(keys.CREDENTIALS)
    clock = Clock(monkeypatch)
    clock.later = timedelta(minutes=10)
    assert accounts.prune(a) == ("ann",)
    clock.later = timedelta()
    assert bucket.read(keys.CREDENTIALS) == before
    assert works(b, ann)
    assert works(a, ann)  # its clock is right again


def test_without_the_bucket_nothing_changes_and_what_is_known_works(
    a: Volume, bucket: Bucket, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    ann = accounts.create_user(
        a, ME, "ann", role="reader", expires=rights.stamp(datetime.now(UTC) + timedelta(days=1))
    )
    before, pruner = content(a), Pruner(a)
    pruner.prune()
    with away(bucket, monkeypatch):
        for change in (
            lambda: accounts.create_user(a, ME, "bob", role="reader"),
            lambda: accounts.remove(a, ME, "ann"),
        ):
            with pytest.raises(Unavailable):
                change()
        assert works(a, ann)
        for _time in range(3):
            pruner.prune()
        clock = Clock(monkeypatch)
        clock.later = timedelta(days=2)
        assert accounts.prune(a) == ("ann",)  # nginx knows no expiry
        clock.later = timedelta()
    assert sum("other nodes" in record.message for record in caplog.records) == 1
    assert works(a, ann)
    assert content(a) == before


def test_on_a_full_disk_what_another_node_revoked_is_refused_and_the_rest_works(
    a: Volume, b: Volume, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A server that runs refuses it, one that starts, and nginx; when there is space again all is as elsewhere."""
    ann, bob = (accounts.create_user(a, ME, name, role="reader") for name in ("ann", "bob"))
    carl = accounts.create_user(a, ME, "carl", role="publisher")
    pruner, known = Pruner(b), Credentials(b)
    pruner.prune()
    assert all(known.authenticate(each.account.access.name, each.secret.reveal()) for each in (ann, bob, carl))
    accounts.remove(a, ME, "ann")
    accounts.change(a, ME, "carl", role="reader")

    def fail(*_arguments: object, **_options: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(files, "write_atomic", fail)
        for _time in range(2):
            pruner.prune()
        changed = files.identity(b.htpasswd)
        pruner.prune()
        assert files.identity(b.htpasswd) == changed, "what is done is not done again"
        for server in (known, Credentials(b)):
            allowed = [
                bool(server.authenticate(each.account.access.name, each.secret.reveal())) for each in (ann, bob, carl)
            ]
            assert allowed == [False, True, False], "carl had more rights before"
        for_nginx = [line for part in b.parts.iterdir() for line in part.read_text().splitlines() if line[0] != "#"]
        assert [line.partition(":")[0] for line in for_nginx] == ["bob"]
    assert sum("No space left" in record.message for record in caplog.records) == 1
    assert works(b, carl)
    assert content(b) == content(a)


@pytest.mark.parametrize("error", [Changed, Unavailable])
@pytest.mark.parametrize("others", [0, 2])
def test_a_lost_answer_is_an_answer(
    a: Volume, b: Volume, bucket: Bucket, monkeypatch: pytest.MonkeyPatch, error: type[Exception], others: int
) -> None:
    """Also if another node changes the credentials before the loss is noticed."""

    def lose_next(name: str) -> None:
        write = getattr(bucket, name)

        def lose(*arguments: object) -> None:
            monkeypatch.setattr(bucket, name, write)
            write(*arguments)
            for _time in range(others):
                accounts.create_user(b, ME, f"bob{secrets.token_hex(4)}", role="reader")
            raise error("The answer was lost.")

        monkeypatch.setattr(bucket, name, lose)

    lose_next("create")
    ann = accounts.create_user(a, ME, "ann", role="publisher")
    lose_next("replace")
    laptop = accounts.create_token(a, ME, "ann+laptop", role="reader")
    _invite, code = invite_exchange.invite(a, ME, "ann")
    lose_next("replace")
    joined = invite_exchange.join(a, "192.0.2.1", code.reveal(), purpose="pc")
    assert all(works(volume, each) for each in (ann, laptop, joined) for volume in (a, b))
    assert content(a) == content(b)
    lose_next("replace")
    accounts.remove(a, ME, "ann")
    assert not works(b, ann)
    assert content(a) == content(b)


def test_the_last_changes_have_names_and_an_older_release_writes_none(a: Volume, bucket: Bucket) -> None:
    for number in range(34):
        accounts.prepare_user(a, ME, f"u{number}", role="reader")
    found = bucket.read(keys.CREDENTIALS)
    assert found is not None
    values = json.loads(found.content)
    assert len(set(values.pop("changes"))) == 32
    bucket.write(keys.CREDENTIALS, json.dumps(values).encode())
    accounts.remove(a, ME, "u0")
    assert len(accounts.accounts(a)) == 33


def test_a_copy_that_was_edited_is_made_again(a: Volume) -> None:
    ann = accounts.create_user(a, SERVER, "ann", role="reader")
    before, pruner = content(a), Pruner(a)
    pruner.prune()
    a.htpasswd.write_text("")
    pruner.prune()
    assert content(a) == before
    assert works(a, ann)


def test_an_object_of_another_form_changes_nothing(a: Volume, bucket: Bucket) -> None:
    ann = accounts.create_user(a, ME, "ann", role="reader")
    bucket.write(keys.CREDENTIALS, b'{"version": 2}')
    with pytest.raises(PpmError, match="unknown form"):
        accounts.remove(a, ME, "ann")
    assert works(a, ann)
