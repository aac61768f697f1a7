"""Recognise what must not be published: secrets, by filename or content; caches and environments of tools.

No function returns a part of a secret.
"""

from __future__ import annotations

import re
from pathlib import PurePosixPath

# Files that only hold secrets.
_SECRET_FILES = frozenset(
    (".pypirc", ".netrc", "_netrc", ".git-credentials", ".dockercfg", ".pgpass", "id_rsa", "id_dsa", "id_ecdsa")
) | {"id_ed25519"}
_SECRET_PATHS = (".aws/credentials", ".docker/config.json", ".config/gcloud/credentials.db")
_ENVIRONMENT = re.compile(r"\.env(\.(?!example$|sample$|template$|dist$|schema$|test$)[A-Za-z0-9_-]+)?")

_LEFTOVERS = frozenset(
    ("__pycache__", ".git", ".hg", ".svn", ".venv", "node_modules", ".tox", ".nox", ".mypy_cache", ".pytest_cache")
) | {".ruff_cache", ".hypothesis", ".ipynb_checkpoints", ".eggs"}
_LEFTOVER_FILES = frozenset((".DS_Store", ".coverage", "pyvenv.cfg"))
_LEFTOVER_SUFFIXES = (".pyc", ".pyo")

_DISTINCT = 10  # different characters: a token has as many, an example such as 12341234 has fewer
_LONG = 30

# A private key, with its content: programs that read keys have the first line alone.
_KEY = (
    rb"-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?-----(?:\s|\\[rn])+(?:[A-Za-z-]+: [^\n]*\n\s*)*"
    rb"(?P<body>(?:[A-Za-z0-9+/=]|\s|\\[rn]){64})"
)
# The form of each secret, with a text that every such secret has: a search for that text is fast. `body` is random.
_SECRETS = (
    ("a private key", b"PRIVATE KEY", _KEY),
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


def secret_file(member: str) -> str:
    """Return "a file for secrets" for the name of such a file (`/` between folders), else ""."""
    name = PurePosixPath(member).name
    is_known = name in _SECRET_FILES or _ENVIRONMENT.fullmatch(name) or member.endswith(_SECRET_PATHS)
    return "a file for secrets" if is_known else ""


def leftover(member: str) -> str:
    """Return the part of a member's path that is a cache or an environment of a tool; "" if there is none."""
    path = PurePosixPath(member)
    is_file = path.name in _LEFTOVER_FILES or path.suffix in _LEFTOVER_SUFFIXES
    return next((part for part in path.parts if part in _LEFTOVERS), path.name if is_file else "")


def secret(content: bytes) -> str:
    """Return which secret a text has, and in which line; "" if no known one is in it."""
    for what, mark, pattern in _SECRETS:
        for match in re.finditer(pattern, content) if mark in content else ():
            if _is_random(match["body"]):
                line = content.count(b"\n", 0, match.start()) + 1
                return f"{what}, line {line}"
    return ""


def _is_random(body: bytes) -> bool:
    """Return whether it may be a token: many different letters, of each kind if it is long, and no example."""
    text = re.sub(rb"\s|\\[rn]", b"", body).decode("ascii", "replace")
    kinds = (any(map(str.isupper, text)), any(map(str.islower, text)), any(map(str.isdigit, text)))
    enough_kinds = sum(kinds) >= (2 if len(text) < _LONG else 3)
    return len(set(text)) >= _DISTINCT and enough_kinds and "example" not in text.lower()
