"""Check that a release can be uploaded, read and installed, comes out as it went in, and can't be replaced.

This happens only if `--expect` asks for it, with a project that no team has (`ppmctl.doctor.probe`). Its release is
removed by playbooks/self_check.yml.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import certifi

from ppmctl import regular_file
from ppmctl.client.credential import Credential
from ppmctl.client.http import Answer
from ppmctl.client.simple_api import ACCEPT, parse_names, parse_page
from ppmctl.client.upload import wheel_form
from ppmctl.doctor import probe, programs
from ppmctl.doctor.finding import Context, Finding
from ppmctl.doctor.probe import PROJECT, Probe
from ppmctl.doctor.promises import CREDENTIALS, answered, unexpected, wrong_secret
from ppmctl.doctor.sample_project import Sample
from ppmctl.secret import Secret

_LIST_SECONDS = 5.0  # a new project is in the list within two
_PIP_SECONDS = 120.0
_REBUILD = "On the host: ppmctl index check  shows what is wrong, ppmctl index rebuild  writes the pages again."
_QUOTED = 6  # lines of pip's output
# pip with the address override of `network.address_override`
_PIP = (
    "import runpy, socket, sys\n"
    "host, at, ask = sys.argv.pop(1), sys.argv.pop(1), socket.getaddrinfo\n"
    "socket.getaddrinfo = lambda name, *a, **k: ask(at if at and name == host else name, *a, **k)\n"
    "runpy.run_module('pip', run_name='__main__', alter_sys=True)\n"
)


def refusals(context: Context) -> Iterator[Finding]:
    """Upload without a credential and with a wrong one; not the probe, which must still be new afterwards."""
    user = context.credential.username if context.credential else ""
    asked = (
        (f"401 for an upload {how}", _upload(context, _another(context), sent))
        for how, sent in (("without a credential", None), ("with a wrong secret", wrong_secret(user)))
    )
    yield answered("refusals", asked, "401 for an upload without a credential, and with a wrong secret", CREDENTIALS)


def check(context: Context) -> Iterator[Finding]:
    """Publish the probe and read its page; later checks find it as `context.shared["probe"]`."""
    made = probe.make(context.promised.publish)
    answer = _upload(context, made, context.credential)
    if answer.status != 200:
        yield unexpected("publish", answer, "200 for a publisher's upload", CREDENTIALS)
        return
    context.shared["probe"] = made
    yield Finding("publish", "ok", f"{made.filename} was uploaded")
    again = _upload(context, probe.make(context.promised.publish), context.credential)
    asked = [("409 for the same file name with other content", again)]
    yield answered("immutable", asked, "the same file name with other content is answered 409", CREDENTIALS)
    yield _listed(context)
    yield _pages(context, made)


def reader(context: Context) -> Iterator[Finding]:
    """Check that a reader's token can read and not upload, and neither after it was revoked."""
    body = json.dumps({"name": f"reader-{secrets.token_hex(4)}", "role": "reader", "expires": "10m"})
    headers = {"Content-Type": "application/json"}
    answer = context.request("POST", "/api/tokens", context.credential, headers=headers, data=body)
    if answer.status != 201:
        yield unexpected("reader", answer, "201 for a reader's token")
        return
    token = json.loads(answer.body)
    credential = Credential(username=token["name"], secret=Secret(token["secret"]), source="the index")
    try:
        read = context.get("/simple/", credential, Accept=ACCEPT)
        upload = _upload(context, _another(context), credential)
        asked = [("200 for a reader at /simple/", read), ("403 for a reader's upload", upload)]
        hint = f"{CREDENTIALS} journalctl -u ppm.service  shows more."
        yield answered("reader", asked, "a reader gets the list of projects, and 403 for an upload", hint)
    finally:
        revoked = context.request("DELETE", f"/api/tokens/{credential.username}", context.credential)
    wanted = "401 for a token that was revoked"
    asked = [("200 for its revocation", revoked), (wanted, _upload(context, _another(context), credential))]
    if not context.promised.is_public:
        asked.append((wanted, context.get(f"/simple/{PROJECT}/", credential)))
    hint = f"On the host: ppmctl token revoke {credential.username}; systemctl restart ppm.service"
    yield answered("revoked", asked, "a token that was revoked is answered 401 from the next request on", hint)


def install(context: Context) -> Iterator[Finding]:
    """Install the probe with pip, from this index only; the credential is in no argument, log or URL."""
    made, host, address = context.shared["probe"], context.address.host, context.promised.address
    with tempfile.TemporaryDirectory(prefix="ppmctl-") as name:
        folder = Path(name)
        command = [context.promised.python or sys.executable, "-c", _PIP, host, address, "--isolated", "install"]
        command += ["--no-input", "--no-cache-dir", "--retries", "0", "--timeout", "30", "--no-deps"]
        command += ["--only-binary", ":all:", "--index-url", context.address.simple, "--target", f"{folder}/target"]
        command += [] if context.address.is_encrypted else ["--trusted-host", host]
        environ = {"NETRC": str(folder / "netrc"), "PIP_CONFIG_FILE": os.devnull}
        if own := context.environ.get("SSL_CERT_FILE"):  # pip takes one list instead of all others
            bundle = folder / "authorities.pem"
            bundle.write_bytes(b"".join(regular_file.read(Path(path)) for path in (certifi.where(), own)))
            environ["REQUESTS_CA_BUNDLE"] = str(bundle)
        (folder / "netrc").touch(mode=0o600)
        if (sent := context.credential) is not None:
            line = f"machine {host} login {sent.username} password {sent.secret.reveal()}\n"
            (folder / "netrc").write_text(line)
        result = programs.run([*command, f"{PROJECT}=={made.version}"], context, timeout=_PIP_SECONDS, **environ)
        module = folder / "target" / f"{probe.MODULE}.py"
        if result.code != 0:
            lines = [" ".join(line.split()) for line in result.output.splitlines() if line.strip()]
            hint = "Repair first what is wrong above; else pip reports what it needs."
            yield Finding("install", "fail", f"{command[0]} -m pip fails: {' | '.join(lines[-_QUOTED:])}", hint)
        elif not module.is_file() or module.read_bytes() != made.module:
            hint = "Another index or a cache answered pip."
            yield Finding("install", "fail", "what pip installed is not what was uploaded", hint)
        else:
            yield Finding("install", "ok", "pip installs it from this index alone")


def removed(context: Context) -> Iterator[Finding]:
    """Check that removed releases are not on the page nor on the disk, and not looked for on another index."""
    for version in context.promised.removed:
        yield _removed(context, probe.make(version))


def _upload(context: Context, made: Probe, credential: Credential | None) -> Answer:
    fields = {"metadata_version": "2.1", "name": PROJECT, "version": made.version}
    form = wheel_form(made.filename, made.content, fields)
    headers = {"Content-Type": form.content_type}
    return context.request("POST", "/", credential, headers=headers, data=form.to_string())


def _another(context: Context) -> Probe:
    """Return another release than the probe, for uploads that must be refused."""
    return probe.make(f"{context.promised.publish}.post1")


def _listed(context: Context) -> Finding:
    until = time.monotonic() + _LIST_SECONDS
    while True:
        answer = context.get("/simple/", context.credential, Accept=ACCEPT)
        if PROJECT in parse_names(answer.body, content_type=answer.content_type, url=answer.url):
            return Finding("listed", "ok", f"/simple/ names {PROJECT}")
        if time.monotonic() > until:
            return Finding("listed", "fail", f"/simple/ does not name {PROJECT}", _REBUILD)
        time.sleep(0.5)


def _pages(context: Context, made: Probe) -> Finding:
    """Check what both forms of the page say about the file, and that they link to it on this index."""
    sample = Sample(context, PROJECT)
    for form, answer in (("JSON", sample.json), ("HTML", sample.html)):
        if answer.status != 200:
            return unexpected("page", answer, f"200 for {sample.url} as {form}")
        file = parse_page(answer.body, content_type=answer.content_type, url=answer.url).file(made.filename)
        fault = ""
        if file is None:
            fault = f"{made.filename} is not on it"
        elif file.url.partition("#")[0] != f"{context.address.base}{made.path}":
            fault = f"its link is {file.url} instead of {context.address.base}{made.path}"
        elif file.sha256 != made.sha256:
            fault = "the SHA-256 on it is not that of what was uploaded"
        elif file.core_metadata != hashlib.sha256(made.metadata).hexdigest():
            fault = "the SHA-256 of the metadata is not that of what is in the wheel"
        if fault:
            return Finding("page", "fail", f"the page in {form}: {fault}", _REBUILD)
    return Finding("page", "ok", "its page has the file with its SHA-256 and that of its metadata, in JSON and HTML")


def _removed(context: Context, made: Probe) -> Finding:
    answer = context.get(f"/simple/{PROJECT}/", context.credential, Accept=ACCEPT)
    if answer.status != 200:
        return unexpected("removed", answer, "200 for the page of a project that had files", _REBUILD)
    if parse_page(answer.body, content_type=answer.content_type, url=answer.url).file(made.filename):
        by_hand = f"On the host: ppmctl package remove {PROJECT} {made.version} --yes"
        return Finding("removed", "fail", f"{made.filename} is still on its page", by_hand)
    paths = (made.path, f"{made.path}.metadata")
    asked = ((f"404/410 for {path}", context.get(path, context.credential)) for path in paths)
    ok = f"{made.filename} is not on its page, is answered 404, and not looked for on another index"
    return answered("removed", asked, ok, _REBUILD)
