"""Finding a credential: the order of the places, errors for broken files, and no secret in any output."""

from __future__ import annotations

import json
import operator
import pickle
import traceback
from pathlib import Path

import pytest

from ppmctl.client import credential
from ppmctl.client.credential import Credential
from ppmctl.client.index_url import Address, resolve
from ppmctl.errors import CredentialError, PpmError
from ppmctl.secret import Secret

URL = "https://index.test:8443"
PYPIRC = f"""[distutils]
index-servers = internal
[internal]
repository = {URL}/legacy/
username = from-pypirc
password = s3cret%of-pypirc
[half]
repository = https://half.test/
username = half
"""
NETRC = "machine index.test login from-netrc password s3cret-of-netrc\nmachine half.test login half password s3cret\n"
PPMCTL = {"PPMCTL_USERNAME": "from-ppmctl", "PPMCTL_TOKEN": "s3cret-of-ppmctl"}
TWINE = {"TWINE_USERNAME": "from-twine", "TWINE_PASSWORD": "s3cret-of-twine"}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / ".pypirc").write_text(PYPIRC)
    (tmp_path / ".netrc").write_text(NETRC)
    (tmp_path / "credential").write_text("from-file:s3cret:of-file\n")
    return tmp_path


def find(home: Path, index: str = URL, file: str | None = None, **environ: str) -> Credential | None:
    address = resolve(index, environ={}, home=home)
    return credential.find(address, file=home / file if file else None, environ=environ, home=home)


def test_a_secret_is_hidden_in_every_output() -> None:
    secret = Secret("s3cret")
    shown = [repr(secret), str(secret), f"{secret}", f"{secret!r}", operator.mod("%s", secret)]
    shown.append(repr(Credential(username="ops", secret=secret, source="a test")))
    assert not any("s3cret" in text for text in shown)
    assert "***" in shown[-1]
    assert secret.reveal() == "s3cret"
    for dump in (pickle.dumps, json.dumps):
        with pytest.raises(TypeError):
            dump(secret)


def test_the_order_of_the_places_for_a_credential(home: Path) -> None:
    """Each place wins over those after it: without the winner the next one is used."""
    (home / "named").write_text("from-variable:s3cret-of-named\n")
    variable = {"PPMCTL_CREDENTIAL_FILE": str(home / "named")}
    credentials = [
        find(home, file="credential", **variable, **PPMCTL, **TWINE),
        find(home, **variable, **PPMCTL, **TWINE),
        find(home, **PPMCTL, **TWINE),
        find(home, **TWINE),
        find(home),
    ]
    (home / ".pypirc").unlink()
    credentials.append(find(home))
    (home / ".netrc").unlink()
    assert [(one.username, one.secret.reveal()) for one in credentials if one] == [
        ("from-file", "s3cret:of-file"),
        ("from-variable", "s3cret-of-named"),
        ("from-ppmctl", "s3cret-of-ppmctl"),
        ("from-twine", "s3cret-of-twine"),
        ("from-pypirc", "s3cret%of-pypirc"),
        ("from-netrc", "s3cret-of-netrc"),
    ]
    sources = [one.source for one in credentials if one]
    for source, place in zip(
        sources, ("credential", "named", "PPMCTL_TOKEN", "TWINE_PASSWORD", "[internal]", ".netrc"), strict=True
    ):
        assert place in source
        assert "s3cret" not in source
    assert find(home) is None


@pytest.mark.parametrize(
    "index", ["internal", URL, f"{URL}/simple/", f"{URL.upper().replace('HTTPS', 'https')}/legacy"]
)
def test_the_section_is_found_by_its_name_and_by_its_url(home: Path, index: str) -> None:
    chosen = find(home, index)
    assert chosen is not None
    assert chosen.username == "from-pypirc"


@pytest.mark.parametrize("index", ["https://index.test", "http://index.test:8443", f"{URL}/other/"])
def test_the_section_of_another_url_is_not_used(home: Path, index: str) -> None:
    """Its password belongs to another server, or would be sent unencrypted. netrc knows only hosts."""
    chosen = find(home, index)
    assert chosen is not None
    assert chosen.username == "from-netrc"


def test_netrc_is_used_if_the_section_has_no_password(home: Path) -> None:
    chosen = find(home, "half")
    assert chosen is not None
    assert ".netrc" in chosen.source


def test_the_variable_netrc_sets_the_path(home: Path) -> None:
    (home / ".pypirc").unlink()
    (home / "other").write_text("default login anyone password s3cret\n")
    chosen = find(home, NETRC=str(home / "other"))
    assert chosen is not None
    assert chosen.username == "anyone"
    assert find(home, NETRC=str(home / "missing")) is None


@pytest.mark.parametrize("environ", [{"PPMCTL_USERNAME": "ops"}, {"PPMCTL_TOKEN": "s3cret"}])
def test_half_a_pair_of_ppmctl_variables_is_an_error(home: Path, environ: dict[str, str]) -> None:
    with pytest.raises(CredentialError, match="is set, but not") as caught:
        find(home, **environ, **TWINE)
    assert "s3cret" not in caught.value.message


def test_half_a_pair_of_twine_variables_is_ignored(home: Path) -> None:
    """The other half can be in a keyring."""
    chosen = find(home, TWINE_USERNAME="from-twine")
    assert chosen is not None
    assert chosen.username == "from-pypirc"


@pytest.mark.parametrize(
    ("place", "content"),
    [
        ("credential", b"s3cret"),
        ("credential", b""),
        ("credential", b"ops:"),
        ("credential", b":s3cret"),
        ("credential", b"ops:s3cret\nops:s3cret2"),
        ("credential", b"ops:s3cret\xff"),
        (".netrc", b"machine index.test login ops password s3cret s3cret"),
        (".netrc", b"s3cret\xff"),
        (".pypirc", b"password = s3cret"),
        (".pypirc", b"[internal]\npassword s3cret\n"),
        (".pypirc", b"[internal]\npassword = s3cret\xff\n"),
    ],
)
def test_the_error_for_a_broken_file_names_it_and_quotes_nothing(home: Path, place: str, content: bytes) -> None:
    """Not even in the traceback of -v: parsers quote the wrong line."""
    for name in (".netrc", ".pypirc"):
        if place == name:
            (home / ".pypirc").unlink()
    (home / place).write_bytes(content)
    with pytest.raises(PpmError) as caught:
        find(home, file="credential" if place == "credential" else None)
    shown = "".join(traceback.format_exception(caught.value)) + caught.value.hint
    assert str(home / place) in caught.value.message
    if place == "credential":
        reason = "can't be read: " if b"\xff" in content else "does not hold one line of the form user:secret"
        assert reason in caught.value.message
        assert caught.value.exit_code == 4
    # the traceback has lines of this test, but no data
    assert "s3cret" not in shown


def test_a_missing_credential_file_is_an_error(home: Path) -> None:
    with pytest.raises(CredentialError, match="No such file"):
        find(home, file="nothing")


@pytest.mark.parametrize("place", ["credential", ".pypirc"])
def test_the_error_for_an_unreadable_file_names_its_owner(
    home: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    """In a container another user often owns it. Root can read every file, so the error is simulated."""
    if place == "credential":
        (home / ".pypirc").unlink()
    (home / place).chmod(0o600)
    owner = (home / place).stat()

    read = Path.read_text

    def refuse(path: Path, **options: str) -> str:
        if path.name == place:
            raise PermissionError(13, "Permission denied")
        return read(path, **options)

    monkeypatch.setattr(Path, "read_text", refuse)
    monkeypatch.setattr("os.access", lambda *_, **__: False)
    with pytest.raises(PpmError, match="can't be read: Permission denied") as caught:
        find(home, file="credential" if place == "credential" else None)
    assert str(home / place) in caught.value.message
    assert f"belongs to uid {owner.st_uid} (mode 0600)" in caught.value.hint
    assert f"--user {owner.st_uid}:{owner.st_gid}" in caught.value.hint


def test_without_any_files_there_is_no_credential(tmp_path: Path) -> None:
    assert credential.find(Address(base=URL, upload=URL), file=None, environ={}, home=tmp_path) is None
