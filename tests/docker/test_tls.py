"""TLS of the compose deployment: the first certificate, its renewal under load, and reasons for no certificate.

A deployment is reached as in production: through its published ports, at an address of this machine to which its name
resolves for the CA and the clients. `make compose-config` applies the settings.
"""

from __future__ import annotations

import json
import os
import re
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
_SHORT_LIFETIME = 60  # seconds


@dataclass(kw_only=True)
class TlsDeployment:
    """A deployment with TLS, from its own checkout. `ports` are those of plain HTTP and of HTTPS."""

    compose: Compose
    checkout: Path
    address: str
    over: Path
    lease: str  # also the name of the network with the CA
    ports: tuple[int, int] = (80, 443)
    root: Path = Path()
    auth: tuple[str, str] = ("", "")

    def has_renewed(self) -> bool | None:
        """Return whether the last renewal succeeded, as the application knows it; None if there was none."""
        listed = json.loads(self.compose.exec("pypiserver", "ppmctl", "operation", "list", "--json").out)
        return next((each["succeeded"] for each in listed["operations"] if each["name"] == "certificate"), None)

    def take_settings(self) -> None:
        """Use the compose files that `make compose-config` wrote into docker/.env."""
        files = secured.files_in_use(self.checkout)
        lease = compose.leased(self.over.with_name("leased.json"), files, self.lease, volumes=True)
        self.attach()
        self.compose = replace(self.compose, files=(*files, lease, self.over))

    def attach(self, leads_to: str = "", **environment: str) -> None:
        """Connect certbot to the CA's network, resolve the domain to `leads_to` or here, and set `environment`."""
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

    def wait_for_message(self, service: str, message: str, *, times: int = 1, seconds: float = 60) -> str:
        return eventually(lambda: self.log(service), lambda text: text.count(message) >= times, seconds=seconds)

    def add_user(self) -> None:
        done = self.compose.exec("pypiserver", "ppmctl", "user", "add", "ada", "--role", "admin")
        self.auth = ("ada", next(word for word in done.out.split() if word.startswith("ppm_")))


@contextmanager
def open_network(folder: Path, name: str, *, valid_seconds: int | None = None) -> Iterator[tuple[Bed, Acme, str]]:
    """Open a network with a CA that resolves every name to an address of this machine."""
    bed = open_bed(f"tests-{name}-{os.getpid()}", folder)
    try:
        attributes = bed.engine.api.networks.get(bed.network).attrs
        address = attributes["IPAM"]["Config"][0]["Gateway"]
        yield bed, bed.acme(names_lead_to=address, valid_seconds=valid_seconds), address
    finally:
        bed.close()


def deploy(
    bed: Bed, address: str, checkout: Path, folder: Path, kind: str, ports: tuple[int, int, int], **environment: str
) -> TlsDeployment:
    """Return a deployment without settings; the ports are those of HTTP, of HTTPS, and of PPM_LISTEN."""
    names = ("PPM_HTTP_LISTEN", "PPM_HTTPS_LISTEN", "PPM_LISTEN")
    environment |= {name: f"{address}:{port}" for name, port in zip(names, ports, strict=True)}
    return TlsDeployment(
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
def deploy_with_certificate(
    bed: Bed, acme: Acme, address: str, checkout: Path, folder: Path, **environment: str
) -> Iterator[TlsDeployment]:
    """Start a deployment from nothing; it is removed with its data at the end."""
    made = deploy(bed, address, checkout, folder, "tls", (80, 443, 8080), **environment)
    made.take_settings()
    made.root = folder / "root.pem"
    made.root.write_bytes(acme.root())
    try:
        made.compose.up()
        yield made
    finally:
        print(made.compose.logs())  # pytest shows this if a test failed
        made.compose.down(volumes=True)


@pytest.fixture(scope="module")
def network_with_acme(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Bed, Acme, str]]:
    with open_network(tmp_path_factory.mktemp("bed"), "tls") as made:
        yield made


@pytest.fixture(scope="module")
def acme(network_with_acme: tuple[Bed, Acme, str]) -> Acme:
    return network_with_acme[1]


@pytest.fixture(scope="module")
def checkout(acme: Acme, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a checkout, and run `make compose-config` in it for a certificate of the CA."""
    folder = tmp_path_factory.mktemp("configured")
    made = copies.copy(folder / "ppm")
    secured.configure(made, settings(acme, folder))
    return made


@pytest.fixture(scope="module")
def short_lived(
    checkout: Path, images: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[TlsDeployment, Acme]]:
    """Start a deployment with certificates of one minute, as a user that does not exist in the images."""
    folder = tmp_path_factory.mktemp("short")
    data = folder / "data"
    data.mkdir()
    os.chown(data, 4321, 4321)
    another = {"PPM_UID": "4321", "PPM_GID": "4321", "PPM_DATA": str(data)}
    with (
        open_network(folder / "bed", "tls-short", valid_seconds=_SHORT_LIFETIME) as (bed, acme, address),
        deploy_with_certificate(bed, acme, address, checkout, folder, **composed.tags(images), **another) as made,
    ):
        yield made, acme


@pytest.fixture(scope="module")
def index(
    short_lived: object,
    network_with_acme: tuple[Bed, Acme, str],
    checkout: Path,
    images: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[TlsDeployment]:
    """Start a deployment with certificates of 90 days, after `short_lived`, whose certificates expire meanwhile."""
    with deploy_with_certificate(
        *network_with_acme, checkout, tmp_path_factory.mktemp("tls"), **composed.tags(images)
    ) as made:
        made.add_user()
        eventually(made.is_served, bool, seconds=60)
        yield made


# the first certificate


def test_the_first_certificate_is_issued_and_served(index: TlsDeployment) -> None:
    """nginx starts without one, serves the challenge, and loads the certificate without a restart."""
    log = index.log("certbot")
    assert "nginx has a temporary certificate" in log
    assert "the certificate for index.test is installed, valid until 20" in log
    served = index.certificate()
    assert served.domains == [DOMAIN]
    assert "Pebble Intermediate" in served.issuer
    index.wait_for_message("nginx", "the new one is served")  # nginx drains before and after
    with index.session() as session:
        made = planted.fresh("secured")
        planted.upload(index.wire(), made)
        assert session.get(f"https://{DOMAIN}/simple/secured/").status_code == 200
        answer = session.get(f"https://{DOMAIN}/simple/secured/", auth=("ada", "wrong"))
        assert answer.status_code == 401
        assert "max-age=" in answer.headers["Strict-Transport-Security"]
        metrics = session.get(f"https://{DOMAIN}/metrics").text
    ends = re.search(r"^ppm_certificate_end_timestamp_seconds (\S+)$", metrics, re.MULTILINE)
    assert ends
    assert float(ends[1]) == served.ends
    eventually(index.has_renewed, lambda renewed: renewed is True, seconds=60)


def test_plain_http_redirects_to_https_and_refuses_uploads(index: TlsDeployment) -> None:
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


def test_certbot_is_unprivileged_and_writes_only_to_its_volumes(index: TlsDeployment) -> None:
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


# restarts and renewals


def test_restarted_services_keep_the_certificate(index: TlsDeployment) -> None:
    before = index.certificate()
    for service in ("nginx", "certbot"):
        index.compose.kill(service)
        index.compose.start(service)
        assert index.certificate() == before
    index.compose.down()
    index.compose.up()
    assert index.certificate() == before
    assert "asking" not in index.log("certbot"), "the authority is left alone"


def test_a_renewal_fails_no_request(index: TlsDeployment, figures: list[str]) -> None:
    """Clients without retries read and upload while the certificate is renewed repeatedly."""
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
        # for a tenth of a second after a reload, nginx's old workers still accept connections (old certificate)
        seen.add(eventually(index.certificate, lambda served: served.serial not in seen, seconds=60).serial)

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


def test_replacing_all_services_fails_no_request(index: TlsDeployment, figures: list[str]) -> None:
    """As an upgrade does: nginx and the application are stopped before one of them is started again, certbot too."""
    wire, made = index.wire(), planted.fresh("replaced")
    planted.upload(wire, made)
    services = ("certbot", "pypiserver", "nginx")

    def replace_them() -> None:
        index.compose.call("up", "--detach", "--no-build", "--no-deps", "--force-recreate", *services)
        index.compose.wait(*services)

    def page(_number: int) -> None:
        reply = wire.ask("GET", "/simple/replaced/")
        assert (reply.status, made.filename in reply.body.decode()) == (200, True), str(reply)

    def upload(_number: int) -> None:
        planted.upload(wire, planted.fresh("replaced"))

    streams = [Stream("page", page, pause=0.05), Stream("upload", upload, pause=0.05)]
    row = load.during("up --force-recreate (TLS)", replace_them, streams, least={"page": 5, "upload": 5})
    figures.extend(load.table([row]))
    assert row.failures == ()


def test_a_broken_certificate_is_not_loaded(index: TlsDeployment) -> None:
    """It is as a full disk would leave it; the next valid one is loaded."""
    before = index.certificate()
    index.certbot("sh", "-c", "cd /etc/ppm/tls/current && cp -p fullchain.pem /tmp/ && echo broken > fullchain.pem")
    index.wait_for_message("nginx", "and can't be used; the old one is still served: cannot load certificate")
    assert index.certificate() == before
    served = index.log("nginx").count("the new one is served")
    index.certbot("sh", "-c", "cat /tmp/fullchain.pem > /etc/ppm/tls/current/fullchain.pem")
    index.wait_for_message("nginx", "the new one is served", times=served + 1)
    assert index.certificate() == before


# Reasons for no certificate: certbot's settings, the address that the name resolves to, and the service's message.
# For the CA's own answers see tests/hosts/test_roles.py and tests/unit/test_issue_certificate.py.

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


def test_reasons_for_no_certificate_while_nginx_serves_on(index: TlsDeployment, acme: Acme) -> None:
    before, box = index.certificate(), index.compose.container("nginx")
    index.certbot("rm", "-f", "/var/lib/certbot/issued")
    for name, (environment, lead, meaning) in REFUSALS.items():
        index.attach(lead.format(acme=acme.box.address), **environment)
        index.compose.up("certbot")
        log = index.wait_for_message("certbot", meaning.format(acme=acme.box.address))
        assert "nginx keeps the current certificate" in log or name == "too often", log
        if "No certificate" in meaning:
            assert "To try sooner: docker compose restart certbot" in log
            assert "certbot printed: " in log
            index.certbot("sed", "-i", "p;p", "/var/lib/certbot/failures")  # as after three failures
        assert index.certificate() == before
    assert "asking " not in index.log("certbot"), "the authority is not asked a fourth time"
    eventually(index.has_renewed, lambda renewed: renewed is False, seconds=30)
    index.certbot("rm", "/var/lib/certbot/failures")
    index.compose.call("restart", "certbot")
    eventually(index.certificate, lambda served: served.serial != before.serial, seconds=60)
    eventually(index.has_renewed, lambda renewed: renewed is True, seconds=60)
    assert index.compose.container("nginx").id == box.id


def test_a_missing_acme_email_is_reported(index: TlsDeployment) -> None:
    done = index.compose.run("certbot", options=("--no-deps", "--env", "PPM_ACME_EMAIL="), check=False)
    assert done.code == 1
    assert "PPM_ACME_EMAIL not set: set ppm_domain and ppm_acme_email in docker/settings.yml" in done.out


# lifetimes


def test_short_lived_certificates_are_renewed_automatically(short_lived: tuple[TlsDeployment, Acme]) -> None:
    """certbot's service checks more often when a certificate expires soon."""
    index, acme = short_lived
    assert index.certbot("id", "-u").out == "4321\n"
    index.wait_for_message("nginx", "the new one is served", times=3, seconds=4 * _SHORT_LIFETIME)
    eventually(index.is_served, bool, seconds=_SHORT_LIFETIME)
    acme.box.remove()  # test_an_unreachable_authority_is_reported waits for the message


# provided certificates


def test_a_provided_certificate(network_with_acme: tuple[Bed, Acme, str], images: str, tmp_path: Path) -> None:
    bed, _, address = network_with_acme
    authority = Authority()
    made = deploy(
        bed, address, copies.copy(tmp_path / "ppm"), tmp_path, "provided", (9080, 9443, 9081), **composed.tags(images)
    )
    made.root = authority.write_root(tmp_path / "root.pem")

    def provide(name: str) -> dict[str, object]:
        chain, key = authority.issue(tmp_path / name, DOMAIN)
        given = {"ppm_tls": "provided", "ppm_tls_certificate": str(chain), "ppm_tls_key": str(key)}
        return {"ppm_domain": DOMAIN, "ppm_upstream": "none", **given}

    key, chain = (made.checkout / "docker" / "local" / "tls" / name for name in ("privkey.pem", "fullchain.pem"))
    env = made.checkout / "docker" / ".env"
    env.write_text("PPM_UID=4321\n")
    output = secured.configure(made.checkout, provide("first"))
    made.take_settings()
    assert key.stat().st_mode & 0o777 == 0o600
    if os.geteuid() == 0:
        assert key.stat().st_uid == 4321, "given to the user that nginx runs as"
        assert "chown" not in output
    else:
        assert f"sudo chown 4321 {key}" in " ".join(output.split())
    try:
        # as without root
        os.chown(key, 0, 0)
        made.compose.call("up", "--detach", "--no-build")
        output = made.wait_for_message(
            "nginx", "/etc/ppm/tls/privkey.pem can't be read by uid 10001, gid 10001; its owner is uid 0"
        )
        assert "sudo chown 10001:10001" in output
        os.chown(key, *composed.OWNER)
        made.compose.up()
        first = made.certificate()
        assert first.domains == [DOMAIN]

        env.write_text(env.read_text().replace("PPM_UID=4321\n", ""))
        assert "changed=1 " in secured.configure(made.checkout, provide("second")), "nothing but the pair has changed"
        eventually(made.certificate, lambda served: served.serial != first.serial, seconds=60)
        made.wait_for_message("nginx", "the new one is served")

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
        # rendered by a release before the service `sockets`: nginx's ports are not among the held ones
        old = ("--no-deps", "--env", "LISTEN_FDNAMES=8080")
        done = made.compose.run("nginx", "start", options=old, check=False)
        assert done.code == 1
        assert "the service `sockets` holds no port for HTTPS: run make compose-config" in done.out + done.err
    finally:
        print(made.compose.logs())
        made.compose.down(volumes=True)


@pytest.mark.filterwarnings("ignore:Unverified HTTPS request")
def test_an_unreachable_authority_is_reported(short_lived: tuple[TlsDeployment, Acme]) -> None:
    """It is reported at the next renewal; nginx serves the old certificate, even when it has expired."""
    index, acme = short_lived
    acme.box.remove()
    log = index.wait_for_message(
        "certbot", "No certificate for index.test: this host does not reach", seconds=2 * _SHORT_LIFETIME
    )
    assert "The next try is at" in log
    with index.session() as session:
        assert session.get(f"https://{DOMAIN}/healthz", verify=False).text == "ok\n"
