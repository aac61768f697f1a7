"""The headers of a webhook by Standard Webhooks 1.0.0: its id, the time of the attempt, and signatures (v1)."""

from __future__ import annotations

import base64
import hmac
from collections.abc import Sequence


def headers(message: str, body: bytes, keys: Sequence[bytes], *, now: float) -> dict[str, str]:
    """Return the headers of one attempt at the time `now` (seconds since the epoch), with a signature by each key."""
    timestamp = str(int(now))
    signed = b".".join([message.encode(), timestamp.encode(), body])
    signatures = (base64.b64encode(hmac.digest(key, signed, "sha256")).decode() for key in keys)
    return {
        "webhook-id": message,
        "webhook-timestamp": timestamp,
        "webhook-signature": " ".join(f"v1,{signature}" for signature in signatures),
        "Content-Type": "application/json",
    }
