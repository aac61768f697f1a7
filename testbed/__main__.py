"""python -m testbed: disposable hosts from the command line."""

from __future__ import annotations

import argparse
import hashlib
import sys

from ppmctl.errors import PpmError
from testbed import playbook
from testbed.bed import Bed, open_bed
from testbed.hosts import Wanted
from testbed.place import CHECKOUT

FOLDER = CHECKOUT / ".cache" / "hosts"


def main() -> int:
    options = _parser().parse_args()
    try:
        return int(options.action(options))
    except PpmError as exc:
        print(exc.message, exc.hint, sep="\n", file=sys.stderr)
        return exc.exit_code


def _bare() -> Bed:
    name = hashlib.sha256(bytes(FOLDER)).hexdigest()[:8]
    return open_bed(f"bare-{name}", FOLDER, keep=True)


def up(options: argparse.Namespace) -> int:
    bed = _bare()
    if options.name not in {host.name for host in bed.hosts()}:
        bed.host(Wanted(name=options.name, release=options.release, domain=options.domain, sudo=options.sudo))
    return show(bed)


def show(bed: Bed) -> int:
    hosts = bed.hosts()
    for host in hosts:
        print(f"{host.name}: Debian {host.release}, {host.domain}, {' '.join(host.ssh())}", file=sys.stderr)
    print(playbook.write_inventory(bed.folder / "inventory.yml", hosts))
    return 0


def down(options: argparse.Namespace) -> int:
    bed = _bare()
    if options.name:
        for host in bed.hosts():
            if host.name == options.name:
                host.remove()
        return show(bed)
    bed.close()
    return 0


def execute(options: argparse.Namespace) -> int:
    bed = _bare()
    (host,) = (host for host in bed.hosts() if host.name == options.name)
    done = host.run(options.command, check=False)
    sys.stdout.write(done.out)
    sys.stderr.write(done.err)
    return done.code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m testbed", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="what")
    hosts = commands.add_parser("hosts", help="bare hosts, to try playbooks on").add_subparsers(required=True)
    making = hosts.add_parser("up", help="make one if it is not there; print the inventory of all")
    making.add_argument("--name", default="a")
    making.add_argument("--release", type=int, default=13, choices=(12, 13))
    making.add_argument("--domain", default="index.test")
    making.add_argument("--sudo", action="store_true", help="come in as a user who may sudo, not as root")
    making.set_defaults(action=up)
    removing = hosts.add_parser("down", help="remove one (--name), or all and what they stand on")
    removing.add_argument("--name", default="")
    removing.set_defaults(action=down)
    running = hosts.add_parser("exec", help="run a command as root in one")
    running.add_argument("name")
    running.add_argument("command")
    running.set_defaults(action=execute)
    return parser


if __name__ == "__main__":
    sys.exit(main())
