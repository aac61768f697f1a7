"""Test what the benchmark shows and decides; nothing is measured."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import pytest

from bench import __main__ as command
from bench import beside, promises, report, workloads
from bench.beside import PAGES, UPLOADS, Results
from bench.indexes import BareNginx, BehindNginx, Index

ROOT = Path(__file__).parents[2]
OURS, BARE = report.OURS, report.BARE


@pytest.fixture
def results() -> Results:
    """Return three rounds of ppm and bare nginx, and a product without uploads that failed in the second."""
    results = Results(names=[OURS, BARE, "a<b"], files=1000, began=1_796_100_000, seconds=600, load=(1.5, 7.25))
    results.how = {name: f"set up as {name}" for name in results.names}
    for ours, bare, other in ((100.0, 200.0, 5.0), (300.0, 400.0, None), (200.0, 100.0, 40.0)):
        results.add(OURS, PAGES, ours)
        results.add(BARE, PAGES, bare)
        if other is not None:
            results.add("a<b", PAGES, other)
        results.add(OURS, UPLOADS, ours / 10)
        results.rounds += 1
    results.lacking |= {(BARE, UPLOADS): "it takes no uploads", (BARE, beside.SAME): "it takes no uploads"}
    results.promises = {OURS: dict.fromkeys(promises.ALL, True), BARE: dict.fromkeys(promises.ALL)}
    results.promises[OURS][promises.TLS] = False
    return results


def rows(text: str, first: str) -> list[list[str]]:
    """Return the cells of all lines of tables that begin with `first`."""
    lines = [line for line in text.splitlines() if line.startswith(f"| {first} |")]
    return [[cell.strip() for cell in line.strip("|").split("|")][1:] for line in lines]


def test_the_table_has_medians_with_their_spread_and_ratios_of_the_same_round(results: Results) -> None:
    figures, of_ours, of_bare = rows(report.markdown(results), PAGES)
    assert figures == ["200 (100 to 300)", "200 (100 to 400)", "22.5 (5.00 to 40.0)"]
    assert of_ours == ["1.33", "0.12"]  # 2, 1.33 and 0.5; 0.05 and 0.2
    assert of_bare == ["0.75", "0.21"]  # 0.5, 0.75 and 2; 0.025 and 0.4


def test_a_round_without_the_reference_has_no_ratio(results: Results) -> None:
    del results.figures[OURS, PAGES][1]
    assert rows(report.markdown(results), PAGES)[1] == ["1.25", "0.12"]  # 2 and 0.5


def test_what_an_index_lacks_is_a_dash_with_the_reason(results: Results) -> None:
    shown = report.markdown(results)
    figures, of_ours = rows(shown, UPLOADS)
    assert (figures[1], of_ours) == ("–", ["–", "–"])
    assert f"- **{BARE}**: set up as {BARE}. No {UPLOADS}; {beside.SAME}: it takes no uploads." in shown


def test_the_tables_name_what_failed_and_what_the_generator_limited(results: Results) -> None:
    assert "†" not in report.markdown(results)
    results.failed["a<b"] = "it did not start"
    results.limited.add((BARE, PAGES))
    shown = report.markdown(results)
    assert "- **a<b**: set up as a<b. **it failed: it did not start**" in shown
    assert rows(shown, PAGES)[0][1] == "200 (100 to 400) †"
    assert "- † A request costs wrk more" in shown


def test_the_tables_say_when_and_on_what_machine(results: Results) -> None:
    about = report.markdown(results).partition("\n")[0]
    assert about.startswith(f"Measured on 2026-12-01 on {os.cpu_count()} cores, Linux ")
    assert "1,000 files in each index, 3 rounds, 10 minutes. " in about
    assert about.endswith("The load of the machine was 1.5 before it and 7.2 at its end.")


def test_promises_are_yes_no_or_unknown(results: Results) -> None:
    shown = report.markdown(results)
    assert rows(shown, promises.FILE) == [["yes", "–"]]
    assert rows(shown, promises.TLS) == [["**no**", "–"]]


def test_a_run_that_measured_nothing_can_be_shown() -> None:
    results = Results(names=["one"], how={"one": "somehow"}, failed={"one": "no"})
    assert "**it failed: no**" in report.markdown(results)
    assert ElementTree.fromstring(report.picture(results)).tag.endswith("svg")


def test_only_what_is_between_the_marks_is_written() -> None:
    document = f"before\n\n{report.BEGIN}\n\nold\n\n{report.END}\n\nafter\n"
    written = report.between_marks(document, "new\n")
    assert written == f"before\n\n{report.BEGIN}\n\nnew\n\n{report.END}\n\nafter\n"
    assert report.between_marks(written, "new") == written


@pytest.mark.parametrize(
    "document",
    ["", report.BEGIN, f"{report.END}{report.BEGIN}", f"{report.BEGIN}{report.END}{report.BEGIN}"],
    ids=["none", "no end", "the wrong order", "twice"],
)
def test_a_document_without_its_marks_is_refused(document: str) -> None:
    with pytest.raises(ValueError, match="written by make bench"):
        report.between_marks(document, "new")


def test_the_document_of_the_benchmark_has_its_marks(results: Results, tmp_path: Path) -> None:
    document = tmp_path / "performance.md"
    document.write_text((ROOT / "docs" / "performance.md").read_text())
    report.write(results, document, tmp_path / "peers.svg")
    assert "200 (100 to 300)" in document.read_text()
    assert (tmp_path / "peers.svg").read_text() == report.picture(results)


def test_the_picture_has_a_bar_for_each_index_and_measure(results: Results) -> None:
    picture = ElementTree.fromstring(report.picture(results))
    _background, *bars = [float(each.attrib["width"]) for each in picture if each.tag.endswith("rect")]
    texts = [each.text for each in picture if each.tag.endswith("text")]
    assert len(bars) == 6
    pages, uploads = bars[:3], bars[3:]
    assert pages[0] == pages[1] > pages[2] > 0
    assert uploads[0] == pages[0]
    assert uploads[1:] == [0, 0]
    assert [texts.count(name) for name in results.names] == [2, 2, 2]
    assert texts.count("–") == 2


@pytest.mark.parametrize(
    ("value", "shown"),
    [(37_800.4, "37,800"), (100, "100"), (99.94, "99.9"), (5.678, "5.68"), (0.0142, "0.014"), (0, "0")],
)
def test_figures_have_the_digits_that_mean_something(value: float, shown: str) -> None:
    assert report.figure(value) == shown


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["pypiron"], ["pypiron"]),
        (["ppm"], ["ppm embedded", "ppm behind nginx"]),
        (["peryx", "bare"], ["ppm behind nginx", "bare nginx", "peryx"]),
        (
            [],
            ["ppm embedded", "ppm behind nginx", "bare nginx", "pypiserver", "devpi", "pypiron", "peryx"],
        ),
    ],
)
def test_indexes_are_chosen_by_words_of_their_names(names: list[str], expected: list[str], tmp_path: Path) -> None:
    """Bare nginx serves the files of ppm behind nginx, which is measured, too."""
    taken = beside.chosen(beside.all_of(tmp_path), names)
    assert [index.name for index in taken] == expected
    of = [index.of for index in taken if isinstance(index, BareNginx)]
    assert of == [index for index in taken if isinstance(index, BehindNginx)][: len(of)]


def test_an_unknown_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="No index has 'nexus' in its name: ppm embedded"):
        beside.chosen(beside.all_of(tmp_path), ["nexus"])


def test_without_options_all_are_measured_and_with_options_a_part() -> None:
    assert (command.parse([]).peers, command.parse([]).files) == ([], [1000])
    assert command.parse(["--peers", "peryx", "--files", "100"]).peers == ["peryx"]
    with pytest.raises(SystemExit):
        command.parse(["--peers", "nexus"])
    part = command.parse(["--rounds", "2"])
    assert (part.peers, part.files, part.seconds) == (None, [100, 1000, 10_000], 3)


@pytest.mark.parametrize(("failed", "status"), [({}, 0), ({"peryx": "it did not start"}, 1)])
def test_a_failure_is_named_and_is_the_exit_status(
    failed: dict[str, str],
    status: int,
    results: Results,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    results.failed = failed
    monkeypatch.setattr(beside, "run", lambda *_names, **_options: results)
    assert command._beside(command.parse(["--peers", "ppm"])) == status
    assert ("peryx failed: it did not start" in capsys.readouterr().err) is bool(failed)


class Fake(Index):
    """An index that fails in one of its steps."""

    takes_uploads = False

    def __init__(self, folder: Path, name: str, act: Callable[[], None] = lambda: None) -> None:
        super().__init__(folder / name)
        self.name, self._act, self.is_set_up = name, act, False

    def set_up(self) -> None:
        self._act()
        self.is_set_up = True


def test_if_an_index_fails_the_rest_goes_on(tmp_path: Path) -> None:
    def fail() -> None:
        raise RuntimeError("no such\nprogram")

    bad, good = Fake(tmp_path, "bad", fail), Fake(tmp_path, "good")
    results = Results(names=["bad", "good"], files=0)
    beside._set_up([bad, good], results, time.monotonic() + 600)
    assert results.failed == {"bad": "no such program"}
    assert (bad.is_set_up, good.is_set_up) == (False, True)
    assert list(beside._left([bad, good], results, time.monotonic() + 600)) == [good]


def test_nothing_begins_after_the_last_minute(tmp_path: Path) -> None:
    results = Results(names=["one"], files=0)
    assert list(beside._left([Fake(tmp_path, "one")], results, time.monotonic())) == []
    assert results.failed == {"one": "no time was left for it"}


@pytest.mark.parametrize(("processors", "expected"), [(1, False), (3, True)])
def test_a_generator_that_needs_more_of_its_processor_is_the_limit(processors: int, expected: bool) -> None:
    rate = workloads.Rate(per_second=1, cost=1, server=0.9, generator=0.5, processors=processors)
    assert rate.is_limited_by_the_generator is expected


JSON_PAGE = b"""{"files": [{"url": "../../packages/a/a-1.whl", "core-metadata": {"sha256": "0"}},
    {"url": "/p/a-2.whl"}, {"url": "http://x/p/a-3.whl#sha256=0", "dist-info-metadata": true}]}"""
HTML_PAGE = b"""<A HREF="../../packages/a/a-1.whl#sha256=0" data-core-metadata="sha256=0">a</A>
    <a href='/p/a-2.whl?x=1&amp;y=2' data-requires-python="&gt;=3.9">b</a>"""


def test_files_are_found_on_pages_of_both_forms() -> None:
    found = workloads.links("/bench/simple/a/", "application/vnd.pypi.simple.v1+json", JSON_PAGE)
    assert [(link.path, link.has_metadata) for link in found] == [
        ("/bench/packages/a/a-1.whl", True),
        ("/p/a-2.whl", False),
        ("/p/a-3.whl", True),
    ]
    found = workloads.links("/simple/a/", "text/html; charset=utf-8", HTML_PAGE)
    assert [(link.path, link.has_metadata) for link in found] == [
        ("/packages/a/a-1.whl", True),
        ("/p/a-2.whl?x=1&y=2", False),
    ]


# how products do it, as strace shows it: a temporary file, a link or a rename to /d/a/a-1.whl, an answer at 9.0
_SYNC = "7  1.000000 fsync(5</d/t/new>) = 0"
_LINK = '7  2.000000 link("/d/t/new", "/d/a/a-1.whl") = 0'
_RENAME = '8  2.000000 renameat2(AT_FDCWD</d>, "t/new", AT_FDCWD</d>, "a/a-1.whl", RENAME_NOREPLACE) = 0'
_FOLDER = "7  3.000000 fsync(6</d/a>) = 0"


@pytest.mark.parametrize(
    ("trace", "expected"),
    [
        ([_SYNC, _LINK, _FOLDER], (True, True)),
        ([_SYNC, _RENAME, _FOLDER], (True, True)),
        ([_SYNC, _LINK], (True, False)),
        ([_LINK, _FOLDER], (False, True)),
        ([_SYNC.replace("new", "other"), _LINK, _FOLDER.replace("/a>", "/b>")], (False, False)),
        ([_FOLDER.replace("3.0", "1.0"), _SYNC, _LINK], (True, False)),  # before it had its name
        ([_SYNC, _LINK, _FOLDER.replace("3.0", "9.5")], (True, False)),  # after the answer
        ([_SYNC.replace("= 0", "= -1 EIO (Input/output error)"), _LINK], (False, False)),
        (["7  1.000000 fdatasync(5</d/a/a-1.whl>) = 0"], (True, False)),
        ([_LINK, "7  3.000000 syncfs(5</d>) = 0"], (True, True)),
        (
            [
                "7  1.000000 fsync(5</d/t/new> <unfinished ...>",
                "8  1.500000 fsync(6</d/x>) = 0",
                "7  1.600000 <... fsync resumed>) = 0",
                _LINK,
            ],
            (True, False),
        ),
        (
            [_LINK, "7  8.000000 fsync(5</d/a> <unfinished ...>", "7  9.500000 <... fsync resumed>) = 0"],
            (False, False),
        ),
    ],
)
def test_what_was_synced_before_the_answer(trace: list[str], expected: tuple[bool, bool]) -> None:
    assert promises.synced("\n".join(trace), Path("/d/a/a-1.whl"), 9.0) == expected
