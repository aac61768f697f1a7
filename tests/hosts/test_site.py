"""From bare Debian to an index that pip, uv and twine use, by one playbook."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from support.deployed import Deployed
from support.wheels import wheel


@pytest.mark.parametrize("release", [13, 12])
def test_a_second_run_changes_nothing(release: int, deployed: Callable[[int], Deployed]) -> None:
    index = deployed(release)
    assert index.first.host.changed > 10
    assert (index.second.host.changed, index.second.changed) == (0, ())
    assert index.upload(wheel("first", "1.0")).status_code == 200
    assert [file["filename"] for file in index.page("first")["files"]] == ["first-1.0-py3-none-any.whl"]
