"""Tests of `ppmctl login`, `logout` and `whoami` on a user's machine, with a real keyring and a real netrc."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from support import checkout, readme, wheels
from support.clients import BIN, Machine, machine
from support.foreign import foreign
from support.servers import PPMCTL, Server, ppmctl
from support.terminals import on_a_terminal, read_until

from ppmctl import __version__

OTHERS = "machine other.test login me password mine\ndefault login anonymous password me@here\n"


@pytest.fixture
def desk(tmp_path: Path) -> Machine:
    """Return a user's computer, with a keyring (in a file, as there is no desktop) and a netrc with an entry."""
    made = machine(tmp_path / "home")
    (made.home / ".netrc").write_text(OTHERS)
    (made.home / ".netrc").chmod(0o600)
    (made.home / ".config").mkdir()
    keyring = {"PYTHON_KEYRING_BACKEND": "keyrings.alt.file.PlaintextKeyring"}
    return Machine(home=made.home, environ={**made.environ, **keyring, "XDG_DATA_HOME": str(made.home / "data")})


def run(
    desk: Machine, *arguments: str | Path, expect: int = 0, stdin: str = "", **environ: str
) -> subprocess.CompletedProcess[str]:
    """Run ppmctl on the machine, with `stdin` on its stdin."""
    words = (str(argument) for argument in arguments)
    return ppmctl(*words, expect=expect, env={**desk.environ, **environ}, cwd=desk.home, input=stdin)


def add(server: Server, name: str, role: str, *options: str) -> str:
    return ppmctl("user", "add", name, "--role", role, *options, "--root", str(server.root)).stdout.strip()


def invite(server: Server, name: str, *options: str) -> str:
    return ppmctl("user", "invite", name, *options, "--root", str(server.root)).stdout.strip()


def in_keyring(desk: Machine, service: str, username: str) -> str:
    """Return the secret that the keyring's command prints."""
    return desk.run(BIN / "keyring", "get", service, username, expect=None).output.strip()


def files(desk: Machine) -> dict[str, bytes]:
    """Return all files of the machine, without the keyring's."""
    paths = (path for path in desk.home.rglob("*") if path.is_file())
    return {str(path): path.read_bytes() for path in paths if "python_keyring" not in str(path)}


def test_login_whoami_and_logout(index: Server, desk: Machine) -> None:
    """The credential is stored in the keyring and in netrc; the index is the default; logout restores everything."""
    secret = add(index, "lena", "publisher", "--project", "lena-*", "--expires", "90d")
    before = files(desk)
    done = run(desk, "login", f"{index.url}/simple/", "--netrc", stdin=f"lena:{secret}\n")
    assert "lena is a publisher of lena-*, until 20" in done.stderr
    assert "the keyring and" in done.stderr
    assert secret not in done.stdout + done.stderr
    for service in (f"{index.url}/simple/", f"{index.url}/legacy/"):
        assert in_keyring(desk, service, "lena") == secret
    netrc = desk.home / ".netrc"
    assert netrc.read_text() == f"machine 127.0.0.1 login lena password {secret}\n{OTHERS}"
    assert netrc.stat().st_mode & 0o777 == 0o600
    remembered = desk.home / ".config" / "ppmctl" / "logins.json"
    assert secret not in remembered.read_text()
    assert remembered.stat().st_mode & 0o777 == 0o600
    who = json.loads(run(desk, "whoami", "--json", NETRC="/dev/null").stdout)
    assert (who["index"], who["name"], who["role"], who["source"]) == (index.url, "lena", "publisher", "the keyring")
    assert who["projects"] == ["lena-*"]
    assert "lena is a publisher of lena-*" in run(desk, "whoami").stdout
    assert f"index-url = {index.url}/simple/" in run(desk, "client-config", "pip").stdout
    name, content = wheels.wheel("lena-maps", "1.0")
    (desk.home / name).write_bytes(content)
    assert "published" in run(desk, "publish", name, NETRC="/dev/null").stdout
    (desk.home / name).unlink()
    assert "lena-maps" in run(desk, "package", "list").stdout
    assert "deleted from the keyring and" in run(desk, "logout").stderr
    assert files(desk) == before
    kept = json.loads(run(desk, "login", index.url, "--json", "--netrc", stdin=f"lena:{secret}\n").stdout)
    assert (kept["index"], kept["name"], kept["role"]) == (index.url, "lena", "publisher")
    assert kept["kept_in"] == {"keyring": True, "netrc": str(netrc)}
    gone = json.loads(run(desk, "logout", "--json").stdout)
    places = {"keyring": True, "netrc": str(netrc)}
    assert gone == {"index": index.url, "name": "lena", "revoked": [], "taken_out_of": places}
    assert files(desk) == before
    assert not (desk.home / ".config" / "ppmctl").exists()
    for service in (f"{index.url}/simple/", f"{index.url}/legacy/"):
        assert secret not in in_keyring(desk, service, "lena")
    keyring_file = desk.home / "data" / "python_keyring" / "keyring_pass.cfg"
    assert "lena" not in keyring_file.read_text()
    assert "No index is specified" in run(desk, "whoami", expect=2).stderr
    assert "You are not logged in" in run(desk, "logout", index.url, expect=1).stderr
    assert "You are not logged in" in run(desk, "logout", expect=1).stderr
    assert "--index" not in run(desk, "login", expect=2).stderr


def test_pip_uv_and_twine_read_the_keyring_of_login(index: Server, desk: Machine) -> None:
    """As documented: pip and uv with the index's URL and a user name in it, twine with the upload URL."""
    secret = add(index, "kim+desk", "publisher")
    run(desk, "login", index.url, stdin=f"kim+desk:{secret}\n")
    name, content = wheels.wheel("kims", "1.0")
    (desk.home / name).write_bytes(content)
    upload = (sys.executable, "-m", "twine", "upload", "--non-interactive", "-u", "kim+desk")
    desk.run(*upload, "--repository-url", f"{index.url}/legacy/", desk.home / name, NETRC="/dev/null")
    named = index.url.replace("://", "://kim%2Bdesk@") + "/simple/"
    pip = (sys.executable, "-m", "pip", "download", "--no-input", "--no-deps", "--retries", "0", "--index-url", named)
    desk.run(*pip, "--keyring-provider", "import", "-d", desk.home / "got", "kims", NETRC="/dev/null")
    assert (desk.home / "got" / name).read_bytes() == content
    desk.run(sys.executable, "-m", "venv", "--without-pip", desk.home / "venv")
    uv = (BIN / "uv", "pip", "install", "--python", desk.home / "venv", "--keyring-provider", "subprocess")
    desk.run(*uv, "--default-index", named, "kims", NETRC="/dev/null")


def test_settings_of_client_config_use_the_keyring_of_login(index: Server, desk: Machine) -> None:
    """The printed settings: pip and uv run the command `keyring`; the line for netrc gets the secret from it."""
    secret = add(index, "pat+desk", "publisher")
    run(desk, "login", index.url, stdin=f"pat+desk:{secret}\n")
    name, content = wheels.wheel("pats", "1.0")
    assert index.upload((name, content)).status_code == 200
    asks = {"NETRC": "/dev/null", "PATH": f"{BIN}:{desk.environ['PATH']}"}
    printed = {client: run(desk, "client-config", client, "--form", "single") for client in ("pip", "uv")}
    printed |= {client: run(desk, "client-config", client) for client in ("twine", "netrc")}
    for client in ("pip", "uv"):
        assert "on PATH. Without that: " in printed[client].stderr
        (desk.home / f"{client}.conf").write_text(printed[client].stdout)
    pip = (sys.executable, "-m", "pip", "download", "--no-deps", "--retries", "0", "pats")
    desk.run(*pip, "-d", desk.home / "got", PIP_CONFIG_FILE=str(desk.home / "pip.conf"), **asks)
    assert (desk.home / "got" / name).read_bytes() == content
    desk.run(sys.executable, "-m", "venv", "--without-pip", desk.home / "venv")
    uv = (BIN / "uv", "pip", "install", "--reinstall", "--python", desk.home / "venv", "pats")
    desk.run(*uv, "--config-file", desk.home / "uv.conf", **asks)
    assert "in the keyring" in printed["twine"].stderr
    assert printed["netrc"].stdout == f"machine 127.0.0.1 login pat+desk password {secret}\n"
    beside = run(desk, "client-config", "uv", "--form", "explicit")
    (desk.home / "pyproject.toml").write_text(
        '[project]\nname = "x"\nversion = "1"\ndependencies = ["pats"]\nrequires-python = ">=3.11"\n'
        f"{beside.stdout}\n"
        '[tool.uv.sources]\npats = { index = "internal" }\n'
    )
    settings = dict(word.split("=") for word in beside.stderr.split() if word.startswith("UV_") and "=" in word)
    lock = desk.run(BIN / "uv", "lock", UV_NO_CONFIG="0", **settings, **asks)
    assert "Resolved 2" in lock.output


def test_login_with_an_invite_code(index: Server, desk: Machine) -> None:
    """Typed, piped and from a file; a second use is refused; logout can revoke the token."""
    code = invite(index, "jo", "--role", "reader")
    before = files(desk)
    refused = run(desk, "login", index.url, "--invite", code, "--purpose", "bad name", expect=1).stderr
    assert "'bad name' is not a purpose of a token" in refused
    assert "Only an index" not in refused
    done = run(desk, "login", index.url, "--invite", code, "--purpose", "laptop")
    assert "jo+laptop is a reader, without an end. Stored in the keyring." in done.stderr
    assert done.stdout == ""
    assert "used, withdrawn" in run(desk, "login", index.url, "--invite", code, expect=4).stderr
    assert "jo+laptop" in run(desk, "whoami").stdout
    secret = in_keyring(desk, f"{index.url}/simple/", "jo+laptop")
    assert index.get("/simple/", auth=("jo+laptop", secret)).status_code == 200
    assert "jo+laptop is revoked." in run(desk, "logout", "--revoke").stderr
    assert index.get("/simple/", auth=("jo+laptop", secret)).status_code == 401
    assert files(desk) == before
    done = run(desk, "login", index.url, "--invite", stdin=f"{invite(index, 'jo')}\n")
    assert "jo+" in done.stderr
    (desk.home / "code").write_text(f"{invite(index, 'jo')}\n")
    run(desk, "login", index.url, "--invite", f"@{desk.home / 'code'}", "--purpose", "desk")
    assert "jo+desk" in run(desk, "whoami").stdout, "the last login at an index is the one that counts"


def test_a_code_is_not_used_if_its_token_can_not_be_stored(index: Server, desk: Machine) -> None:
    """No keyring, and no terminal to ask about netrc; or a netrc with another entry for that host."""
    code = invite(index, "nora", "--role", "reader")
    none = {"PYTHON_KEYRING_BACKEND": "keyring.backends.fail.Keyring"}
    refused = run(desk, "login", index.url, "--invite", code, expect=4, **none)
    assert "--netrc stores it in ~/.netrc" in refused.stderr
    (desk.home / "mine").write_text("machine 127.0.0.1 login other password x\n")
    refused = run(desk, "login", index.url, "--netrc", "--invite", code, expect=2, NETRC=str(desk.home / "mine"))
    assert "has an entry for 127.0.0.1 already, of 'other'" in refused.stderr
    (desk.home / ".netrc").unlink()
    before = files(desk)
    run(desk, "login", index.url, "--netrc", "--invite", code, **none)
    assert "nora" in (desk.home / ".netrc").read_text()
    assert "a reader" in run(desk, "whoami", **none).stdout
    run(desk, "logout", **none)
    assert files(desk) == before, "a netrc that was made for it goes with it"


def test_a_wrong_credential_is_not_stored(index: Server, desk: Machine) -> None:
    before = files(desk)
    for given, expect in (("admin:ppm_wrong", 4), ("nobody", 4), ("", 4), (":x", 4)):
        done = run(desk, "login", index.url, "--netrc", stdin=given, expect=expect)
        assert "ppm_wrong" not in done.stdout + done.stderr
    assert "PPMCTL_TOKEN is set" in run(desk, "login", index.url, expect=4, PPMCTL_TOKEN="ppm_wrong").stderr
    assert "not the code of an invite" in run(desk, "login", "--invite", index.url, index.url, expect=2).stderr
    assert files(desk) == before


def test_login_reads_a_credential_from_the_sources_of_publish(index: Server, desk: Machine) -> None:
    secret = add(index, "rob", "reader")
    run(desk, "login", index.url, PPMCTL_USERNAME="rob", PPMCTL_TOKEN=secret)
    (desk.home / "credential").write_text(f"rob:{secret}\n")
    run(desk, "login", index.url, "--credential-file", desk.home / "credential")
    run(desk, "login", index.url, "--username", "rob", stdin=f"{secret}\n")
    assert in_keyring(desk, f"{index.url}/simple/", "rob") == secret
    other = add(index, "rob2", "reader")
    who = run(desk, "whoami", PPMCTL_USERNAME="rob2", PPMCTL_TOKEN=other)
    assert "rob2 is a reader" in who.stdout, "what is set for this once comes before a login"
    refused = run(desk, "logout", "--revoke", expect=2)
    assert "only an admin can revoke" in refused.stderr
    assert "rob is a reader" in run(desk, "whoami").stdout, "where it can't be revoked it is not forgotten"


def test_no_secret_is_sent_over_plain_http_unless_allowed(desk: Machine) -> None:
    """Nothing is sent: a connection to the missing host would give another error."""
    for arguments in (("login", "http://index.invalid"), ("login", "http://index.invalid", "--invite", "ppm_join_x")):
        done = run(desk, *arguments, expect=2, stdin="me:ppm_mine\n")
        assert "plain HTTP" in done.stderr
    done = run(desk, "login", "http://index.invalid", "--allow-http", expect=1, stdin="me:ppm_mine\n")
    assert "index.invalid" in done.stderr
    run(desk, "login", "http://index.invalid", expect=1, stdin="me:x\n", PPMCTL_TRUSTED_HOST="index.invalid")


def test_logout_deletes_an_expired_token(index: Server, desk: Machine) -> None:
    secret = add(index, "zoe+old", "reader")
    run(desk, "login", index.url, stdin=f"zoe+old:{secret}\n")
    ppmctl("token", "revoke", "zoe+old", "--root", str(index.root))
    refused = run(desk, "logout", "--revoke", expect=4).stderr
    assert "ppmctl logout  deletes it on this machine" in refused
    run(desk, "logout")


def test_the_last_login_is_the_default_index(index: Server, desk: Machine, serve: Callable[..., Server]) -> None:
    """The last login is the default; --index and PPMCTL_INDEX override it; a logout restores the previous one."""
    other = serve("--upstream", "none")
    run(desk, "login", index.url, stdin=f"admin:{index.secret}\n")
    before = files(desk)
    run(desk, "login", other.url, stdin=f"admin:{other.secret}\n")

    def index_in_use(*arguments: str, **environ: str) -> str:
        return str(json.loads(run(desk, "whoami", "--json", *arguments, **environ).stdout)["index"])

    assert index_in_use() == other.url
    assert index_in_use("--index", index.url) == index.url
    assert index_in_use(PPMCTL_INDEX=index.url) == index.url
    run(desk, "logout")
    assert index_in_use() == index.url
    assert files(desk) == before
    run(desk, "login", other.url, "--netrc", stdin=f"admin:{other.secret}\n")
    refused = run(desk, "login", index.url, "--netrc", stdin=f"admin:{index.secret}\n", expect=2)
    assert f"of the login at {other.url}" in refused.stderr, "netrc knows no ports"


def test_a_second_login_replaces_the_first(index: Server, desk: Machine) -> None:
    """With another name, and stored in fewer places: nothing of the first is left, and one logout deletes all."""
    first, second = add(index, "mia", "reader"), add(index, "mia+new", "reader")
    before = files(desk)
    run(desk, "login", index.url, "--netrc", stdin=f"mia:{first}\n")
    run(desk, "login", index.url, "--netrc", stdin=f"mia+new:{second}\n")
    assert (desk.home / ".netrc").read_text() == f"machine 127.0.0.1 login mia+new password {second}\n{OTHERS}"
    assert first not in in_keyring(desk, f"{index.url}/simple/", "mia")
    assert "username = mia+new" in run(desk, "client-config", "twine").stdout
    run(desk, "login", index.url, stdin=f"mia:{first}\n")
    assert (desk.home / ".netrc").read_text() == OTHERS
    assert in_keyring(desk, f"{index.url}/legacy/", "mia") == first
    run(desk, "logout")
    assert files(desk) == before


def test_a_failed_login_leaves_the_previous_one(index: Server, desk: Machine) -> None:
    """One of the places can't be written; the code is not used either."""
    first, second = add(index, "pia", "reader"), add(index, "pia+new", "reader")
    code = invite(index, "pim", "--role", "reader")
    run(desk, "login", index.url, "--netrc", stdin=f"pia:{first}\n")
    (desk.home / "file").touch()
    before = files(desk)
    elsewhere = {"NETRC": "/nonexistent/netrc"}, {"XDG_CONFIG_HOME": str(desk.home / "file" / "config")}
    for places, netrc in zip(elsewhere, (["--netrc"], []), strict=True):
        for more, stdin in ([], f"pia+new:{second}\n"), (["--invite", code], ""):
            done = run(desk, "login", index.url, *netrc, *more, expect=1, stdin=stdin, **places)
            assert "can't be written" in done.stderr
            assert files(desk) == before
    assert "pia is a reader" in run(desk, "whoami").stdout
    run(desk, "logout")
    run(desk, "login", index.url, "--invite", code)
    run(desk, "logout")


def test_a_broken_keyring_is_reported(index: Server, desk: Machine) -> None:
    (desk.home / "data").write_text("no folder")
    before = files(desk)
    done = run(desk, "login", index.url, stdin=f"admin:{index.secret}\n", expect=4)
    assert done.stderr.startswith("ppmctl: The system's keyring does not work: ")
    assert len(done.stderr.splitlines()) == 2
    assert index.secret not in done.stderr
    assert files(desk) == before
    run(desk, "login", index.url, "--netrc", stdin=f"admin:{index.secret}\n", expect=4)
    assert files(desk) == before, "nor half of it"


def test_login_to_an_index_without_ppm(desk: Machine) -> None:
    """Login requests its list of projects; with public reads that does not check the credential."""
    empty = {"meta": {"api-version": "1.1"}, "projects": []}
    with foreign() as theirs:
        theirs.page("/simple/", empty)
        done = run(desk, "login", theirs.url, stdin="me:ppm_mine\n")
        assert "Everybody may read here" in done.stderr
        assert [path for path, _credential in theirs.asked] == ["/api/whoami", "/simple/", "/simple/"]
        assert theirs.asked[-1][1] is None
        assert json.loads(run(desk, "whoami", "--json").stdout)["role"] is None
        theirs.answers["/simple/"] = (401, {}, b"")
        assert "does not accept" in run(desk, "whoami", expect=4).stderr
        assert "has invites" in run(desk, "login", theirs.url, "--invite", "ppm_join_x", expect=1).stderr


def test_login_asks_on_a_terminal(index: Server, desk: Machine) -> None:
    """It asks for the name, the token, which is not shown, and whether to use netrc if there is no keyring."""
    secret = add(index, "tess", "reader")
    environ = {**desk.environ, "PYTHON_KEYRING_BACKEND": "keyring.backends.fail.Keyring"}
    with on_a_terminal([*PPMCTL, "login", index.url], environ) as (process, terminal):
        stdin = read_until(terminal, b"[y/N]: ")
        os.write(terminal, b"y\n")
        stdin += read_until(terminal, b"Name: ")
        os.write(terminal, b"tess\n")
        stdin += read_until(terminal, b"Token: ")
        os.write(terminal, f"{secret}\n".encode())
        stdin += read_until(terminal, b"")
        assert process.wait(timeout=60) == 0, stdin
    assert b"tess is a reader" in stdin
    assert secret.encode() not in stdin
    assert secret in (desk.home / ".netrc").read_text()


def test_an_administrator_publishes_ppmctl_itself(index: Server, tmp_path: Path) -> None:
    """docs/credentials.md, "Get `ppmctl`": then a user installs it with pip from the configured index."""
    (block,) = readme.blocks("docs/credentials.md")["Get `ppmctl`"]
    admin = machine(tmp_path / "home", index)
    readme.paste(block.replace("http://127.0.0.1:8080", index.url), checkout.copy(tmp_path / "ppm"), admin.environ)
    pip = (sys.executable, "-m", "pip", "download", "--no-deps", "--index-url", f"{index.url}/simple/")
    admin.run(*pip, "--only-binary", ":all:", "-d", tmp_path / "got", "ppmctl[server]")
    assert [path.name for path in (tmp_path / "got").iterdir()] == [f"ppmctl-{__version__}-py3-none-any.whl"]


def test_the_commands_of_the_documents(serve: Callable[..., Server], desk: Machine, tmp_path: Path) -> None:
    """Run the commands of docs/credentials.md, and for tokens in docs/http.md, as administrator and as user."""
    server = serve()
    beside = {**desk.environ, "HOME": str(tmp_path)}
    stdin = {title: "".join(blocks) for title, blocks in readme.blocks("docs/credentials.md").items()}
    there_not_here = {"http://127.0.0.1:8080": server.url, "PPM_ROOT=.ppm": f"PPM_ROOT={server.root}"}
    for old, new in there_not_here.items():
        stdin = {title: text.replace(old, new) for title, text in stdin.items()}
    readme.paste(stdin["For administrators"], desk.home, beside)
    assert (desk.home / "deploy.credential").stat().st_mode & 0o777 == 0o600
    actions = [json.loads(line)["action"] for line in (server.root / "audit.jsonl").read_text().splitlines()]
    assert {"user invite", "token create", "user disable", "user rotate", "token revoke"} <= set(actions)
    assert "ann is a reader" in ppmctl("user", "change", "ann", "--role", "reader", "--root", str(server.root)).stderr
    before = (desk.home / ".netrc").read_bytes()
    readme.paste(stdin["For colleagues"], desk.home, desk.environ)
    assert json.loads((desk.home / "notebook.json").read_text())["name"] == "ann+notebook"
    assert (desk.home / ".netrc").read_bytes() == before
    listed = json.loads(ppmctl("token", "list", "ann", "--json", "--root", str(server.root)).stdout)
    assert listed == []
    run(desk, "login", server.url, "--netrc", stdin=f"{server.user}:{server.secret}\n")
    tokens = "".join(readme.blocks("docs/http.md")["Tokens"]).replace("http://127.0.0.1:8080", server.url)
    assert '"admin"' in readme.paste(tokens, desk.home, desk.environ)
    assert json.loads((desk.home / "ci.json").read_text())["name"] == "admin+ci"
    for secret in ("ci.json", "notebook.json", "ann.invite"):
        assert (desk.home / secret).stat().st_mode & 0o777 == 0o600
