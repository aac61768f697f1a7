"""A release goes in, is on its pages, comes out as it went in, is installed by pip, and can't be replaced.

Only when asked, and of a project that no team has (`ppmctl.doctor.probe`). Who asks removes it:
playbooks/self_check.yml.
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

from ppmctl.client.credential import Credential
from ppmctl.client.http import Answer
from ppmctl.client.simple_api import ACCEPT, parse_names, parse_page
from ppmctl.doctor import probe
from ppmctl.doctor.client_model import run
from ppmctl.doctor.finding import Finding, Visit
from ppmctl.doctor.probe import PROJECT, Probe
from ppmctl.doctor.promises import CREDENTIALS, answered, unexpected, wrong_secret
from ppmctl.doctor.sample_project import Sample
from ppmctl.secret import Secret

_LIST_SECONDS = 5.0  # the list of projects may follow a new project within two
_PIP_SECONDS = 120.0
_REBUILD = "On the host: ppmctl index check  says what is wrong, ppmctl index rebuild  writes the pages again."
_QUOTED = 6  # lines of what pip says
# pip with the index's host led to one address, as the doctor that starts it has it
_PIP_AT = (
    "import runpy, socket, sys\n"
    "host, at, ask = sys.argv.pop(1), sys.argv.pop(1), socket.getaddrinfo\n"
    "socket.getaddrinfo = lambda name, *a, **k: ask(at if at and name == host else name, *a, **k)\n"
    "runpy.run_module('pip', run_name='__main__', alter_sys=True)\n"
)


def refusals(visit: Visit) -> Iterator[Finding]:
    """Uploads without a credential, and with a wrong one; should such a one go in, it is another release."""
    known = visit.credential.username if visit.credential else ""
    asked = (
        (f"401 for an upload by {by}", _upload(visit, _other(visit), shown))
        for by, shown in (("nobody", None), ("a wrong secret", wrong_secret(known)))
    )
    yield answered("refusals", asked, "401 for an upload by nobody, and with a wrong secret", CREDENTIALS)


def check(visit: Visit) -> Iterator[Finding]:
    """Publish the probe and read it back; `visit.remembered` has it then."""
    made = probe.make(visit.promised.publish)
    answer = _upload(visit, made, visit.credential)
    if answer.status != 200:
        yield unexpected("publish", answer, "200 for a publisher's upload", CREDENTIALS)
        return
    visit.remembered["probe"] = made
    yield Finding("publish", "ok", f"{made.filename} was uploaded")
    again = _upload(visit, probe.make(visit.promised.publish), visit.credential)
    asked = [("409 for the same file name with other content", again)]
    yield answered("immutable", asked, "the same file name with other content is answered 409", CREDENTIALS)
    yield _listed(visit)
    yield _pages(visit, made)


def reader(visit: Visit) -> Iterator[Finding]:
    """A reader's token reads and may not upload; once it is revoked it does neither."""
    body = json.dumps({"name": f"reader-{secrets.token_hex(4)}", "role": "reader", "expires": "10m"})
    headers = {"Content-Type": "application/json"}
    answer = visit.request("POST", "/api/tokens", visit.credential, headers=headers, data=body)
    if answer.status != 201:
        yield unexpected("reader", answer, "201 for a reader's token")
        return
    made = json.loads(answer.body)
    shown = Credential(username=made["name"], secret=Secret(made["secret"]), source="the index")
    mend = f"{CREDENTIALS} journalctl -u ppm.service  says more."
    try:
        may = [("200 for a reader at /simple/", visit.get("/simple/", shown, Accept=ACCEPT))]
        may.append(("403 for a reader's upload", _upload(visit, _other(visit), shown)))
        yield answered("reader", may, "a reader gets the list of projects, and 403 for an upload", mend)
    finally:
        revoked = visit.request("DELETE", f"/api/tokens/{shown.username}", visit.credential)
    wanted = "401 for a token that was revoked"
    none = [("200 for its revocation", revoked), (wanted, _upload(visit, _other(visit), shown))]
    if not visit.promised.is_public:
        none.append((wanted, visit.get(f"/simple/{PROJECT}/", shown)))
    mend = f"On the host: ppmctl token revoke {shown.username}; systemctl restart ppm.service"
    yield answered("revoked", none, "a token that was revoked is answered 401 from the next request on", mend)


def install(visit: Visit) -> Iterator[Finding]:
    """pip gets it, from this index alone, with a credential that is in no argument, log or URL."""
    made, expected, host = visit.remembered["probe"], visit.promised, visit.address.host
    with tempfile.TemporaryDirectory(prefix="ppmctl-") as name:
        folder = Path(name)
        command = [expected.python or sys.executable, "-c", _PIP_AT, host, expected.address, "--isolated", "install"]
        command += ["--no-input", "--no-cache-dir", "--retries", "0", "--timeout", "30", "--no-deps"]
        command += ["--only-binary", ":all:", "--index-url", visit.address.simple, "--target", f"{folder}/there"]
        command += [] if visit.address.is_encrypted else ["--trusted-host", host]
        environ = {"NETRC": str(folder / "netrc"), "PIP_CONFIG_FILE": os.devnull}
        if own := visit.environ.get("SSL_CERT_FILE"):  # pip takes one list instead of all others
            bundle = folder / "authorities.pem"
            bundle.write_text("".join(Path(path).read_text(encoding="utf-8") for path in (certifi.where(), own)))
            environ["REQUESTS_CA_BUNDLE"] = str(bundle)
        (folder / "netrc").touch(mode=0o600)
        if (shown := visit.credential) is not None:
            line = f"machine {host} login {shown.username} password {shown.secret.reveal()}\n"
            (folder / "netrc").write_text(line)
        ran = run([*command, f"{PROJECT}=={made.version}"], visit, patience=_PIP_SECONDS, **environ)
        module = folder / "there" / f"{probe.MODULE}.py"
        if ran.code != 0:
            lines = [" ".join(line.split()) for line in ran.output.splitlines() if line.strip()]
            mend = "What is wrong above comes first; else pip itself says what it lacks."
            yield Finding("install", "fail", f"{command[0]} -m pip fails: {' | '.join(lines[-_QUOTED:])}", mend)
        elif not module.is_file() or module.read_bytes() != made.module:
            mend = "Another index or a cache answered pip."
            yield Finding("install", "fail", "what pip installed is not what was uploaded", mend)
        else:
            yield Finding("install", "ok", "pip installs it from this index alone")


def removed(visit: Visit) -> Iterator[Finding]:
    """What the host removed is off its page and the disk, and its project is not looked for elsewhere."""
    for version in visit.promised.removed:
        yield _gone(visit, probe.make(version))


def _upload(visit: Visit, made: Probe, shown: Credential | None) -> Answer:
    form = made.form
    headers = {"Content-Type": form.content_type}
    return visit.request("POST", "/", shown, headers=headers, data=form.to_string())


def _other(visit: Visit) -> Probe:
    """Return what must not go in: another release, so that the probe itself still can."""
    return probe.make(f"{visit.promised.publish}.post1")


def _listed(visit: Visit) -> Finding:
    until = time.monotonic() + _LIST_SECONDS
    while True:
        answer = visit.get("/simple/", visit.credential, Accept=ACCEPT)
        if PROJECT in parse_names(answer.body, content_type=answer.content_type, url=answer.url):
            return Finding("listed", "ok", f"/simple/ names {PROJECT}")
        if time.monotonic() > until:
            return Finding("listed", "fail", f"/simple/ does not name {PROJECT}", _REBUILD)
        time.sleep(0.5)


def _pages(visit: Visit, made: Probe) -> Finding:
    """Both forms of the page say the same of the file, and link to it on this index."""
    sample = Sample(visit, PROJECT)
    for form, answer in (("JSON", sample.json), ("HTML", sample.html)):
        if answer.status != 200:
            return unexpected("page", answer, f"200 for {sample.url} as {form}")
        found = parse_page(answer.body, content_type=answer.content_type, url=answer.url).file(made.filename)
        wrong = ""
        if found is None:
            wrong = f"{made.filename} is not on it"
        elif found.url.partition("#")[0] != f"{visit.address.base}{made.path}":
            wrong = f"its link is {found.url} instead of {visit.address.base}{made.path}"
        elif found.sha256 != made.sha256:
            wrong = "the SHA-256 on it is another than that of what was uploaded"
        elif found.core_metadata != hashlib.sha256(made.metadata).hexdigest():
            wrong = "the SHA-256 of the metadata is not that of what is in the wheel"
        if wrong:
            return Finding("page", "fail", f"the page in {form}: {wrong}", _REBUILD)
    return Finding("page", "ok", "its page has the file with its SHA-256 and that of its metadata, in JSON and HTML")


def _gone(visit: Visit, made: Probe) -> Finding:
    answer = visit.get(f"/simple/{PROJECT}/", visit.credential, Accept=ACCEPT)
    if answer.status != 200:
        return unexpected("removed", answer, "200 for the page of a project that was here", _REBUILD)
    if parse_page(answer.body, content_type=answer.content_type, url=answer.url).file(made.filename):
        by_hand = f"On the host: ppmctl package remove {PROJECT} {made.version} --yes"
        return Finding("removed", "fail", f"{made.filename} is still on its page", by_hand)
    paths = (made.path, f"{made.path}.metadata")
    asked = ((f"404/410 for {path}", visit.get(path, visit.credential)) for path in paths)
    ok = f"{made.filename} is off its page, 404, and not looked for elsewhere"
    return answered("removed", asked, ok, _REBUILD)
