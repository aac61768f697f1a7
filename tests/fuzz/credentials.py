"""The files of credentials, which people edit by hand, and lists of credentials."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from unittest.mock import patch

from fuzz import scratch, text_of
from ppmctl.access import access_file, accounts, credential_files, declarative, import_htpasswd, nginx_htpasswd
from ppmctl.access.access_file import Block
from ppmctl.access.account import SERVER
from ppmctl.access.credential_files import Credentials
from ppmctl.access.htpasswd import Line, parse
from ppmctl.access.rights import Access
from ppmctl.errors import PpmError, UsageError
from ppmctl.index.layout import Volume

NEW = Access(name="new", role="publisher", created="2026-01-01T00:00:00Z", projects=("acme-*",))
few_parts = partial(patch.object, nginx_htpasswd, "PARTS", 3)  # writing 100 takes most of the time
SECRET = "ppm_" + "s" * 43
STORED = "{SSHA}PmHRzk4Pn6f4aIalcH+VbcUr0b9zYWx0"  # of SECRET, with the salt "salt"


def access(data: bytes) -> None:
    """Edit an access.yml. An edit of one entry changes no other, and the file is read as it was edited."""
    text = data.decode("utf-8", "surrogateescape")
    blocks = access_file.parse(text)
    assert "".join(block.text for block in blocks) == text
    before = access_file.access(blocks)
    for entry in before.values():
        assert isinstance(entry.may("read"), bool)
        assert entry.effective.name == entry.name
    added = access_file.with_entry(blocks, NEW.name, NEW)
    _check(added, {**before, NEW.name: NEW})
    removed = access_file.with_entry(added, NEW.name, None)
    _check(removed, {name: entry for name, entry in before.items() if name != NEW.name})
    for name in list(before)[:3]:
        changed = replace(before[name], disabled=True, holders=(), is_orphan=False)
        _check(access_file.with_entry(blocks, name, changed), {**before, name: changed})


def _check(blocks: tuple[Block, ...], expected: dict[str, Access]) -> None:
    """Check the entries, and that the file's text has the same; only what limits a token may have changed."""
    read = access_file.access(access_file.parse(access_file.as_text(blocks)))
    assert access_file.access(blocks) == read
    assert {name: _own(entry) for name, entry in read.items()} == {
        name: _own(entry) for name, entry in expected.items()
    }


def _own(entry: Access) -> Access:
    return replace(entry, holders=(), is_orphan=False)


def access_seeds() -> Iterator[bytes]:
    yield b'# mine\n"ops": {"role": "admin", "created": "2026-01-01T00:00:00Z"}\n"new": {"role": "reader"}\n'
    yield b"ann:\n  role: publisher\n# for now\n\n  projects:\n  - acme-*\nann+ci: {role: reader}\n"
    yield b"ann: {role: reader}\nann+ci: {role: reader, by: ann+x}\nann+x: {role: admin, by: ann+ci}\n"
    yield b"old: {role: reader,\n  expires: 2999-01-01, note: mine}\nodd: [\nb: 3\n? x\n: {role: admin}\n"
    yield b"{}\n---\na: {role: reader, expires: 2026-01-01T00:00:00+01:00, created: 2026-01-01}\n...\n"
    yield b"{a: {role: reader}, b: {role: admin}}\n'a': {role: reader}\n\"a\\tb\": {role: x}\n1: {role: reader}\n"
    yield b"&a a: {role: reader}\nb: *a\n<<: {c: {role: reader}}\n!!python/object: x\n\xff: {role: reader}\n"
    yield b"a: |\n  text\n\n  more\n- x\n% y\n@: {role: reader}\na+: {role: reader, by: 2}\n~: {role: reader}\n"


def htpasswd_seeds() -> Iterator[bytes]:
    entries = b"ann: {role: reader}\nbob: {role: reader}\nold: {role: admin, expires: '2020-01-01T00:00:00Z'}\n"
    yield entries + b"\0ann:" + STORED.encode() + b"\nbob:{SHA}2jmj7l5rSw0yVb/vlWAYkK/YBwk=\nold:" + STORED.encode()
    yield entries + b"\0# mine\n\nann:$apr1$aaaaaaaa$" + b"a" * 22 + b"\nann:$1$$" + b"." * 22 + b"\nbob\n:x\n"
    yield b"\0ann:$2y$04$" + b"a" * 21 + b"." + b"a" * 30 + b"a\nbob:$5$rounds=1000$a$" + b"a" * 43
    yield entries + b"\0stray:{PLAIN}x\nann:\nann:aaaaaaaaaaaaa\r\nb\xf6b: x\nann :x\n\x85ann:x\n"


def htpasswd(data: bytes) -> None:
    """Change an access.yml and, after a NUL, an htpasswd. No line is lost, and nobody is let in by it."""
    entries, _, lines = data.partition(b"\0")
    volume = new_volume()
    volume.access.write_bytes(entries)
    volume.htpasswd.write_bytes(lines)
    with few_parts():
        _check_changes(volume, lines)


def _lines(content: bytes) -> list[bytes]:
    return content.replace(b"\r\n", b"\n").removesuffix(b"\n").removesuffix(b"\r").split(b"\n")


def _check_changes(volume: Volume, lines: bytes) -> None:
    known = Credentials(volume)
    read = [parse(line) for line in lines.decode("utf-8", "surrogateescape").split("\n")]
    slow = {line.name for line in read if not _is_fast(line)}
    names = [line.name for line in read if line.name and line.name not in slow][:5]
    before = {name for name in names if _lets_in(known, name)}
    accounts.prune(volume)
    kept = volume.htpasswd.read_bytes() + (volume.disabled.read_bytes() if volume.disabled.exists() else b"")
    kept_lines = _lines(kept)  # they stay as they are if nothing has changed
    for line in _lines(lines):
        named = parse(line.decode("utf-8", "surrogateescape")).name
        assert not named or line in kept_lines or lines.count(named.encode("utf-8", "surrogateescape")) > 1
    files = {path: path.read_bytes() for path in volume.credentials.rglob("*") if path.is_file()}
    accounts.prune(volume)
    assert {path: path.read_bytes() for path in volume.credentials.rglob("*") if path.is_file()} == files
    assert {name for name in names if _lets_in(known, name)} <= before
    parts = b"".join(content for path, content in files.items() if path.parent == volume.parts)
    live = credential_files.snapshot(volume)
    for line in parts.decode("utf-8", "surrogateescape").split("\n"):
        name, _, stored = line.partition(":")
        assert not name or (live.access[name].is_live() and live.hashes[name] == stored), line
    imported = import_htpasswd.parse(text_of(lines))
    import_htpasswd.import_users(
        volume, SERVER, [each for each in imported if _is_fast(each[1])], role="reader", limit=50
    )


def new_volume() -> Volume:
    """Return an empty volume."""
    volume = Volume(root=scratch() / "volume")
    shutil.rmtree(volume.root, ignore_errors=True)
    for folder in (volume.credentials, volume.locks):
        folder.mkdir(parents=True)
    return volume


def _lets_in(known: Credentials, name: str) -> bool:
    access = known.authenticate(name, SECRET)
    return access is not None and access.may("read")


def _is_fast(line: Line) -> bool:
    match = line.kind.pattern.fullmatch(line.stored) if line.kind else None
    return line.kind is None or match is None or line.kind.times(match) < 100


def declared(data: bytes) -> None:
    """Apply a list of users and tokens, as an inventory has it. An error contains no secret."""
    try:
        listed = declarative.parse(text_of(data))
    except UsageError as exc:
        if f"secret: {SECRET}" in text_of(data) and SECRET in exc.message + exc.hint:
            raise
        return
    for each in listed:
        assert each.entry is None or each.entry.expires is None or _moment(each.entry.expires).tzinfo is not None
    volume = new_volume()
    with few_parts():
        try:
            declarative.apply(volume, SERVER, listed)
        except PpmError:
            return
        assert declarative.apply(volume, SERVER, listed) == (), "a second run changes nothing"


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


def declared_seeds() -> Iterator[bytes]:
    yield f"""\
users:
- {{name: ann, role: publisher, projects: [acme-*], email: ann@example.test, expires: 2999-01-31}}
- {{name: ops, role: admin, secret: {SECRET}, state: disabled}}
- {{name: old, state: absent}}
tokens:
- {{name: ann+ci, role: publisher, projects: [acme-x], expires: '2999-01-31T12:00:00Z'}}
""".encode()
    yield b'{"users": [{"name": "a", "role": "reader", "expires": "0001-01-01T00:00:00+14:00"}], "tokens": null}'
    yield b"users: [{name: 1}, x, {name: a, role: king}, {name: a, role: reader, projects: 3}]\n"
    yield b"users: [{name: a, role: reader, expires: 2001-01-01T00:00:00-23:59}]"
    yield b"users: [{name: b, role: reader, expires: 12:30:45}, {name: c, role: reader, expires: 9999-99-99}]"
    yield b"tokens: [{name: a+b, role: reader}]\nusers: !!set {a}\n"
