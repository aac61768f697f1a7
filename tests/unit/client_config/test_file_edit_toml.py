"""`client-config --write` and `--remove` keep every other byte of TOML files: uv's and poetry's."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from support.client_files import cases


@pytest.mark.parametrize(("client", "scope", "form", "where", "content"), cases("uv", "poetry"))
def test_remove_restores_a_file_that_was_written_twice(
    client: str,
    scope: tuple[str, ...],
    form: str,
    where: str,
    content: bytes | None,
    write_twice_and_remove: Callable[..., None],
) -> None:
    write_twice_and_remove(client, scope, form, where, content)
