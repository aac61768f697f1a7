"""What an imported file may include, by the place that it comes from."""

from __future__ import annotations

import pytest

from ppmctl.environments.source import STDIN, Source
from ppmctl.errors import UsageError


@pytest.mark.parametrize(
    ("name", "included", "expected"),
    [
        ("a/r.txt", "b.txt", "a/b.txt"),
        ("a/r.txt", "/b.txt", "/b.txt"),
        ("a/r.txt", "https://host/b.txt", "https://host/b.txt"),
        (STDIN, "b.txt", "b.txt"),
        ("https://host/a/r.txt", "b.txt", "https://host/a/b.txt"),
        ("https://host/a/r.txt", "/etc/b.txt", "https://host/etc/b.txt"),
        ("https://host/a/r.txt", "../b.txt", "https://host/b.txt"),
    ],
)
def test_a_file_includes_others_beside_it(name: str, included: str, expected: str) -> None:
    assert Source(name=name).included(included).name == expected


@pytest.mark.parametrize("included", ["file:///etc/passwd", "FILE:/etc/passwd", "ftp://host/x", "", "-", "a\0b"])
def test_a_file_at_a_url_includes_no_file_of_this_machine(included: str) -> None:
    with pytest.raises(UsageError):
        Source(name="https://host/r.txt").included(included)


def test_a_url_with_a_credential_is_not_read() -> None:
    with pytest.raises(UsageError, match="credential") as caught:
        Source(name="https://ann:hunter2@host/r.txt").text()
    assert "hunter2" not in caught.value.message + caught.value.hint
