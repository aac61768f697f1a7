"""Find what is wrong with metadata and its description, as `twine check` does, also in files of old build tools."""

from __future__ import annotations

import io
import re
from email.parser import BytesHeaderParser

from packaging.metadata import InvalidMetadata, Metadata, RawMetadata, parse_email
from packaging.version import Version

from ppmctl.distributions.distribution import one_line

_LICENSE_FILES = Version("2.4")  # the first metadata version with License-File; setuptools wrote it into 2.1 too
_ALWAYS_RENDERED = ("text/plain", "text/markdown")
_FOLD = 8  # columns by which distutils and setuptools indent the further lines of a field
_BAR = re.compile(r" {7}\|")  # instead of that, by the specification
_REPORT = re.compile(r"^<string>:(\d*): \((\w+)/\d\) ", re.MULTILINE)  # how docutils reports an error


def raw_fields(metadata: bytes) -> RawMetadata:
    """Return the fields of metadata that an index accepts, with the description as it was before it was folded."""
    fields, _unparsed = parse_email(metadata)
    if Version(fields["metadata_version"]) < _LICENSE_FILES:
        fields.pop("license_files", None)
    if "description" in fields and "description" in BytesHeaderParser().parsebytes(metadata):
        fields["description"] = _unfolded(fields["description"])
    return fields


def errors(metadata: bytes) -> list[str]:
    """Return what other indexes, or readers of the description, do not accept; the version of metadata is not judged.

    Each error is a phrase.
    """
    fields = raw_fields(metadata)
    invalid = _invalid(fields, metadata)
    phrases = [f"invalid metadata: {one_line('; '.join(sorted(invalid)))}"] if invalid else []
    if why := _why_not_rendered(fields):
        phrases.append(f"the description can't be rendered: {one_line(why)}")
    return phrases


def warnings(metadata: bytes) -> list[str]:
    """Return what is missing in the metadata, as phrases."""
    fields = raw_fields(metadata)
    if not _description(fields):
        return ["no description (`long_description` missing)"]
    if not fields.get("description_content_type"):
        return ["`long_description_content_type` missing, so the description is read as reStructuredText"]
    return []


def _invalid(fields: RawMetadata, metadata: bytes) -> list[str]:
    try:
        Metadata.from_raw(fields)
        problems: list[Exception] = []
    except ExceptionGroup as group:
        problems = list(group.exceptions)
    if any(isinstance(exc, InvalidMetadata) and exc.field == "metadata-version" for exc in problems):
        # withdrawn, or newer than this library, which then does not know the fields either
        return []
    _fields, unparsed = parse_email(metadata)
    return [*map(str, problems), *(f"unrecognized or malformed field {name!r}" for name in unparsed)]


def _why_not_rendered(fields: RawMetadata) -> str:
    """Return why the description can't be rendered; "" if it can."""
    text = _description(fields)
    content_type = (fields.get("description_content_type") or "").partition(";")[0].strip().lower()
    if not text or content_type in _ALWAYS_RENDERED:
        return ""
    from readme_renderer import rst  # with docutils and Pygments, a third of the time of `ppmctl publish`

    report = io.StringIO()
    try:
        rendered = rst.render(text, stream=report)
    except Exception as exc:  # docutils fails in many ways, and nothing else depends on it
        return repr(exc)
    return "" if rendered is not None else _REPORT.sub(r"line \1: \2: ", report.getvalue())


def _description(fields: RawMetadata) -> str:
    text = (fields.get("description") or "").rstrip()
    return "" if text == "UNKNOWN" else text


def _unfolded(text: str) -> str:
    first, *more = text.split("\n")
    written = [line for line in more if line.strip()]
    if written and all(_BAR.match(line) for line in written):
        return "\n".join((first, *(line[_FOLD:] for line in more)))
    width = min((_FOLD, *(len(line) - len(line.lstrip()) for line in written)))
    return "\n".join((first, *(line[width:] for line in more)))
