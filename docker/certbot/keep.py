"""Keep nginx's certificate valid: make a temporary one at once, get the authority's, and renew it in time."""

from __future__ import annotations

import os
import random
import signal
import socket
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import schedule
from place import Place, Unfit
from ppm_certificate import CHALLENGES, NotIssued, ask, certbot, challenge, check_name, issue, renew_account

PLACE = Place(root=Path("/etc/ppm/tls"))
WEBROOT = Path("/var/lib/ppm/acme")
STATE = Path("/var/lib/certbot")
LIVE = STATE / "config" / "live"
RENEWAL = "renewal.json"  # in the place: how the last renewal ended, which nginx passes on to the application
ISSUED = STATE / "issued"
FAILURES = schedule.Failures(path=STATE / "failures")
NGINX = ("nginx", 8080)

# The certificate authorities for the authority's own HTTPS: the public ones, and the mounted ones.
PUBLIC = Path("/etc/ssl/certs/ca-certificates.crt")
MOUNTED = Path("/etc/ppm/ca")
AUTHORITIES = Path("/tmp/authorities.pem")  # on the container's tmpfs

LOOK_SECONDS = 1.0
ASK_SECONDS = 5.0
CHECK_SECONDS = 30.0

stopped = threading.Event()


class Unusable(Exception):
    """The service can't start with its settings or volumes; the message has a hint."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The certificate to get."""

    domain: str
    email: str
    directory: str
    check_first: bool

    @property
    def source(self) -> str:
        """Return the required source of the certificate, in the form that the role records on hosts."""
        return f"letsencrypt {self.domain} {self.directory or 'default'}"

    @property
    def live(self) -> Path:
        return LIVE / self.domain


def read_settings(environment: Mapping[str, str]) -> Settings:
    """Return the settings in an environment. Raise Unusable if one is missing."""
    missing = [name for name in ("PPM_DOMAIN", "PPM_ACME_EMAIL") if not environment.get(name)]
    if missing:
        raise Unusable(
            f"{' and '.join(missing)} not set: set ppm_domain and ppm_acme_email in docker/settings.yml, run"
            " `make compose-config` and `docker compose up -d`"
        )
    check_first = environment.get("PPM_ACME_CHECK_FIRST") or "true"
    if check_first not in ("true", "false"):
        raise Unusable(f"PPM_ACME_CHECK_FIRST is {check_first!r}: it must be true or false")
    return Settings(
        domain=environment["PPM_DOMAIN"],
        email=environment["PPM_ACME_EMAIL"],
        directory=environment.get("PPM_ACME_DIRECTORY", ""),
        check_first=check_first == "true",
    )


def say(what: str) -> None:
    print(f"ppm-certbot: {what}", flush=True)


def check_folders() -> None:
    """Raise Unusable if a mounted folder can't be written."""
    for path in (PLACE.root, WEBROOT, STATE):
        if not os.access(path, os.W_OK | os.X_OK):
            me = f"uid {os.getuid()}, gid {os.getgid()}"
            owner = f"its owner is uid {path.stat().st_uid}" if path.exists() else "it does not exist"
            raise Unusable(f"{path} can't be written by {me} ({owner}): mount a volume that this user can write")


def write_authorities() -> None:
    """Write the certificate authorities for the authority's HTTPS. Raise Unusable if one can't be read."""
    paths = [PUBLIC, *sorted(path for path in MOUNTED.glob("*") if path.is_file())]
    try:
        AUTHORITIES.write_bytes(b"\n".join(path.read_bytes() for path in paths))
    except PermissionError as exc:
        raise Unusable(f"{exc.filename} can't be read by uid {os.getuid()}: make it readable for all") from exc


def put(settings: Settings) -> None:
    """Install certbot's certificate for nginx. Raise NotIssued if it can't be used."""
    if PLACE.source == settings.source and PLACE.has(settings.live):
        return
    try:
        PLACE.put(settings.live, settings.source)
    except (OSError, Unfit) as exc:
        ISSUED.unlink(missing_ok=True)  # so that the next try gets another one
        raise NotIssued(f"what certbot has in {settings.live} can't be used: {exc}") from exc
    say(f"the certificate for {settings.domain} is installed, valid until {clock(PLACE.validity().end)}")


def is_issued(settings: Settings) -> bool:
    """Return whether certbot has a certificate from the required source."""
    try:
        return ISSUED.read_text(encoding="utf-8").strip() == settings.source and settings.live.exists()
    except FileNotFoundError:
        return False


def is_up() -> bool:
    """Return whether nginx answers; it may start later than this service, and connections wait for it."""
    try:
        with socket.create_connection(NGINX, timeout=ASK_SECONDS) as connection:
            connection.sendall(b"HEAD / HTTP/1.0\r\n\r\n")
            connection.recv(1)
    except ConnectionResetError:  # nginx answers only requests for its own name
        return True
    except OSError:
        return False
    return True


def wait_for_nginx(settings: Settings) -> None:
    """Wait until an authority would reach this nginx by the name. Print each new problem."""
    problem = ""
    while not stopped.is_set():
        try:
            check_nginx(settings)
        except NotIssued as exc:
            if str(exc) != problem:
                problem = str(exc)
                say(f"{problem}. It checks again every {CHECK_SECONDS:.0f} s; nginx keeps the current certificate")
            stopped.wait(CHECK_SECONDS)
        else:
            return


def check_nginx(settings: Settings) -> None:
    """Check that nginx serves challenges for the name, directly and where the name leads. Raise NotIssued."""
    while not is_up() and not stopped.is_set():
        stopped.wait(LOOK_SECONDS)
    with challenge(WEBROOT) as name:
        try:
            answer = ask("{}:{}".format(*NGINX), f"/{CHALLENGES}/{name}", host=settings.domain)
        except OSError as exc:
            answer = f"{exc}"
    if answer != name and not stopped.is_set():
        raise NotIssued(
            f"nginx does not serve the authority's challenges for {settings.domain} ({answer[:60]!r}): run"
            " `make compose-config`, and check that both services have the volume `acme`"
        )
    if settings.check_first:
        try:
            check_name(settings.domain, WEBROOT)
        except NotIssued as exc:
            raise NotIssued(
                f"{exc}. (If only this machine can't reach itself by that name, set ppm_acme_check_first: false)"
            ) from exc


def get(settings: Settings) -> None:
    """Get a certificate, or renew it if it is due. Raise NotIssued with the reason if there is none."""
    if not is_issued(settings):
        wait_for_nginx(settings)
    wait_until_allowed()
    if stopped.is_set():
        return
    FAILURES.add(time.time())
    before = PLACE.source, PLACE.validity()
    if is_issued(settings):
        put(settings)
        account = {"authorities": AUTHORITIES, "configuration": LIVE.parent}
        if renew_account(settings.domain, settings.email, WEBROOT, **account):
            say("the authority did not know the account: a new one was registered, and a new certificate issued")
        else:
            renewal = ("renew", "--cert-name", settings.domain, "--no-random-sleep-on-renew")
            certbot(settings.domain, *renewal, authorities=AUTHORITIES)
    else:
        say(f"asking {settings.directory or 'the authority'} for a certificate for {settings.domain}")
        issue(settings.domain, settings.email, settings.directory, WEBROOT, authorities=AUTHORITIES)
        ISSUED.write_text(f"{settings.source}\n", encoding="utf-8")
    FAILURES.clear()
    put(settings)
    if before != (PLACE.source, PLACE.validity()) or not PLACE.read(RENEWAL).get("succeeded", True):
        record(succeeded=True, detail=f"valid until {clock(PLACE.validity().end)}")


def record(*, succeeded: bool, detail: str) -> None:
    """Note how a renewal ended: `ppm_operation_succeeded` and webhooks tell it."""
    now = datetime.now(UTC).isoformat(timespec="seconds")
    PLACE.note(RENEWAL, {"succeeded": succeeded, "detail": detail, "time": now})


def wait_until_allowed() -> None:
    seconds = schedule.until_allowed(FAILURES.times(), time.time())
    if seconds:
        say(
            f"{schedule.FAILURES_AN_HOUR} tries failed within an hour: the next is at {clock(seconds)}, so that the"
            " authority does not refuse the name for longer"
        )
        stopped.wait(seconds)


def clock(when: float | datetime) -> str:
    """Format a time for people: a number of seconds from now, or a date."""
    if not isinstance(when, datetime):
        when = datetime.fromtimestamp(time.time() + when, UTC)
    return f"{when:%Y-%m-%d %H:%M} UTC"


def keep(settings: Settings) -> None:
    """Keep a valid certificate until the service is stopped."""
    streak = 0
    while not stopped.is_set():
        try:
            get(settings)
        except NotIssued as exc:
            streak += 1
            seconds = schedule.until_retry(streak)
            say(
                f"No certificate for {settings.domain}: {exc}. nginx keeps the current certificate, valid until"
                f" {clock(PLACE.validity().end)}. The next try is at {clock(seconds)}. To try sooner:"
                " docker compose restart certbot"
            )
            record(succeeded=False, detail=str(exc))
        else:
            streak = 0
            seconds = schedule.until_check(PLACE.validity().seconds, random.random())
        stopped.wait(seconds)


def main() -> int:
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())
    try:
        settings = read_settings(os.environ)
        check_folders()
        write_authorities()
    except Unusable as exc:
        say(str(exc))
        return 1
    if PLACE.is_empty:
        PLACE.put_temporary(settings.domain)
        say(f"nginx has a temporary certificate for {settings.domain}, which no client trusts, for now")
    keep(settings)
    return 0


if __name__ == "__main__":
    sys.exit(main())
