"""Secrets and caches are recognised by name and content, and what only looks like them is not."""

from __future__ import annotations

import base64
import hashlib
import string

import pytest

from ppmctl.publishing import secret_patterns


def made_up(length: int, letters: str = string.ascii_letters + string.digits) -> str:
    """Return a text that looks random. It is nobody's token, and no scanner finds it in this file."""
    digest = b"".join(hashlib.sha512(bytes([number])).digest() for number in range(4))
    return "".join(letters[byte % len(letters)] for byte in digest)[:length]


def key(kind: str = "RSA ", *, newline: str = "\n", head: str = "") -> str:
    body = base64.b64encode(hashlib.sha512(b"x").digest() * 3).decode()
    lines = [f"-----BEGIN {kind}PRIVATE KEY-----", *([head, ""] if head else []), body[:64], body[64:128], body[128:]]
    return newline.join(lines)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        (f"token = 'ppm_{made_up(43)}'", "a token of a ppm index, line 1"),
        (f"\n\nppm_join_{made_up(32)}\n", "a token of a ppm index, line 3"),
        (f"password = pypi-AgE{made_up(120)}", "a PyPI token"),
        (f"GH_TOKEN=ghp_{made_up(36)}", "a GitHub token"),
        (f"github_pat_{made_up(22)}_{made_up(59)}", "a GitHub token"),
        (f"glpat-{made_up(20)}", "a GitLab token"),
        (f"//registry.test/:_authToken={made_up(36)}", "an npm token"),
        (f"xoxb-123456789012-{made_up(24)}", "a Slack token"),
        (f"sk_live_{made_up(24)}", "a Stripe key"),
        (f"sk-ant-api03-{made_up(93)}", "an Anthropic key"),
        (f'aws_secret_access_key = "{made_up(40)}"', "an AWS secret key"),
        (key(), "a private key"),
        (key(""), "a private key"),
        (key("OPENSSH ", newline="\r\n"), "a private key"),
        (f"KEY = '{key('EC ', newline=chr(92) + 'n')}'", "a private key"),
        (key(head="Proc-Type: 4,ENCRYPTED"), "a private key"),
    ],
)
def test_a_secret_is_recognised_and_not_repeated(text: str, what: str) -> None:
    result = secret_patterns.secret(text.encode())
    assert result.startswith(what)
    assert made_up(12) not in result


def test_a_private_key_after_a_placeholder_is_recognised() -> None:
    text = f"-----BEGIN PRIVATE KEY-----\n{'x' * 64}\n{key()}"
    assert secret_patterns.secret(text.encode()) == "a private key, line 3"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ppm_something_that_is_a_name_of_a_project = 1",
        "ppm_another_function_with_a_long_name()",
        "ppm_" + "x" * 43,
        "file ppm_env_NAME-N-py3-none-any.whl",
        f"ppm_{made_up(44)}",
        "ghp_" + "x" * 36,
        "ghp_" + "1234567890" * 4,
        "pypi-AgEIcHlwaS5vcmc...",
        "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
        "aws_secret_access_key = wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
        'if line == "-----BEGIN PRIVATE KEY-----":\n    body = read_lines_until_the_end_of_it(file)\n',
        "-----BEGIN PRIVATE KEY-----\n...\n-----END PRIVATE KEY-----\n",
        "-----BEGIN PUBLIC KEY-----\n" + made_up(64),
        "-----BEGIN CERTIFICATE-----\n" + made_up(64),
        hashlib.sha256(b"x").hexdigest(),
        'PREFIX = "ppm_"  # and then 43 letters',
    ],
)
def test_a_placeholder_name_or_example_is_not_a_secret(text: str) -> None:
    assert secret_patterns.secret(text.encode()) == ""


@pytest.mark.parametrize(
    ("name", "is_one"),
    [
        ("demo-1.0/.env", True),
        (".env.production", True),
        ("a/.env.example", False),
        ("a/env.py", False),
        (".pypirc", True),
        ("x/.netrc", True),
        ("keys/id_rsa", True),
        ("keys/id_ed25519", True),
        ("keys/id_rsa.pub", False),
        ("home/.aws/credentials", True),
        ("demo/credentials.py", False),
    ],
)
def test_files_for_secrets_are_recognised_by_name(name: str, is_one: bool) -> None:
    assert bool(secret_patterns.secret_file(name)) is is_one


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("demo/__pycache__/a.cpython-311.pyc", "__pycache__"),
        ("demo/a.pyc", "a.pyc"),
        ("demo-1.0/.git/config", ".git"),
        ("demo-1.0/.gitignore", ""),
        ("demo-1.0/.github/workflows/x.yml", ""),
        ("demo-1.0/.venv/bin/python", ".venv"),
        ("demo-1.0/env/pyvenv.cfg", "pyvenv.cfg"),
        ("demo/static/node_modules/x/index.js", "node_modules"),
        ("demo/.DS_Store", ".DS_Store"),
        ("demo/venv.py", ""),
        ("demo/build/__init__.py", ""),
    ],
)
def test_caches_and_environments_are_recognised_by_path(name: str, what: str) -> None:
    assert secret_patterns.leftover(name) == what
