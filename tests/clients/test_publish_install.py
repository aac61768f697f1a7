"""Real clients with an index: the same tests for every way to serve one."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from support import large
from support.served import Served
from support.wheels import wheel

from testbed.clients import Client

LARGE = 200 << 20
PROGRAMS = ("pip", "pip-newest", "uv pip")
UNDER_WAY = r"find . \( -path './bodies/*' -o -path './incoming/*' \) -type f -size +0"


def put(client: Client, made: tuple[str, bytes]) -> str:
    """Copy a distribution to the client, and return its filename."""
    client.put(made[0], made[1])
    return made[0]


def install(program: str, what: str) -> str:
    """Return the command that installs into an empty folder and lists it."""
    return f"rm -rf t && {program} install -q --target t {what} && ls t"


def test_publish_with_twine_uv_and_ppmctl_and_install_with_each_pip_and_uv(
    index: Served, run_as_user: Callable[..., str], ppmctl: Callable[..., str], client: Client
) -> None:
    """One index URL serves everything: public packages come through the redirect."""
    run_as_user(f"twine upload {put(client, wheel('by-twine', '1.0', requires_dist='six'))}")
    run_as_user(f"uv publish {put(client, wheel('by-uv', '1.0', requires_dist='by-twine>=1'))}")
    made = put(client, wheel("by-ppmctl", "1.0", requires_dist="by-uv>=1"))
    assert made in ppmctl(f"publish {made}")
    assert "same" in ppmctl(f"publish {made}")

    redirect = index.get("/simple/six/")
    assert redirect.status_code == 302
    assert not redirect.headers["Location"].startswith(index.url)
    for program in PROGRAMS:
        installed = run_as_user(
            f"{install(program, 'by-ppmctl')} && PYTHONPATH=t python3 -c 'import by_ppmctl, by_uv, by_twine, six'"
        )
        assert {"by_ppmctl-1.0.dist-info", "by_uv-1.0.dist-info", "by_twine-1.0.dist-info"} <= set(installed.split())


def test_clients_print_why_they_are_refused(index: Served, run_as_user: Callable[..., str], client: Client) -> None:
    index.upload(wheel("for-readers", "1.0"))
    secret = re.findall(r"ppm_[\w-]{40,}", index.ppmctl("user add only-reads --role reader"))[0]
    made = put(client, wheel("refused", "1.0"))

    status = "curl -sS -o body -w '%{http_code}\\n' "
    file = "packages/for-readers/for_readers-1.0-py3-none-any.whl"
    for path in ("simple/", "simple/for-readers/", file, "simple/six/"):
        assert run_as_user(f"{status} {index.url}/{path}") == "401\n"
        assert "credential" in run_as_user("cat body")
    assert run_as_user(f"{status} --netrc {index.url}/{file}") == "200\n"
    assert "403 " in run_as_user(f"twine upload {made}", code=1, TWINE_USERNAME="only-reads", TWINE_PASSWORD=secret)
    assert "401 " in run_as_user(f"twine upload {made}", code=1, TWINE_PASSWORD="ppm_wrong")
    assert "401" in run_as_user(f"uv publish {made}", code=2, UV_PUBLISH_PASSWORD="ppm_wrong")
    for program in PROGRAMS:
        printed = run_as_user(install(f"NETRC=/dev/null {program}", "for-readers"), code=1)
        assert "for_readers-1.0.dist-info" not in printed, printed
        assert "for-readers" in printed, "it names what it could not install"
    assert "401 " in run_as_user("uv pip install --target t for-readers", code=1, NETRC="/dev/null")
    assert index.get("/simple/refused/").status_code == 302, "nothing of it is left"
    index.ppmctl("user remove only-reads")


def test_a_filename_can_be_published_once(
    index: Served, run_as_user: Callable[..., str], ppmctl: Callable[..., str], client: Client
) -> None:
    first, other = wheel("taken", "1.0"), wheel("taken", "1.0", files={"taken.py": b"here = False\n"})
    assert index.upload(first).status_code == 200
    before = index.page("taken")
    put(client, other)
    for publish in ("twine upload", "uv publish"):
        assert "with other content" in " ".join(run_as_user(f"{publish} {other[0]}", code=None).split())
    assert "with other content" in ppmctl(f"publish {other[0]}", code=1)
    assert index.upload(other).status_code == 409
    assert index.page("taken") == before
    assert index.get(f"/packages/taken/{first[0]}").content == first[1]


def test_plain_clients_install_an_environment_without_the_application(
    index: Served, run_as_user: Callable[..., str], ppmctl: Callable[..., str], index_number: int
) -> None:
    """ppmctl makes and locks it; it is installed in every way, with the programs distributed over the indexes."""
    for version in ("1.0", "1.1", "2.0"):
        index.upload(wheel("sea-maps", version))
    ppmctl("env create team 'sea-maps==1.0'")
    ppmctl("env add team 'sea-maps<2'")
    ppmctl("env lock team")
    base = f"{index.url}/env/team"
    ways = (
        ("ppm-env-team", "1.1"),
        ("ppm-env-team==1", "1.0"),
        (f"-r {base}/requirements.txt", "1.1"),
        (f"-r {base}/1/requirements.txt", "1.0"),
        ("sea-maps", "1.1"),
    )
    constraint = f"{base}/constraints.txt"
    with index.reads_alone():
        for number, (what, version) in enumerate(ways, index_number):
            program = PROGRAMS[number % len(PROGRAMS)]
            constrained = {"PIP_CONSTRAINT": constraint, "UV_CONSTRAINT": constraint} if what == "sea-maps" else {}
            assert f"sea_maps-{version}.dist-info" in run_as_user(install(program, what), **constrained), (
                program,
                what,
            )
        assert "sea_maps-1.1.dist-info" in run_as_user(
            f"rm -rf t && uv pip sync -q --target t {base}/pylock.toml && ls t"
        )


# the limits of nginx are the same with each Debian, with and without TLS: see tests/nginx/test_uploads.py
@pytest.mark.parametrize("index", ["embedded", "compose, TLS", "debian13"], indirect=True)
def test_a_large_upload(index: Served, run_as_user: Callable[..., str], client: Client, tmp_path: Path) -> None:
    """It is larger than nginx's default limit and than the memory limit, and the download has the same hash."""
    path = large.wheel(tmp_path, "large", "1.0", size=LARGE)
    client.put(path.name, path.read_bytes())
    before = index.restarts()
    run_as_user(f"twine upload {path.name}")
    there, back = run_as_user(
        f"pip-newest download -q --no-deps -d back large && sha256sum {path.name} back/*"
    ).splitlines()
    assert there.split()[0] == back.split()[0]
    assert index.restarts() == before
    assert index.look(UNDER_WAY) == ""


def test_users_are_added_and_removed_on_the_server_while_it_runs(index: Served) -> None:
    """The administrator can be another user than the server's, and the server is not notified."""
    index.upload(wheel("for-all", "1.0"))
    secret = re.findall(r"ppm_[\w-]{40,}", index.ppmctl("user add grace --role publisher"))[0]
    others = f"find . ! -user {index.owner.partition(':')[0]} ! -path './bodies*'"
    assert index.look(others) == ""
    assert index.look("stat -c '%a %U:%G' credentials/htpasswd") == f"640 {index.owner}\n"
    assert "grace" in index.ppmctl("user list")

    as_grace = index.new_session()
    as_grace.auth = ("grace", secret)
    assert as_grace.get(f"{index.simple}for-all/").status_code == 200
    assert index.upload(wheel("of-grace", "1.0"), auth=as_grace.auth).status_code == 200
    index.ppmctl("user remove grace")
    assert as_grace.get(f"{index.simple}for-all/").status_code == 401
    assert index.upload(wheel("of-grace", "1.1"), auth=as_grace.auth).status_code == 401
    assert index.look(others) == ""
