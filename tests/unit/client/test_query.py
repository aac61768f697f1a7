"""Queries on projects: the latest release, the pages that a search reads, errors for missing projects."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from ppmctl import events
from ppmctl.client.query import SUMMARIES, Query
from ppmctl.distributions.project_page import PageFile, ProjectPage
from ppmctl.errors import PpmError, UsageError
from ppmctl.index import statistics
from ppmctl.index.claims import Claim
from ppmctl.index.statistics import Holding, Statistics


def page(*files: str, name: str = "demo", yanked: tuple[str, ...] = (), size: int | None = 10) -> ProjectPage:
    pages = (
        PageFile(filename=file, url=f"https://x/{file}", yanked="bad" if file in yanked else None, size=size)
        for file in files
    )
    return ProjectPage(name=name, files=tuple(pages))


class Foreign:
    """An index without search and statistics; `summaries` by project."""

    where = "the index at https://x"

    def __init__(self, summaries: dict[str, str]) -> None:
        self.summaries = summaries
        self.read: list[str] = []

    def names(self) -> list[str]:
        return sorted(self.summaries)

    def project(self, name: str) -> ProjectPage | None:
        self.read.append(name)
        return page(f"{name}-1.0.tar.gz", f"{name}-1.1.tar.gz", name=name) if name in self.summaries else None

    def metadata(self, file: PageFile) -> bytes | None:
        name = file.filename.partition("-")[0]
        return f"Metadata-Version: 2.1\nName: {name}\nSummary: {self.summaries[name]}\n".encode()

    def claim(self, name: str) -> Claim | None:
        return Claim(by="ops", at="2026-11-01T12:00:00.000000Z") if name == "claimed" else None

    def search(self, text: str) -> list[Holding] | None:
        return None

    def statistics(self) -> Statistics | None:
        return None


@pytest.mark.parametrize(
    ("files", "yanked", "latest"),
    [
        (("demo-1.0.tar.gz", "demo-1.10.tar.gz", "demo-1.9.tar.gz"), (), "1.10"),
        (("demo-1.0.tar.gz", "demo-2.0rc1.tar.gz"), (), "1.0"),
        (("demo-1.0.tar.gz", "demo-2.0rc1.tar.gz"), ("demo-1.0.tar.gz",), "2.0rc1"),
        (("demo-1.0.tar.gz", "demo-2.0.tar.gz"), ("demo-1.0.tar.gz", "demo-2.0.tar.gz"), "2.0"),
        (("demo-1.0.tar.gz", "demo-2.0.tar.gz", "demo-2.0-py3-none-any.whl"), ("demo-2.0.tar.gz",), "2.0"),
        (("nonsense.txt",), (), None),
    ],
)
def test_the_latest_release_is_what_an_installer_takes(
    files: tuple[str, ...], yanked: tuple[str, ...], latest: str | None
) -> None:
    """A release with one yanked file is not yanked; a filename without a version is not a release."""
    release = page(*files, yanked=yanked).latest
    assert (None if release is None else str(release.version)) == latest


def test_the_hint_for_a_missing_release_lists_the_others() -> None:
    many = page(*(f"demo-{number}.0.tar.gz" for number in range(12)))
    assert str(many.release("3").version) == "3.0"
    with pytest.raises(PpmError, match="no release '99'") as caught:
        many.release("99")
    assert caught.value.hint.startswith("It has 11.0, 10.0,")
    assert caught.value.hint.endswith("2.0 and older ones.")
    with pytest.raises(PpmError, match="no release or file 'x y'"):
        many.release("x y")
    hidden = ProjectPage(name="demo", files=(), status="quarantined", status_reason="stolen\n")
    with pytest.raises(PpmError) as caught:
        hidden.release("1.0")
    assert caught.value.hint == "It is quarantined: stolen."


def test_the_size_of_a_project_is_unknown_if_one_size_is() -> None:
    assert Holding.of(page("demo-1.0.tar.gz", "demo-2.0.tar.gz")).size == 20
    assert Holding.of(page("demo-1.0.tar.gz", size=None)).size is None


def test_a_search_reads_summaries_of_few_projects_and_names_of_many() -> None:
    few = Foreign({"maps": "of the sea", "salt": "from rocks"})
    assert [match.name for match in Query(few).search("SEA", limit=5)] == ["maps"]
    notes: list[str] = []
    events.listen(events.Listener(note=notes.append))
    many = Foreign({"maps": "of the sea", **{f"p{number}": "sea" for number in range(SUMMARIES)}})
    assert Query(many).search("sea", limit=5) == []
    (match,) = Query(many).search("map", limit=5)
    assert (match.name, match.version, match.summary) == ("maps", "1.1", "of the sea")
    assert many.read == ["maps"]
    assert notes == ["This index has too many projects to read all summaries: only names were searched."] * 2
    with pytest.raises(UsageError, match="nothing to search"):
        Query(few).search(" ", limit=1)


def test_statistics_are_counted_on_pages_if_the_index_has_none() -> None:
    statistics = Query(Foreign({"maps": "", "salt": ""})).statistics()
    assert (len(statistics.holdings), statistics.files, statistics.size) == (2, 4, 40)


def test_the_hint_for_a_missing_project_has_similar_names() -> None:
    query = Query(Foreign({"maps": ""}))
    with pytest.raises(PpmError, match="no project 'mapz' in the index at https://x") as caught:
        query.page("Mapz")
    assert caught.value.hint == "Is it maps?"
    with pytest.raises(PpmError, match="is not a name"):
        query.page("../maps")


def test_a_claimed_name_is_shown_without_a_project() -> None:
    query = Query(Foreign({"maps": ""}))
    claimed = query.project("Claimed")
    assert (claimed.page.name, claimed.page.files, claimed.release) == ("claimed", (), None)
    assert claimed.claim == Claim(by="ops", at="2026-11-01T12:00:00.000000Z")
    assert query.project("maps").claim is None
    with pytest.raises(PpmError, match="no project 'mapz'"):
        query.project("mapz")


def test_statistics_are_read_as_they_were_written() -> None:
    time = datetime(2026, 11, 2, 3, 4, 5, 6, tzinfo=UTC)
    holding = Holding(
        name="maps", version="1.0", versions=2, files=3, size=None, uploaded=time, uploads={"2026-11": 3}
    )
    values = statistics.of_holdings([holding]).to_json()
    assert values["by_project"][0]["uploaded"] == "2026-11-02T03:04:05.000006Z"
    (read,) = Statistics.from_json(values).holdings
    assert (read.name, read.files, read.size, read.uploaded) == ("maps", 3, None, time)


@pytest.mark.parametrize("wrong", [{"name": "\x1b"}, {"name": "a b"}, {"uploaded": "never"}, {"versions": "x"}])
def test_invalid_statistics_of_a_project_are_an_error(wrong: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r".+"):
        Holding.from_json({"name": "maps", "version": "1.0", **wrong})
