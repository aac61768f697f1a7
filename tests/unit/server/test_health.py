"""What makes a server unhealthy, and what is said of it; tests/e2e/test_health.py has a real one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ppmctl.errors import PpmError
from ppmctl.index.layout import Volume
from ppmctl.server import health
from ppmctl.server.settings import ServerSettings, server_settings

ANSWERS = {"/healthz": (200, {}), "/simple/": (401, {"WWW-Authenticate": 'Basic realm="ppm"'})}


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ServerSettings:
    """Of a healthy server, which answers without a socket."""
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


def sick(settings: ServerSettings, **options: float) -> str:
    with pytest.raises(PpmError) as refusal:
        health.check(settings, **options)
    assert "\n" not in refusal.value.message
    return refusal.value.message


def test_a_healthy_server_is_found_so_and_nothing_stays(settings: ServerSettings) -> None:
    before = sorted(settings.volume.root.rglob("*"))
    health.check(settings)
    assert sorted(settings.volume.root.rglob("*")) == before


@pytest.mark.parametrize(
    ("path", "answer", "said"),
    [
        ("/healthz", (503, {}), "answers GET /healthz with 503 Reason, not with 200"),
        ("/simple/", (500, {}), "answers HEAD /simple/ with 500 Reason, not with 401"),
        ("/simple/", (200, {}), "answers HEAD /simple/ with 200 Reason, not with 401"),
        ("/simple/", (401, {}), "does not say how to log in"),
    ],
)
def test_an_answer_that_is_not_as_it_should_be(
    settings: ServerSettings,
    monkeypatch: pytest.MonkeyPatch,
    path: str,
    answer: tuple[int, dict[str, str]],
    said: str,
) -> None:
    monkeypatch.setitem(ANSWERS, path, answer)
    assert said in sick(settings)


def test_public_pages_are_shown(settings: ServerSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    public = server_settings(settings.volume.root, flags={"read_access": "public"}, environ={})
    assert "answers HEAD /simple/ with 401 Reason, not with 200" in sick(public)
    monkeypatch.setitem(ANSWERS, "/simple/", (200, {}))
    health.check(public)


def test_a_page_that_is_not_there_or_empty(settings: ServerSettings) -> None:
    page = settings.volume.simple / "index.json"
    page.write_bytes(b"")
    assert f"{page}, is empty" in sick(settings)
    page.unlink()
    assert f"{page}, can't be used: No such file or directory" in sick(settings)


def test_a_volume_that_takes_no_file(settings: ServerSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_arguments: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    assert "The volume" in (said := sick(settings))
    assert "No space left on device" in said
    assert list(settings.volume.incoming.iterdir()) == []


def test_a_step_that_hangs_is_not_waited_for(settings: ServerSettings) -> None:
    """A pipe that nobody reads stands for a file server that is gone."""
    os.mkfifo(settings.volume.incoming / ".health")
    assert "does not answer within 0.2 seconds" in sick(settings, patience=0.2)
