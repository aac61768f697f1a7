"""What is never meant to be published: secrets, by a file's name or its content; caches and environments of tools.

Pure: names and bytes in, words out; never a part of the secret itself.
"""

from __future__ import annotations

import re
from pathlib import PurePosixPath

# Files whose whole purpose is to hold secrets.
_SECRET_FILES = frozenset(
    (".pypirc", ".netrc", "_netrc", ".git-credentials", ".dockercfg", ".pgpass", "id_rsa", "id_dsa", "id_ecdsa")
) | {"id_ed25519"}
_SECRET_PATHS = (".aws/credentials", ".docker/config.json", ".config/gcloud/credentials.db")
_ENVIRONMENT = re.compile(r"\.env(\.(?!example$|sample$|template$|dist$|schema$|test$)[A-Za-z0-9_-]+)?")

_LITTER = frozenset(
    ("__pycache__", ".git", ".hg", ".svn", ".venv", "node_modules", ".tox", ".nox", ".mypy_cache", ".pytest_cache")
) | {".ruff_cache", ".hypothesis", ".ipynb_checkpoints", ".eggs"}
_LITTER_FILES = frozenset((".DS_Store", ".coverage", "pyvenv.cfg"))
_LITTER_SUFFIXES = (".pyc", ".pyo")

_DISTINCT = 10  # letters; a placeholder (xxxx…, 1234…) has fewer than a token

_LONG = 30

# What tokens look like, each with a text that is in all of them: looking for that alone is fast. `body` is random.
_TOKENS = tuple(
    (what, mark, re.compile(pattern))
    for what, mark, pattern in (
        ("a token of a ppm index", b"ppm_", rb"\bppm_(?P<body>[A-Za-z0-9_-]{43}|join_[A-Za-z0-9_-]{32})(?![\w-])"),
        ("a PyPI token", b"pypi-AgE", rb"\bpypi-AgE(?P<body>[A-Za-z0-9_-]{50,})"),
        ("a GitHub token", b"gh", rb"\bgh[pousr]_(?P<body>[A-Za-z0-9]{36,})\b"),
        ("a GitHub token", b"github_pat_", rb"\bgithub_pat_(?P<body>[A-Za-z0-9_]{40,})\b"),
        ("a GitLab token", b"glpat-", rb"\bglpat-(?P<body>[A-Za-z0-9_-]{20,})"),
        ("an npm token", b"npm_", rb"\bnpm_(?P<body>[A-Za-z0-9]{36})\b"),
        ("an npm token", b"_authToken", rb"_authToken\s*=\s*(?P<body>[A-Za-z0-9_-]{20,})"),
        ("a Slack token", b"xox", rb"\bxox[abprs]-[0-9]{8,}-(?P<body>[A-Za-z0-9-]{20,})"),
        ("a Stripe key", b"_live_", rb"\b[sr]k_live_(?P<body>[A-Za-z0-9]{24,})\b"),
        ("an Anthropic key", b"sk-ant-", rb"\bsk-ant-[a-z]+[0-9]{2}-(?P<body>[A-Za-z0-9_-]{60,})"),
        ("an OpenAI key", b"T3BlbkFJ", rb"\bsk-(?P<body>[A-Za-z0-9_-]{20,}T3BlbkFJ[A-Za-z0-9_-]{20,})"),
        (
            "an AWS secret key",
            b"aws_secret",
            rb"aws_secret_access_key[\"']?\s*[=:]\s*[\"']?(?P<body>[A-Za-z0-9/+]{40})(?![A-Za-z0-9/+])",
        ),
    )
)
# With a key after it: programs that read keys have the first line alone.
_KEY = re.compile(
    rb"-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?-----(?:\s|\\[rn])+(?:[A-Za-z-]+: [^\n]*\n\s*)*"
    rb"(?P<body>(?:[A-Za-z0-9+/=]|\s|\\[rn]){64})"
)


def secret_file(member: str) -> str:
    """Why a file of this name (`/` between folders) is one of secrets, in words; "" if it is none."""
    name = PurePosixPath(member).name
    named = name in _SECRET_FILES or _ENVIRONMENT.fullmatch(name)
    return "a file for secrets" if named or member.endswith(_SECRET_PATHS) else ""


def litter(member: str) -> str:
    """What of a member's path is a tool's own and no part of a project; "" if nothing is."""
    path = PurePosixPath(member)
    if found := next((part for part in path.parts if part in _LITTER), ""):
        return found
    return path.name if path.name in _LITTER_FILES or path.suffix in _LITTER_SUFFIXES else ""


def secret(content: bytes) -> str:
    """What secret there is in a text, and in which line; "" if none is known to be in it."""
    found = _KEY.search(content) if b"PRIVATE KEY" in content else None
    if found is not None and _is_random(found["body"]):
        return f"a private key, line {_line(content, found.start())}"
    for what, mark, pattern in _TOKENS:
        if mark not in content:
            continue
        for match in pattern.finditer(content):
            if _is_random(match["body"]):
                return f"{what}, line {_line(content, match.start())}"
    return ""


def _is_random(body: bytes) -> bool:
    """Whether it may be a token: many letters, of each kind if it is long; no name, placeholder or example."""
    text = re.sub(rb"\s|\\[rn]", b"", body).decode("ascii", "replace")
    kinds = (any(map(str.isupper, text)), any(map(str.islower, text)), any(map(str.isdigit, text)))
    return (
        len(set(text)) >= _DISTINCT
        and sum(kinds) >= (2 if len(text) < _LONG else 3)
        and "example" not in text.lower()
    )


def _line(content: bytes, position: int) -> int:
    return content.count(b"\n", 0, position) + 1
