"""The examples in the help of the commands: for each at least one that a user can type as it stands."""

from __future__ import annotations

import click

_URL = "https://index.example/"
_BACKUP = "--root /srv/ppm --repository /mnt/backup --password-file backup.password"
# the words after ppmctl → the lines of its examples
EXAMPLES: dict[str, tuple[str, ...]] = {
    "": (
        "ppmctl serve --root .ppm --first-credential",
        f"ppmctl login {_URL}",
        "ppmctl publish",
        f"ppmctl doctor {_URL}",
    ),
    "audit": ("ppmctl audit --since 7d --user alice --root /srv/ppm",),
    "backup": (
        f"ppmctl backup create {_BACKUP}",
        f"ppmctl backup list {_BACKUP}",
    ),
    "backup create": (f"ppmctl backup create --keep-daily 7 --keep-weekly 5 {_BACKUP}",),
    "backup drill": (f"ppmctl backup drill --sample 10 {_BACKUP}",),
    "backup list": (f"ppmctl backup list {_BACKUP}",),
    "backup restore": (
        f"ppmctl backup restore {_BACKUP}",
        f"ppmctl backup restore --project hello {_BACKUP}",
    ),
    "backup verify": (f"ppmctl backup verify --subset 10% {_BACKUP}",),
    "client-config": (
        "ppmctl client-config pip uv",
        "ppmctl client-config pip --write",
        "ppmctl client-config --remove",
    ),
    "completion": ("ppmctl completion bash",),
    "config": ("ppmctl config show",),
    "config show": ("ppmctl config show", "ppmctl config show --root /srv/ppm"),
    "doctor": ("ppmctl doctor", f"ppmctl doctor {_URL}"),
    "env": ("ppmctl env create tools 'numpy>=2' six", "ppmctl env install tools"),
    "env add": ("ppmctl env add tools 'uvicorn[standard]>=0.30'",),
    "env check": ("ppmctl env check tools --into .venv",),
    "env copy": ("ppmctl env copy tools@3 my-tools",),
    "env create": ("ppmctl env create tools 'numpy>=2' six",),
    "env delete": ("ppmctl env delete my-tools",),
    "env diff": ("ppmctl env diff tools@3 tools",),
    "env export": ("ppmctl env export tools --output constraints.txt",),
    "env import": ("ppmctl env import requirements.txt --name tools",),
    "env install": ("ppmctl env install tools --into .venv", "ppmctl env install tools@3 --locked --here"),
    "env list": ("ppmctl env list --mine",),
    "env lock": ("ppmctl env lock tools --python 3.11",),
    "env log": ("ppmctl env log tools",),
    "env outdated": ("ppmctl env outdated tools",),
    "env remove": ("ppmctl env remove tools six",),
    "env rollback": ("ppmctl env rollback tools 3",),
    "env show": ("ppmctl env show tools@3",),
    "health": ("ppmctl health --root /srv/ppm", "ppmctl health --json --root /srv/ppm"),
    "index": ("ppmctl index check --root /srv/ppm",),
    "index adopt": ("ppmctl index adopt ~/packages --root /srv/ppm",),
    "index check": ("ppmctl index check --quick --root /srv/ppm",),
    "index rebuild": ("ppmctl index rebuild --root /srv/ppm",),
    "init": ("ppmctl init --root .ppm",),
    "login": (f"ppmctl login {_URL}", f"ppmctl login {_URL} --invite"),
    "logout": (f"ppmctl logout {_URL} --revoke",),
    "operation": ("ppmctl operation list --root /srv/ppm",),
    "operation list": ("ppmctl operation list --root /srv/ppm",),
    "operation record": ("ppmctl operation record certificate --failed 'see journalctl -u certbot' --root /srv/ppm",),
    "package": ("ppmctl package list", "ppmctl package yank hello 1.0 --reason 'does not start'"),
    "package claim": ("ppmctl package claim requests",),
    "package download": ("ppmctl package download hello 1.0 --dest wheels",),
    "package list": ("ppmctl package list",),
    "package prune": (
        "ppmctl package prune --keep 3 --prereleases 90d --root /srv/ppm",
        "ppmctl package prune --unused 365d --wait 60d --apply --root /srv/ppm",
    ),
    "package remove": ("ppmctl package remove hello 1.0",),
    "package search": ("ppmctl package search http client",),
    "package show": ("ppmctl package show hello",),
    "package status": ("ppmctl package status hello deprecated --reason 'use greetings'",),
    "package unclaim": ("ppmctl package unclaim requests",),
    "package unyank": ("ppmctl package unyank hello 1.0",),
    "package yank": ("ppmctl package yank hello 1.0 --reason 'does not start'",),
    "publish": (
        "ppmctl publish --dry-run",
        "ppmctl publish dist/*",
        "ppmctl publish --bump minor --changelog --tag",
    ),
    "self-check": ("ppmctl self-check --root /srv/ppm",),
    "serve": ("ppmctl serve --root .ppm --first-credential", "ppmctl serve --root .ppm --port 8081"),
    "stats": ("ppmctl stats", "ppmctl stats downloads"),
    "stats count": ("ppmctl stats count --root /srv/ppm",),
    "stats downloads": ("ppmctl stats downloads --since 30d", "ppmctl stats downloads hello"),
    "stats unused": ("ppmctl stats unused --since 1y --root /srv/ppm",),
    "storage": (
        "ppmctl storage copy --to s3://packages/index --root /srv/ppm",
        "ppmctl storage status --root /srv/ppm",
    ),
    "storage copy": (
        "ppmctl storage copy --to s3://packages/index --root /srv/ppm",
        "ppmctl storage copy --from s3://packages/index --root /mnt/copy",
    ),
    "storage status": ("ppmctl storage status --root /srv/ppm",),
    "token": ("ppmctl token create alice+ci --role publisher --expires 90d --root /srv/ppm",),
    "token create": ("ppmctl token create alice+ci --role publisher --project 'acme-*' --root /srv/ppm",),
    "token list": ("ppmctl token list alice --root /srv/ppm",),
    "token prune": ("ppmctl token prune --every 30s --root /srv/ppm",),
    "token revoke": ("ppmctl token revoke alice+ci --root /srv/ppm",),
    "user": ("ppmctl user add alice --role publisher --root /srv/ppm", "ppmctl user list --root /srv/ppm"),
    "user add": ("ppmctl user add alice --role publisher --project 'acme-*' --root /srv/ppm",),
    "user apply": ("ppmctl user apply users.yml --dry-run --root /srv/ppm",),
    "user change": ("ppmctl user change alice --role admin --root /srv/ppm",),
    "user disable": ("ppmctl user disable alice --root /srv/ppm",),
    "user enable": ("ppmctl user enable alice --expires 30d --root /srv/ppm",),
    "user first": ("ppmctl user first --host index.example --root /srv/ppm",),
    "user import": ("ppmctl user import old.htpasswd --role reader --dry-run --root /srv/ppm",),
    "user invite": ("ppmctl user invite alice --role publisher --output alice.invite --root /srv/ppm",),
    "user list": ("ppmctl user list --root /srv/ppm",),
    "user remove": ("ppmctl user remove alice --root /srv/ppm",),
    "user rotate": ("ppmctl user rotate alice --output alice.credential --root /srv/ppm",),
    "user show": ("ppmctl user show alice --root /srv/ppm",),
    "web": ("ppmctl web", "ppmctl web /project/hello/"),
    "webhook": ("ppmctl webhook list --root /srv/ppm",),
    "webhook enable": ("ppmctl webhook enable chat --root /srv/ppm",),
    "webhook list": ("ppmctl webhook list --root /srv/ppm",),
    "webhook send": ("ppmctl webhook send --root /srv/ppm",),
    "webhook test": ("ppmctl webhook test chat --root /srv/ppm",),
    "whoami": ("ppmctl whoami",),
}


def epilog(path: str) -> str:
    """Return the end of the help of the command at `path`, the words after ppmctl."""
    lines = EXAMPLES.get(path, ())
    start = f"Example{'s' if len(lines) > 1 else ''}:"
    return "\n".join(["\b", start, *(f"  {line}" for line in lines)])  # \b: click keeps the lines as they are


def attach(command: click.Command, path: str) -> None:
    """Put the examples into the help of a command, and of all below it."""
    command.epilog = epilog(path)
    for name, child in command.commands.items() if isinstance(command, click.Group) else ():
        attach(child, f"{path} {name}")
