"""Work of a host that needs no request: webhooks, the rotation of the audit, the pruning of old releases.

The unit of webhooks sends signed events, is confined, and stops without webhooks.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable
from typing import Any

from support.deployed import Deployed, eventually
from support.receiver import is_signed
from support.wheels import wheel

from ppmctl.webhooks.config import PREFIX

UNIT = "ppm-webhooks.service"
RECEIVED = "/root/received"
# a receiver on the host: each request is a line
RECEIVER = f"""
import http.server, json
class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        with open("{RECEIVED}", "a") as file:
            file.write(json.dumps([dict(self.headers), body]) + "\\n")
        self.send_response(204)
        self.end_headers()
http.server.HTTPServer(("127.0.0.1", 8099), Handler).serve_forever()
"""
WEBHOOK = {
    "name": "chat",
    "url": "http://127.0.0.1:8099/hook/T0ken",
    "allow_http": True,
    "events": ["backup.*", "user.*"],
}
VARIABLES: dict[str, Any] = {
    "ppm_webhooks": [WEBHOOK],
    "ppm_audit_max_size": "1K",
    "ppm_prune": "--keep 1 --project prune*",
}


def test_a_host_sends_events_until_there_are_no_webhooks(
    deployed: Callable[[int], Deployed], reset: Callable[[Deployed], None]
) -> None:
    index = deployed(13)
    host = index.host
    try:
        host.run(f"cat > /root/receiver.py <<'END'\n{RECEIVER}\nEND")
        host.run("systemd-run --unit=receiver python3 /root/receiver.py")
        index.play(**VARIABLES)
        assert host.run(f"systemctl is-active {UNIT}; systemctl is-enabled {UNIT}").out.split() == [
            "active",
            "enabled",
        ]
        assert host.run("stat -c '%U %a' /etc/ppm/webhooks/chat.secret").out == "ppm 600\n"
        index.ppmctl("user add bob --role reader --output /tmp/bob")
        index.ppmctl("token create bob+ci --role reader --output /tmp/bob-ci")
        index.ppmctl("operation record backup --failed full")
        events = eventually(lambda: received(index), lambda lines: len(lines) == 2)
        assert [json.loads(body)["type"] for _headers, body in events] == ["user.add", "backup.failed"]
        key = host.run("cat /etc/ppm/webhooks/chat.secret").out.strip().removeprefix(PREFIX)
        assert all(is_signed(headers, body.encode(), base64.b64decode(key)) for headers, body in events)
        assert "204" in index.ppmctl("webhook test chat")
        assert "T0ken" not in host.run(f"journalctl -u {UNIT} --no-pager").out

        # it reaches the network, so it reaches little else
        pid = host.run(f"systemctl show -p MainPID --value {UNIT}").out.strip()
        assert host.run(f"find /proc/{pid}/root/srv/ppm/credentials -type f | wc -l").out == "0\n"
        exposure = host.run(f"systemd-analyze security --no-pager {UNIT} | tail -1").out
        assert float(re.findall(r"\d+\.\d+", exposure)[0]) <= 3, exposure

        result = index.play(**VARIABLES)
        assert result.changed == ()
        assert "/etc/ppm/webhooks/NAME.secret: chat. No backup has them." in " ".join(result.output.split())
        assert key in host.run("cat /etc/ppm/webhooks/chat.secret").out, "the secret stays"

        for version in ("1.0.0", "1.0.1"):
            assert index.upload(wheel("pruned", version)).status_code == 200
        assert host.run("systemctl is-enabled ppm-package-prune.timer").out == "enabled\n"
        host.run("systemctl start ppm-package-prune.service")
        assert [file["yanked"] for file in index.page("pruned")["files"]] == [
            "Pruned: not among the newest 1 of 1.0",
            False,
        ]

        # the timer rotates while the application is stopped
        host.run("systemctl stop ppm.socket ppm.service")
        lines = len(audit(index))
        for number in range(8):
            index.ppmctl(f"operation record drill --failed {number}{'x' * 200}")
        eventually(lambda: host.run("ls /srv/ppm").out, lambda names: "audit-20" in names, seconds=60)
        assert len(audit(index)) == lines + 8
        host.run("systemctl start ppm.socket ppm.service")
        index.ppmctl("operation record backup")
        eventually(lambda: received(index), lambda lines: '"backup.succeeded"' in lines[-1][1])

        index.play()
        assert host.run(f"systemctl is-active {UNIT} || true; systemctl is-enabled {UNIT} || true").out.split() == [
            "inactive",
            "disabled",
        ]
    finally:
        reset(index)


def received(index: Deployed) -> list[tuple[dict[str, str], str]]:
    text = index.host.run(f"cat {RECEIVED} 2>/dev/null || true").out
    messages = [json.loads(line) for line in text.splitlines()]
    return [({name.lower(): value for name, value in headers.items()}, body) for headers, body in messages]


def audit(index: Deployed) -> list[dict[str, Any]]:
    return list(json.loads(index.ppmctl("audit --json")))
