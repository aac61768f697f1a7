"""`ppmctl webhook`."""

from __future__ import annotations

import secrets
import signal
import threading
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ppmctl import output
from ppmctl.cli.groups import Group
from ppmctl.cli.options import Answer
from ppmctl.cli.volume import find_volume, root_option, volume_command
from ppmctl.errors import PpmError
from ppmctl.index import project_folder
from ppmctl.index.layout import Volume

if TYPE_CHECKING:
    from ppmctl.webhooks.config import Webhook


@click.group(cls=Group)
def webhook() -> None:
    """Send events of an index to other programs: list, test and enable the configured webhooks.

    They are configured in ROOT/ppm.yml, or in the file that PPM_WEBHOOKS names.
    """


@webhook.command("list")
@volume_command
def list_(root: Path) -> Answer:
    """Print each webhook, its events, and what it has received."""
    from ppmctl.webhooks import config

    volume = find_volume(root)
    listed = [_state(volume, each) for each in config.load(volume)]
    rows = [
        (
            *(each["name"], " ".join(each["events"]), each["state"], each["waiting"], each["delivered"]),
            *(each["dropped"], each["last_success"], each["error"] or None),
        )
        for each in listed
    ]
    head = ("WEBHOOK", "EVENTS", "STATE", "WAITING", "DELIVERED", "GIVEN UP", "LAST SUCCESS", "ERROR")
    return Answer({"webhooks": listed}, lambda: output.table(head, rows))


@webhook.command()
@click.argument("name", required=False)
@volume_command
def test(root: Path, name: str | None) -> Answer:
    """Send a test event (webhook.test) to the webhook NAME, or to each, and print the answer.

    Exits with 1 if one did not answer with 2xx.
    """
    from ppmctl.webhooks import config, event, sender
    from ppmctl.webhooks.event import Event

    chosen = config.named(config.load(find_volume(root)), name)
    results: list[dict[str, Any]] = []
    for each in chosen:
        message, now, began = f"evt_{secrets.token_hex(16)}", project_folder.now(), time.monotonic()
        occurred = Event(id=message, type=event.TEST, timestamp=now, data={"webhook": each.name})
        try:
            answer = sender.send(each, occurred, now=time.time())
        except PpmError as exc:
            result: dict[str, Any] = {"received": False, "status": None, "answer": exc.message}
        else:
            text = answer.body.decode("utf-8", "replace")
            result = {"received": sender.is_received(answer), "status": answer.status, "answer": text}
        results.append({"name": each.name, "id": message, **result, "seconds": round(time.monotonic() - began, 3)})
    rows = [
        (each["name"], "ok" if each["received"] else "failed", each["status"], each["seconds"], _line(each["answer"]))
        for each in results
    ]
    failed = [each["name"] for each in results if not each["received"]]
    return Answer(
        {"results": results},
        lambda: output.table(("WEBHOOK", "RESULT", "STATUS", "SECONDS", "ANSWER"), rows),
        exit_code=1 if failed else 0,
    )


@webhook.command()
@click.argument("name")
@volume_command
def enable(root: Path, name: str) -> Answer:
    """Send to a webhook again that answered 410 (gone), from the event on that it refused."""
    from ppmctl.webhooks import config, sender, state

    volume = find_volume(root)
    (chosen,) = config.named(config.load(volume), name)
    progress = state.read(volume, chosen.key, now=time.time(), again=sender.GIVE_UP_AFTER)
    is_changed = progress is not None and progress.disabled
    if progress is not None and progress.disabled:
        state.write(volume, chosen.key, replace(progress, disabled=False, error=""))
    text = f"{name} is enabled{'' if is_changed else ' already'}."
    return Answer({"name": name, "changed": is_changed}, lambda: output.data(text))


@webhook.command()
@root_option
def send(root: Path) -> None:
    """Send the events to the configured webhooks until a signal ends it.

    A host's unit ppm-webhooks.service and the compose service webhooks run this. `ppmctl serve` does the same while
    it listens at a port. Of several senders of a volume, one sends and the others wait.
    """
    from ppmctl.access import secret_mask
    from ppmctl.webhooks import config, sender

    # the sandbox of a sender hides most of the volume
    volume = find_volume(root, is_checked=False)
    chosen = config.named(config.load(volume), None)
    secret_mask.mask_logs()
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: stop.set())
    output.say(f"Sending the events of {volume.root} to {output.count(len(chosen), 'webhook')}.")
    sender.run(volume, chosen, stop)


def _state(volume: Volume, each: Webhook) -> dict[str, Any]:
    from ppmctl.access import audit_outbox
    from ppmctl.webhooks import event, sender, state

    progress = state.read(volume, each.key, now=time.time(), again=sender.GIVE_UP_AFTER)
    waiting, kind = 0, "never sent"
    if progress is not None:
        events = (
            event.of(line.text, line.before) for line in audit_outbox.after(volume, progress.place, most=100_000)
        )
        waiting = sum(occurred is not None and occurred.is_one_of(each.events) for occurred in events)
        kind = "disabled" if progress.disabled else "failing" if progress.failing_since else "ok"
    last = datetime.fromtimestamp(progress.last_success, UTC) if progress and progress.last_success else None
    return {
        "name": each.name,
        "events": each.events,
        "state": kind,
        "waiting": waiting,
        "last_success": last,
        "delivered": progress.delivered if progress else 0,
        "dropped": progress.dropped if progress else 0,
        "error": progress.error if progress else "",
    }


def _line(text: str) -> str:
    line = next(iter(text.splitlines()), "")
    return "".join(letter for letter in line if letter.isprintable())[:200]
