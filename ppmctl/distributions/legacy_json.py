"""The JSON of a project at `/pypi/NAME/json`, which bots and mirrors read: the values of its page in the old form."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from ppmctl.distributions import distribution
from ppmctl.distributions.project_page import PageFile, ProjectPage, Release

# fields of core metadata that have the same names in this form
_FIELDS = (
    *("author", "author_email", "description", "description_content_type", "download_url"),
    *("home_page", "license", "license_expression", "license_files", "maintainer", "maintainer_email"),
    *("project_urls", "provides_extra", "requires_dist", "requires_python", "summary"),
)


def document(
    page: ProjectPage, release: Release, metadata: bytes, *, base: str, serial: int, has_releases: bool
) -> dict[str, Any]:
    """Return the document of a project, about this release; `has_releases`: with the files of all releases.

    `metadata` is that of a wheel of the release, or empty. `base` is the URL of the index, in front of file URLs.
    """
    raw = distribution.core_metadata(metadata)
    info: dict[str, Any] = {field: raw.get(field) for field in _FIELDS} | {
        "name": raw.get("name") or page.name,
        "version": str(release.version),
        "classifiers": raw.get("classifiers") or [],
        "keywords": ",".join(raw.get("keywords") or ()),
        "requires_python": next((file.requires_python for file in release.files if file.requires_python), None),
        "yanked": release.is_yanked,
        "yanked_reason": release.reason or None,
        "package_url": f"{base}simple/{page.name}/",
    }
    values = {
        "info": info,
        "last_serial": serial,
        "urls": [_file(file, base) for file in release.files],
        "vulnerabilities": [],
    }
    if has_releases:
        values["releases"] = {
            str(each.version): [_file(file, base) for file in each.files] for each in reversed(page.releases)
        }
    return values


def _file(file: PageFile, base: str) -> dict[str, Any]:
    is_wheel = file.filename.endswith(".whl")
    return {
        "filename": file.filename,
        "url": base + file.url,
        "digests": {"sha256": file.sha256},
        "size": file.size,
        "upload_time": _time(file.upload_time, "%Y-%m-%dT%H:%M:%S"),
        "upload_time_iso_8601": _time(file.upload_time, "%Y-%m-%dT%H:%M:%S.%fZ"),
        "packagetype": "bdist_wheel" if is_wheel else "sdist",
        "python_version": file.filename.split("-")[-3] if is_wheel else "source",
        "requires_python": file.requires_python,
        "yanked": file.yanked is not None,
        "yanked_reason": file.yanked or None,
        "has_sig": False,
        "comment_text": "",
    }


def _time(time: datetime | None, form: str) -> str | None:
    return None if time is None else time.strftime(form)
