"""Which versions of metadata are known, and which fields make pip or uv fail."""

from __future__ import annotations

import pytest
from packaging.metadata import parse_email
from support import wheels

from ppmctl.distributions import metadata_rules
from ppmctl.distributions.metadata_rules import Fault, faults, notes, readable_python

# What pip 23.0.1 and 26.3, and uv 0.11, read or ignore; they crash on, or never find, what is broken.
READ, BROKEN = True, False
PYTHON = {
    "3.7": BROKEN,
    "any": BROKEN,
    "~=3": BROKEN,
    ">3.6.": BROKEN,
    ">=3.6 <4": BROKEN,
    ">=3.7,,<4": BROKEN,
    "UNKNOWN": READ,
    ">=3.7.*": READ,
    ">=3.6<4": READ,
    ">= '2.7'": READ,
    "!=3.0*,>=2": READ,
}
NEEDS = {
    "bar >1,": BROKEN,
    "bar (>=0.1,)": BROKEN,
    "bar (>=0.1,) ; python_version > '3'": BROKEN,
    "bar >=0.1 <2": BROKEN,
    "bar (0.9)": BROKEN,
    "bar[a b]": BROKEN,
    "bar -1": BROKEN,
    "bar @ nothing": BROKEN,
    "bar; python_version>3": BROKEN,
    "bar; extra == foo": BROKEN,
    "bar; os_name == 'x' and": BROKEN,
    "bar; " + "(" * 5000 + "os_name == 'x'" + ")" * 5000: BROKEN,
    "bar (>=1.0.*)": READ,
    "bar (>dev)": READ,
    "bar>=0.2<8.0.0": READ,
    "bar (>='0.1')": READ,
    "bar!=~5.0": READ,
    "bar (>=1.0.*) ; python_version >= '2.7'": READ,
}
VALID = {
    "requires_python": [">=3.9", ">=3.6,", "==3.*", ">=3.9, <4", "!=3.9.1"],
    "requires_dist": [
        *("bar", "bar==0.*", "bar[a,b] >=1,<2; extra == 'x y'", "bar (<2.0.0.0-beta)", "UNKNOWN"),
        *("bar @ https://a.test/b.whl#sha256=0,", "bar; sys.platform == 'win32'", "bar; python_version in '2.7, 3'"),
    ],
    "provides_extra": ["no name!"],  # ignored by both
}


def found(*, is_sdist: bool = False, metadata_version: str = "2.1", **fields: str) -> tuple[Fault, ...]:
    text = wheels.metadata("x", "1.0", metadata_version=metadata_version, **fields)
    return faults(text, parse_email(text)[0], is_sdist=is_sdist)


@pytest.mark.parametrize("field", VALID)
def test_valid_fields_have_no_faults(field: str) -> None:
    for value in VALID[field]:
        assert found(**{field: value}) == (), value


@pytest.mark.parametrize(("field", "cases"), [("requires_python", PYTHON), ("requires_dist", NEEDS)])
def test_a_fault_names_the_field_and_is_tolerated_if_clients_read_it(field: str, cases: dict[str, bool]) -> None:
    name = "Requires-Python" if field == "requires_python" else "Requires-Dist"
    for value, is_read in cases.items():
        (fault,) = found(**{field: value})
        assert fault.reason.startswith(f"its {name} is {value[:100]!r}, and not a "), fault
        assert fault.is_tolerated is is_read, value


def test_a_page_has_no_requires_python_that_hides_a_file_from_uv() -> None:
    assert [readable_python(value) for value in ("", ">=3.9", ">=3.7.*", "UNKNOWN", "3.7")] == [
        *(None, ">=3.9", ">=3.7.*", None, None)
    ]


@pytest.mark.parametrize(
    ("text", "place"),
    [
        (b"Name: x\nAuthor: Jos\xe9\nSummary: y\n", "byte 0xe9 in the field Author"),
        (b"Name: x\nDescription: a\n  b: c\n  \xe9\n\n", "byte 0xe9 in the field Description"),
        (b"Name: x\r\nSummary: y\r\n\r\nA: \xff", "byte 0xff in the description"),
    ],
)
def test_metadata_that_is_not_utf_8_is_a_fault(text: bytes, place: str) -> None:
    """pip 26.3 prints a traceback."""
    text = b"Metadata-Version: 2.1\n" + text
    assert faults(text, parse_email(text)[0], is_sdist=False) == (
        Fault(reason=f"its metadata is not UTF-8: {place}"),
    )


def test_clients_read_the_metadata_of_an_sdist_from_2_2_on() -> None:
    """They build older ones, so what these say of themselves does not matter to them."""
    for version, is_tolerated in (("1.0", True), ("2.1", True), ("2.2", False), ("2.10", False)):
        (fault,) = found(is_sdist=True, metadata_version=version, requires_dist="bar >1,")
        assert fault.is_tolerated is is_tolerated, version


def test_of_a_secret_in_a_url_no_part_is_shown() -> None:
    (fault,) = found(requires_dist=f"bar @ https://{'s3cret' * 100}@x.test/bar.whl and more")
    assert "'bar @ https://***@x.test/bar.whl and more'" in fault.reason


def test_not_all_faults_are_listed() -> None:
    text = wheels.metadata("x", "1.0").replace(b"\n\n", b"\nRequires-Dist: >\n" * 10_000 + b"\n", 1)
    assert len(faults(text, parse_email(text)[0], is_sdist=False)) < 100


def test_a_newer_minor_version_is_noted_and_another_major_version_is_not_supported() -> None:
    for version in (*metadata_rules.KNOWN_VERSIONS, "2.0"):
        assert metadata_rules.is_supported(version)
        assert notes({"metadata_version": version}) == ()
    for version, known in (("1.3", "1.2"), ("2.99", metadata_rules.NEWEST)):
        assert metadata_rules.is_supported(version)
        assert notes({"metadata_version": version}) == (
            f"Metadata-Version {version} is newer than {known}, so its new fields were not checked",
        )
    for version in ("", "0.9", "2", "2.x", "3.0", "20.1", "2.1.1", "-2.1", "2.1 ", "\u0662.1", "2." + "9" * 5000):
        assert not metadata_rules.is_supported(version), version
