"""The compose service webhooks sends signed events, while the application has no network."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

from support import composed
from support.composed import Composed
from support.deployed import eventually
from support.receiver import SECRET, is_signed
from support.wheels import wheel

# in the container of the sender: each request is a line on the volume
RECEIVER = """
import http.server, json
class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        with open("/srv/ppm/received", "a") as file:
            file.write(json.dumps([dict(self.headers), body]) + "\\n")
        self.send_response(204)
        self.end_headers()
http.server.HTTPServer(("127.0.0.1", 8099), Handler).serve_forever()
"""
SETTINGS = "webhooks: [{name: chat, url: 'http://127.0.0.1:8099/hook', secret_file: chat.secret}]\n"


def test_the_service_sends_events(new_compose: Callable[..., Composed], tmp_path: Path) -> None:
    folder = tmp_path / "volume"
    index = new_compose(environment={**composed.settings_of(folder), "COMPOSE_PROFILES": "webhooks"}, up=False)
    for name, content in (("ppm.yml", SETTINGS), ("chat.secret", f"{SECRET}\n"), ("receiver.py", RECEIVER)):
        path = folder / name
        path.write_text(content)
        path.chmod(0o600)
        os.chown(path, folder.stat().st_uid, folder.stat().st_gid)
    index.up()
    sender = index.compose.container("webhooks")
    sender.run("python3 /srv/ppm/receiver.py >/dev/null 2>&1 &", user="")
    assert index.upload(wheel("sent", "1.0")).status_code == 200

    def received() -> list[tuple[dict[str, str], str]]:
        path = folder / "received"
        lines = path.read_text().splitlines() if path.exists() else []
        return [
            ({name.lower(): value for name, value in headers.items()}, body)
            for headers, body in map(json.loads, lines)
        ]

    messages = eventually(
        received, lambda found: any("package.publish" in body for _headers, body in found), seconds=60
    )
    assert all(is_signed(headers, body.encode()) for headers, body in messages)
    assert "204" in sender.run("ppmctl webhook test chat", user="").out
