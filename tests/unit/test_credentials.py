"""Issued secrets, their files, and who may do what."""

from __future__ import annotations

import re
import threading

import pytest
import yaml
from passlib.hash import apr_md5_crypt, ldap_sha1

from ppmctl import credentials
from ppmctl.credentials import Access, Credentials
from ppmctl.errors import PpmError, UsageError
from ppmctl.volume import Volume


def test_a_secret_lets_its_owner_in_until_it_is_removed(volume: Volume) -> None:
    known = Credentials(volume)
    assert known.authenticate("ops", "anything") is None
    secret = credentials.add(volume, "ops", "publisher")
    assert re.fullmatch(r"ppm_[A-Za-z0-9_-]{43}", secret), "256 bits, URL-safe, with a prefix"
    access = known.authenticate("ops", secret)
    assert access is not None
    assert access.role == "publisher"
    for wrong in ("", secret[:-1], secret + "x", secret.lower(), "\0", "ü" * 1000):
        assert known.authenticate("ops", wrong) is None
    assert known.authenticate("Ops", secret) is None
    credentials.remove(volume, "ops")
    assert known.authenticate("ops", secret) is None


def test_the_secret_is_stored_nowhere(volume: Volume) -> None:
    secret = credentials.add(volume, "ops", "admin")
    assert all(secret.encode() not in path.read_bytes() for path in volume.root.rglob("*") if path.is_file())
    assert volume.htpasswd.read_text().startswith("ops:{SSHA}")


def test_a_line_without_an_entry_has_no_rights(volume: Volume) -> None:
    secret = credentials.add(volume, "ops", "admin")
    entries = yaml.safe_load(volume.access.read_text())
    del entries["ops"]
    volume.access.write_text(yaml.safe_dump(entries))
    assert Credentials(volume).authenticate("ops", secret) is None


def test_access_is_written_first_and_taken_last(volume: Volume, monkeypatch: pytest.MonkeyPatch) -> None:
    """A crash in between leaves a credential weaker than it should be, never stronger."""
    monkeypatch.setattr(credentials, "_write_htpasswd", _die)
    with pytest.raises(_DiedError):
        credentials.add(volume, "ops", "admin")
    assert "ops" in volume.access.read_text()
    assert not volume.htpasswd.exists()
    monkeypatch.undo()
    credentials.remove(volume, "ops")
    secret = credentials.add(volume, "ops", "admin")
    monkeypatch.setattr(credentials, "_write_access", _die)
    with pytest.raises(_DiedError):
        credentials.remove(volume, "ops")
    assert "ops" not in volume.htpasswd.read_text()
    assert Credentials(volume).authenticate("ops", secret) is None


class _DiedError(Exception):
    pass


def _die(*_arguments: object, **_options: object) -> None:
    raise _DiedError


def test_malformed_lines_disable_themselves_alone(volume: Volume, caplog: pytest.LogCaptureFixture) -> None:
    """pypiserver answers every request with 500 when one line of its password file is malformed."""
    secret = credentials.add(volume, "ops", "admin")
    volume.htpasswd.write_text(f"no colon here\n:x\nold:notahash\n\n# a comment\n{volume.htpasswd.read_text()}")
    volume.access.write_text(volume.access.read_text() + "broken: 3\nstrange: {role: king}\n")
    assert Credentials(volume).authenticate("ops", secret) is not None
    assert "line 1" in caplog.text
    assert "line 3" in caplog.text
    assert "broken" in caplog.text
    assert "strange" in caplog.text


def test_a_text_for_projects_is_no_right_to_all(volume: Volume) -> None:
    """As letters, acme-* would hold a * of its own."""
    secret = credentials.add(volume, "ops", "publisher")
    volume.access.write_text("ops: {role: publisher, projects: acme-*}\n")
    assert Credentials(volume).authenticate("ops", secret) is None


def test_what_ppm_does_not_understand_stays_where_somebody_wrote_it(volume: Volume) -> None:
    """A new user must not cost another one's line: a hash or a key of a later or another program."""
    foreign = "# kept\nold:$2y$10$abcdefghijklmnopqrstuuYh2JtY1zq9tmKrUyCwYVtVQxQJ5oM1K\n"
    volume.htpasswd.write_text(foreign)
    volume.access.write_text("old: {role: reader, expires: 2027-01-01, note: mine}\n")
    credentials.add(volume, "ops", "admin")
    credentials.remove(volume, "ops")
    assert volume.htpasswd.read_text() == foreign
    kept = yaml.safe_load(volume.access.read_text())["old"]
    assert (kept["role"], kept["note"], str(kept["expires"])) == ("reader", "mine", "2027-01-01")


def test_a_file_that_cannot_be_read_leaves_everybody_as_they_were(
    volume: Volume, caplog: pytest.LogCaptureFixture
) -> None:
    secret = credentials.add(volume, "ops", "admin")
    known = Credentials(volume)
    assert known.authenticate("ops", secret) is not None
    volume.access.write_text("ops: {role: admin\n\tbroken")
    assert known.authenticate("ops", secret) is not None
    assert known.authenticate("eve", secret) is None
    assert "can't be read" in caplog.text
    volume.access.write_text("{}\n")
    assert known.authenticate("ops", secret) is None


@pytest.mark.parametrize("scheme", [ldap_sha1, apr_md5_crypt])
def test_imported_lines_work(volume: Volume, scheme: object) -> None:
    volume.htpasswd.write_text(f"old:{scheme.hash('swordfish')}\n")  # type: ignore[attr-defined]
    volume.access.write_text("old: {role: reader}\n")
    assert Credentials(volume).authenticate("old", "swordfish") == Access(name="old", role="reader", created="")
    assert Credentials(volume).authenticate("old", "trout") is None


@pytest.mark.parametrize("name", ["", "a:b", "a b", "+x", "a+b+c", "ü", "a\n", "-a", "a" * 65])
def test_names_that_can_be_none(volume: Volume, name: str) -> None:
    with pytest.raises(UsageError):
        credentials.add(volume, name, "reader")
    assert not volume.htpasswd.exists()


def test_what_is_there_and_what_is_not(volume: Volume) -> None:
    credentials.add(volume, "ops+ci", "reader")
    with pytest.raises(PpmError, match="already"):
        credentials.add(volume, "ops+ci", "reader")
    with pytest.raises(PpmError, match="no credential 'who'"):
        credentials.remove(volume, "who")
    with pytest.raises(UsageError, match="not a role"):
        credentials.add(volume, "x", "king")
    assert [entry.name for entry in credentials.entries(volume)] == ["ops+ci"]


def test_concurrent_changes_lose_none(volume: Volume) -> None:
    def add(number: int) -> None:
        credentials.add(volume, f"user{number}", "reader")

    threads = [threading.Thread(target=add, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(credentials.entries(volume)) == len(credentials.read_htpasswd(volume.htpasswd)) == 20


@pytest.mark.parametrize(
    ("role", "projects", "expires", "action", "project", "may"),
    [
        ("reader", (), None, "read", None, True),
        ("reader", (), None, "publish", "x", False),
        ("publisher", (), None, "publish", "x", True),
        ("publisher", ("acme-*",), None, "publish", "acme-x", True),
        ("publisher", ("acme-*",), None, "publish", "x", False),
        ("publisher", ("acme-*",), None, "read", "x", True),
        ("publisher", (), None, "manage", "x", False),
        ("admin", (), None, "manage", "x", True),
        ("admin", (), "2020-01-01T00:00:00+00:00", "read", None, False),
        ("admin", (), "2999-01-01T00:00:00+00:00", "manage", "x", True),
    ],
)
def test_rights(
    role: str, projects: tuple[str, ...], expires: str | None, action: str, project: str, may: bool
) -> None:
    access = Access(name="x", role=role, created="", projects=projects, expires=expires)  # type: ignore[arg-type]
    assert access.may(action, project) is may  # type: ignore[arg-type]


def test_the_first_admin_is_made_once(volume: Volume) -> None:
    assert credentials.make_first_admin(volume)
    first = volume.first_credential.read_text()
    name, _, secret = first.strip().partition(":")
    access = Credentials(volume).authenticate(name, secret)
    assert access is not None
    assert access.role == "admin"
    assert oct(volume.first_credential.stat().st_mode & 0o777) == "0o600"
    assert oct(volume.first_netrc.stat().st_mode & 0o777) == "0o600"
    assert volume.first_netrc.read_text() == "".join(
        f"machine {host} login {name} password {secret}\n" for host in ("127.0.0.1", "localhost")
    )
    assert not credentials.make_first_admin(volume)
    assert volume.first_credential.read_text() == first


def test_an_admin_of_any_name_is_the_first(volume: Volume) -> None:
    credentials.add(volume, "ops", "admin")
    assert not credentials.make_first_admin(volume)
    assert not volume.first_credential.exists()


def test_the_first_admins_netrc_names_the_hosts_that_it_is_told(volume: Volume) -> None:
    with pytest.raises(UsageError, match="'a b' is not the name of a host"):
        credentials.make_first_admin(volume, hosts=["a b"])
    assert credentials.make_first_admin(volume, hosts=["index.example"])
    assert volume.first_netrc.read_text().startswith("machine index.example login admin password ppm_")
    assert volume.first_netrc.read_text().count("machine") == 1


@pytest.mark.parametrize("dies_at", ["_write_access", "_write_htpasswd"])
def test_a_first_admin_whose_making_broke_off_is_made_anew(
    volume: Volume, monkeypatch: pytest.MonkeyPatch, dies_at: str
) -> None:
    """Else the index would have an admin whose secret nobody has, and never get another."""
    monkeypatch.setattr(credentials, dies_at, _die)
    with pytest.raises(_DiedError):
        credentials.make_first_admin(volume)
    monkeypatch.undo()
    assert credentials.make_first_admin(volume)
    name, _, secret = volume.first_credential.read_text().strip().partition(":")
    assert Credentials(volume).authenticate(name, secret) is not None


def test_of_many_that_make_the_first_admin_at_once_one_does(volume: Volume) -> None:
    """Its secret is the one in the file."""
    made: list[bool] = []
    threads = [threading.Thread(target=lambda: made.append(credentials.make_first_admin(volume))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(made) == [False] * 7 + [True]
    name, _, secret = volume.first_credential.read_text().strip().partition(":")
    assert Credentials(volume).authenticate(name, secret) is not None


def test_a_name_that_is_taken_by_a_lesser_role_is_no_first_admin(volume: Volume) -> None:
    credentials.add(volume, "admin", "reader")
    with pytest.raises(PpmError, match="There is no admin, and the credential 'admin' is not one"):
        credentials.make_first_admin(volume)
    assert not volume.first_credential.exists()


def test_a_server_without_users_has_a_list_of_none(volume: Volume) -> None:
    """A web server in front answers 403 where there is no list, and 401 where nobody is on it."""
    credentials.make_list(volume)
    assert volume.htpasswd.read_bytes() == b""
    assert volume.htpasswd.stat().st_mode & 0o777 == 0o640
    assert credentials.make_first_admin(volume)
    assert len(credentials.read_htpasswd(volume.htpasswd)) == 1
    before = volume.htpasswd.read_bytes()
    credentials.make_list(volume)
    assert volume.htpasswd.read_bytes() == before


def test_a_list_of_none_that_can_t_be_made_stops_nobody(volume: Volume, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a full disk what is there is served all the same."""

    def full(*_arguments: object, **_options: object) -> bool:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(credentials.files, "create", full)
    credentials.make_list(volume)
    assert not volume.htpasswd.exists()
