"""Start and stop an index on its own host (`make host`) or by compose, and bare hosts for playbooks."""

from __future__ import annotations

import argparse
import os
import sys
from typing import Any

from ppmctl.errors import EXIT_INTERRUPTED, PpmError, UsageError
from testbed import deployment, disposable, playbook
from testbed.bed import Bed, open_bed
from testbed.hosts import Wanted
from testbed.place import CHECKOUT, short_name

FOLDER = CHECKOUT / ".cache" / "hosts"

HOST_IS_UP = """\
The index serves at {url}/ until `make host-down`. To publish this checkout's example, and to install it:

    REQUESTS_CA_BUNDLE=.host/ca.pem .venv/bin/ppmctl publish --index {url} \\
        --credential-file .host/credential examples/hello

    python3 -m venv .cache/hello
    NETRC=.host/netrc REQUESTS_CA_BUNDLE=.host/ca.pem .cache/hello/bin/pip install \\
        --index-url {url}/simple/ ppm-hello

A command as root on the host:      make host-exec CMD='systemctl status ppm.service'
Provision it again after a change:  make host

.host/url         {url}
.host/ca.pem      the host's CA, and those that this machine trusts
.host/credential  the first admin's user:secret; .host/netrc has the same for pip, uv and curl
"""

COMPOSE_IS_UP = """\
The index serves at {url}/ until `make compose-down`. To publish this checkout's example, and to install it:

    .venv/bin/ppmctl publish --index {url} --credential-file .compose/credential examples/hello

    python3 -m venv .cache/hello
    NETRC=.compose/netrc .cache/hello/bin/pip install --index-url {url}/simple/ ppm-hello

Build and start it again after a change:  make compose-up

.compose/url         {url}
.compose/credential  an admin's user:secret; .compose/netrc has the same for pip, uv and curl
"""

COMPOSE_IS_DOWN = """\
The index is down. Its data stays for the next `make compose-up`. To delete the data:

    make compose-down ARGS=--volumes
"""


def host_up(options: argparse.Namespace) -> int:
    made = disposable.up(port=options.port, progress=sys.stderr)
    sys.stderr.flush()
    print(HOST_IS_UP.format(url=made.url), end="")
    return 0


def host_exec(options: argparse.Namespace) -> int:
    if not options.command.strip():
        raise UsageError("No command", hint="make host-exec CMD='…'")
    return disposable.run(options.command, out=sys.stdout.buffer, err=sys.stderr.buffer)


def host_down(_: argparse.Namespace) -> int:
    disposable.down()
    return 0


def images(_: argparse.Namespace) -> int:
    built = deployment.images(progress=sys.stderr)
    sys.stderr.flush()
    for image in built:
        print(f"{image.size / 1e6:6.1f} MB  {image.name}")
    return 0


def compose_up(options: argparse.Namespace) -> int:
    url = deployment.up(port=options.port, progress=sys.stderr)
    sys.stderr.flush()
    print(COMPOSE_IS_UP.format(url=url), end="")
    return 0


def compose_down(options: argparse.Namespace) -> int:
    if deployment.down(volumes=options.volumes) and not options.volumes:
        print(COMPOSE_IS_DOWN, end="")
    return 0


def bare_up(options: argparse.Namespace) -> int:
    bed = _bare()
    if options.name not in {host.name for host in bed.hosts()}:
        bed.host(Wanted(name=options.name, release=options.release, domain=options.domain, sudo=options.sudo))
    return _show(bed)


def bare_down(options: argparse.Namespace) -> int:
    bed = _bare()
    if not options.name:
        bed.close()
        return 0
    for host in bed.hosts():
        if host.name == options.name:
            host.remove()
    return _show(bed)


def bare_exec(options: argparse.Namespace) -> int:
    bed = _bare()
    for host in bed.hosts():
        if host.name == options.name:
            return host.box.follow(options.command, out=sys.stdout.buffer, err=sys.stderr.buffer)
    raise UsageError(f"There is no host {options.name}", hint="python -m testbed hosts up --name …")


def _bare() -> Bed:
    return open_bed(f"bare-{short_name(FOLDER)}", FOLDER, keep=True)


def _show(bed: Bed) -> int:
    hosts = bed.hosts()
    for host in hosts:
        print(f"{host.name}: Debian {host.release}, {host.domain}: {' '.join(host.ssh())}", file=sys.stderr)
    print(playbook.write_inventory(bed.folder / "inventory.yml", hosts))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m testbed", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="host|hosts|images|compose")
    port: dict[str, Any] = {"type": int, "default": int(os.environ.get("HOST_PORT") or 0) or None}

    host = commands.add_parser("host", help="a host that site.yml has provisioned").add_subparsers(required=True)
    up = host.add_parser("up", help="make it if it does not exist, and provision it")
    up.add_argument("--port", **port)
    up.set_defaults(action=host_up)
    run = host.add_parser("exec", help="run a command as root in it")
    run.add_argument("command")
    run.set_defaults(action=host_exec)
    host.add_parser("down", help="remove the host and its files").set_defaults(action=host_down)

    hosts = commands.add_parser("hosts", help="bare hosts").add_subparsers(required=True)
    up = hosts.add_parser("up", help="make one if it does not exist; print the path of the inventory of all")
    up.add_argument("--name", default="a")
    up.add_argument("--release", type=int, default=13, choices=(12, 13))
    up.add_argument("--domain", default="index.test", help="the name under which other containers find it")
    up.add_argument("--sudo", action="store_true", help="log in as a user with sudo, not as root")
    up.set_defaults(action=bare_up)
    down = hosts.add_parser("down", help="remove one (--name), or all of them with their network")
    down.add_argument("--name", default="")
    down.set_defaults(action=bare_down)
    run = hosts.add_parser("exec", help="run a command as root in one")
    run.add_argument("name")
    run.add_argument("command")
    run.set_defaults(action=bare_exec)

    commands.add_parser("images", help="build the images of docker/").set_defaults(action=images)
    made = commands.add_parser("compose", help="docker/compose.yml's deployment").add_subparsers(required=True)
    up = made.add_parser("up", help="build and start it; replace what has changed")
    up.add_argument("--port", **port)
    up.set_defaults(action=compose_up)
    down = made.add_parser("down", help="stop it; its data stays")
    down.add_argument("--volumes", action="store_true", help="delete its data too")
    down.set_defaults(action=compose_down)
    return parser


def main() -> int:
    options = _parser().parse_args()
    try:
        return int(options.action(options))
    except PpmError as exc:
        print(f"Error: {exc.message}", *filter(None, [exc.hint]), sep="\n", file=sys.stderr)
        return exc.exit_code
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
