"""Send the events of the audit log to the webhooks: at least once, in order, and again after failures.

A webhook's place in the log moves only after its receiver has answered 2xx, so a killed sender loses nothing.
"""

from __future__ import annotations

import contextlib
import logging
import os
import random
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from urllib.parse import urlsplit

from ppmctl import files
from ppmctl.access import audit_outbox
from ppmctl.client.http import Answer
from ppmctl.client.post import post
from ppmctl.errors import PpmError
from ppmctl.index.layout import Volume
from ppmctl.webhooks import event, signature, state
from ppmctl.webhooks.config import Webhook
from ppmctl.webhooks.event import Event
from ppmctl.webhooks.state import Progress

LOOK_EVERY = 1.0  # seconds
WITHIN = 30.0  # seconds for a whole attempt
GIVE_UP_AFTER = timedelta(days=3)
FIRST_WAIT, LONGEST_WAIT = 5.0, 3600.0  # seconds; each wait is twice the one before
_JITTER = 0.2
_BATCH = 200  # lines of the audit
_GONE = 410

log = logging.getLogger(__name__)


class Delivery:
    """The delivery to one webhook. Only one process may do it, see `run`."""

    def __init__(self, volume: Volume, webhook: Webhook, *, clock: Callable[[], float] = time.time) -> None:
        self._volume = volume
        self._webhook = webhook
        self._clock = clock
        self._seen: object = ()  # the audit when all of it was sent
        known = state.read(volume, webhook.key, now=clock(), again=GIVE_UP_AFTER)
        self._progress = known or Progress(place=audit_outbox.end(volume))
        if known is None:  # at once: from now on nothing is lost
            self._store()

    def step(self) -> float:
        """Send what is due, and return the seconds until the next step. Raise OSError or PpmError."""
        if self._progress.disabled or self._progress.failing_since:
            state.confirm(self._volume, self._webhook.key, now=self._clock())
        if self._progress.disabled:
            self._progress = self._read()
            return LOOK_EVERY
        wait = self._progress.next_attempt - self._clock()
        if wait > 0:
            return min(wait, LOOK_EVERY)
        seen = files.identity(self._volume.audit)
        if seen == self._seen:
            return LOOK_EVERY
        lines = audit_outbox.after(self._volume, self._progress.place, most=_BATCH)
        stored = self._progress
        for line in lines:
            occurred = event.of(line.text, line.before)
            if occurred is not None and occurred.is_one_of(self._webhook.events) and not self._send(occurred):
                return 0.0
            self._progress = replace(self._progress, place=line.after)
            if occurred is not None and occurred.is_one_of(self._webhook.events):
                self._store()
                stored = self._progress
        if len(lines) < _BATCH:
            self._seen = seen
            if self._progress.failing_since:  # what could not be sent was given up, or is not wanted any more
                self._progress = self._progress.without_failure()
        if self._progress != stored:
            self._store()
        return 0.0 if lines else LOOK_EVERY

    def _send(self, occurred: Event) -> bool:
        """Return whether the event is done with: received, or given up."""
        name, now = self._webhook.name, self._clock()
        retry_after = 0.0
        try:
            answer = send(self._webhook, occurred, now=now)
        except PpmError as exc:
            reason = exc.message
        else:
            if is_received(answer):
                if self._progress.failing_since:
                    log.warning("The webhook %s receives events again.", name)
                self._progress = self._progress.received(now)
                return True
            if answer.status == _GONE:
                self._disable()
                return False
            reason = f"It answered {answer.status}."
            retry_after = float(answer.retry_after) if answer.retry_after.isdecimal() else 0.0
        return self._failed(occurred, reason, retry_after)

    def _failed(self, occurred: Event, reason: str, retry_after: float) -> bool:
        name, now, before = self._webhook.name, self._clock(), self._progress
        since, attempts = before.failing_since or now, before.attempts + 1
        pause = max(pause_after(attempts), min(retry_after, LONGEST_WAIT))
        age = now - datetime.fromisoformat(occurred.timestamp).timestamp()
        is_given_up = min(now - since, age) >= GIVE_UP_AFTER.total_seconds()
        self._progress = replace(
            before,
            attempts=attempts,
            failing_since=since,
            next_attempt=now + pause,
            error=reason,
            dropped=before.dropped + is_given_up,
        )
        if is_given_up:
            log.error(
                "GIVEN UP: the webhook %s has not received %s (%s, %s) in %d days: %s",
                *(name, occurred.id, occurred.type, occurred.timestamp, GIVE_UP_AFTER.days, reason),
            )
            return True
        log.warning(
            "The webhook %s has not received %s (%s): %s Trying again in %d s.",
            *(name, occurred.id, occurred.type, reason, pause),
        )
        self._store()
        return False

    def _disable(self) -> None:
        name = self._webhook.name
        self._progress = self._progress.refused_for_good("It answered 410 (gone).")
        self._store()
        log.error(
            "DISABLED: the webhook %s answered 410, so its receiver wants no more events. Remove it from the"
            " settings, or run: ppmctl webhook enable %s",
            *(name, name),
        )

    def _read(self) -> Progress:
        known = state.read(self._volume, self._webhook.key, now=self._clock(), again=GIVE_UP_AFTER)
        return known or self._progress

    def _store(self) -> None:
        state.write(self._volume, self._webhook.key, self._progress)


def pause_after(attempts: int) -> float:
    """Return the seconds until the next attempt, with a random part, so that senders do not meet."""
    pause = min(FIRST_WAIT * 2.0 ** min(attempts - 1, 20), LONGEST_WAIT)
    return pause * (1 - _JITTER / 2 + _JITTER * random.random())


def send(webhook: Webhook, occurred: Event, *, now: float) -> Answer:
    """Send an event once and return the answer. Raise PpmError if none came, or if the secret can't be read."""
    headers = signature.headers(occurred.id, occurred.body, webhook.secrets(), now=now)
    try:
        return post(webhook.url, occurred.body, headers, within=WITHIN)
    except PpmError as exc:  # a library may quote the URL, which may have a token
        raise PpmError(exc.message.replace(_path(webhook.url), "/…")) from None


def _path(url: str) -> str:
    """Return what follows the host in a URL."""
    parts = urlsplit(url)
    return url if len(parts.path) < 2 and not parts.query else url.partition(parts.netloc)[2]


def is_received(answer: Answer) -> bool:
    return 200 <= answer.status < 300


def run(volume: Volume, webhooks: tuple[Webhook, ...], stop: threading.Event) -> None:
    """Send to all webhooks until `stop` is set, each in its own thread, so that none waits for another.

    Only one process does this for a volume; others wait until it ends.
    """
    with _only_sender(volume, stop) as is_only:
        if not is_only:
            return
        log.info("Sending to %d webhooks.", len(webhooks))
        for each in webhooks:
            name = f"webhook {each.name}"
            threading.Thread(target=_run, args=(volume, each, stop), name=name, daemon=True).start()
        stop.wait()


def _run(volume: Volume, webhook: Webhook, stop: threading.Event) -> None:
    delivery: Delivery | None = None
    reported = ""
    while not stop.is_set():
        try:
            delivery = delivery or Delivery(volume, webhook)
            pause = delivery.step()
            reported = ""
        except Exception as exc:  # a bug too: the other webhooks and later events go on
            is_expected = isinstance(exc, PpmError | OSError)
            if str(exc) != reported:
                log.error("The webhook %s: %s", webhook.name, exc, exc_info=not is_expected)
            reported, pause = str(exc), FIRST_WAIT
        stop.wait(pause)


@contextlib.contextmanager
def _only_sender(volume: Volume, stop: threading.Event) -> Iterator[bool]:
    """Wait for the lock of senders; yield False if `stop` was set first."""
    lock = files.try_lock(volume.webhooks_lock)
    if lock is None:
        log.warning("Another process sends the webhooks of %s; this one waits until it ends.", volume.root)
    while lock is None and not stop.wait(LOOK_EVERY):
        lock = files.try_lock(volume.webhooks_lock)
    try:
        yield lock is not None
    finally:
        if lock is not None:
            os.close(lock)
