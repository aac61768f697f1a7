"""The clients that people have, against an index: the same tests, whatever serves it."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from flit_core import buildapi
from support import large
from support.served import Served
from support.wheels import wheel

from testbed.clients import Client
from testbed.place import CHECKOUT

LARGE = 200 << 20
PIPS = ("pip", "pip-newest")
UNDER_WAY = r"find . \( -path './bodies/*' -o -path './incoming/*' \) -type f -size +0"


def put(client: Client, made: tuple[str, bytes]) -> str:
    """Bring a distribution to the client; its filename."""
    client.put(made[0], made[1])
    return made[0]


def installers(name: str) -> list[str]:
    """Commands that install into a fresh virtual environment, and print the version that got there."""
    made = (
        "python3 -m venv v && v/bin/pip install -q",  # Debian's own
        "python3 -m venv v && pip-newest --python v/bin/python install -q",
        "uv venv -q v && uv pip install -q --python v",
    )
    show = f"v/bin/python -c 'import importlib.metadata as m; print(m.version(\"{name}\"))'"
    return [f"rm -rf v && {command} {name} && {show}" for command in made]


@pytest.fixture(scope="module")
def ppmctl(
    index: Served, seat: Callable[..., str], client: Client, tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., str]:
    """Run this checkout's `ppmctl`, installed from the index alone: what it requires comes by the redirect."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(CHECKOUT)
        folder = tmp_path_factory.mktemp("tool")
        tool = folder / buildapi.build_wheel(str(folder))
    seat(f"twine upload {put(client, (tool.name, tool.read_bytes()))}")
    seat("uv venv -q tools && uv pip install -q --python tools ppmctl")
    return lambda command, **options: seat(f"tools/bin/ppmctl {command}", **options)


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
    for command in installers("by-ppmctl"):
        assert seat(command) == "1.0\n", command
        assert seat("v/bin/python -c 'import by_ppmctl, by_uv, by_twine, six; print(\"here\")'") == "here\n"


def test_who_has_no_right_is_told_so(index: Served, seat: Callable[..., str], client: Client) -> None:
    index.upload(wheel("for-readers", "1.0"))
    secret = re.findall(r"ppm_[\w-]{40,}", index.ppmctl("user add only-reads --role reader"))[0]
    reader = {"TWINE_USERNAME": "only-reads", "TWINE_PASSWORD": secret}
    made = put(client, wheel("refused", "1.0"))

    status = "curl -sS -o body -w '%{http_code}\\n' "
    file = "packages/for-readers/for_readers-1.0-py3-none-any.whl"
    for path in ("simple/", "simple/for-readers/", file, "simple/six/"):
        assert seat(f"{status} {index.url}/{path}") == "401\n"
        assert "credential" in seat("cat body")
        assert seat(f"{status} --netrc {index.url}/{path}") in ("200\n", "302\n")
    assert "403 " in seat(f"twine upload {made}", code=1, **reader)
    for wrong in ({"TWINE_PASSWORD": "ppm_wrong"}, {"TWINE_USERNAME": "nobody"}):
        assert "401 " in seat(f"twine upload {made}", code=1, **wrong)
    assert "401" in seat(f"uv publish {made}", code=2, UV_PUBLISH_PASSWORD="ppm_wrong")
    for pip in PIPS:
        seat(f"{pip} download --no-deps -d d for-readers", code=1, NETRC="/dev/null")
    assert "401 " in seat("uv pip install --target t for-readers", code=1, NETRC="/dev/null")
    assert index.get("/simple/refused/").status_code == 302, "nothing of it is left"
    index.ppmctl("user remove only-reads")


def test_a_filename_is_taken_once(
    index: Served, seat: Callable[..., str], ppmctl: Callable[..., str], client: Client
) -> None:
    seat(f"twine upload {put(client, wheel('taken', '1.0'))}")
    before = seat("pip download -q --no-deps -d before taken && sha256sum before/*").split()[0]
    other = wheel("taken", "1.0", files={"taken.py": b"here = False\n"})
    put(client, other)
    for publish in ("twine upload", "uv publish"):
        assert "with other content" in " ".join(seat(f"{publish} {other[0]}", code=None).split())
    assert "with other content" in ppmctl(f"publish {other[0]}", code=1)
    assert index.upload(other).status_code == 409
    assert seat("pip download -q --no-deps -d after taken && sha256sum after/*").split()[0] == before


def test_an_environment_is_there_for_plain_clients_without_the_application(
    index: Served, seat: Callable[..., str], ppmctl: Callable[..., str]
) -> None:
    """Made and locked by ppmctl; installed by each pip and by uv, in each way that they have."""
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
        for program in ("pip", "pip-newest", "uv pip"):
            for what, version in ways:
                told = {"PIP_CONSTRAINT": constraint, "UV_CONSTRAINT": constraint} if what == "sea-maps" else {}
                installed = seat(f"rm -rf t && {program} install -q --target t {what} && ls t", **told)
                assert f"sea_maps-{version}.dist-info" in installed, (program, what)
        installed = seat(f"rm -rf t && uv pip sync -q --target t {base}/pylock.toml && ls t")
        assert "sea_maps-1.1.dist-info" in installed


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


def test_users_are_added_and_removed_beside_the_volume(index: Served, seat: Callable[..., str]) -> None:
    """By somebody who may be another user than the server's, while the server runs, which would not know of it."""
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
    netrc = f"machine {index.name} login grace password {secret}"
    install = 'echo "$CREDENTIAL" > grace && NETRC=grace pip download -q --no-deps -d {} for-all'
    seat(install.format("d1"), CREDENTIAL=netrc)
    index.ppmctl("user remove grace")
    assert as_grace.get(f"{index.simple}for-all/").status_code == 401
    assert index.upload(wheel("of-grace", "1.1"), auth=as_grace.auth).status_code == 401
    seat(install.format("d2"), code=1, CREDENTIAL=netrc)
    assert index.look(others) == ""
