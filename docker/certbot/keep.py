"""Keeps nginx's certificate: a temporary one at once, the authority's as soon as it can be had, renewed in time."""

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
from ppm_certificate import CHALLENGES, NotIssued, ask, certbot, challenge, check_name, issue

PLACE = Place(root=Path("/etc/ppm/tls"))
WEBROOT = Path("/var/lib/ppm/acme")
STATE = Path("/var/lib/certbot")
LIVE = STATE / "config" / "live"
ISSUED = STATE / "issued"
FAILURES = schedule.Failures(path=STATE / "failures")
NGINX = ("nginx", 8080)

# Whom the authority's own HTTPS is checked by: those that everybody trusts, and those that are mounted.
PUBLIC = Path("/etc/ssl/certs/ca-certificates.crt")
MOUNTED = Path("/etc/ppm/ca")
AUTHORITIES = Path("/tmp/authorities.pem")  # on the container's own tmpfs

LOOK_SECONDS = 1.0
ASK_SECONDS = 5.0
LOOK_AGAIN_SECONDS = 30.0

stopped = threading.Event()


class Unusable(Exception):
    """What it was started with can't be used; the message says what to do."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What the certificate is to be."""

    domain: str
    email: str
    directory: str
    check_first: bool

    @property
    def source(self) -> str:
        """What a certificate has to be from, as the role notes it on hosts."""
        return f"letsencrypt {self.domain} {self.directory or 'default'}"

    @property
    def live(self) -> Path:
        return LIVE / self.domain


def read_settings(environment: Mapping[str, str]) -> Settings:
    """The settings of an environment. Unusable if one is missing."""
    missing = [name for name in ("PPM_DOMAIN", "PPM_ACME_EMAIL") if not environment.get(name)]
    if missing:
        raise Unusable(
            f"{' and '.join(missing)} not set: set ppm_domain and ppm_acme_email in docker/settings.yml, run"
            " `make compose-config` and `docker compose up -d`"
        )
    check_first = environment.get("PPM_ACME_CHECK_FIRST") or "true"
    if check_first not in ("true", "false"):
        raise Unusable(f"PPM_ACME_CHECK_FIRST is {check_first!r}: it is true or false")
    return Settings(
        domain=environment["PPM_DOMAIN"],
        email=environment["PPM_ACME_EMAIL"],
        directory=environment.get("PPM_ACME_DIRECTORY", ""),
        check_first=check_first == "true",
    )


def say(what: str) -> None:
    print(f"ppm-certbot: {what}", flush=True)


def check_folders() -> None:
    """See that what is mounted can be written. Unusable says which can't."""
    for path in (PLACE.root, WEBROOT, STATE):
        if not os.access(path, os.W_OK | os.X_OK):
            me = f"uid {os.getuid()}, gid {os.getgid()}"
            owner = f"its owner is uid {path.stat().st_uid}" if path.exists() else "it is not there"
            raise Unusable(f"{path} can't be written by {me} ({owner}): mount a volume that is theirs there")


def write_authorities() -> None:
    """Put down whom the authority's HTTPS is checked by. Unusable if one can't be read."""
    found = [PUBLIC, *sorted(path for path in MOUNTED.glob("*") if path.is_file())]
    try:
        AUTHORITIES.write_bytes(b"\n".join(path.read_bytes() for path in found))
    except PermissionError as exc:
        raise Unusable(
            f"{exc.filename} can't be read by uid {os.getuid()}: make it readable, it is no secret"
        ) from exc


def put(settings: Settings) -> None:
    """Let nginx have the certificate that certbot has. NotIssued if it is none."""
    if PLACE.source == settings.source and PLACE.has(settings.live):
        return
    try:
        PLACE.put(settings.live, settings.source)
    except (OSError, Unfit) as exc:
        ISSUED.unlink(missing_ok=True)  # the next try gets another
        raise NotIssued(f"what certbot has in {settings.live} can't be used: {exc}") from exc
    say(f"the certificate for {settings.domain} is in its place, valid until {clock(PLACE.validity().end)}")


def is_issued(settings: Settings) -> bool:
    """Whether certbot has a certificate from where it is to be."""
    try:
        return ISSUED.read_text(encoding="utf-8").strip() == settings.source and settings.live.exists()
    except FileNotFoundError:
        return False


def is_up() -> bool:
    """Whether nginx takes connections; it may be started after this."""
    try:
        socket.create_connection(NGINX, timeout=ASK_SECONDS).close()
    except OSError:
        return False
    return True


def wait_for_nginx(settings: Settings) -> None:
    """Wait until an authority would reach this nginx by the name, and say what is in the way."""
    said = ""
    while not stopped.is_set():
        try:
            see_nginx(settings)
        except NotIssued as exc:
            if str(exc) != said:
                said = str(exc)
                say(f"{said}. It is looked again every {LOOK_AGAIN_SECONDS:.0f} s; nginx goes on with what it has")
            stopped.wait(LOOK_AGAIN_SECONDS)
        else:
            return


def see_nginx(settings: Settings) -> None:
    """See that nginx serves challenges for the name, here and where the name leads. NotIssued says what is wrong."""
    while not is_up() and not stopped.is_set():
        stopped.wait(LOOK_SECONDS)
    with challenge(WEBROOT) as name:
        try:
            got = ask("{}:{}".format(*NGINX), f"/{CHALLENGES}/{name}", host=settings.domain)
        except OSError as exc:
            got = f"{exc}"
    if got != name and not stopped.is_set():
        raise NotIssued(
            f"nginx does not serve the authority's challenges for {settings.domain} ({got[:60]!r}): run"
            " `make compose-config`, and see that both services have the volume `acme`"
        )
    if settings.check_first:
        try:
            check_name(settings.domain, WEBROOT)
        except NotIssued as exc:
            raise NotIssued(
                f"{exc}. (If it is only that this machine does not reach itself by that name, set"
                " ppm_acme_check_first: false)"
            ) from exc


def get(settings: Settings) -> None:
    """Have a certificate, and one that is not due. NotIssued says why there is none."""
    if not is_issued(settings):
        wait_for_nginx(settings)
    wait_until_allowed()
    if stopped.is_set():
        return
    FAILURES.add(time.time())
    if is_issued(settings):
        put(settings)
        renewal = ("renew", "--cert-name", settings.domain, "--no-random-sleep-on-renew")
        certbot(settings.domain, *renewal, authorities=AUTHORITIES)
    else:
        say(f"asking {settings.directory or 'the authority'} for a certificate for {settings.domain}")
        issue(settings.domain, settings.email, settings.directory, WEBROOT, authorities=AUTHORITIES)
        ISSUED.write_text(f"{settings.source}\n", encoding="utf-8")
    FAILURES.clear()
    put(settings)


def wait_until_allowed() -> None:
    seconds = schedule.until_allowed(FAILURES.times(), time.time())
    if seconds:
        say(
            f"{schedule.FAILURES_AN_HOUR} tries failed within an hour: the next is at {clock(seconds)}, so that the"
            " authority does not refuse the name for longer"
        )
        stopped.wait(seconds)


def clock(when: float | datetime) -> str:
    """A time for people: one that is so many seconds away, or this one."""
    if not isinstance(when, datetime):
        when = datetime.fromtimestamp(time.time() + when, UTC)
    return f"{when:%Y-%m-%d %H:%M} UTC"


def keep(settings: Settings) -> None:
    """Until it is stopped, see that there is a certificate that is valid."""
    streak = 0
    while not stopped.is_set():
        try:
            get(settings)
        except NotIssued as exc:
            streak += 1
            seconds = schedule.until_retry(streak)
            say(
                f"No certificate for {settings.domain}: {exc}. nginx goes on with what it has, valid until"
                f" {clock(PLACE.validity().end)}. The next try is at {clock(seconds)}; sooner, when that is mended:"
                " docker compose restart certbot"
            )
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
        say(f"nginx has a temporary certificate for {settings.domain}, which nobody trusts, until there is one")
    keep(settings)
    return 0


if __name__ == "__main__":
    sys.exit(main())
