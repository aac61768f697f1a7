"""The probe is installed by pip, as a developer would, into a folder that goes again."""

from __future__ import annotations

import contextlib
import os
import ssl
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

from self_check import tls
from self_check.findings import Verdict, good, untried, wrong
from self_check.forwarder import forwarding
from self_check.look import Look
from self_check.probe import MODULE
from self_check.settings import PROJECT, READER, Credential

SECONDS = 120
_QUOTED = 6  # lines of what pip says
_IDLE = ("Looking in indexes", "Collecting ")
# requests prefers these to --cert
_BUNDLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")


def installed(look: Look) -> Verdict:
    """pip gets it with a credential from a netrc file, which is in no argument, log or URL."""
    if not look.pip_may:
        return untried("pip would refuse the server's certificate (above)")
    python = look.settings.python
    if not _has_pip(python):
        return wrong(
            f"{python} has no pip",
            "apt-get install python3-pip, or name a Python that has it: -e self_check_python=/path/to/python",
        )
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ppm-self-check-")))
        goal = folder / "installed"
        command = [python, "-m", "pip", "--isolated", "install", "--disable-pip-version-check", "--no-input"]
        command += ["--no-cache-dir", "--retries", "0", "--timeout", "30", "--no-deps", "--only-binary", ":all:"]
        command += ["--index-url", f"{look.base}simple/", "--target", str(goal)]
        if look.index.scheme == "http":
            command += ["--trusted-host", look.index.domain]
        elif authorities := tls.bundle(look.settings):
            command += ["--cert", str(_bundle(folder, authorities))]
        if look.settings.address:
            command += ["--proxy", stack.enter_context(forwarding(look.index.domain, look.index.address))]
        command += [f"{PROJECT}=={look.probe.version}"]
        netrc = _netrc(folder, look.index.domain, look.credentials[READER])
        try:
            done = _run(command, environment(os.environ, netrc, has_bundle="--cert" in command))
        except subprocess.TimeoutExpired:
            return wrong(f"pip was not done after {SECONDS} seconds", "On the host: tail /var/log/nginx/error.log.")
        if done.returncode:
            lines = [" ".join(line.split()) for line in done.stdout.splitlines()]
            said = " | ".join([line for line in lines if line and not line.startswith(_IDLE)][-_QUOTED:])
            return wrong(f"pip fails: {said}", "What is wrong above comes first; else pip itself says what it lacks.")
        module = goal / f"{MODULE}.py"
        if not module.is_file() or module.read_bytes() != look.probe.module:
            return wrong("what pip installed is not what was uploaded", "Another index or a cache answered pip.")
    return good("pip installs it from this index alone")


def environment(inherited: Mapping[str, str], netrc: Path, *, has_bundle: bool) -> dict[str, str]:
    """pip's: without this user's own settings of pip and of proxies, and with the credential's file."""
    kept = {
        name: value
        for name, value in inherited.items()
        if not name.startswith(("PIP_", "PYTHON"))
        and not name.lower().endswith("_proxy")
        and not (has_bundle and name in _BUNDLES)
    }
    return kept | {"NETRC": str(netrc), "PIP_CONFIG_FILE": os.devnull}


def _netrc(folder: Path, domain: str, credential: Credential) -> Path:
    path = folder / "netrc"
    path.touch(mode=0o600)
    path.write_text(f"machine {domain} login {credential.name} password {credential.secret}\n", encoding="ascii")
    return path


def _bundle(folder: Path, authorities: str) -> Path:
    """These and the system's: pip takes the file instead of the latter."""
    path = folder / "authorities.pem"
    system = ssl.get_default_verify_paths().cafile
    path.write_text((Path(system).read_text(encoding="utf-8") if system else "") + authorities, encoding="utf-8")
    return path


def _has_pip(python: str) -> bool:
    try:
        return _run([python, "-m", "pip", "--version"], os.environ).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def _run(command: list[str], environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        timeout=SECONDS,
        check=False,
        cwd=tempfile.gettempdir(),
    )
