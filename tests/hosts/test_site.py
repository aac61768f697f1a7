"""From bare Debian to an index that pip, uv and twine use, by one playbook; then changed, renewed and rebooted.

The hosts are the session's. What a test changes about one it puts back.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests
from flit_core import buildapi
from support import large
from support.deployed import SITE, Deployed, certificate, eventually, files
from support.wheels import wheel

from testbed.acme import Acme
from testbed.clients import Client
from testbed.place import CHECKOUT

LARGE = 200 << 20
PIPS = ("pip", "pip-newest")


@pytest.fixture(scope="module", params=[13, 12], ids=["debian13", "debian12"])
def index(request: pytest.FixtureRequest, deployed: Callable[[int], Deployed]) -> Deployed:
    return deployed(request.param)


@pytest.fixture(scope="module")
def seat(index: Deployed, client: Client, acme: Acme) -> Iterator[Callable[..., str]]:
    """Run a command where a user of the index sits: one index URL, one netrc file, no retries; returns what it said.

    `code` is the exit code that is expected of it, or None.
    """
    client.trust("pebble", acme.root())
    client.run("rm -rf /home/user/* /home/user/.cache")
    client.put(".netrc", f"machine {index.domain} login {index.user} password {index.secret}\n".encode(), mode=0o600)
    settings = {
        "PIP_INDEX_URL": index.simple,
        "PIP_RETRIES": "0",
        "PIP_NO_INPUT": "1",
        "PIP_NO_CACHE_DIR": "1",
        "UV_DEFAULT_INDEX": index.simple,
        "UV_HTTP_RETRIES": "0",
        "UV_NO_CACHE": "1",
        "UV_PUBLISH_URL": f"{index.url}/",
        "UV_PUBLISH_USERNAME": index.user,
        "UV_PUBLISH_PASSWORD": index.secret,
        "TWINE_REPOSITORY_URL": f"{index.url}/",
        "TWINE_USERNAME": index.user,
        "TWINE_PASSWORD": index.secret,
        "TWINE_NON_INTERACTIVE": "1",
        "PPMCTL_INDEX": index.url,
        "COLUMNS": "500",
        "TERM": "dumb",
    }

    def run(command: str, *, code: int | None = 0, **env: str) -> str:
        done = client.run(command, check=False, **(settings | env))
        assert code in (None, done.code), f"`{command}` exited {done.code}:\n{done.out}{done.err}"
        return done.out + done.err

    yield run
    client.run("rm -f /home/user/.netrc")


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


def test_one_run_makes_the_index_and_the_next_changes_nothing(index: Deployed) -> None:
    assert index.first.host.changed > 20
    assert (index.second.host.changed, index.second.changed) == (0, ())


def test_the_certificate_is_the_authoritys_with_its_chain(index: Deployed, acme: Acme) -> None:
    found = certificate(index)
    assert found.domains == [index.domain]
    assert "Pebble Intermediate" in found.issuer
    with pytest.raises(requests.exceptions.SSLError):
        requests.get(f"https://{index.host.address}/healthz", verify=str(index.ca), timeout=10)


def test_publish_with_twine_uv_and_ppmctl_and_install_with_each_pip_and_uv(
    index: Deployed, seat: Callable[..., str], client: Client, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Everything through one index URL: what is not here, ppmctl's own requirements too, comes by the redirect."""
    monkeypatch.chdir(CHECKOUT)
    tool = Path(tmp_path, buildapi.build_wheel(str(tmp_path)))
    seat(f"twine upload {put(client, (tool.name, tool.read_bytes()))}")
    seat(f"twine upload {put(client, wheel('by-twine', '1.0', requires_dist='six'))}")
    seat(f"uv publish {put(client, wheel('by-uv', '1.0', requires_dist='by-twine>=1'))}")
    seat("uv venv -q tools && uv pip install -q --python tools ppmctl")
    made = put(client, wheel("by-ppmctl", "1.0", requires_dist="by-uv>=1"))
    assert made in seat(f"tools/bin/ppmctl publish {made}")
    assert "same" in seat(f"tools/bin/ppmctl publish {made}")

    elsewhere = index.get("/simple/six/")
    assert elsewhere.status_code == 302
    assert not elsewhere.headers["Location"].startswith(index.url)
    for command in installers("by-ppmctl"):
        assert seat(command) == "1.0\n", command
        assert seat("v/bin/python -c 'import by_ppmctl, by_uv, by_twine, six; print(\"here\")'") == "here\n"


def test_who_has_no_right_is_told_so(index: Deployed, seat: Callable[..., str], client: Client) -> None:
    index.host.run("ppmctl user add only-reads --role reader > /root/only-reads")
    _, _, secret = index.host.run("cat /root/only-reads; rm /root/only-reads").out.rpartition("ppm_")
    reader = {"TWINE_USERNAME": "only-reads", "TWINE_PASSWORD": f"ppm_{secret.strip()}"}
    made = put(client, wheel("refused", "1.0"))

    status = "curl -sS -o body -w '%{http_code}\\n' "
    for path in ("simple/", "simple/by-twine/", "packages/by-twine/by_twine-1.0-py3-none-any.whl", "simple/six/"):
        assert seat(f"{status} {index.url}/{path}") == "401\n"
        assert "credential" in seat("cat body")
        assert seat(f"{status} --netrc {index.url}/{path}") in ("200\n", "302\n")
    assert "403 " in seat(f"twine upload {made}", code=1, **reader)
    for wrong in ({"TWINE_PASSWORD": "ppm_wrong"}, {"TWINE_USERNAME": "nobody"}):
        assert "401 " in seat(f"twine upload {made}", code=1, **wrong)
    assert "401" in seat(f"uv publish {made}", code=2, UV_PUBLISH_PASSWORD="ppm_wrong")
    for pip in PIPS:
        seat(f"{pip} download --no-deps -d d by-twine", code=1, NETRC="/dev/null")
    assert "401 " in seat("uv pip install --target t by-twine", code=1, NETRC="/dev/null")
    assert index.get("/simple/refused/").status_code == 302, "nothing of it is left"
    index.host.run("ppmctl user remove only-reads")


def test_a_filename_is_taken_once(index: Deployed, seat: Callable[..., str], client: Client) -> None:
    seat(f"twine upload {put(client, wheel('taken', '1.0'))}")
    before = seat("pip download -q --no-deps -d before taken && sha256sum before/*").split()[0]
    other = wheel("taken", "1.0", files={"taken.py": b"here = False\n"})
    put(client, other)
    for publish in ("twine upload", "uv publish"):
        assert "with other content" in " ".join(seat(f"{publish} {other[0]}", code=None).split())
    assert "with other content" in seat(f"tools/bin/ppmctl publish {other[0]}", code=1)
    assert index.upload(other).status_code == 409
    assert seat("pip download -q --no-deps -d after taken && sha256sum after/*").split()[0] == before


def test_a_large_upload(index: Deployed, seat: Callable[..., str], client: Client, tmp_path: Path) -> None:
    """Over nginx's default limit, over what may be in memory at once, and whole when it comes back."""
    path = large.wheel(tmp_path, "large", "1.0", size=LARGE)
    client.put(path.name, path.read_bytes())
    restarts = "systemctl show -p NRestarts --value ppm.service"
    before = index.host.run(restarts).out
    seat(f"twine upload {path.name}")
    there, back = seat(f"pip-newest download -q --no-deps -d back large && sha256sum {path.name} back/*").splitlines()
    assert there.split()[0] == back.split()[0]
    assert index.host.run(restarts).out == before
    assert index.host.run("find /srv/ppm/bodies /srv/ppm/incoming -type f -size +0").out == ""


def test_users_are_added_and_removed_beside_the_volume(index: Deployed, seat: Callable[..., str]) -> None:
    """As root on the host, whose files would be root's, while the server runs, which would not know of it."""
    index.upload(wheel("for-all", "1.0"))
    said = index.host.run("cd /root && umask 077 && ppmctl user add grace --role publisher").out
    secret = re.findall(r"ppm_[\w-]{40,}", said)[0]
    owners = "find /srv/ppm ! -user ppm ! -path '/srv/ppm/bodies*'"
    assert index.host.run(owners).out == ""
    assert index.host.run("stat -c '%a %U %G' /srv/ppm/credentials/htpasswd").out == "640 ppm www-data\n"
    assert "grace" in index.host.run("ppmctl user list").out

    as_grace = index.new_session()
    as_grace.auth = ("grace", secret)
    assert as_grace.get(f"{index.simple}for-all/").status_code == 200
    assert index.upload(wheel("of-grace", "1.0"), auth=as_grace.auth).status_code == 200
    netrc = f"machine {index.domain} login grace password {secret}"
    install = 'echo "$CREDENTIAL" > grace && NETRC=grace pip download -q --no-deps -d {} for-all'
    seat(install.format("d1"), CREDENTIAL=netrc)
    index.host.run("ppmctl user remove grace")
    assert as_grace.get(f"{index.simple}for-all/").status_code == 401
    assert index.upload(wheel("of-grace", "1.1"), auth=as_grace.auth).status_code == 401
    seat(install.format("d2"), code=1, CREDENTIAL=netrc)
    assert index.host.run(owners).out == ""


def test_a_renewal_by_certbots_own_unit_is_served_at_once(index: Deployed) -> None:
    """As the timer starts it, with the authority's own CA; not as root's shell would."""
    host, before = index.host, certificate(index)
    settings = f"/etc/letsencrypt/renewal/{index.domain}.conf"
    host.run(f"sed -i '1i renew_before_expiry = 99999 days' {settings}")
    try:
        host.run("systemctl start certbot.service")
        renewed = eventually(lambda: certificate(index), lambda found: found.serial != before.serial)

        # a broken site of somebody else's: nginx goes on with what it has, and somebody is told
        host.run("echo 'server {' > /etc/nginx/conf.d/broken.conf; systemctl start certbot.service")
        said = host.run("journalctl -p err -n 40 --no-pager").out
        assert "broken.conf" in said
        assert "systemctl reload nginx" in said
        assert certificate(index) == renewed
        assert host.run("systemctl is-active nginx.service").out == "active\n"
    finally:
        host.run(f"rm -f /etc/nginx/conf.d/broken.conf; sed -i '/^renew_before_expiry/d' {settings}")
    host.run("systemctl reload nginx")
    eventually(lambda: certificate(index), lambda found: found.serial != renewed.serial)


# What a variable changes: tasks, by their names; files; and what a client sees of it.
CHANGES: list[tuple[dict[str, object], set[str], set[str]]] = [
    (
        {"ppm_hsts_max_age": 600},
        {"nginx : Write the configuration", "nginx : Reload nginx"},
        {"/etc/nginx/ppm/headers.conf"},
    ),
    (
        {"ppm_max_upload_size": "1M"},
        {
            *("nginx : Write the configuration", "nginx : Reload nginx"),
            "pypiserver : Write the settings, the units and the command",
            "pypiserver : Start the application, now and with the host",
        },
        {"/etc/nginx/ppm/index.conf", "/etc/ppm/ppm.env"},
    ),
    (
        {"ppm_private_names": ["six", "acme-*"]},
        {
            *("nginx : Write the configuration", "nginx : Reload nginx"),
            "pypiserver : Write the settings, the units and the command",
            "pypiserver : Start the application, now and with the host",
        },
        {"/etc/nginx/ppm/http.conf", "/etc/ppm/ppm.env"},
    ),
]


def test_a_variable_changes_what_it_should_and_nothing_else(deployed: Callable[[int], Deployed]) -> None:
    index = deployed(13)
    host = index.host
    where = ("/etc", "/opt", "/usr/local", "/srv/ppm", "/var/lib/ppm", "/root")
    passing = ("/srv/ppm/incoming/*", "/srv/ppm/index/boot", "/srv/ppm/locks", "/root/.ansible*")

    def look() -> tuple[dict[str, str], str, str]:
        main = "systemctl show -p MainPID --value"
        return (
            files(host, *where, leave_out=passing),
            host.run(f"{main} ppm.service").out,
            host.run(f"{main} nginx.service").out,
        )

    before, given = look(), {}
    original = before[0]
    for changed, tasks, paths in CHANGES:
        given |= changed
        if changed is CHANGES[-1][0]:
            shown = index.play(SITE, "--check", "--diff", **given)
            assert set(shown.changed) | {"nginx : Reload nginx"} == tasks
            assert look() == before, "--check changes nothing"
            assert {path for path in paths if f"before: {path}\n" in shown.output} == paths

        result = index.play(**given)
        after = look()
        assert set(result.changed) == tasks
        assert {path for path in after[0] if after[0][path] != before[0].get(path)} == paths
        assert after[0].keys() == before[0].keys()
        assert (after[1] == before[1]) == ("/etc/ppm/ppm.env" not in paths), (
            "the application restarts only if it has to"
        )
        assert after[2] == before[2], "nginx is reloaded, never restarted"
        before = after

    assert index.get("/simple/").headers["Strict-Transport-Security"] == "max-age=600"
    big = index.upload(wheel("too-big", "1.0", files={"too_big.py": secrets.token_bytes(2 << 20)}))
    assert big.status_code == 413
    assert "1M (ppm_max_upload_size)" in big.text
    for name in ("six", "acme-secret"):
        assert index.get(f"/simple/{name}/").status_code == 404
    assert index.get("/simple/idna/").status_code == 302

    index.play()
    back = look()[0]
    assert {path: what.split()[-1] for path, what in back.items() if what[0] == "f"} == {
        path: what.split()[-1] for path, what in original.items() if what[0] == "f"
    }
    assert index.get("/simple/six/").status_code == 302


def test_a_reboot_loses_nothing(index: Deployed) -> None:
    made = wheel("before-reboot", "1.0")
    assert index.upload(made).status_code == 200
    kept = ("/srv/ppm/packages", "/srv/ppm/credentials", "/opt/ppm", "/etc/ppm", "/etc/nginx", "/etc/letsencrypt")
    issued, state = certificate(index), files(index.host, *kept)
    pages = [index.get(path).content for path in ("/simple/", "/simple/before-reboot/")]
    index.host.reboot()
    assert index.host.run("systemctl is-system-running", check=False).out == "running\n"
    assert files(index.host, *kept) == state
    assert certificate(index) == issued
    assert [index.get(path).content for path in ("/simple/", "/simple/before-reboot/")] == pages
    assert index.get(f"/packages/before-reboot/{made[0]}").content == made[1]
    assert index.get("/simple/", auth=None).status_code == 401
    assert index.upload(wheel("before-reboot", "1.1")).status_code == 200
    assert len(index.page("before-reboot")["files"]) == 2
    units = ("ppm.socket", "ppm.service", "nginx.service", "certbot.timer")
    assert index.host.run(f"systemctl is-active {' '.join(units)}").out.split() == ["active"] * len(units)
