"""Webhooks without a network: events of audit lines, the configuration, signatures, and places in the log."""

from __future__ import annotations

import base64
import itertools
import json
import os
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from support.receiver import KEY, SECRET, is_signed

from ppmctl.access import audit_log, audit_outbox, audit_rotation, operation_log
from ppmctl.access.account import SERVER
from ppmctl.access.audit_outbox import Place
from ppmctl.access.audit_rotation import Limits
from ppmctl.client.http import Answer
from ppmctl.errors import Unreachable, UsageError
from ppmctl.index.layout import Volume
from ppmctl.index.operation_result import OperationResult
from ppmctl.server import operation_health
from ppmctl.server.operation_health import Webhooks
from ppmctl.webhooks import config, event, sender, signature, state
from ppmctl.webhooks.config import Webhook
from ppmctl.webhooks.event import Event
from ppmctl.webhooks.sender import Delivery

URL = "https://chat.example/hook/T0ken"


def write(volume: Volume, what: str, action: str = "publish", *, by: str = "ann", result: str = "done") -> None:
    audit_log.write(volume, action=action, by=by, origin="192.0.2.7", what=what, result=result)


def events(volume: Volume) -> list[Event]:
    lines = audit_outbox.after(volume, Place(), most=1_000)
    return [occurred for line in lines if (occurred := event.of(line.text, line.before))]


# events


@pytest.mark.parametrize(
    ("action", "what", "kind", "data"),
    [
        (
            *("publish", "acme_lib-1.0-py3-none-any.whl", "package.publish"),
            {"project": "acme-lib", "version": "1.0", "file": "acme_lib-1.0-py3-none-any.whl"},
        ),
        (
            "remove",
            "acme-1.0.tar.gz",
            "package.remove",
            {"project": "acme", "version": "1.0", "file": "acme-1.0.tar.gz"},
        ),
        ("status", "acme archived", "package.status", {"project": "acme", "change": "archived"}),
        (
            *("publish", "ppm_env_tools-3-py3-none-any.whl", "environment.revision"),
            {
                "project": "ppm-env-tools",
                "environment": "tools",
                "version": "3",
                "file": "ppm_env_tools-3-py3-none-any.whl",
            },
        ),
        ("user add", "bob as reader", "user.add", {"name": "bob", "change": "bob as reader"}),
        ("token revoke", "bob+ci", "token.revoke", {"name": "bob+ci", "change": "bob+ci"}),
        ("backup restore", "hello", "backup.restore", {"name": "hello", "change": "hello"}),
        ("prune", "bob+ci", "credential.prune", {"name": "bob+ci", "change": "bob+ci"}),
    ],
)
def test_a_change_is_an_event(volume: Volume, action: str, what: str, kind: str, data: dict[str, str]) -> None:
    write(volume, what, action, result="done: with a note")
    (occurred,) = events(volume)
    assert (occurred.type, occurred.data) == (kind, {**data, "by": "ann", "note": "with a note"})
    assert kind in event.TYPES
    body = json.loads(occurred.body)
    assert body.keys() == {"type", "timestamp", "data"}
    assert datetime.fromisoformat(body["timestamp"]) <= datetime.now(UTC)
    assert b"192.0.2.7" not in occurred.body


def test_refusals_and_invalid_lines_are_no_events(volume: Volume) -> None:
    write(volume, "a-1.0.zip", result="It is taken.")
    write(volume, "/x", "write", result="done")
    write(volume, "ann", "login", result="done")
    with volume.audit.open("ab") as file:
        file.write(b'[]\nhalf\n{"time": 5}\n')
    assert events(volume) == []


@pytest.mark.parametrize("name", ["backup", "drill", "certificate"])
def test_operations_are_events_when_they_fail_too(volume: Volume, name: str) -> None:
    operation_log.record(volume, SERVER, OperationResult(name=name, succeeded=True, detail="3 files"))
    operation_log.record(volume, SERVER, OperationResult(name=name, succeeded=False, detail="no space: full"))
    done, failed = events(volume)
    assert (done.type, done.data["succeeded"], done.data["detail"]) == (f"{name}.succeeded", True, "3 files")
    assert (failed.type, failed.data["succeeded"], failed.data["detail"]) == (
        f"{name}.failed",
        False,
        "no space: full",
    )


def test_ids_differ_for_equal_lines_and_stay_after_a_rotation(volume: Volume) -> None:
    write(volume, "a-1.0.zip")
    volume.audit.write_bytes(volume.audit.read_bytes() * 2)
    before = [each.id for each in events(volume)]
    assert len(set(before)) == 2
    audit_rotation.rotate(volume, Limits(size=1))
    assert [each.id for each in events(volume)] == before
    assert all("." not in each for each in before)


# the signature


def test_the_example_of_the_specification_is_signed_as_there() -> None:
    key = base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    body = b'{"test": 2432232314}'
    headers = signature.headers("msg_p5jXN8AQM9LWM0D4loKWxJek", body, [key], now=1614265330.9)
    assert headers["webhook-timestamp"] == "1614265330"
    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_each_key_signs(volume: Volume) -> None:
    now = datetime.now(UTC).timestamp()
    headers = signature.headers("evt_1", b"{}", [KEY, b"x" * 32], now=now)
    assert is_signed(headers, b"{}")
    assert is_signed(headers, b"{}", b"x" * 32)
    assert not is_signed(headers, b"{ }")
    assert not is_signed({**headers, "webhook-id": "evt_2"}, b"{}")
    assert not is_signed(headers, b"{}", b"y" * 32)


# the configuration


def configure(volume: Volume, *entries: dict[str, Any], environ: dict[str, str] | None = None) -> tuple[Webhook, ...]:
    volume.settings.write_text(json.dumps({"webhooks": list(entries)}))
    return config.load(volume, environ or {})


def test_webhooks_are_in_the_settings_or_in_a_file_that_a_variable_names(volume: Volume, tmp_path: Path) -> None:
    assert config.load(volume, {}) == ()
    (one,) = configure(volume, {"url": URL, "secret_file": "chat.secret"})
    assert (one.name, one.events, one.secret_file) == ("chat.example", ("*",), volume.root / "chat.secret")
    other = tmp_path / "webhooks.yml"
    environ = {"PPM_WEBHOOKS": str(other)}
    assert config.load(volume, environ) == ()
    other.write_text(f"webhooks: [{{name: chat, url: '{URL}', secret_file: /run/s, events: [backup.*, user.add]}}]\n")
    (one,) = config.load(volume, environ)
    assert (one.name, one.secret_file, one.events) == ("chat", Path("/run/s"), ("backup.*", "user.add"))


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("x", "must be a mapping"),
        ({"url": URL}, "secret_file is missing"),
        ({"secret_file": "s"}, "url is missing"),
        ({"url": "http://chat.example/", "secret_file": "s"}, "must start with https://"),
        ({"url": "https://ann:hunter2@chat.example/", "secret_file": "s"}, "without a credential"),
        ({"url": "ftp://chat.example/hunter2", "secret_file": "s"}, "without a credential"),
        ({"url": "https://chat.example/a b", "secret_file": "s"}, "without a credential"),
        ({"url": URL, "secret_file": "s", "secret": "hunter2"}, "'secret' is not known"),
        ({"url": URL, "secret_file": "s", "events": "backup.*"}, "must be a list of types"),
        ({"url": URL, "secret_file": "s", "events": []}, "must be a list of types"),
        ({"url": URL, "secret_file": "s", "events": ["package.*", "upload"]}, "'upload' matches no type"),
        ({"url": URL, "secret_file": "s", "name": "a\n"}, "name must be"),
    ],
)
def test_an_error_names_the_key_and_no_secret(volume: Volume, entry: Any, message: str) -> None:
    with pytest.raises(UsageError, match="number 1") as refusal:
        configure(volume, entry)
    assert message in refusal.value.message
    assert "hunter2" not in refusal.value.message


def test_plain_http_is_for_the_loopback_or_where_it_is_allowed(volume: Volume) -> None:
    for url in ("http://127.0.0.1:1/", "http://localhost/x", "http://[::1]:9/"):
        assert configure(volume, {"url": url, "secret_file": "s"})
    assert configure(volume, {"url": "http://chat.example/", "secret_file": "s", "allow_http": True})


def test_names_and_urls_are_used_once(volume: Volume) -> None:
    entry = {"url": URL, "secret_file": "s"}
    with pytest.raises(UsageError, match="a name of its own"):
        configure(volume, entry, {**entry, "url": URL + "2"})
    assert len(configure(volume, entry, {**entry, "url": URL + "2", "name": "other"})) == 2


def test_a_secret_is_a_private_file_with_enough_bytes(volume: Volume, tmp_path: Path) -> None:
    path = tmp_path / "s"
    webhook = Webhook(name="chat", url=URL, secret_file=path, events=("*",))
    with pytest.raises(UsageError, match="No such file"):
        webhook.secrets()
    old = "whsec_" + base64.b64encode(b"o" * 24).decode()
    path.write_text(f"{SECRET}\n{old}\n")
    path.chmod(0o640)
    with pytest.raises(UsageError, match="can be read by other users"):
        webhook.secrets()
    path.chmod(0o600)
    assert webhook.secrets() == (KEY, b"o" * 24)
    for wrong in ("", SECRET[6:], "whsec_" + base64.b64encode(b"x" * 23).decode(), "whsec_%%%", f"{SECRET} x"):
        path.write_text(wrong)
        with pytest.raises(UsageError, match="has no secret") as refusal:
            webhook.secrets()
        assert not wrong or wrong not in refusal.value.message


# places in the log


def whats(volume: Volume, place: Place, most: int = 100) -> list[str]:
    lines = audit_outbox.after(volume, place, most=most)
    return [json.loads(line.text)["what"] for line in lines if line.text]


def test_a_place_is_found_again_after_rotations(volume: Volume) -> None:
    assert audit_outbox.end(volume) == Place()
    write(volume, "a")
    write(volume, "b")
    (first,) = audit_outbox.after(volume, Place(), most=1)
    for number in range(3):
        audit_rotation.rotate(volume, Limits(size=1))
        assert whats(volume, first.after) == ["b", *(f"n{each}" for each in range(number))]
        write(volume, f"n{number}")
    assert whats(volume, audit_outbox.end(volume)) == []
    assert whats(volume, Place(), most=3) == ["a", "b", "n0"]


def test_a_line_that_is_being_written_waits(volume: Volume) -> None:
    write(volume, "a")
    place = audit_outbox.end(volume)
    with volume.audit.open("ab") as file:
        file.write(b'{"what": "b"')
        file.flush()
        assert audit_outbox.after(volume, place, most=9) == []
        file.write(b"}\n")
    assert whats(volume, place) == ["b"]


def test_a_place_whose_file_is_gone_goes_on_by_its_time(volume: Volume, caplog: pytest.LogCaptureFixture) -> None:
    write(volume, "a")
    (line,) = audit_outbox.after(volume, Place(), most=1)
    volume.audit.unlink()
    write(volume, "b")
    assert whats(volume, line.after) == ["b"]
    assert "lacks the part" in caplog.text
    assert whats(volume, audit_outbox.end(volume)) == []
    later = Place(file="gone", offset=7, time="2999-01-01T00:00:00.000000Z")
    assert whats(volume, later) == [], "another volume's log is not sent again"


def test_a_place_that_the_log_lacks_is_looked_for_once(volume: Volume, caplog: pytest.LogCaptureFixture) -> None:
    write(volume, "a")
    write(volume, "b")
    with volume.audit.open("ab") as file:
        file.write(b'{"half')
    later = Place(file="gone", offset=7, time="2999-01-01T00:00:00.000000Z")
    (line,) = audit_outbox.after(volume, later, most=1)
    assert (line.text, line.after.time) == (b"", later.time)
    caplog.clear()
    assert audit_outbox.after(volume, line.after, most=1) == []
    os.truncate(volume.audit, line.after.offset)
    write(volume, "c")
    assert whats(volume, line.after) == ["c"], "whatever its time is"
    assert caplog.text == ""


@pytest.mark.parametrize("more", [900, 0], ids=["inside a line", "behind the end"])
def test_a_place_that_a_shorter_log_lacks_goes_on_by_its_time(volume: Volume, more: int) -> None:
    """After a power cut or a restore; the same content has a place behind its end, or one in another line."""
    write(volume, "a")
    older = volume.audit.read_bytes()
    write(volume, "b")
    place = audit_outbox.end(volume)
    volume.audit.write_bytes(older)
    assert whats(volume, place) == []
    write(volume, "c" + "c" * more)
    write(volume, "d")
    if not more:
        place = replace(place, offset=place.offset + 5_000)
    assert whats(volume, place) == ["c" + "c" * more, "d"]
    (line,) = audit_outbox.after(volume, place, most=1)
    assert whats(volume, line.after) == ["d"]


def test_a_place_is_behind_lines_that_are_on_the_disk(volume: Volume, monkeypatch: pytest.MonkeyPatch) -> None:
    write(volume, "a")
    written = volume.audit.stat().st_ino
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: synced.append(os.fstat(descriptor).st_ino))
    assert whats(volume, Place()) == ["a"]
    assert synced == [written]
    assert whats(volume, audit_outbox.end(volume)) == []
    assert synced == [written, written], "the first place of a webhook too"


# deliveries, with answers of their own


class Posts:
    """Answers to posts: statuses, or an exception for "no answer"; then 200."""

    def __init__(self, *answers: int | str) -> None:
        self.answers = list(answers)
        self.sent: list[str] = []

    def __call__(self, url: str, body: bytes, headers: dict[str, str], *, within: float) -> Answer:
        answer = self.answers.pop(0) if self.answers else 200
        assert headers["webhook-id"].startswith("evt_")
        self.sent.append(json.loads(body)["data"]["file"])
        if answer == "none":
            raise Unreachable(f"Nothing listens: {url}.")
        status, _, wait = str(answer).partition(" ")
        return Answer(url=url, status=int(status), reason="", headers={"retry-after": wait} if wait else {}, body=b"")


def reported(volume: Volume, clock: Clock) -> Webhooks:
    """Return what metrics and health report."""
    return operation_health.webhooks(volume, datetime.fromtimestamp(clock.now, UTC))


class Clock:
    def __init__(self) -> None:
        self.now = datetime.now(UTC).timestamp()

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def webhook(tmp_path: Path) -> Webhook:
    path = tmp_path / "secret"
    path.write_text(SECRET)
    path.chmod(0o600)
    return Webhook(name="chat", url=URL, secret_file=path, events=("package.*",))


@pytest.fixture
def posts(monkeypatch: pytest.MonkeyPatch) -> Posts:
    posts = Posts()
    monkeypatch.setattr(sender, "post", posts)
    return posts


def known(volume: Volume, webhook: Webhook) -> state.Progress:
    progress = state.read(volume, webhook.key, now=0, again=timedelta())
    assert progress is not None
    return progress


def run(delivery: Delivery, clock: Clock, *, seconds: float = 0) -> None:
    """Step until nothing is to be done for `seconds`."""
    end = clock.now + seconds
    while True:
        pause = delivery.step()
        if clock.now + pause > end:
            return
        clock.now += pause


def test_a_new_webhook_gets_what_happens_from_then_on(
    volume: Volume, webhook: Webhook, posts: Posts, clock: Clock
) -> None:
    write(volume, "old-1.0.zip")
    delivery = Delivery(volume, webhook, clock=clock)
    write(volume, "a-1.0.zip")
    write(volume, "bob as reader", "user add")
    write(volume, "b-1.0.zip", result="It is taken.")
    write(volume, "c-1.0.zip")
    run(delivery, clock)
    assert posts.sent == ["a-1.0.zip", "c-1.0.zip"]
    write(volume, "d-1.0.zip")
    again = Delivery(volume, webhook, clock=clock)
    audit_rotation.rotate(volume, Limits(size=1))
    run(again, clock)
    assert posts.sent == ["a-1.0.zip", "c-1.0.zip", "d-1.0.zip"]
    assert known(volume, webhook).delivered == 3
    assert volume.webhook(webhook.key).stat().st_mode & 0o777 == 0o600
    assert URL not in volume.webhook(webhook.key).read_text()


def test_a_refused_event_is_sent_again_before_the_next_also_after_a_restart(
    volume: Volume, webhook: Webhook, posts: Posts, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    delivery = Delivery(volume, webhook, clock=clock)
    write(volume, "a-1.0.zip")
    write(volume, "b-1.0.zip")
    posts.answers = [500, "none", 302, 404]
    run(delivery, clock)
    assert posts.sent == ["a-1.0.zip"]
    run(Delivery(volume, webhook, clock=clock), clock, seconds=4)
    assert posts.sent == ["a-1.0.zip"], "the wait survives the restart"
    run(Delivery(volume, webhook, clock=clock), clock, seconds=120)
    assert posts.sent == [*["a-1.0.zip"] * 5, "b-1.0.zip"]
    assert "receives events again" in caplog.text
    assert "T0ken" not in caplog.text
    progress = known(volume, webhook)
    assert (progress.delivered, progress.attempts, progress.error) == (2, 0, "")


def test_waits_grow_to_an_hour_and_obey_retry_after(
    volume: Volume, webhook: Webhook, posts: Posts, clock: Clock
) -> None:
    pauses = [sender.pause_after(number) for number in range(1, 30)]
    assert 4 <= pauses[0] <= 6
    assert all(earlier < later for earlier, later in itertools.pairwise(pauses[:9]))
    assert 3_200 <= pauses[-1] <= 4_000
    delivery = Delivery(volume, webhook, clock=clock)
    write(volume, "a-1.0.zip")
    posts.answers = ["503 100", "503 999999", "503 soon"]
    run(delivery, clock)
    assert known(volume, webhook).next_attempt == clock.now + 100
    clock.now += 100
    run(delivery, clock)
    assert known(volume, webhook).next_attempt == clock.now + 3_600


def test_an_event_is_given_up_after_three_days_and_the_next_is_sent(
    volume: Volume, webhook: Webhook, posts: Posts, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    delivery = Delivery(volume, webhook, clock=clock)
    write(volume, "a-1.0.zip")
    posts.answers = [500] * 1_000
    start = clock.now
    while (progress := known(volume, webhook)).dropped == 0:
        run(delivery, clock)
        assert len(posts.sent) < 200
        assert reported(volume, clock).failing != known(volume, webhook).dropped
        clock.now = max(clock.now, known(volume, webhook).next_attempt)
    assert 3 * 86_400 <= clock.now - start < 3 * 86_400 + 8_000
    assert "GIVEN UP" in caplog.text
    assert reported(volume, clock) == Webhooks(given_up=1), "nothing is left that could fail"
    assert (progress.attempts, progress.next_attempt, progress.error) == (0, 0.0, "")
    posts.answers = []
    write(volume, "b-1.0.zip")
    run(delivery, clock, seconds=4_000)
    assert posts.sent[-1] == "b-1.0.zip"
    assert (known(volume, webhook).delivered, known(volume, webhook).dropped) == (1, 1)
    assert reported(volume, clock) == Webhooks(given_up=1)


def test_a_webhook_that_does_not_want_the_failed_event_any_more_fails_no_longer(
    volume: Volume, webhook: Webhook, posts: Posts, clock: Clock
) -> None:
    delivery = Delivery(volume, webhook, clock=clock)
    write(volume, "a-1.0.zip")
    posts.answers = [500]
    run(delivery, clock)
    assert reported(volume, clock).failing == 1
    run(Delivery(volume, replace(webhook, events=("user.*",)), clock=clock), clock, seconds=20)
    assert reported(volume, clock) == Webhooks()
    assert posts.sent == ["a-1.0.zip"]


def test_a_webhook_that_was_removed_fails_for_less_than_an_hour(
    volume: Volume, webhook: Webhook, posts: Posts, clock: Clock
) -> None:
    delivery = Delivery(volume, webhook, clock=clock)
    write(volume, "a-1.0.zip")
    posts.answers = [500, "503 3600"]
    for _minute in range(50):
        run(delivery, clock, seconds=60)
        assert reported(volume, clock).failing == 1
    clock.now += 35 * 60
    assert reported(volume, clock).failing == 0


def test_old_events_are_tried_for_three_days_too_if_no_sender_ran(
    volume: Volume, webhook: Webhook, posts: Posts, clock: Clock
) -> None:
    Delivery(volume, webhook, clock=clock)
    write(volume, "a-1.0.zip")
    clock.now += 10 * 86_400
    posts.answers = [500]
    delivery = Delivery(volume, webhook, clock=clock)
    run(delivery, clock, seconds=30)
    assert posts.sent == ["a-1.0.zip"] * 2
    assert known(volume, webhook).dropped == 0


def test_a_receiver_that_is_gone_is_disabled_until_it_is_enabled(
    volume: Volume, webhook: Webhook, posts: Posts, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    from ppmctl.cli import commands

    delivery = Delivery(volume, webhook, clock=clock)
    write(volume, "a-1.0.zip")
    write(volume, "b-1.0.zip")
    posts.answers = [410]
    run(delivery, clock, seconds=100_000)
    assert posts.sent == ["a-1.0.zip"]
    assert "DISABLED" in caplog.text
    assert reported(volume, clock).disabled == 1
    clock.now += 3 * 3_600
    assert reported(volume, clock).disabled == 0, "it was removed from the settings"
    run(delivery, clock, seconds=5)
    assert reported(volume, clock).disabled == 1
    configure(volume, {"url": URL, "secret_file": str(webhook.secret_file), "name": "chat"})
    assert commands.run(["webhook", "enable", "chat", "--root", str(volume.root)]) == 0
    run(delivery, clock, seconds=5)
    assert posts.sent == ["a-1.0.zip", "a-1.0.zip", "b-1.0.zip"]
    assert reported(volume, clock) == Webhooks()


def test_a_damaged_state_loses_nothing(
    volume: Volume, webhook: Webhook, posts: Posts, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    delivery = Delivery(volume, webhook, clock=clock)
    write(volume, "a-1.0.zip")
    run(delivery, clock)
    volume.webhook(webhook.key).write_text("")
    write(volume, "b-1.0.zip")
    run(Delivery(volume, webhook, clock=clock), clock)
    assert posts.sent == ["a-1.0.zip", "a-1.0.zip", "b-1.0.zip"]
    assert "damaged" in caplog.text


def test_the_list_shows_what_waits(
    volume: Volume, webhook: Webhook, posts: Posts, clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    from ppmctl.cli import commands

    show = ["webhook", "list", "--root", str(volume.root), "--json"]
    assert commands.run(show) == 0
    assert json.loads(capsys.readouterr().out) == {"webhooks": []}
    configure(volume, {"url": URL, "secret_file": str(webhook.secret_file), "name": "chat", "events": ["package.*"]})
    assert commands.run(show) == 0
    assert json.loads(capsys.readouterr().out)["webhooks"][0]["state"] == "never sent"
    delivery = Delivery(volume, webhook, clock=clock)
    write(volume, "a-1.0.zip")
    write(volume, "bob as reader", "user add")
    posts.answers = [500]
    run(delivery, clock)
    assert commands.run(show) == 0
    printed = capsys.readouterr().out
    (shown,) = json.loads(printed)["webhooks"]
    assert (shown["name"], shown["state"], shown["waiting"], shown["error"]) == (
        "chat",
        "failing",
        1,
        "It answered 500.",
    )
    assert "T0ken" not in printed
    assert commands.run(show[:-1]) == 0
    assert "chat" in capsys.readouterr().out
    assert commands.run(["webhook", "test", "other", "--root", str(volume.root)]) == 2
