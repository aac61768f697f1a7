"""What a check has to look at the index with, and words that several checks share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from self_check.client import Answer, Index
from self_check.findings import Verdict, wrong
from self_check.probe import Probe
from self_check.settings import Credential, Settings

STRANGERS = "If it is another site of this host that answers: it must not be nginx's default_server."
SITE = "Run site.yml again, which puts that right; with --check --diff it shows first what differs."
APPLICATION = (
    "The application does not do its part. On the host: systemctl status ppm.socket ppm.service, journalctl -u"
    " ppm.service; systemctl restart ppm.socket ppm.service starts it anew."
)


@dataclass(frozen=True, kw_only=True)
class Look:
    """`credentials`: by role, those that this run was lent. `pip_may`: whether clients accept the certificate.

    `stored`: the versions of the probe's project that may be in the index now, and whether that is certain.
    """

    settings: Settings
    index: Index
    probe: Probe
    credentials: Mapping[str, Credential]
    pip_may: bool
    stored: dict[str, bool]

    @property
    def base(self) -> str:
        return f"{self.index.scheme}://{self.index.domain}/"


Check = Callable[[Look], Verdict]


def unexpected(answer: Answer, wanted: str, remedy: str) -> Verdict:
    """An answer that is not `wanted`; where its status itself says what is broken, the remedy is that for it."""
    return wrong(f"{answer} instead of {wanted}", _REMEDIES.get(answer.status, remedy))


_REMEDIES = {
    500: "The server's error log says why (on the host: tail /var/log/nginx/error.log; journalctl -u ppm.service).",
    502: APPLICATION,
    503: APPLICATION,
    504: APPLICATION,
    507: "The volume is full. On the host: df -h and df -i on ppm_root; make room, or a larger volume.",
    429: "ppm_connections_per_address is too small for this address, or something here asks without end.",
}
