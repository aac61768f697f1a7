"""The folder from which nginx reads the certificate and its key. Both change in one step."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import ssl
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509
from ppm_certificate import self_signed

CHAIN, KEY = "fullchain.pem", "privkey.pem"
_CURRENT, _SOURCE = "current", "source"


class Unfit(Exception):
    """The certificate or the key is invalid, or they do not belong together."""


@dataclass(frozen=True, kw_only=True)
class Validity:
    """The time from `begin` to `end` in which a certificate is valid, in UTC."""

    begin: datetime
    end: datetime

    @property
    def seconds(self) -> float:
        return (self.end - self.begin).total_seconds()


@dataclass(frozen=True, kw_only=True)
class Place:
    """A folder with `fullchain.pem` and `privkey.pem`, which point through one link to a folder with both files."""

    root: Path

    @property
    def is_empty(self) -> bool:
        return not all((self.root / name).exists() for name in (KEY, CHAIN))

    @property
    def source(self) -> str:
        """Return the source of the certificate, as given to `put`."""
        try:
            return (self.root / _CURRENT / _SOURCE).read_text(encoding="utf-8").strip()
        except OSError:
            return ""

    def note(self, name: str, values: Mapping[str, object]) -> None:
        """Write a JSON file beside the certificate, in one step."""
        temporary = self.root / f".{name}.{secrets.token_hex(4)}"
        _write(temporary, f"{json.dumps(values)}\n".encode(), 0o644)
        temporary.replace(self.root / name)

    def read(self, name: str) -> dict[str, object]:
        """Return what `note` wrote; {} if there is nothing."""
        try:
            values: dict[str, object] = json.loads((self.root / name).read_bytes())
        except (OSError, ValueError):
            return {}
        return values

    def validity(self) -> Validity:
        certificate = x509.load_pem_x509_certificate((self.root / CHAIN).read_bytes())
        return Validity(begin=certificate.not_valid_before_utc, end=certificate.not_valid_after_utc)

    def has(self, folder: Path) -> bool:
        """Return whether it has the same certificate and key as `folder`."""
        return not self.is_empty and all(
            (self.root / name).read_bytes() == (folder / name).read_bytes() for name in (CHAIN, KEY)
        )

    def put(self, folder: Path, source: str) -> None:
        """Install the certificate and the key of `folder`. Raise Unfit, and change nothing, if they don't match."""
        new = Path(tempfile.mkdtemp(prefix=f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-", dir=self.root))
        try:
            for name, mode in ((KEY, 0o600), (CHAIN, 0o644)):
                _write(new / name, (folder / name).read_bytes(), mode)
            try:
                ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(new / CHAIN, new / KEY)
            except ssl.SSLError as exc:
                raise Unfit(f"the certificate and the key in {folder} do not belong together: {exc}") from exc
            _write(new / _SOURCE, f"{source}\n".encode(), 0o644)
        except BaseException:
            shutil.rmtree(new)
            raise
        before = (self.root / _CURRENT).resolve()
        self._link(_CURRENT, new.name)
        for name in (KEY, CHAIN):
            if not (self.root / name).is_symlink():
                self._link(name, f"{_CURRENT}/{name}")
        # the previous folder stays, because nginx may have read only one of its two files
        for other in self.root.iterdir():
            if other.is_dir() and not other.is_symlink() and other not in (before, new):
                shutil.rmtree(other)

    def put_temporary(self, domain: str) -> None:
        """Install a self-signed certificate that is valid for a day, so that nginx can start."""
        with tempfile.TemporaryDirectory() as folder:
            self_signed(Path(folder), domain, days=1, subject="ppm, temporary")
            self.put(Path(folder), f"temporary {domain}")

    def _link(self, name: str, target: str) -> None:
        temporary = self.root / f".{name}.{secrets.token_hex(4)}"
        temporary.symlink_to(target)
        temporary.replace(self.root / name)


def _write(path: Path, content: bytes, mode: int) -> None:
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
