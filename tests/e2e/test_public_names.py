"""Tests that a publisher can't take over a much used public name, and that `publish` warns about public names."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import requests
from support import wheels
from support.clients import Machine, machine, publish, run
from support.environments import revision
from support.evidence import until
from support.servers import PPMCTL, Server, free_port, ppmctl

README = {"description_content_type": "text/markdown"}
REQUESTS = wheels.wheel("requests", "999.0", **README)


def publisher(server: Server, name: str = "ci") -> tuple[str, str]:
    """Make a publisher, and return the name and the secret."""
    return name, ppmctl("user", "add", name, "--role", "publisher", "--root", str(server.root)).stdout.strip()


def as_user(home: Path, auth: tuple[str, str], server: Server) -> Machine:
    """Return the machine of a user, with PPMCTL_INDEX and the credential."""
    variables = {"PPMCTL_INDEX": server.url, "PPMCTL_USERNAME": auth[0], "PPMCTL_TOKEN": auth[1]}
    computer = machine(home)
    return Machine(home=home, environ={**computer.environ, **variables})


def actions(server: Server) -> list[tuple[str, str, str]]:
    lines = [json.loads(line) for line in (server.root / "audit.jsonl").read_text().splitlines()]
    return [(line["action"], line["what"], line["by"]) for line in lines if line["result"] == "done"]


def test_the_first_file_of_a_public_name_needs_an_admin_or_a_claim(
    serve: Callable[..., Server], tmp_path: Path
) -> None:
    """By any client; afterwards the name is a project like any other. Claims work over HTTP and on the host."""
    server = serve("--upstream", "none", "--private-name", "pip*")
    ci = publisher(server)
    user, admin = as_user(tmp_path / "ci", ci, server), as_user(tmp_path / "ops", server.auth, server)
    path = wheels.write(tmp_path, REQUESTS)
    for name in ("requests", "Requests", "REQUESTS"):
        answer = server.upload(wheels.wheel(name, "1.0"), auth=ci)
        assert answer.status_code == 403, answer.text
        assert answer.text == answer.reason + "\n"
        for part in ("most used public names", "`ppmctl package claim requests`", "private_names"):
            assert part in answer.text
    twine = publish("twine", user, replace(server, user=ci[0], secret=ci[1]), server.url, path, expect=1)
    assert "requests is one of the most used public names" in twine.output
    printed = user.run(*PPMCTL, "publish", path, expect=4).output
    assert "`ppmctl package claim requests`" in printed
    assert server.get("/simple/requests/").status_code == 404
    # not asked about: a private name, an environment, a name that is not on the list
    for made in (wheels.wheel("pip", "99.0"), revision("requests", 1, "six"), wheels.wheel("acme-requests", "1.0")):
        answer = server.upload(made, auth=ci)
        assert answer.status_code == 200, answer.text

    assert "admin's rights" in run(user, "package", "claim", "requests", expect=4)
    assert run(admin, "package", "claim", "Requests") == "claimed  requests  by admin\n"
    assert server.get("/simple/requests/").status_code == 404, "a claim reserves nothing"
    shown = run(user, "package", "show", "requests")
    assert "Claimed" in shown
    assert "by admin 20" in shown
    assert json.loads(run(user, "package", "show", "requests", "--json"))["claim"]["by"] == "admin"
    assert run(admin, "package", "unclaim", "requests") == "unclaimed  requests\n"
    assert "no project 'requests'" in run(user, "package", "show", "requests", expect=1)
    assert server.upload(REQUESTS, auth=ci).status_code == 403
    root = ("--root", str(server.root))
    ppmctl("package", "claim", "requests", *root)
    assert "Claimed" in ppmctl("package", "show", "requests", *root).stdout
    assert server.upload(REQUESTS, auth=ci).status_code == 200
    ppmctl("package", "unclaim", "requests", *root)
    assert server.upload(wheels.wheel("requests", "999.1"), auth=ci).status_code == 200
    ppmctl("package", "remove", "requests", "999.0", "--yes", *root)
    ppmctl("package", "remove", "requests", "999.1", "--yes", *root)
    assert server.upload(wheels.wheel("requests", "999.2"), auth=ci).status_code == 200

    assert server.upload(wheels.wheel("setuptools", "999.0")).status_code == 200, "by an admin"
    done = [(action, what) for action, what, _by in actions(server) if "claim" in action]
    assert done == [("claim", "requests"), ("unclaim", "requests")] * 2
    by = [by for action, _what, by in actions(server) if "claim" in action]
    assert by[:2] == ["admin", "admin"]
    assert all(name.startswith("unix:") for name in by[2:])
    printed = ppmctl("audit", "--project", "requests", *root).stdout
    assert printed.count("claim") >= 4
    ppmctl("index", "check", *root)


@pytest.mark.parametrize(("setting", "as_publisher", "as_admin"), [("allow", 200, 200), ("deny", 403, 403)])
def test_the_setting_can_allow_all_or_deny_all(
    serve: Callable[..., Server], setting: str, as_publisher: int, as_admin: int
) -> None:
    server = serve("--upstream", "none", "--public-names", setting)
    ci = publisher(server)
    answer = server.upload(REQUESTS, auth=ci)
    assert answer.status_code == as_publisher, answer.text
    answer = server.upload(wheels.wheel("setuptools", "999.0"))
    assert answer.status_code == as_admin, answer.text
    assert setting == "allow" or "nobody may upload the first" in answer.text
    ppmctl("package", "claim", "pip", "--root", str(server.root))
    assert server.upload(wheels.wheel("pip", "999.0"), auth=ci).status_code == 200
    values = json.loads(ppmctl("config", "show", "--root", str(server.root), "--json").stdout)
    assert "public_names" in json.dumps(values)


def test_an_administrators_own_folders_are_not_asked_about(serve: Callable[..., Server], tmp_path: Path) -> None:
    """Who can write to drop/, or runs `index adopt` on the host, is an administrator, also with deny."""
    server = serve("--upstream", "none", "--public-names", "deny")
    wheels.write(server.root / "drop", REQUESTS)
    until(lambda: server.get("/simple/requests/").status_code == 200, "it is taken")
    wheels.write(tmp_path / "old", wheels.wheel("setuptools", "999.0"))
    ppmctl("index", "adopt", str(tmp_path / "old"), "--root", str(server.root))
    assert server.filenames("setuptools") == {"setuptools-999.0-py3-none-any.whl"}


def test_a_file_has_one_name_and_does_not_come_back_under_another(serve: Callable[..., Server]) -> None:
    """Over HTTP: 409 with the reason. unit/index/test_store.py has all kinds of names."""
    server = serve("--upstream", "none")
    ci = publisher(server)
    assert server.upload(wheels.wheel("Foo.Bar", "1.0"), auth=ci).status_code == 200
    again = wheels.wheel("foo_bar", "1.0.0", files={"evil.py": b""})
    answer = server.upload(again, auth=ci)
    assert answer.status_code == 409
    assert "is another name of Foo.Bar-1.0-py3-none-any.whl, which is in this index" in answer.reason
    build = wheels.wheel("foo_bar", "1.0", tag="1-py3-none-any")
    ppmctl("package", "remove", "foo-bar", "1.0", "--yes", "--root", str(server.root))
    for made in (again, build):
        answer = server.upload(made, auth=ci)
        assert answer.status_code == 409
        assert "would replace Foo.Bar-1.0-py3-none-any.whl, which was removed" in answer.reason
    assert server.upload(wheels.sdist("foo_bar", "1.0"), auth=ci).status_code == 200
    assert server.upload(wheels.wheel("foo_bar", "1.1"), auth=ci).status_code == 200


# ppmctl publish


@pytest.fixture
def upstream(serve: Callable[..., Server], tmp_path: Path) -> Server:
    """Return a public index that has a project."""
    server = serve("--upstream", "none", "--read-access", "public", root=tmp_path / "upstream")
    assert server.upload(wheels.wheel("well-known", "1.0")).status_code == 200
    return server


def first_publish(user: Machine, folder: Path, name: str, *options: str, **environ: str) -> str:
    path = wheels.write(folder, wheels.wheel(name, "2.0", **README))
    return user.run(*PPMCTL, "publish", path, *options, **environ).output


def test_publish_warns_about_a_name_that_the_upstream_has(
    serve: Callable[..., Server], upstream: Server, tmp_path: Path
) -> None:
    """Before anything is sent, once: afterwards the index has the name. Private names are asked about nowhere."""
    server = serve("--upstream-url", upstream.simple, "--private-name", "acme-*", root=tmp_path / "index")
    user = as_user(tmp_path / "home", server.auth, server)
    warning = "Warning: well-known is a project of 127.0.0.1 too."
    printed = first_publish(user, tmp_path, "well-known", "--dry-run")
    assert warning in printed
    assert "everyone who installs well-known from there gets yours" in printed
    printed = first_publish(user, tmp_path, "well-known")
    assert warning in printed
    assert printed.index(warning) < printed.index("Uploading")
    assert warning not in first_publish(user, tmp_path, "well-known")
    assert "Warning: well" not in first_publish(user, tmp_path, "unheard-of")
    assert upstream.upload(wheels.wheel("acme-tools", "1.0")).status_code == 200
    assert "acme-tools is a project" not in first_publish(user, tmp_path, "acme-tools", PIP_INDEX_URL=upstream.simple)


def test_publish_asks_the_indexes_of_pip_where_the_index_redirects_nothing(
    index: Server, upstream: Server, tmp_path: Path
) -> None:
    user = as_user(tmp_path / "home", index.auth, index)
    for name in ("known-1", "known-2"):
        assert upstream.upload(wheels.wheel(name, "1.0")).status_code == 200
    for variable, name in (("PIP_INDEX_URL", "known-1"), ("PIP_EXTRA_INDEX_URL", "known-2")):
        printed = first_publish(user, tmp_path, name, **{variable: upstream.simple.rstrip("/")})
        assert f"Warning: {name} is a project of 127.0.0.1 too." in printed
    assert "Warning: well" not in first_publish(user, tmp_path, "well-known", PIP_INDEX_URL=index.simple)


@contextmanager
def silent() -> Iterator[str]:
    """Yield the URL of an index that accepts connections and never answers."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/simple/"


@pytest.mark.parametrize("what", ["refuses", "is silent", "has no name", "fails"])
def test_an_upstream_that_does_not_answer_fails_no_publish(
    what: str, serve: Callable[..., Server], upstream: Server, tmp_path: Path
) -> None:
    with silent() as url:
        url = {
            "refuses": f"http://127.0.0.1:{free_port()}/simple/",
            "is silent": url,
            "has no name": "http://nothing.invalid/simple/",
            "fails": f"{upstream.url}/api/tokens/",  # 401, also where reads are public
        }[what]
        server = serve("--upstream-url", url, root=tmp_path / "index")
        user = as_user(tmp_path / "home", server.auth, server)
        started = time.monotonic()
        printed = first_publish(user, tmp_path, "well-known")
        assert time.monotonic() - started < 60
    assert "It is not known whether another index has well-known too" in printed
    assert server.filenames("well-known") == {"well_known-2.0-py3-none-any.whl"}


def test_publish_names_a_second_build(index: Server, tmp_path: Path) -> None:
    """Installers take it for the same version, so the plan shows it before anything is sent."""
    user = as_user(tmp_path / "home", index.auth, index)
    first = wheels.write(tmp_path, wheels.wheel("twice-built", "1.0", **README))
    user.run(*PPMCTL, "publish", first)
    second = wheels.write(
        tmp_path, wheels.wheel("twice-built", "1.0", tag="1-py3-none-any", files={"a.py": b""}, **README)
    )
    done = ppmctl("publish", "--json", str(second), env=dict(user.environ))
    assert f"Warning: {second.name} is a second build of {first.name}, which the index has." in done.stderr
    (planned,) = json.loads(done.stdout)["plan"]
    assert (planned["state"], planned["other_builds"]) == ("new", [first.name])
    renamed = wheels.write(tmp_path, wheels.wheel("Twice.Built", "1.0.0", files={"b.py": b""}, **README))
    printed = user.run(*PPMCTL, "publish", renamed, expect=1).output
    assert f"{renamed.name}: here sha256" in printed
    assert f"in the index as {first.name}" in printed
    assert requests.get(index.simple, timeout=60).status_code == 401
