"""Editing a netrc file: one entry is added or removed, and every other byte stays."""

from __future__ import annotations

import netrc
from pathlib import Path

import pytest
from support.generated import given, st

from ppmctl.client import netrc_file

LINE = "machine index.test login ann+laptop password ppm_1"
OTHERS = (
    "",
    "machine other.test login x password y\n",
    "machine other.test login x password y",  # no line feed at its end
    "# machine index.test login comment password c\nmachine other.test\n\tlogin x\n\tpassword y\n\n",
    "default login anonymous password me@here\n",
    "machine other.test login x password machine\n",
    'machine "other.test" login "a b" password "index.test"\n',
    "machine other.test login x password #hash\r\nmachine third.test login z password w\r\n",
    "macdef init\nmachine index.test login in-a-macro password m\n\nmachine other.test login x password y\n",
    "machine other.test login x account a password y # machine index.test\n",
)


@pytest.mark.parametrize("text", OTHERS)
def test_adding_and_removing_an_entry_restores_the_text(text: str, tmp_path: Path) -> None:
    """In between Python's own reader finds the new entry and the old ones."""
    written = netrc_file.with_line(text, "index.test", LINE)
    assert text in written
    assert netrc_file.without(written, "index.test", "ann+laptop") == text
    (tmp_path / "netrc").write_bytes(written.encode())
    read = netrc.netrc(str(tmp_path / "netrc"))
    assert read.authenticators("index.test") == ("ann+laptop", "", "ppm_1")
    if "machine other.test" in text:
        assert (read.authenticators("other.test") or [""])[0] == "x"


@pytest.mark.parametrize(
    "entry",
    [
        "machine index.test login ann+laptop password old\n",
        "machine index.test\n  login ann+laptop\n  password old\n",
        'machine index.test password "old one" login ann+laptop\n',
    ],
)
def test_an_entry_is_replaced_at_its_place(entry: str) -> None:
    before, after = "machine a.test login x password y\n", "default login d password e\n"
    written = netrc_file.with_line(before + entry + after, "index.test", LINE)
    assert written == f"{before}{LINE}\n{after}"
    assert netrc_file.without(written, "index.test", "ann+laptop") == before + after


def test_entries_of_other_users_and_hosts_are_not_removed() -> None:
    text = f"{LINE}\n"
    assert netrc_file.without(text, "index.test", "other") == text
    assert netrc_file.without(text, "other.test", "ann+laptop") == text
    shared = f"{LINE} machine other.test login x password y\n"
    assert netrc_file.without(shared, "index.test", "ann+laptop") == " machine other.test login x password y\n"


@given(st.text(alphabet=' \t\r\n#"\\ma:', max_size=40) | st.lists(st.sampled_from(OTHERS)).map("".join))
def test_no_text_is_damaged(text: str) -> None:
    written = netrc_file.with_line(text, "index.test", LINE)
    if written.endswith(text):  # else it had an entry for that host
        assert netrc_file.without(written, "index.test", "ann+laptop") == text
