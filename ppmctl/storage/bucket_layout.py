"""Read and write `ppm.json`: the layout of a bucket, and whether its index is complete."""

from __future__ import annotations

import contextlib
import json
import secrets
from dataclasses import dataclass
from typing import Any

from ppmctl.errors import NOT_SUCH_JSON, PpmError
from ppmctl.storage import keys
from ppmctl.storage.bucket import Bucket, Changed, Exists

_COPYING = "copying"  # in ppm.json until a copy is complete: the node whose volume is copied


@dataclass(frozen=True, kw_only=True)
class Layout:
    """What `ppm.json` says: the number of the layout, the bucket's id, and the node that copies its volume, or ""."""

    number: int
    id: str
    copying: str = ""


def read(bucket: Bucket) -> Layout | None:
    """Return what a bucket is; None if it is empty. Raise PpmError if it has no index that is known here."""
    return _read(bucket)[0]


def begin_copy(bucket: Bucket, node: str) -> None:
    """Reserve an empty bucket for a copy of the volume of `node`, which may have begun before.

    Raise PpmError if the bucket has an index already, or the copy of another volume.
    """
    try:
        bucket.create(
            keys.LAYOUT, _document(Layout(number=keys.LAYOUT_NUMBER, id=secrets.token_hex(8), copying=node))
        )
    except Exists:
        found = read(bucket)
        if found is None or found.copying != node:
            what = "the copy of another volume" if found and found.copying else "an index"
            raise PpmError(
                f"{bucket.address} has {what} already; nothing was changed.",
                hint="Use another prefix, such as s3://BUCKET/OTHER-PREFIX.",
            ) from None


def end_copy(bucket: Bucket) -> None:
    """Declare that the copy is complete: nodes may use the bucket."""
    found, tag = _read(bucket)
    if found is None or not found.copying:
        return
    try:
        bucket.replace(keys.LAYOUT, _document(Layout(number=found.number, id=found.id)), tag)
    except Changed:
        if (now := read(bucket)) is None or now.copying:
            raise PpmError(f"{keys.LAYOUT} in {bucket.address} was changed meanwhile.", hint="Copy again.") from None


def join(bucket: Bucket) -> Layout:
    """Return the layout of a bucket that a node may use; an empty one gets it. Raise PpmError as `read` does."""
    found = read(bucket)
    if found is None:
        new = Layout(number=keys.LAYOUT_NUMBER, id=secrets.token_hex(8))
        with contextlib.suppress(Exists):  # another node was faster
            bucket.create(keys.LAYOUT, _document(new))
        found = read(bucket) or new
    if found.copying:
        raise PpmError(
            f"A copy to {bucket.address} is not complete.",
            hint="Run the same command again to go on with it: ppmctl storage copy --to …",
        )
    return found


def require_conditional_writes(bucket: Bucket) -> None:
    """Check that the bucket makes conditional writes: without them two nodes could overwrite each other's changes."""
    key, works = keys.probe(secrets.token_hex(8)), False
    try:
        first = bucket.create(key, b"1")
        with contextlib.suppress(Exists):
            bucket.create(key, b"2")
            first = ""
        if first:
            second = bucket.replace(key, b"3", first)
            try:
                bucket.replace(key, b"4", first)
            except Changed:
                works = bucket.replace(key, b"5", second) != first
    except (Changed, Exists):
        works = False
    finally:
        bucket.delete(key)
    if not works:
        hint = (
            "ppm needs put-if-absent and conditional update (If-None-Match, If-Match). Use another storage service."
        )
        raise PpmError(f"The bucket {bucket.address} has no conditional writes.", hint=hint)


def _read(bucket: Bucket) -> tuple[Layout | None, str]:
    found = bucket.read(keys.LAYOUT)
    if found is None:
        return None, ""
    try:
        values = json.loads(found.content)
        copying = str(values.get(_COPYING, ""))
        layout = Layout(number=int(values["layout"]), id=str(values.get("id", "")), copying=copying)
    except NOT_SUCH_JSON as exc:
        raise PpmError(f"{keys.LAYOUT} in {bucket.address} is not that of an index.") from exc
    if layout.number != keys.LAYOUT_NUMBER:
        what = f"{bucket.address} has layout {layout.number}, and this release of ppm knows {keys.LAYOUT_NUMBER}."
        raise PpmError(what, hint="Use the release of ppm that its nodes have.")
    return layout, found.tag


def _document(layout: Layout) -> bytes:
    values: dict[str, Any] = {"layout": layout.number, "id": layout.id}
    return json.dumps(values | ({_COPYING: layout.copying} if layout.copying else {})).encode() + b"\n"
