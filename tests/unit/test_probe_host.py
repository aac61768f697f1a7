"""The facts of a host that the module probe_host reads from files."""

from __future__ import annotations

from pathlib import Path

import pytest

from ansible_collections.ppm.index.plugins.modules import probe_host


@pytest.mark.parametrize(
    ("path", "content", "is_limited"),
    [
        ("etc/systemd/journald.conf", "[Journal]\n#SystemMaxUse=\nSystemKeepFree=1G\n", False),
        ("etc/systemd/journald.conf", "[Journal]\n SystemMaxUse = 2G\n", True),
        ("etc/systemd/journald.conf.d/site.conf", "[Journal]\nSystemMaxUse=2G\n", True),
        ("usr/lib/systemd/journald.conf.d/10-vendor.conf", "[Journal]\nSystemMaxUse=2G\n", True),
        ("etc/systemd/journald.conf.d/ppm.conf", "[Journal]\nSystemMaxUse=500M\n", False),
        ("etc/systemd/journald.conf.d/site.conf.old", "[Journal]\nSystemMaxUse=2G\n", False),
    ],
)
def test_a_limit_of_the_journal_that_is_not_ppms(path: str, content: str, is_limited: bool, tmp_path: Path) -> None:
    (tmp_path / path).parent.mkdir(parents=True)
    (tmp_path / path).write_text(content)
    assert probe_host.has_journal_limit(tmp_path) is is_limited
