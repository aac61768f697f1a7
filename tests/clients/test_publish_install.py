"""The clients that people have, against an index: the same tests for every way to serve one."""

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
    """Bring a distribution to the client; its filename."""
    client.put(made[0], made[1])
    return made[0]


def install(program: str, what: str) -> str:
    """Return the command that installs into an empty folder, and lists what is in it."""
    return f"rm -rf t && {program} install -q --target t {what} && ls t"


def test_publish_with_twine_uv_and_ppmctl_and_install_with_each_pip_and_uv(
    index: Served, seat: Callable[..., str], ppmctl: Callable[..., str], client: Client
) -> None:
    """Everything through one index URL: what is not here comes by the redirect."""
    seat(f"twine upload {put(client, wheel('by-twine', '1.0', requires_dist='six'))}")
    seat(f"uv publish {put(client, wheel('by-uv', '1.0', requires_dist='by-twine>=1'))}")
    made = put(client, wheel("by-ppmctl", "1.0", requires_dist="by-uv>=1"))
    assert made in ppmctl(f"publish {made}")
    assert "same" in ppmctl(f"publish {made}")

    elsewhere = index.get("/simple/six/")
    assert elsewhere.status_code == 302
    assert not elsewhere.headers["Location"].startswith(index.url)
    for program in PROGRAMS:
        found = seat(
            f"{install(program, 'by-ppmctl')} && PYTHONPATH=t python3 -c 'import by_ppmctl, by_uv, by_twine, six'"
        )
        assert {"by_ppmctl-1.0.dist-info", "by_uv-1.0.dist-info", "by_twine-1.0.dist-info"} <= set(found.split())


def test_a_client_without_the_right_prints_what_is_wrong(
    index: Served, seat: Callable[..., str], client: Client
) -> None:
    index.upload(wheel("for-readers", "1.0"))
    secret = re.findall(r"ppm_[\w-]{40,}", index.ppmctl("user add only-reads --role reader"))[0]
    made = put(client, wheel("refused", "1.0"))

    status = "curl -sS -o body -w '%{http_code}\\n' "
    file = "packages/for-readers/for_readers-1.0-py3-none-any.whl"
    for path in ("simple/", "simple/for-readers/", file, "simple/six/"):
        assert seat(f"{status} {index.url}/{path}") == "401\n"
        assert "credential" in seat("cat body")
    assert seat(f"{status} --netrc {index.url}/{file}") == "200\n"
    assert "403 " in seat(f"twine upload {made}", code=1, TWINE_USERNAME="only-reads", TWINE_PASSWORD=secret)
    assert "401 " in seat(f"twine upload {made}", code=1, TWINE_PASSWORD="ppm_wrong")
    assert "401" in seat(f"uv publish {made}", code=2, UV_PUBLISH_PASSWORD="ppm_wrong")
    for program in PROGRAMS:
        printed = seat(install(f"NETRC=/dev/null {program}", "for-readers"), code=1)
        assert "for_readers-1.0.dist-info" not in printed, printed
        assert "for-readers" in printed, "it names what it could not install"
    assert "401 " in seat("uv pip install --target t for-readers", code=1, NETRC="/dev/null")
    assert index.get("/simple/refused/").status_code == 302, "nothing of it is left"
    index.ppmctl("user remove only-reads")


def test_a_filename_is_taken_once(
    index: Served, seat: Callable[..., str], ppmctl: Callable[..., str], client: Client
) -> None:
    first, other = wheel("taken", "1.0"), wheel("taken", "1.0", files={"taken.py": b"here = False\n"})
    assert index.upload(first).status_code == 200
    before = index.page("taken")
    put(client, other)
    for publish in ("twine upload", "uv publish"):
        assert "with other content" in " ".join(seat(f"{publish} {other[0]}", code=None).split())
    assert "with other content" in ppmctl(f"publish {other[0]}", code=1)
    assert index.upload(other).status_code == 409
    assert index.page("taken") == before
    assert index.get(f"/packages/taken/{first[0]}").content == first[1]


def test_an_environment_is_there_for_plain_clients_without_the_application(
    index: Served, seat: Callable[..., str], ppmctl: Callable[..., str], turn: int
) -> None:
    """Made and locked by ppmctl; installed in each way that there is, by each program on one index or another."""
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
        for number, (what, version) in enumerate(ways, turn):
            program = PROGRAMS[number % len(PROGRAMS)]
            constrained = {"PIP_CONSTRAINT": constraint, "UV_CONSTRAINT": constraint} if what == "sea-maps" else {}
            assert f"sea_maps-{version}.dist-info" in seat(install(program, what), **constrained), (program, what)
        assert "sea_maps-1.1.dist-info" in seat(f"rm -rf t && uv pip sync -q --target t {base}/pylock.toml && ls t")


# nginx of either Debian, and with and without TLS, has the same limits: see tests/nginx/test_uploads.py
@pytest.mark.parametrize("index", ["embedded", "compose, TLS", "debian13"], indirect=True)
def test_a_large_upload(index: Served, seat: Callable[..., str], client: Client, tmp_path: Path) -> None:
    """Over nginx's default limit, over what may be in memory at once, and whole when it comes back."""
    path = large.wheel(tmp_path, "large", "1.0", size=LARGE)
    client.put(path.name, path.read_bytes())
    before = index.restarts()
    seat(f"twine upload {path.name}")
    there, back = seat(f"pip-newest download -q --no-deps -d back large && sha256sum {path.name} back/*").splitlines()
    assert there.split()[0] == back.split()[0]
    assert index.restarts() == before
    assert index.look(UNDER_WAY) == ""


def test_users_are_added_and_removed_beside_the_volume(index: Served) -> None:
    """By someone who may be another user than the server's, while the server runs, which is not notified."""
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
