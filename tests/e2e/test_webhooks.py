"""Webhooks end to end: real senders and receivers, which fail, hang and restart, and senders that are killed."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support import readme
from support.evidence import until
from support.receiver import SECRET, Receiver, receiving
from support.servers import PPMCTL, Server, ppmctl
from support.wheels import wheel

from ppmctl.access import audit_log, audit_rotation
from ppmctl.access.audit_rotation import Limits
from ppmctl.index.layout import Volume
from ppmctl.webhooks import config, sender
from ppmctl.webhooks.sender import Delivery


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


@pytest.fixture
def volume(tmp_path: Path) -> Volume:
    volume = Volume(root=tmp_path / "volume")
    volume.prepare()
    return volume


def configure(volume: Volume, *receivers: Receiver, events: tuple[str, ...] = ("*",)) -> None:
    secret = volume.root.parent / "secret"
    secret.write_text(SECRET)
    secret.chmod(0o600)
    entries = [
        {"name": f"r{number}", "url": each.url, "secret_file": str(secret), "events": list(events)}
        for number, each in enumerate(receivers)
    ]
    volume.settings.write_text(json.dumps({"webhooks": entries}))


def publish(volume: Volume, *names: str) -> None:
    for name in names:
        audit_log.write(volume, action="publish", by="ann", origin="here", what=name, result="done")


@contextmanager
def sending(volume: Volume) -> Iterator[subprocess.Popen[str]]:
    """Run `ppmctl webhook send`, and wait until its webhooks have a place in the log."""
    command = [*PPMCTL, "webhook", "send", "--root", str(volume.root)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            count = len(config.load(volume, {}))
            until(lambda: len(list(volume.webhooks.glob("*.json"))) == count, "a place in the log")
            yield process
        finally:
            process.kill()


def test_a_server_sends_what_was_changed_and_nothing_that_was_refused(
    tmp_path: Path, serve: Callable[..., Server], receiver: Receiver
) -> None:
    volume = Volume(root=tmp_path / "volume")
    volume.root.mkdir()
    configure(volume, receiver)
    server = serve(root=volume.root)
    until(lambda: list(volume.webhooks.glob("*.json")), "a sender")
    made = wheel("acme-lib", "1.0")
    assert server.upload(made).status_code == 200
    assert server.upload(wheel("acme-lib", "1.1"), auth=("nobody", "x" * 40)).status_code == 401
    root = ("--root", str(volume.root))
    ppmctl("user", "add", "bob", "--role", "reader", "--output", str(tmp_path / "bob"), *root)
    ppmctl("package", "yank", "acme-lib", "1.0", "--reason", "broken", *root)
    ppmctl("operation", "record", "backup", "--failed", "the disk is full", *root)
    until(lambda: len(receiver.ids) >= 4, "four events")
    types = [message["type"] for message in receiver.messages]
    assert types[-4:] == ["package.publish", "user.add", "package.yank", "backup.failed"]
    assert receiver.messages[-4]["data"] == {
        "project": "acme-lib",
        "version": "1.0",
        "file": made[0],
        "by": server.user,
        "note": "",
    }
    assert receiver.messages[-1]["data"]["detail"] == "the disk is full"
    assert receiver.wrong == []
    assert server.secret not in json.dumps(receiver.messages)


def test_an_upload_does_not_wait_for_a_receiver_that_hangs(
    tmp_path: Path, serve: Callable[..., Server], receiver: Receiver
) -> None:
    """All uploads are answered while the first event is still being sent, and another webhook gets all events."""
    receiver.answers = ["hang"]
    volume = Volume(root=tmp_path / "volume")
    volume.root.mkdir()
    with receiving() as other:
        configure(volume, receiver, other, events=("package.*",))
        server = serve(root=volume.root)
        until(lambda: len(list(volume.webhooks.glob("*.json"))) == 2, "a sender")
        assert server.upload(wheel("acme", "0")).status_code == 200
        until(lambda: receiver.attempts, "an attempt")
        for number in range(1, 6):
            assert server.upload(wheel("acme", str(number))).status_code == 200
        until(lambda: len(other.ids) == 6, "the other webhook's events")
        assert len(receiver.attempts) == 1
        assert receiver.ids == []


def test_senders_that_are_killed_lose_nothing(volume: Volume, receiver: Receiver) -> None:
    """kill -9 at random moments, while the log is written and rotated; the last sender catches up."""
    configure(volume, receiver)
    chosen = random.Random(7)
    names: list[str] = []
    kills = 0
    with sending(volume) as process:
        process.kill()  # its place is stored
    done = threading.Event()

    def work() -> None:
        while len(names) < 120 or kills < 4:
            names.append(f"p-{len(names)}.zip")
            publish(volume, names[-1])
            if len(names) % 17 == 0:
                audit_rotation.rotate(volume, Limits(size=1))
            time.sleep(0.03)
        done.set()

    writer = threading.Thread(target=work, daemon=True)
    writer.start()
    while not done.is_set():
        with sending(volume) as process:
            before = len(receiver.attempts)
            until(lambda before=before: done.is_set() or len(receiver.attempts) > before, "an attempt")
            done.wait(chosen.uniform(0, 0.2))
            process.send_signal(signal.SIGKILL)
            kills += 1
    with sending(volume):
        until(lambda: len(receiver.files()) == len(names), "all events")
    assert receiver.files() == names, "each event, in order"
    assert receiver.wrong == []
    assert len(receiver.ids) - len(set(receiver.ids)) <= kills, "a repetition has the same id"


def test_a_receiver_that_fails_and_restarts_gets_all_events_in_order(
    volume: Volume, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sender, "FIRST_WAIT", 0.2)
    monkeypatch.setattr(sender, "LONGEST_WAIT", 0.2)
    names = [f"p-{number}.zip" for number in range(6)]
    stop = threading.Event()
    with receiving() as receiver:
        configure(volume, receiver)
        receiver.answers = [500, 302, 404, 200, 503]
        webhooks = config.load(volume, {})
        thread = threading.Thread(target=sender.run, args=(volume, webhooks, stop), daemon=True)
        thread.start()
        until(lambda: list(volume.webhooks.glob("*.json")), "a place")
        publish(volume, *names[:3])
        until(lambda: len(receiver.ids) == 3, "three events")
    publish(volume, *names[3:])  # while nothing listens
    (state,) = volume.webhooks.glob("*.json")
    until(lambda: "Nothing listens" in state.read_text(), "a failure")
    with receiving(receiver.port, receiver):
        until(lambda: len(receiver.ids) == 6, "the others")
    stop.set()
    thread.join()
    assert receiver.files() == names
    assert len(receiver.attempts) == 6 + 4
    assert receiver.wrong == []


@pytest.mark.parametrize("answer", ["hang", "drip"])
def test_an_attempt_has_a_time_limit(
    volume: Volume, receiver: Receiver, monkeypatch: pytest.MonkeyPatch, answer: str
) -> None:
    monkeypatch.setattr(sender, "WITHIN", 1.0)
    configure(volume, receiver)
    (webhook,) = config.load(volume, {})
    delivery = Delivery(volume, webhook)
    publish(volume, "a-1.0.zip")
    receiver.answers = [answer]
    delivery.step()
    assert "within 1 seconds" in volume.webhook(webhook.key).read_text()


def test_of_two_senders_one_sends_and_the_other_takes_over(volume: Volume, receiver: Receiver) -> None:
    configure(volume, receiver)
    with sending(volume) as first:
        command = [*PPMCTL, "webhook", "send", "--root", str(volume.root)]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as second:
            try:
                assert second.stderr
                lines = iter(second.stderr.readline, "")
                assert any("Another process sends the webhooks" in line for line in lines)
                publish(volume, "a-1.0.zip")
                until(lambda: receiver.ids, "an event")
                first.kill()
                publish(volume, "b-1.0.zip")
                until(lambda: len(receiver.files()) == 2, "an event of the second")
                second.send_signal(signal.SIGTERM)
                assert second.wait(timeout=30) == 0
            finally:
                second.kill()
    assert receiver.files() == ["a-1.0.zip", "b-1.0.zip"]


def test_the_test_command_prints_the_answer(volume: Volume, receiver: Receiver) -> None:
    configure(volume, receiver, events=("backup.*",))
    command = ("webhook", "test", "r0", "--root", str(volume.root))
    printed = ppmctl(*command).stdout
    assert "204" in printed
    assert receiver.messages[0]["type"] == "webhook.test"
    receiver.answers = [302]
    failed = json.loads(ppmctl(*command, "--json", expect=1).stdout)
    assert (failed["results"][0]["status"], failed["results"][0]["received"]) == (302, False)
    assert len(receiver.attempts) == 2, "a redirect is not followed"
    (volume.root.parent / "secret").chmod(0o644)
    assert "can be read by other users" in ppmctl(*command, expect=1).stdout


def test_a_sender_without_webhooks_says_so(volume: Volume) -> None:
    failed = ppmctl("webhook", "send", "--root", str(volume.root), expect=2)
    assert "No webhooks are configured" in failed.stderr


def test_the_commands_of_the_documentation_configure_a_webhook(tmp_path: Path) -> None:
    (tmp_path / ".ppm").mkdir()
    readme.paste(readme.blocks("docs/webhooks.md")["Set up a webhook"][0], tmp_path, os.environ, timeout=60)
    (webhook,) = config.load(Volume(root=tmp_path / ".ppm"), {})
    assert (webhook.name, webhook.url) == ("chat", "https://chat.example.com/hook")
    assert len(webhook.secrets()[0]) == 32
