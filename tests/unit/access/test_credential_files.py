"""The files of credentials: reading invalid content, changing them, and never giving more rights than they should."""

from __future__ import annotations

import errno
import os
import threading
from pathlib import Path
from typing import Any

import pytest
import yaml
from passlib.hash import apr_md5_crypt, bcrypt, des_crypt, ldap_sha1, md5_crypt, sha512_crypt

from ppmctl import files
from ppmctl.access import accounts, credential_files, htpasswd
from ppmctl.access.account import Actor
from ppmctl.access.credential_files import Access, Credentials
from ppmctl.index.layout import Volume

pytestmark = pytest.mark.usefixtures("few_parts")

ME = Actor(name="unix:ada", origin="here")


def add(volume: Volume, name: str, role: str, **more: Any) -> str:
    return accounts.create_user(volume, ME, name, role=role, **more).secret.reveal()


def put(volume: Volume, *names: str, role: str = "reader") -> None:
    volume.access.write_text("".join(f"{name}: {{role: {role}}}\n" for name in names))


def test_a_secret_works_until_the_user_is_removed(volume: Volume) -> None:
    known = Credentials(volume)
    assert known.authenticate("ops", "anything") is None
    secret = add(volume, "ops", "publisher")
    access = known.authenticate("ops", secret)
    assert access is not None
    assert access.role == "publisher"
    for wrong in ("", secret[:-1], secret + "x", secret.lower(), "\0", "ü" * 1000, "x" * 100_000, "\ud800"):
        assert known.authenticate("ops", wrong) is None
    assert known.authenticate("Ops", secret) is None
    accounts.remove(volume, ME, "ops")
    assert known.authenticate("ops", secret) is None


def test_the_secret_alone_tells_whose_it_is(volume: Volume) -> None:
    """Clients send `__token__` as the name. Revoked, disabled and parked secrets don't work; chosen ones never do."""
    known = Credentials(volume)
    for name in ("ann", "bob"):
        add(volume, name, "reader")
    secret = add(volume, "ops", "publisher")
    with volume.htpasswd.open("a") as file:
        file.write(f"chosen:{htpasswd.hash_of('swordfish')}\n")
    put(volume, "ann", "bob", "chosen", "ops")
    for _twice in range(2):
        found = known.authenticate("__token__", secret)
        assert found is not None
        assert found.name == "ops"
    for wrong in ("", "swordfish", secret[:-1], f"{secret}x", htpasswd.new_secret(), "\0", "\ud800"):
        assert known.authenticate("__token__", wrong) is None
    assert known.authenticate("ann", secret) is None
    put(volume, "ann")
    assert known.authenticate("__token__", secret) is None, "it has no entry"
    put(volume, "ann", "ops")
    found = known.authenticate("__token__", secret)
    assert found is not None
    assert found.role == "reader"
    accounts.remove(volume, ME, "ops")
    assert known.authenticate("__token__", secret) is None


def test_only_the_hash_of_a_secret_is_stored(volume: Volume) -> None:
    secret = add(volume, "ops", "admin")
    assert all(secret.encode() not in path.read_bytes() for path in volume.root.rglob("*") if path.is_file())
    assert volume.htpasswd.read_text().startswith("ops:{SSHA}")


def test_a_line_without_an_entry_has_no_rights(volume: Volume) -> None:
    secret = add(volume, "ops", "admin")
    volume.access.write_text("other: {role: admin}\n")
    assert Credentials(volume).authenticate("ops", secret) is None


def test_malformed_lines_and_entries_do_not_affect_others(volume: Volume, caplog: pytest.LogCaptureFixture) -> None:
    """pypiserver answers every request with 500 when one line of its password file is malformed."""
    secret = add(volume, "ops", "admin")
    rest = volume.htpasswd.read_text()
    volume.htpasswd.write_text(f"no colon here\n:x\nold:notahash\n\n# a comment\nplain:{{PLAIN}}x\n{rest}")
    entries = "plain: {role: admin}\nbroken: 3\nstrange: {role: king}\nno: [\n"
    volume.access.write_text(entries + volume.access.read_text())
    known = Credentials(volume)
    assert known.authenticate("ops", secret) is not None
    assert known.authenticate("plain", "x") is None
    for text in ("line 1 ", "line 2 ", "line 3 ", "line 6 ", "'broken'", "'strange'", "'no'"):
        assert text in caplog.text


def test_lines_that_are_not_utf_8_stay_and_do_not_affect_others(volume: Volume) -> None:
    secret = add(volume, "ops", "admin")
    for path in (volume.htpasswd, volume.access):
        path.write_bytes(b"b\xf6se: x\n" + path.read_bytes())
    assert Credentials(volume).authenticate("ops", secret) is not None
    add(volume, "ada", "reader")
    assert volume.access.read_bytes().startswith(b"b\xf6se: x\n")
    assert b"b\xf6se: x\n" in volume.disabled.read_bytes()


def test_only_a_line_feed_ends_a_line_of_htpasswd(volume: Volume) -> None:
    """As for nginx, which also leaves out a carriage return at the end of a line."""
    secret, other = (add(volume, name, "reader") for name in ("ops", "ann"))
    ops, ann = volume.htpasswd.read_bytes().splitlines()
    volume.htpasswd.write_bytes(b"# old:\r" + ann + b"\n" + ops + b"\r\n")
    known = Credentials(volume)
    assert known.authenticate("ops", secret) is not None
    assert known.authenticate("ann", other) is None
    accounts.prune(volume)
    assert b"".join(path.read_bytes() for path in volume.parts.iterdir()) == ops + b"\n"


def test_lines_that_the_application_rejects_are_taken_out_of_htpasswd(
    volume: Volume, caplog: pytest.LogCaptureFixture
) -> None:
    """nginx reads only htpasswd: the lines are moved to `disabled`."""
    secret = add(volume, "ops", "admin")
    good = volume.htpasswd.read_text()
    stray = "plain:{PLAIN}x\nstray:" + good.partition(":")[2]
    twice = good.replace("ops:", "ops:{SHA}UWuXg/ylF+7L0dBk2i0WUxCxl1k=\nops:")
    volume.htpasswd.write_text("# mine\n" + stray + twice)
    volume.access.write_text(volume.access.read_text() + "plain: {role: reader}\n")
    assert accounts.prune(volume) == ("plain", "stray", "ops")
    assert volume.htpasswd.read_text() == "# mine\nops:{SHA}UWuXg/ylF+7L0dBk2i0WUxCxl1k=\n", "nginx takes the first"
    assert volume.disabled.read_text() == stray
    assert volume.disabled.stat().st_mode & 0o777 == 0o600
    assert Credentials(volume).authenticate("ops", secret) is None
    for text in ("'plain' is not a hash", "'stray' has no entry", "'ops' is there twice"):
        assert text in caplog.text
    assert accounts.prune(volume) == ()


def test_htpasswd_stays_if_access_yml_is_missing(volume: Volume) -> None:
    """If access.yml is lost, htpasswd must not be lost too."""
    add(volume, "ops", "admin")
    before = volume.htpasswd.read_text()
    volume.access.unlink()
    assert accounts.prune(volume) == ()
    assert volume.htpasswd.read_text() == before


def test_unknown_lines_entries_and_keys_stay_as_they_were_written(volume: Volume) -> None:
    """A new user must not remove the line of another one, nor a key of a later version or another program."""
    foreign = f"# kept\nold:{bcrypt.using(rounds=4).hash('x')}\n"
    by_hand = "# by hand\nold: {role: reader,\n  expires: 2999-01-01, note: mine}\n# and this\nodd: [\n"
    volume.htpasswd.write_text(foreign)
    volume.access.write_text(by_hand)
    add(volume, "ops", "admin")
    accounts.remove(volume, ME, "ops")
    assert volume.htpasswd.read_text() == foreign
    assert volume.access.read_text() == by_hand
    accounts.disable(volume, ME, "old")
    accounts.enable(volume, ME, "old")
    old = yaml.safe_load(volume.access.read_text().replace("odd: [\n", ""))["old"]
    assert old == {"role": "reader", "created": "", "expires": "2999-01-01T00:00:00Z", "note": "mine"}


def test_an_entry_may_contain_comments_and_empty_lines(volume: Volume) -> None:
    """Half of this one would be a publisher of everything."""
    secret = add(volume, "ops", "publisher")
    volume.access.write_text("ops:\n  role: publisher\n# for now\n\n  projects:\n  - acme-*\nb: {role: reader}\n")
    access = Credentials(volume).authenticate("ops", secret)
    assert access is not None
    assert access.projects == ("acme-*",)


def test_an_entry_with_a_glob_that_matches_no_name_still_works(volume: Volume) -> None:
    """Older releases accepted such globs; an upgrade must not lock anybody out."""
    secret = add(volume, "ops", "publisher")
    volume.access.write_text("ops: {role: publisher, projects: ['acme-[', 'web-*']}\n")
    access = Credentials(volume).authenticate("ops", secret)
    assert access is not None
    assert access.may("read")
    assert access.may("publish", "web-x")
    assert not access.may("publish", "acme-x")


@pytest.mark.parametrize(
    "written",
    [
        "ops: {role: publisher, projects: acme-*}",
        "ops: {role: publisher, projects: [3]}",
        "ops: {role: publisher, projects: {}}",
        "ops: {role: publisher, disabled: 'no'}",
        "ops: {role: publisher, expires: soon}",
        "ops: {role: publisher, expires: 2999-01-01T00}",
        "ops: {role: publisher,\nprojects: [acme-*]}",
        "ops: {role: publisher}\nops: {role: reader}",
        "ops: {role: reader, role: publisher}",
        '"ops": {"role": "reader", "role": "publisher"}',
        "ops:\n  role: reader\n  role: publisher",
        "ops: {role: [publisher]}",
        "ops: publisher",
        "ops:",
        "ops: {role: publisher, expires: 2999-99-99}",
        "ops: {role: publisher, disabled: !!bool maybe}",
        "ops: {role: publisher, note: " + "[" * 100 + "]" * 100 + "}",
    ],
)
def test_an_invalid_entry_has_no_rights(volume: Volume, written: str) -> None:
    """The letters of acme-* would include a *; an invalid date would be no expiry. Other entries still work."""
    secret, other = (add(volume, name, "publisher") for name in ("ops", "ann"))
    volume.access.write_text(f"{written}\nann: {{role: reader}}\n")
    known = Credentials(volume)
    assert known.authenticate("ops", secret) is None
    assert known.authenticate("ann", other) is not None


def test_the_log_names_the_lines_of_an_invalid_entry(volume: Volume, caplog: pytest.LogCaptureFixture) -> None:
    token = "ppm_" + "aB3" * 12
    volume.access.write_text(
        "# by hand\n\nops:\n  role: reader\n  role: publisher\n"
        f"ann: {{role: reader}}\nbob: {{role: 7}}\nann: {{role: admin}}\n{token}: [\n"
    )
    Credentials(volume).authenticate("ops", "x")
    for text in (
        "'ops' is invalid (line 5: the name 'role' is also in line 4; leave out one of them)",
        "'ann' is defined twice, in lines 6 and 8",
        "'bob' is invalid (7 is not a role); it",
        "'ppm_***' is invalid (line 9: a [ or { before",
    ):
        assert text in caplog.text
    assert token not in caplog.text


def test_names_that_yaml_reads_as_other_types_work(volume: Volume) -> None:
    for name in ("no", "null", "1e3", "2027-01-01", "0x10"):
        secret = add(volume, name, "reader")
        assert Credentials(volume).authenticate(name, secret) is not None
    assert [each.access.name for each in accounts.accounts(volume)] == ["0x10", "1e3", "2027-01-01", "no", "null"]
    assert set(yaml.safe_load(volume.access.read_text())) == {"no", "null", "1e3", "2027-01-01", "0x10"}


def test_previous_credentials_work_while_a_file_cannot_be_read(
    volume: Volume, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = add(volume, "ops", "admin")
    known = Credentials(volume)
    assert known.authenticate("ops", secret) is not None

    def refuse(_path: object) -> str:
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patched:
        patched.setattr(credential_files, "read_text", refuse)
        volume.access.write_text(volume.access.read_text() + "\n")
        assert known.authenticate("ops", secret) is not None
        assert known.authenticate("eve", secret) is None
        assert "can't be read" in caplog.text
    volume.access.write_text("{}\n")
    assert known.authenticate("ops", secret) is None


@pytest.mark.parametrize(
    "scheme",
    [ldap_sha1, apr_md5_crypt, md5_crypt, sha512_crypt.using(rounds=5000), bcrypt.using(rounds=4), des_crypt],
)
def test_hashes_of_other_programs_authenticate(volume: Volume, scheme: Any) -> None:
    volume.htpasswd.write_text(f"old:{scheme.hash('swordfish')}\n")
    put(volume, "old")
    known = Credentials(volume)
    assert known.authenticate("old", "swordfish") == Access(name="old", role="reader", created="")
    for wrong in ("trout", "", "\0", "swordfish\0", "ü" * 100, "x" * 5000):
        assert known.authenticate("old", wrong) is None


def test_concurrent_changes_are_all_kept(volume: Volume) -> None:
    threads = [threading.Thread(target=add, args=(volume, f"user{number}", "reader")) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(accounts.accounts(volume)) == len(credential_files.read_htpasswd(volume.htpasswd)) == 20


def test_an_old_secret_never_gets_the_rights_of_a_new_user(volume: Volume, monkeypatch: pytest.MonkeyPatch) -> None:
    """While a server reads the files, the user is removed and created again with other rights."""
    secret = add(volume, "ops", "reader")
    known, read = Credentials(volume), credential_files.read_access

    def slowly(path: Any) -> object:
        monkeypatch.setattr(credential_files, "read_access", read)
        accounts.remove(volume, ME, "ops")
        add(volume, "ops", "admin")
        return read(path)

    monkeypatch.setattr(credential_files, "read_access", slowly)
    assert known.authenticate("ops", secret) is None


@pytest.mark.parametrize("number", [0, 1])
@pytest.mark.parametrize("before", [None, "2997-01-01T00:00:00Z", "2999-01-01T00:00:00Z"])
def test_nobody_is_locked_out_if_a_new_secret_and_expiry_cannot_be_written(
    volume: Volume, before: str | None, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk is full at the first or second write. An old secret never gets a new, later expiry."""
    after, write, written = "2998-01-01T00:00:00Z", files.write_atomic, []
    secret = add(volume, "ann", "reader", expires=before)

    def fail(path: Path, *arguments: Any, **options: Any) -> None:
        if path in (volume.htpasswd, volume.access):
            written.append(path)
            if len(written) == number + 1:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write(path, *arguments, **options)

    with monkeypatch.context() as patched:
        patched.setattr(files, "write_atomic", fail)
        with pytest.raises(OSError, match="No space left"):
            accounts.rotate(volume, ME, "ann", expires=after)
    for _again in range(2):
        access = Credentials(volume).authenticate("ann", secret)
        assert access is not None
        assert access.expires in ({before, after} if before != "2997-01-01T00:00:00Z" else {before})
        accounts.prune(volume)
    rotated = accounts.rotate(volume, ME, "ann", expires=after).secret.reveal()
    known = Credentials(volume)
    assert known.authenticate("ann", secret) is None
    access = known.authenticate("ann", rotated)
    assert access is not None
    assert access.expires == after


def test_a_missing_htpasswd_is_created_empty(volume: Volume) -> None:
    """nginx answers 403 without the file, and 401 with an empty one."""
    credential_files.ensure_htpasswd(volume)
    assert volume.htpasswd.read_bytes() == b""
    assert volume.htpasswd.stat().st_mode & 0o777 == 0o640
    add(volume, "ops", "admin")
    before = volume.htpasswd.read_bytes()
    credential_files.ensure_htpasswd(volume)
    assert volume.htpasswd.read_bytes() == before


def test_a_htpasswd_that_cannot_be_created_raises_nothing(volume: Volume, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a full disk the index is served anyway."""

    def full(*_arguments: object, **_options: object) -> bool:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files, "create", full)
    credential_files.ensure_htpasswd(volume)
    assert not volume.htpasswd.exists()
