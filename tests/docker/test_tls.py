"""TLS of the compose deployment: a first certificate from nothing, its renewal under load, and why there is none.

A deployment is reached as it is in earnest: by the ports that it publishes, at an address of this machine that the
authority and the clients find under its name. Settings are a user's own, through `make compose-config`.
"""

from __future__ import annotations

import json
import os
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import requests
from support import checkout as copies
from support import composed, load, planted, reach, secured, tls
from support.deployed import eventually
from support.load import Stream, Wire
from support.tls import Authority, Certificate

from testbed import compose
from testbed.acme import Acme
from testbed.bed import Bed, open_bed
from testbed.compose import Compose
from testbed.container import Done

DOMAIN = "index.test"
RENEWAL = f"/var/lib/certbot/config/renewal/{DOMAIN}.conf"
DUE = "renew_before_expiry = 99999 days"
CHALLENGE = "/.well-known/acme-challenge/"
_SHORT = 60  # seconds


@dataclass(kw_only=True)
class Encrypted:
    """A deployment with TLS, from a checkout of its own. `ports` are those of plain HTTP and of HTTPS."""

    compose: Compose
    checkout: Path
    address: str
    over: Path
    lease: str  # the name of the authority's network too
    ports: tuple[int, int] = (80, 443)
    root: Path = Path()
    auth: tuple[str, str] = ("", "")

    def take_settings(self) -> None:
        """Use the compose files that `make compose-config` named."""
        files = secured.files_in_use(self.checkout)
        lease = compose.leased(self.over.with_name("leased.json"), files, self.lease, volumes=True)
        self.attach()
        self.compose = replace(self.compose, files=(*files, lease, self.over))

    def attach(self, leads_to: str = "", **environment: str) -> None:
        """Let certbot reach the authority, and the name, which leads here or elsewhere; with other settings."""
        certbot = {
            "networks": {"default": {}, "authority": {}},
            "extra_hosts": [f"{DOMAIN}:{leads_to or self.address}"],
            "environment": environment,
        }
        network = {"authority": {"external": True, "name": self.lease}}
        has_certbot = "compose.tls.yml" in (self.checkout / "docker" / ".env").read_text()
        self.over.write_text(
            json.dumps({"services": {"certbot": certbot}, "networks": network} if has_certbot else {})
        )

    def certificate(self) -> Certificate:
        return tls.served(DOMAIN, self.address, self.root, port=self.ports[1])

    def is_served(self) -> bool:
        try:
            self.certificate()
        except (ssl.SSLError, OSError):
            return False
        return True

    def session(self) -> requests.Session:
        made = reach.session(DOMAIN, self.address, self.root)
        made.auth = self.auth
        return made

    def wire(self) -> Wire:
        return load.wire(DOMAIN, self.address, self.root, self.auth)

    def certbot(self, *command: str) -> Done:
        return self.compose.exec("certbot", *command)

    def log(self, service: str) -> str:
        return self.compose.container(service).logs()

    def says(self, service: str, what: str, *, times: int = 1, seconds: float = 60) -> str:
        return eventually(lambda: self.log(service), lambda said: said.count(what) >= times, seconds=seconds)

    def add_user(self) -> None:
        said = self.compose.exec("pypiserver", "ppmctl", "user", "add", "ada", "--role", "admin")
        self.auth = ("ada", next(word for word in said.out.split() if word.startswith("ppm_")))


@contextmanager
def town(folder: Path, name: str, *, valid_seconds: int | None = None) -> Iterator[tuple[Bed, Acme, str]]:
    """A network with an authority for which every name leads to an address of this machine."""
    bed = open_bed(f"tests-{name}-{os.getpid()}", folder)
    try:
        attributes = bed.engine.api.networks.get(bed.network).attrs
        address = attributes["IPAM"]["Config"][0]["Gateway"]
        yield bed, bed.acme(names_lead_to=address, valid_seconds=valid_seconds), address
    finally:
        bed.close()


def deploy(
    bed: Bed, address: str, checkout: Path, folder: Path, kind: str, ports: tuple[int, int, int], **environment: str
) -> Encrypted:
    """A deployment that is not configured yet; the ports are those of HTTP, of HTTPS, and of PPM_LISTEN."""
    names = ("PPM_HTTP_LISTEN", "PPM_HTTPS_LISTEN", "PPM_LISTEN")
    environment |= {name: f"{address}:{port}" for name, port in zip(names, ports, strict=True)}
    return Encrypted(
        compose=Compose(engine=bed.engine, project=f"{bed.lease.name}-{kind}", environment=environment),
        checkout=checkout,
        address=address,
        over=folder / "over.json",
        lease=bed.lease.name,
        ports=ports[:2],
    )


def settings(acme: Acme, folder: Path) -> dict[str, object]:
    ca = folder / "acme-ca.pem"
    ca.write_bytes(acme.ca())
    return {
        "ppm_domain": DOMAIN,
        "ppm_tls": "letsencrypt",
        "ppm_acme_email": "admin@example.com",
        "ppm_acme_directory": acme.directory,
        "ppm_ca_certificates": [str(ca)],
        "ppm_upstream": "none",
    }


@contextmanager
def secure(
    bed: Bed, acme: Acme, address: str, checkout: Path, folder: Path, **environment: str
) -> Iterator[Encrypted]:
    """A deployment that goes up from nothing; it is removed with its data."""
    made = deploy(bed, address, checkout, folder, "tls", (80, 443, 8080), **environment)
    made.take_settings()
    made.root = folder / "root.pem"
    made.root.write_bytes(acme.root())
    try:
        made.compose.up()
        yield made
    finally:
        print(made.compose.logs())  # pytest shows it if a test failed
        made.compose.down(volumes=True)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Bed, Acme, str]]:
    with town(tmp_path_factory.mktemp("bed"), "tls") as made:
        yield made


@pytest.fixture(scope="module")
def acme(place: tuple[Bed, Acme, str]) -> Acme:
    return place[1]


@pytest.fixture(scope="module")
def checkout(acme: Acme, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout where `make compose-config` ran for a certificate of the authority."""
    folder = tmp_path_factory.mktemp("configured")
    made = copies.copy(folder / "ppm")
    secured.configure(made, settings(acme, folder))
    return made


@pytest.fixture(scope="module")
def short(checkout: Path, images: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Encrypted, Acme]]:
    """A deployment whose certificates are valid for a minute, as another user, whom no image knows."""
    folder = tmp_path_factory.mktemp("short")
    data = folder / "data"
    data.mkdir()
    os.chown(data, 4321, 4321)
    another = {"PPM_UID": "4321", "PPM_GID": "4321", "PPM_DATA": str(data)}
    with (
        town(folder / "bed", "tls-short", valid_seconds=_SHORT) as (bed, acme, address),
        secure(bed, acme, address, checkout, folder, PPM_TAG=images, **another) as made,
    ):
        yield made, acme


@pytest.fixture(scope="module")
def index(
    short: object,
    place: tuple[Bed, Acme, str],
    checkout: Path,
    images: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Encrypted]:
    """A deployment with certificates of 90 days. It comes up after `short`, whose certificates end meanwhile."""
    with secure(*place, checkout, tmp_path_factory.mktemp("tls"), PPM_TAG=images) as made:
        made.add_user()
        eventually(made.is_served, bool, seconds=60)
        yield made


# the first certificate


def test_from_nothing_to_the_authoritys_certificate(index: Encrypted) -> None:
    """nginx starts without one, answers the challenge, and takes up what comes, without being started again."""
    said = index.log("certbot")
    assert "nginx has a temporary certificate" in said
    assert "the certificate for index.test is installed, valid until 20" in said
    found = index.certificate()
    assert found.domains == [DOMAIN]
    assert "Pebble Intermediate" in found.issuer
    assert "the new one is served" in index.log("nginx")
    with index.session() as session:
        made = planted.fresh("secured")
        planted.upload(index.wire(), made)
        assert session.get(f"https://{DOMAIN}/simple/secured/").status_code == 200
        answer = session.get(f"https://{DOMAIN}/simple/secured/", auth=("ada", "wrong"))
        assert answer.status_code == 401
        assert "max-age=" in answer.headers["Strict-Transport-Security"]


def test_plain_http_leads_to_https_and_takes_no_secret(index: Encrypted) -> None:
    with index.session() as session:
        plain = f"http://{DOMAIN}"
        answer = session.get(f"{plain}/simple/secured/", allow_redirects=False)
        assert answer.status_code == 301
        assert answer.headers["Location"] == f"https://{DOMAIN}/simple/secured/"
        assert session.post(f"{plain}/", data=b"x", allow_redirects=False).status_code == 403
        assert session.get(f"{plain}{CHALLENGE}nothing", allow_redirects=False).status_code == 404
        with pytest.raises(requests.exceptions.ConnectionError):
            session.get(f"{plain}/", headers={"Host": "other.test"})
    with pytest.raises(ssl.SSLError, match=r"(?i)unrecognized.name"):
        tls.served("other.test", index.address, index.root)


def test_certbot_is_nobody_and_writes_into_its_volumes_alone(index: Encrypted) -> None:
    assert index.certbot("id", "-u").out == "10001\n"
    assert "CapEff:\t0000000000000000" in index.certbot("cat", "/proc/1/status").out
    for path in ("/x", "/usr/local/lib/ppm/x", "/etc/ppm/ca/x"):
        done = index.compose.exec("certbot", "touch", path, check=False)
        assert "Read-only file system" in done.err, path
    for service in ("certbot", "nginx"):
        done = index.compose.exec(service, "stat", "-L", "-c", "%a %u", "/etc/ppm/tls/privkey.pem")
        assert done.out == "600 10001\n"
    for path in ("/etc/ppm/tls/x", "/var/lib/ppm/acme/x"):
        assert index.compose.exec("nginx", "touch", path, check=False).code, "nginx only reads"
    assert index.certbot("ls", f"/var/lib/ppm/acme{CHALLENGE}").out == "", "no probe is left"
    assert "Certificate Name: index.test" in index.certbot("certbot", "certificates").out


# what it goes through


def test_who_is_started_again_goes_on_with_the_certificate(index: Encrypted) -> None:
    before = index.certificate()
    for service in ("nginx", "certbot"):
        index.compose.kill(service)
        index.compose.start(service)
        assert index.certificate() == before
    index.compose.down()
    index.compose.up()
    assert index.certificate() == before
    assert "asking" not in index.log("certbot"), "the authority is left alone"


def test_a_renewal_fails_no_request(index: Encrypted, figures: list[str]) -> None:
    """Read, and uploaded, by clients that never try again, while the certificate is renewed over and over."""
    planted.upload(index.wire(), planted.fresh("streamed"))
    made = planted.fresh("read", size=200_000)
    planted.upload(index.wire(), made)
    wire, seen = index.wire(), {index.certificate().serial}
    nginx = index.compose.container("nginx").id

    def read(_number: int) -> None:
        reply = wire.ask("GET", f"/packages/read/{made.filename}")
        assert (reply.status, reply.body) == (200, made.content), str(reply)

    def page(_number: int) -> None:
        reply = wire.ask("GET", "/simple/read/")
        assert (reply.status, made.filename in reply.body.decode()) == (200, True), str(reply)

    def upload(_number: int) -> None:
        planted.upload(wire, planted.fresh("streamed"), seconds=3)

    def renew() -> None:
        index.compose.call("restart", "certbot")
        # for a tenth of a second after a reload, nginx's old workers still take connections, with the one before
        seen.add(eventually(index.certificate, lambda found: found.serial not in seen, seconds=60).serial)

    streams = [Stream("page", page, pause=0.02), Stream("file", read, pause=0.05)]
    streams += [Stream("slow upload", upload) for _ in range(2)]
    index.certbot("sed", "-i", f"1i {DUE}", RENEWAL)
    try:
        row = load.during("renewal (compose)", renew, streams, least={"page": 200, "file": 100, "slow upload": 4})
    finally:
        index.certbot("sed", "-i", "/^renew_before_expiry/d", RENEWAL)
    figures.extend(load.table([row]))
    assert row.failures == ()
    assert len(seen) == row.times + 1
    box = index.compose.container("nginx")
    assert box.id == nginx
    attributes = box.engine.api.containers.get(box.id).attrs
    assert attributes["RestartCount"] == 0


def test_a_certificate_that_nginx_cannot_use_is_not_taken_up(index: Encrypted) -> None:
    """As a full disk would leave it; the next one is."""
    before = index.certificate()
    index.certbot("sh", "-c", "cd /etc/ppm/tls/current && cp -p fullchain.pem /tmp/ && echo broken > fullchain.pem")
    index.says("nginx", "and can't be used; the old one is still served: cannot load certificate")
    assert index.certificate() == before
    served = index.log("nginx").count("the new one is served")
    index.certbot("sh", "-c", "cat /tmp/fullchain.pem > /etc/ppm/tls/current/fullchain.pem")
    index.says("nginx", "the new one is served", times=served + 1)
    assert index.certificate() == before


# Why there is none, as the service says it: certbot's settings, where the name leads, and the meaning. What the
# authority answers is the role's to explain: tests/hosts/test_roles.py, tests/unit/test_issue_certificate.py.

REFUSALS: dict[str, tuple[Mapping[str, str], str, str]] = {
    "another name": (
        {"PPM_DOMAIN": "other.test"},
        "",
        "nginx does not serve the authority's challenges for other.test",
    ),
    "leads elsewhere": ({}, "{acme}", "nothing answers at http://index.test/ (port 80 of {acme})"),
    "no authority": (
        {"PPM_ACME_DIRECTORY": "https://acme.test:9/dir"},
        "",
        "No certificate for index.test: this host does not reach the authority",
    ),
    "too often": ({}, "", "3 tries failed within an hour: the next is at 20"),
}


def test_why_there_is_no_certificate_and_nginx_goes_on(index: Encrypted, acme: Acme) -> None:
    before, box = index.certificate(), index.compose.container("nginx")
    index.certbot("rm", "-f", "/var/lib/certbot/issued")
    for name, (environment, lead, meaning) in REFUSALS.items():
        index.attach(lead.format(acme=acme.box.address), **environment)
        index.compose.up("certbot")
        said = index.says("certbot", meaning.format(acme=acme.box.address))
        assert "nginx keeps the current certificate" in said or name == "too often", said
        if "No certificate" in meaning:
            assert "To try sooner: docker compose restart certbot" in said
            assert "certbot printed: " in said
            index.certbot("sed", "-i", "p;p", "/var/lib/certbot/failures")  # as if it had failed three times
        assert index.certificate() == before
    assert "asking " not in index.log("certbot"), "the authority is not asked a fourth time"
    index.certbot("rm", "/var/lib/certbot/failures")
    index.compose.call("restart", "certbot")
    eventually(index.certificate, lambda found: found.serial != before.serial, seconds=60)
    assert index.compose.container("nginx").id == box.id


def test_without_an_address_for_the_authority_it_says_so(index: Encrypted) -> None:
    done = index.compose.run("certbot", options=("--no-deps", "--env", "PPM_ACME_EMAIL="), check=False)
    assert done.code == 1
    assert "PPM_ACME_EMAIL not set: set ppm_domain and ppm_acme_email in docker/settings.yml" in done.out


# lifetimes


def test_certificates_of_a_minute_are_renewed_by_themselves(short: tuple[Encrypted, Acme]) -> None:
    """Nobody says when: it is looked more often the sooner one ends."""
    index, acme = short
    assert index.certbot("id", "-u").out == "4321\n"
    index.says("nginx", "the new one is served", times=3, seconds=4 * _SHORT)
    eventually(index.is_served, bool, seconds=_SHORT)
    acme.box.remove()  # the service reports it when the next one is due


# files of one's own


def test_a_certificate_that_is_provided(place: tuple[Bed, Acme, str], images: str, tmp_path: Path) -> None:
    bed, _, address = place
    authority = Authority()
    made = deploy(
        bed, address, copies.copy(tmp_path / "ppm"), tmp_path, "provided", (9080, 9443, 9081), PPM_TAG=images
    )
    made.root = authority.write_root(tmp_path / "root.pem")

    def provide(name: str) -> dict[str, object]:
        chain, key = authority.issue(tmp_path / name, DOMAIN)
        given = {"ppm_tls": "provided", "ppm_tls_certificate": str(chain), "ppm_tls_key": str(key)}
        return {"ppm_domain": DOMAIN, "ppm_upstream": "none", **given}

    key, chain = (made.checkout / "docker" / "local" / "tls" / name for name in ("privkey.pem", "fullchain.pem"))
    env = made.checkout / "docker" / ".env"
    env.write_text("PPM_UID=4321\n")
    said = secured.configure(made.checkout, provide("first"))
    made.take_settings()
    assert key.stat().st_mode & 0o777 == 0o600
    if os.geteuid() == 0:
        assert key.stat().st_uid == 4321, "given to the user that nginx runs as"
        assert "chown" not in said
    else:
        assert f"sudo chown 4321 {key}" in " ".join(said.split())
    try:
        # as it is for one who is not root
        os.chown(key, 0, 0)
        made.compose.call("up", "--detach", "--no-build")
        said = made.says(
            "nginx", "/etc/ppm/tls/privkey.pem can't be read by uid 10001, gid 10001; its owner is uid 0"
        )
        assert "sudo chown 10001:10001" in said
        os.chown(key, *composed.OWNER)
        made.compose.up()
        first = made.certificate()
        assert first.domains == [DOMAIN]

        env.write_text(env.read_text().replace("PPM_UID=4321\n", ""))
        assert "changed=1 " in secured.configure(made.checkout, provide("second")), "nothing but the pair has changed"
        eventually(made.certificate, lambda found: found.serial != first.serial, seconds=60)
        made.says("nginx", "the new one is served")

        mine = key.read_bytes()
        other = authority.issue(tmp_path / "other", DOMAIN)[1].read_bytes()
        for content, meaning in (
            (other, "/etc/ppm/tls/privkey.pem is not the key of /etc/ppm/tls/fullchain.pem"),
            (b"", "the configuration can't be used: cannot load certificate key"),
            (None, "there is no /etc/ppm/tls/privkey.pem: mount the certificate and its key in /etc/ppm/tls"),
        ):
            if content is None:
                key.unlink()
            else:
                key.write_bytes(content)
            done = made.compose.run("nginx", options=("--no-deps",), check=False)
            assert done.code == 1
            assert (done.out + done.err).count("ppm-nginx: ") == 1
            line = next(line for line in (done.out + done.err).splitlines() if "ppm-nginx: " in line)
            assert meaning in line
        key.write_bytes(mine)
        assert chain.exists()
    finally:
        print(made.compose.logs())
        made.compose.down(volumes=True)


@pytest.mark.filterwarnings("ignore:Unverified HTTPS request")
def test_an_authority_that_is_down_is_said_to_be(short: tuple[Encrypted, Acme]) -> None:
    """At the renewal that is due next; what is there is served on, even when it has ended."""
    index, acme = short
    acme.box.remove()
    said = index.says("certbot", "No certificate for index.test: this host does not reach", seconds=2 * _SHORT)
    assert "The next try is at" in said
    with index.session() as session:
        assert session.get(f"https://{DOMAIN}/healthz", verify=False).text == "ok\n"
