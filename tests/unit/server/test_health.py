"""What makes a server unhealthy, and its message; tests/e2e/test_health.py has a real server."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ppmctl.errors import PpmError
from ppmctl.index.layout import Volume
from ppmctl.server import health
from ppmctl.server.settings import ServerSettings, server_settings

ANSWERS = {
    "/healthz": (200, {}),
    "/healthz/write": (200, {}),
    "/simple/": (401, {"WWW-Authenticate": 'Basic realm="ppm"'}),
}


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ServerSettings:
    """Return the settings of a healthy server, which answers without a socket."""
    volume = Volume(root=tmp_path)
    volume.prepare()
    (volume.simple / "index.json").write_text("{}")
    monkeypatch.setattr(health.unix_http, "Connection", lambda *_arguments, **_options: Served())
    return server_settings(tmp_path, environ={})


class Served:
    def __init__(self) -> None:
        self.path = ""

    def request(self, _method: str, path: str, **_options: object) -> None:
        self.path = path

    def getresponse(self) -> Served:
        return self

    def read(self) -> bytes:
        return b""

    def close(self) -> None:
        pass

    reason = "Reason"

    @property
    def status(self) -> int:
        return ANSWERS[self.path][0]

    @property
    def headers(self) -> dict[str, str]:
        return ANSWERS[self.path][1]


def problem(settings: ServerSettings, **options: float) -> str:
    with pytest.raises(PpmError) as refusal:
        health.check(settings, **options)
    assert "\n" not in refusal.value.message
    return refusal.value.message


def test_a_healthy_server_passes_and_no_file_remains(settings: ServerSettings) -> None:
    before = sorted(settings.volume.root.rglob("*"))
    health.check(settings)
    assert sorted(settings.volume.root.rglob("*")) == before


@pytest.mark.parametrize(
    ("path", "answer", "message"),
    [
        ("/healthz", (500, {}), "answers GET /healthz with 500 Reason, not with 200"),
        ("/healthz", (503, {}), "reports: Reason."),
        ("/healthz/write", (503, {}), "reports: Reason."),
        ("/healthz/write", (500, {}), "answers GET /healthz/write with 500 Reason, not with 200"),
        ("/simple/", (500, {}), "answers HEAD /simple/ with 500 Reason, not with 401"),
        ("/simple/", (200, {}), "answers HEAD /simple/ with 200 Reason, not with 401"),
        ("/simple/", (401, {}), "does not ask for a credential"),
    ],
)
def test_a_wrong_answer_is_reported(
    settings: ServerSettings,
    monkeypatch: pytest.MonkeyPatch,
    path: str,
    answer: tuple[int, dict[str, str]],
    message: str,
) -> None:
    monkeypatch.setitem(ANSWERS, path, answer)
    assert message in problem(settings)


def test_public_pages_must_not_need_a_credential(settings: ServerSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    public = server_settings(settings.volume.root, flags={"read_access": "public"}, environ={})
    assert "answers HEAD /simple/ with 401 Reason, not with 200" in problem(public)
    monkeypatch.setitem(ANSWERS, "/simple/", (200, {}))
    health.check(public)


def test_a_missing_or_empty_page_is_reported(settings: ServerSettings) -> None:
    page = settings.volume.simple / "index.json"
    page.write_bytes(b"")
    assert f"{page}, is empty" in problem(settings)
    page.unlink()
    assert f"{page}, can't be used: No such file or directory" in problem(settings)


def test_a_full_volume_is_reported(settings: ServerSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_arguments: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    message = problem(settings)
    assert "The volume" in message
    assert "No space left on device" in message
    assert list(settings.volume.incoming.iterdir()) == []


def test_a_step_that_hangs_ends_at_the_timeout(settings: ServerSettings) -> None:
    """A pipe without a reader hangs like a file server that is down."""
    os.mkfifo(settings.volume.incoming / ".health")
    assert "does not answer within 0.2 seconds" in problem(settings, timeout=0.2)
