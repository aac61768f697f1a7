"""Yank, unyank and remove releases, set statuses and claim names over HTTP (docs/http.md)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from ppmctl.client.http import Transport, failed
from ppmctl.client.index_url import Address
from ppmctl.errors import NOT_SUCH_JSON, PpmError
from ppmctl.index.claims import Claim
from ppmctl.index.project_folder import Status


def parse_claim(values: Mapping[str, Any]) -> Claim | None:
    """Return the claim in an index's answer; None if nobody claimed the name, or if it is another answer."""
    try:
        return Claim.from_json(values["claim"])
    except NOT_SUCH_JSON:
        return None


class RemotePackages:
    """The packages of the index at `address`.

    Every change raises CredentialError without the right to it, PpmError with the index's reason, and Unreachable.
    Nothing was changed then, unless only the answer was lost; each change can be repeated.
    """

    def __init__(self, address: Address, transport: Transport) -> None:
        self._address = address
        self._transport = transport

    def yank(self, project: str, version_or_filename: str, reason: str = "") -> list[str]:
        """Yank a release or one of its files, and return the filenames."""
        return self._files("PUT", project, version_or_filename, "yank", values={"reason": reason})

    def unyank(self, project: str, version_or_filename: str) -> list[str]:
        """Take back a yank, and return the filenames."""
        return self._files("DELETE", project, version_or_filename, "yank")

    def remove(self, project: str, version_or_filename: str) -> list[str]:
        """Remove a release or one of its files for good, and return the filenames."""
        return self._files("DELETE", project, version_or_filename)

    def set_status(self, project: str, state: str, reason: str = "") -> Status:
        """Set a project's status (PEP 792), and return it."""
        values = self._change("PUT", project, "status", values={"status": state, "reason": reason})
        return Status(state=str(values.get("status")), reason=str(values.get("reason", "")))

    def claim(self, project: str) -> Claim:
        """Let any publisher upload the first file of a name, and return the claim."""
        claim = parse_claim(self._ask("PUT", f"/api/claims/{project}"))
        if claim is None:
            raise self._not_ours()
        return claim

    def unclaim(self, project: str) -> None:
        """Undo a claim."""
        self._ask("DELETE", f"/api/claims/{project}")

    def _files(self, method: str, project: str, *path: str, values: dict[str, Any] | None = None) -> list[str]:
        filenames = self._change(method, project, *path, values=values).get("files")
        if not isinstance(filenames, list):
            raise self._not_ours()
        return [str(filename) for filename in filenames]

    def _change(self, method: str, *path: str, values: dict[str, Any] | None = None) -> dict[str, Any]:
        if any("/" in part or part in ("", ".", "..") for part in path):  # it would change the path of the URL
            raise PpmError(f"{path[0]} has no release or file {path[1]!r}.")
        quoted = "/".join(quote(part, safe="", errors="replace") for part in path)
        return self._ask(method, f"/api/packages/{quoted}", values=values)

    def _ask(self, method: str, path: str, *, values: dict[str, Any] | None = None) -> dict[str, Any]:
        answer = self._transport.ask(method, f"{self._address.base}{path}", values=values)
        if answer.status != 200:
            is_ours = answer.content_type == "text/plain" or answer.status not in (404, 405)
            raise failed(answer, hint="" if is_ours else "Is it an index that ppm serves?")
        if not answer.values:
            raise self._not_ours()
        return answer.values

    def _not_ours(self) -> PpmError:
        return PpmError(
            f"The index at {self._address.base} is not one that ppm serves: its answer is not that of ppm.",
            hint="On another index ppmctl can list, show, search and download packages.",
        )
