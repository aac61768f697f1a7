"""The section Unreleased becomes a version's section, in the form of the file, and nothing else changes."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest
from packaging.version import Version
from support.generated import assume, given, st

from ppmctl.errors import PpmError
from ppmctl.publishing import changelog

DAY = date(2026, 11, 21)


def released(text: str, *, version: str = "1.2.0", name: str = "CHANGELOG.md", tag: str = "") -> str:
    return changelog.released(text.encode(), Version(version), DAY, name=name, tag=tag).decode()


CHANGELOG = """# Changelog

Notable changes.

## [Unreleased]

### Added

- A thing.

## [1.1.0] - 2026-01-31

### Fixed

- Another.

[Unreleased]: https://example.test/demo/compare/v1.1.0...HEAD
[1.1.0]: https://example.test/demo/compare/v1.0.0...v1.1.0
"""


def test_keep_a_changelog_in_markdown() -> None:
    assert released(CHANGELOG) == CHANGELOG.replace(
        "## [Unreleased]\n", "## [Unreleased]\n\n## [1.2.0] - 2026-11-21\n"
    ).replace(
        "compare/v1.1.0...HEAD\n",
        "compare/v1.2.0...HEAD\n[1.2.0]: https://example.test/demo/compare/v1.1.0...v1.2.0\n",
    )


def test_line_endings_are_preserved() -> None:
    crlf = CHANGELOG.replace("\n", "\r\n")
    assert released(crlf) == released(CHANGELOG).replace("\n", "\r\n")
    last = CHANGELOG[: CHANGELOG.index("\n[1.1.0]:")]
    assert released(last).endswith("v1.2.0...HEAD\n[1.2.0]: https://example.test/demo/compare/v1.1.0...v1.2.0")


@pytest.mark.parametrize(
    ("unreleased", "before", "expected"),
    [
        ("## [Unreleased]", "", "## [1.2.0] - 2026-11-21"),
        ("## Unreleased", "", "## 1.2.0 - 2026-11-21"),
        ("## UNRELEASED ##", "## 1.1.0 ##", "## 1.2.0 ##"),
        ("## Unreleased", "## 1.1.0 (2026-01-31)", "## 1.2.0 (2026-11-21)"),
        ("# Unreleased", "# v1.1.0 – 2026-01-31", "# v1.2.0 – 2026-11-21"),
        ("### [unreleased]", "### [v1.1.0] - 2026-01-31", "### [v1.2.0] - 2026-11-21"),
        ("## [Unreleased]", "## 1.1.0 2026-01-31", "## 1.2.0 2026-11-21"),
        ("## [Unreleased]", "## [1.1.0](https://example.test) - 2026-01-31", "## [1.2.0] - 2026-11-21"),
        ("## [Unreleased]", "## 1.1.0 'Bicycle' (31 January)", "## [1.2.0] - 2026-11-21"),
        (
            "Unreleased\n----------",
            "1.1.0 (2026-01-31)\n------------------",
            "1.2.0 (2026-11-21)\n------------------",
        ),
        ("Unreleased\n==========", "1.1.0\n=====", "1.2.0\n====="),
    ],
)
def test_the_heading_has_the_form_of_the_previous_release(unreleased: str, before: str, expected: str) -> None:
    text = f"{unreleased}\n\n- New.\n\n{before}\n\n- Old.\n"
    assert released(text) == text.replace(unreleased, f"{unreleased}\n\n{expected}", 1)


def test_a_changelog_in_restructuredtext() -> None:
    text = "Changes\n=======\n\nUnreleased\n~~~~~~~~~~\n\n* ``New``\n\n1.1\n~~~\n\n* Old\n"
    assert released(text, name="CHANGES.rst") == text.replace(
        "Unreleased\n~~~~~~~~~~\n", "Unreleased\n~~~~~~~~~~\n\n1.2.0\n~~~~~\n"
    )


PALLETS = """.. currentmodule:: demo

Version 1.2.0
-------------

Unreleased

-   Drop Python 3.9. :pr:`1`


Version 1.1.0
-------------

Released 2026-01-31

-   The beginning.
"""


@pytest.mark.parametrize("name", ["CHANGES.rst", "CHANGES.md"])
def test_a_version_that_is_marked_as_unreleased_gets_the_date(name: str) -> None:
    """In Pallets' changelogs a line below the heading says it, in reStructuredText as in Markdown."""
    text = PALLETS
    if name.endswith(".md"):
        text = PALLETS.replace("-------------\n", "").replace("Version", "## Version")
    assert released(text, name=name) == text.replace("Unreleased", "Released 2026-11-21")
    assert released(text.replace("\n", "\r\n"), name=name) == released(text, name=name).replace("\n", "\r\n")


@pytest.mark.parametrize(
    ("marked", "expected"),
    [
        ("1.2.0 (unreleased)\n------------------\n", "1.2.0 (2026-11-21)\n------------------\n"),
        ("## [1.2.0] - Unreleased\n", "## [1.2.0] - 2026-11-21\n"),
        ("## v1.2.0\n\n*Unreleased*\n", "## v1.2.0\n\n*Released 2026-11-21*\n"),
        ("## Release 1.2.0\n\nRelease date: unreleased\n", "## Release 1.2.0\n\nRelease date: 2026-11-21\n"),
    ],
)
def test_other_marks_of_an_unreleased_version_get_the_date(marked: str, expected: str) -> None:
    assert released(f"# Changes\n\n{marked}\n- New.\n") == f"# Changes\n\n{expected}\n- New.\n"


def test_the_date_has_the_form_of_the_previous_release() -> None:
    text = PALLETS.replace("Released 2026-01-31", "Released on 2026-01-31.")
    assert "\nReleased on 2026-11-21.\n\n-   Drop" in released(text, name="CHANGES.rst")
    text = PALLETS.replace("Released 2026-01-31", "Released on June 13th 2013, codename Limoncello")
    assert "\nReleased 2026-11-21\n\n-   Drop" in released(text, name="CHANGES.rst")


def test_an_unreleased_section_gets_the_version_that_is_released() -> None:
    """The newest one; another one only if it is of the version that is released."""
    result = released(PALLETS, version="2.0.0rc1", name="CHANGES.rst")
    assert "Version 2.0.0rc1\n----------------\n\nReleased 2026-11-21\n" in result
    two = PALLETS.replace("Released 2026-01-31", "Unreleased")
    assert released(two, version="1.1", name="CHANGES.rst") == two.replace("Unreleased", "X", 1).replace(
        "Unreleased", "Released 2026-11-21"
    ).replace("X", "Unreleased")
    finished = PALLETS.replace("Unreleased", "Released 2026-11-20").replace("Released 2026-01-31", "Unreleased")
    with pytest.raises(PpmError, match="no section Unreleased"):
        released(finished, version="1.3", name="CHANGES.rst")
    assert released(PALLETS, version="1.1.0", name="CHANGES.rst") == PALLETS, "it has its section"


def test_a_section_unreleased_above_pallets_form_becomes_a_version_with_a_date() -> None:
    text = PALLETS.replace("Version 1.2.0\n-------------\n\nUnreleased\n", "Unreleased\n----------\n")
    assert released(text, name="CHANGES.rst") == PALLETS.replace(
        "Version 1.2.0\n-------------\n\nUnreleased\n",
        "Unreleased\n----------\n\nVersion 1.2.0\n-------------\n\nReleased 2026-11-21\n",
    )


def test_an_empty_marked_section_is_refused() -> None:
    with pytest.raises(PpmError, match=r"The section Version 1\.2\.0 of CHANGES\.rst is empty"):
        released(PALLETS.replace("-   Drop Python 3.9. :pr:`1`\n", ""), name="CHANGES.rst")


@pytest.mark.parametrize(
    ("name", "text", "example"),
    [
        ("CHANGES.rst", "Changes\n=======\n", "    Unreleased\n    ----------\n\n    - What is new."),
        ("CHANGES.rst", "1.0\n~~~\n\n* Old\n", "    Unreleased\n    ~~~~~~~~~~\n\n    - What is new."),
        (
            "CHANGES.rst",
            PALLETS.replace("Unreleased", "Released 2026-11-20"),
            "    Version 1.3.0\n    -------------\n\n    Unreleased\n\n    - What is new.",
        ),
        ("CHANGES.md", "1.0\n===\n\n- Old\n", "    Unreleased\n    ==========\n\n    - What is new."),
        ("CHANGES.md", "### 1.0\n\n- Old\n", "    ### [Unreleased]\n\n    - What is new."),
    ],
)
def test_the_example_of_a_hint_has_the_form_of_the_file(name: str, text: str, example: str) -> None:
    with pytest.raises(PpmError, match="no section Unreleased") as refused:
        released(text, version="1.3.0", name=name)
    assert refused.value.hint == f"Add one that says what is new:\n{example}"


def test_links_that_compare_versions_get_the_tag() -> None:
    assert "compare/v1.1.0...demo-1.2.0\n" in released(CHANGELOG, tag="demo-1.2.0")
    assert "compare/demo-1.2.0...HEAD\n" in released(CHANGELOG, tag="demo-1.2.0")
    gitlab = CHANGELOG.replace("/compare/v", "/-/compare/").replace("...v", "...")
    assert "[1.2.0]: https://example.test/demo/-/compare/1.1.0...1.2.0\n" in released(gitlab)


@pytest.mark.parametrize("link", ["https://example.test/demo", "https://example.test/demo/commits/main"])
def test_other_links_stay_unchanged(link: str) -> None:
    text = f"## [Unreleased]\n\n- New.\n\n[Unreleased]: {link}\n"
    assert released(text).endswith(f"- New.\n\n[Unreleased]: {link}\n")


@pytest.mark.parametrize(
    "body",
    [
        "",
        "\n\n",
        "\n### Added\n\n### Fixed\n",
        "\n<!-- Say what\n- is new -->\n",
        "\n[Unreleased]: https://example.test/compare/v1...HEAD\n",
        "\nAdded\n-----\n",
    ],
)
def test_an_empty_section_unreleased_is_refused(body: str) -> None:
    heading = "Unreleased\n==========" if "----" in body else "## [Unreleased]"
    with pytest.raises(PpmError, match=r"The section Unreleased of CHANGELOG\.md is empty"):
        released(f"{heading}\n{body}\n{'## [1.1.0]' if heading[0] == '#' else ''}\n")


def test_headings_in_code_and_comments_are_ignored() -> None:
    text = (
        "# Changelog\n\n<!--\n## [Unreleased]\n-->\n\n```md\n## [Unreleased]\n```\n\n## [Unreleased]\n\n- `## New`\n"
    )
    assert released(text) == text.replace("\n\n- `##", "\n\n## [1.2.0] - 2026-11-21\n\n- `##")
    fenced = "## [Unreleased]\n\n~~~~\n## 1.0\n~~~\n~~~~\n\n## 1.1\n"
    assert released(fenced) == fenced.replace("ed]\n", "ed]\n\n## 1.2.0\n", 1)


def test_a_version_that_has_a_section_already() -> None:
    written = "## [Unreleased]\n\n## [1.2.0] - 2026-11-20\n\n- New.\n"
    assert released(written) == written
    assert released(written.partition("\n\n")[2], version="1.2") == written.partition("\n\n")[2]
    with pytest.raises(PpmError, match=r"a section for 1\.2\.0 already, and unreleased"):
        released(written.replace("ed]\n", "ed]\n\n- More.\n"))


def test_a_file_without_section_unreleased_or_not_utf_8_is_refused() -> None:
    with pytest.raises(PpmError, match="no section Unreleased") as refused:
        released("# Changelog\n\n## 1.1.0\n")
    assert "## [Unreleased]" in refused.value.hint
    with pytest.raises(PpmError, match="not UTF-8"):
        changelog.released(b"\xff", Version("1"), DAY, name="CHANGELOG.md")


def test_the_changelog_is_found_by_its_name(tmp_path: Path) -> None:
    with pytest.raises(PpmError, match="has no changelog"):
        changelog.find(tmp_path)
    (tmp_path / "README.rst").touch()
    with pytest.raises(PpmError) as refused:
        changelog.find(tmp_path)
    assert "Write CHANGELOG.rst" in refused.value.hint
    assert "Unreleased\n    ----------\n" in refused.value.hint
    (tmp_path / "changelog").mkdir()
    for name in ("NEWS.txt", "HISTORY", "CHANGES.rst", "Changes.md", "ChangeLog.md"):
        (tmp_path / name).touch()
        assert changelog.find(tmp_path).name == name


@given(
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r"), max_size=60),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=60),
)
def test_any_other_text_stays_unchanged(before: str, after: str) -> None:
    """The new heading is inserted in one place, whatever is around it; without links nothing else differs."""
    text = f"{before}\n\n## [Unreleased]\n\n- x\n{after}"
    try:
        result = released(text)
    except PpmError:
        assume(False)
    start = next(at for at, pair in enumerate(zip(text + "\0", result, strict=False)) if pair[0] != pair[1])
    end = start + len(result) - len(text)
    assert result[:start] + result[end:] == text
    assert "1.2.0" in result[start:end]
