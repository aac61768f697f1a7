"""Use a bucket in a process that will fork: in a child, because the library can't be used after a fork."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import ParamSpec, TypeVar

from ppmctl.storage import configured

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


def run(
    root: Path, function: Callable[Arguments, Result], *arguments: Arguments.args, **options: Arguments.kwargs
) -> Result:
    """Return what `function` returns, or raise what it raises; in a child if the volume at `root` has a bucket."""
    if not configured.address_of(root):
        return function(*arguments, **options)
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("fork")) as pool:
        return pool.submit(function, *arguments, **options).result()
