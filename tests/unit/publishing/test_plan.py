"""Publishing without a network: the plan, retries, when a file counts as published, and errors."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from ppmctl.client.http import Answer
from ppmctl.client.retry import GIVE_UP_AFTER, PAUSES, Retries
from ppmctl.distributions.distribution import Dist, parse_filename
from ppmctl.distributions.project_page import PageFile, ProjectPage
from ppmctl.errors import CredentialError, PpmError, Unavailable, Unreachable, UsageError
from ppmctl.publishing import upload_loop
from ppmctl.publishing.check import LocalFile
from ppmctl.publishing.plan import Plan, Step, compare
from ppmctl.publishing.publish import _second_builds
from ppmctl.publishing.upload_loop import carry_out

SDIST, ANY, LINUX = "demo-1.0.tar.gz", "demo-1.0-py3-none-any.whl", "demo-1.0-cp311-cp311-linux_x86_64.whl"


def local(filename: str, sha256: str = "aa") -> LocalFile:
    dist = Dist(name=parse_filename(filename), metadata=b"", requires_python=None, summary="")
    return LocalFile(path=Path(filename), dist=dist, sha256=sha256, size=1)


def page(*files: tuple[str, str | None]) -> ProjectPage:
    listed = tuple(PageFile(filename=name, url=f"https://index.test/{name}", sha256=sha256) for name, sha256 in files)
    return ProjectPage(name="demo", files=listed)


def planned(files: Iterable[LocalFile], pages: dict[str, ProjectPage | None]) -> Plan:
    class Pages:
        def project(self, name: str) -> ProjectPage | None:
            return pages[name]

    return compare(files, Pages())


def states(plan: Plan) -> list[tuple[str, str]]:
    return [(step.file.filename, step.state) for step in plan.steps]


def test_the_state_of_a_file_is_new_same_or_conflict() -> None:
    plan = planned(
        [local(SDIST), local(ANY), local(LINUX)],
        {"demo": page((ANY, "aa"), (LINUX, "bb"), ("demo-0.9.tar.gz", "aa"))},
    )
    assert states(plan) == [(LINUX, "conflict"), (ANY, "same"), (SDIST, "new")]
    assert [step.file.filename for step in plan.conflicts] == [LINUX]


def test_a_file_of_a_new_project_is_new() -> None:
    assert states(planned([local(ANY)], {"demo": None})) == [(ANY, "new")]


def test_a_file_that_can_t_be_compared_is_a_conflict() -> None:
    """An index may have another digest, or none."""
    plan = planned([local(ANY)], {"demo": page((ANY, None))})
    assert states(plan) == [(ANY, "conflict")]


@pytest.mark.parametrize("name", ["Demo-1.0.tar.gz", "demo-1.0.0.tar.gz", "demo-1.0.zip"])
def test_another_name_of_a_file_in_the_index_is_a_conflict(name: str) -> None:
    """An index takes no second one, or installers would take either."""
    plan = planned([local(SDIST)], {"demo": page((name, "bb"))})
    assert states(plan) == [(SDIST, "conflict")]
    with pytest.raises(PpmError, match=f"{SDIST}: here sha256 aa, in the index as {name}, bb"):
        list(carry_out(plan, Server(), lambda _file: answer(500)))
    assert states(planned([local(SDIST)], {"demo": page((name, "aa"))})) == [(SDIST, "same")]


@pytest.mark.parametrize("name", ["demo-1.0-1-py3-none-any.whl", "demo-1.0.0-py2.py3-none-any.whl"])
def test_a_second_build_of_a_wheel_in_the_index_is_named(name: str) -> None:
    (step,) = planned([local(ANY)], {"demo": page((name, "bb"), (LINUX, "cc"), (SDIST, "dd"))}).steps
    assert (step.state, step.other_builds) == ("new", (name,))
    (step,) = planned([local(ANY)], {"demo": page((ANY, "aa"), (name, "bb"))}).steps
    assert (step.state, step.other_builds) == ("same", ())


def test_a_local_version_of_a_release_in_the_index_is_named() -> None:
    local_version = "demo-1.0+ours-py3-none-any.whl"
    plan = planned([local(local_version)], {"demo": page((ANY, "bb"), (SDIST, "dd"), ("demo-0.9.tar.gz", "aa"))})
    assert [(step.state, step.other_builds) for step in plan.steps] == [("new", (ANY, SDIST))]
    (warning,) = _second_builds(plan)
    assert f"{local_version} is a local version of {ANY}" in warning
    assert warning.endswith("Installers may take it for ==1.0.")
    assert states(planned([local(ANY)], {"demo": page((local_version, "bb"))})) == [(ANY, "new")]


def test_two_names_of_one_file_are_not_published_together() -> None:
    with pytest.raises(UsageError, match=r"demo-1.0.tar.gz and demo-1.0.zip are two names of one file"):
        planned([local(SDIST), local("demo-1.0.zip")], {"demo": None})
    files = [local("other-1.0.zip"), local(SDIST), local(ANY), local("demo-1.0-1-py3-none-any.whl")]
    assert len(planned(files, {"demo": None, "other": None}).steps) == 4


def test_the_plan_has_the_projects_that_the_index_does_not_have() -> None:
    plan = planned([local(SDIST), local("a-1.0.zip"), local("b-1.0.zip")], {"demo": page(), "a": None, "b": None})
    assert plan.missing == ("a", "b")


def test_wheels_are_published_before_sdists() -> None:
    files = [local("a-1.0.tar.gz"), local(SDIST), local(ANY), local("zed-2-py3-none-any.whl")]
    plan = planned(files, dict.fromkeys(("a", "demo", "zed"), None))
    assert [name for name, _ in states(plan)] == [ANY, "zed-2-py3-none-any.whl", "a-1.0.tar.gz", SDIST]


def test_each_project_s_page_is_read_once() -> None:
    class Counting:
        asked: list[str] = []  # noqa: RUF012 - one object, one list

        def project(self, name: str) -> None:
            self.asked.append(name)

    compare([local(SDIST), local(ANY), local("a-1.0.tar.gz")], Counting())
    assert Counting.asked == ["a", "demo"]


def answer(status: int, body: str = "", *, location: str = "", **headers: str) -> Answer:
    headers = {name.replace("_", "-"): value for name, value in headers.items()} | {"content-type": "text/plain"}
    url = "https://index.test/legacy/"
    return Answer(url=url, status=status, reason="", headers=headers, body=body.encode(), location=location)


BROKEN = Unreachable("The connection broke.")


class Server:
    """An index that answers from a script: a status, an exception, or "lost" (accepted without an answer)."""

    def __init__(
        self, *script: Answer | Exception | str, lists: Iterable[ProjectPage | Exception | None] = ()
    ) -> None:
        self.script = list(script)
        self.lists = list(lists)
        self.files: dict[str, str] = {}
        self.sent: list[str] = []
        self.waits: list[float] = []

    def project(self, name: str) -> ProjectPage | None:
        if self.lists:
            listed = self.lists.pop(0)
            if isinstance(listed, Exception):
                raise listed
            return listed
        return page(*self.files.items()) if self.files else None

    def send(self, file: LocalFile) -> Answer:
        self.sent.append(file.filename)
        outcome = self.script.pop(0) if self.script else answer(200)
        if isinstance(outcome, Exception):
            raise outcome
        if outcome == "lost":
            self.files[file.filename] = file.sha256
            raise BROKEN
        assert isinstance(outcome, Answer)
        if outcome.status == 200:
            self.files[file.filename] = file.sha256
        return outcome

    def retries(self) -> Retries:
        return Retries(sleep=self.waits.append, clock=lambda: sum(self.waits))

    def run(self, *files: LocalFile) -> Iterator[Step]:
        plan = compare(files, self, retries=self.retries)
        return carry_out(plan, self, self.send, retries=self.retries, sleep=self.waits.append)


def done(outcomes: Iterable[Step]) -> list[tuple[str, str]]:
    return [(outcome.file.filename, outcome.state) for outcome in outcomes]


def test_only_new_files_are_uploaded() -> None:
    server = Server()
    server.files[ANY] = "aa"
    outcomes = list(server.run(local(SDIST), local(ANY)))
    assert done(outcomes) == [(ANY, "same"), (SDIST, "published")]
    assert server.sent == [SDIST]
    assert outcomes[0].url == f"https://index.test/{ANY}"
    assert server.waits == []


def test_size_and_sha256_of_the_same_file_are_those_of_the_index() -> None:
    """The local file may have been built again from the same content."""
    listed = PageFile(filename=ANY, url="https://index.test/x", sha256="cc", size=4711)
    plan = Plan(steps=(Step(file=local(ANY), state="same", listed=listed),))
    server = Server()
    (outcome,) = carry_out(plan, server, server.send)
    assert (outcome.sha256, outcome.size) == ("cc", 4711)


def test_a_conflict_stops_before_anything_is_sent() -> None:
    server = Server()
    server.files[SDIST] = "bb"
    with pytest.raises(PpmError, match=f"{SDIST}: here sha256 aa, in the index bb") as caught:
        list(server.run(local(ANY), local(SDIST)))
    assert server.sent == []
    assert "raise the version" in caught.value.hint


def test_a_second_run_uploads_what_the_first_did_not() -> None:
    server = Server(answer(200), answer(507, "No space"))
    outcomes: list[Step] = []
    with pytest.raises(PpmError, match=r"refused \(507\): No space\. 1 of 2 files are in the index") as caught:
        outcomes.extend(server.run(local(ANY), local(SDIST)))
    assert "Run the same command again" in caught.value.hint
    assert done(server.run(local(ANY), local(SDIST))) == [(ANY, "same"), (SDIST, "published")]
    assert server.sent == [ANY, SDIST, SDIST]


def test_a_step_is_yielded_once_its_file_is_in_the_index() -> None:
    server = Server()
    outcomes = server.run(local(ANY), local(SDIST))
    assert next(outcomes).file.filename == ANY
    assert server.sent == [ANY]


@pytest.mark.parametrize("trouble", [BROKEN, *map(answer, (408, 429, 500, 502, 503, 504))], ids=str)
def test_temporary_failures_are_retried(trouble: Answer | Exception, capsys: pytest.CaptureFixture[str]) -> None:
    server = Server(*[trouble] * (len(PAUSES) + 2))
    assert done(server.run(local(ANY))) == [(ANY, "published")]
    assert server.waits == [*PAUSES, PAUSES[-1], PAUSES[-1]]
    captured = capsys.readouterr()
    assert captured.err.count("Trying again in") == len(server.waits)
    assert captured.err.count(ANY) == len(server.waits)
    assert captured.out == ""


@pytest.mark.parametrize("trouble", [BROKEN, answer(503), answer(503, retry_after="5")], ids=str)
def test_retries_end_when_the_patience_is_over(trouble: Answer | Exception) -> None:
    server = Server(*[trouble] * 99)
    with pytest.raises(PpmError, match=f"{ANY} .*0 of 1 files are in the index") as caught:
        list(server.run(local(ANY)))
    assert len(server.sent) == len(server.waits) + 1
    assert GIVE_UP_AFTER - PAUSES[-1] < sum(server.waits) <= GIVE_UP_AFTER
    assert "again" in caught.value.hint


def test_each_file_has_its_own_patience() -> None:
    """A large release may take longer than a minute of restarts, as long as each file arrives."""
    trouble = [answer(503, retry_after="50")]
    server = Server(*trouble, answer(200), *trouble, answer(200))
    assert done(server.run(local(ANY), local(SDIST))) == [(ANY, "published"), (SDIST, "published")]
    assert sum(server.waits) == 100


@pytest.mark.parametrize("status", [302, 400, 403, 404, 409, 413, 501, 507])
def test_a_refusal_is_not_retried(status: int) -> None:
    server = Server(answer(status, "because"))
    with pytest.raises(PpmError, match="because"):
        list(server.run(local(ANY)))
    assert server.sent == [ANY]
    assert server.waits == []


def test_retry_after_is_honoured_up_to_a_limit() -> None:
    server = Server(
        answer(503, retry_after="7"),
        answer(503, retry_after="Fri, 01 Jan 2027 00:00:00 GMT"),
        answer(503, retry_after="0"),
    )
    assert done(server.run(local(ANY))) == [(ANY, "published")]
    assert server.waits == [7.0, PAUSES[1], PAUSES[0]]
    late = Server(answer(503, "back tomorrow", retry_after="86400"))
    with pytest.raises(PpmError, match="back tomorrow"):
        list(late.run(local(ANY)))
    assert late.waits == []


def test_an_upload_with_a_lost_answer_counts_as_published() -> None:
    server = Server("lost", answer(409, "is there already"))
    assert done(server.run(local(ANY))) == [(ANY, "published")]
    assert server.sent == [ANY, ANY]


NOT_NOW = Unavailable("The page answered 503.", retry_after="3")


def test_an_upload_with_a_lost_answer_is_found_in_spite_of_more_failures() -> None:
    """The answer was lost, the next one is 409, and the page that shows the file fails at first."""
    shown = page((ANY, "aa"))
    server = Server("lost", answer(503), answer(409, "is there"), lists=[None, NOT_NOW, BROKEN, shown, BROKEN, shown])
    assert done(server.run(local(ANY))) == [(ANY, "published")]
    assert server.waits == [PAUSES[0], PAUSES[1], 3.0, PAUSES[1], PAUSES[0]]


def test_an_index_that_is_unavailable_is_asked_again_before_the_upload() -> None:
    server = Server(lists=[NOT_NOW, NOT_NOW, None, page((ANY, "aa"))])
    assert done(server.run(local(ANY))) == [(ANY, "published")]
    assert server.waits == [3.0, 3.0]


def test_an_index_that_never_answered_is_not_asked_again() -> None:
    """Its URL may be wrong, and the user should see that at once."""
    server = Server(lists=[BROKEN])
    with pytest.raises(Unreachable):
        list(server.run(local(ANY)))
    assert server.waits == []


@pytest.mark.parametrize("status", [400, 409])
def test_the_same_file_from_another_user_in_the_meantime_is_the_same(status: int) -> None:
    server = Server(answer(status, "is there already"), lists=[None, page((ANY, "aa")), page((ANY, "aa"))])
    assert done(server.run(local(ANY))) == [(ANY, "same")]


def test_a_different_file_from_another_user_in_the_meantime_is_an_error() -> None:
    server = Server(answer(409, "is there already"), lists=[None, page((ANY, "bb"))])
    with pytest.raises(PpmError, match=r"refused \(409\): is there already"):
        list(server.run(local(ANY)))


@pytest.mark.parametrize("reason", ["was removed from this index", "is already in this index with other content"])
def test_a_used_or_removed_filename_is_not_retried(reason: str) -> None:
    with pytest.raises(PpmError, match=reason) as refused:
        list(Server(answer(409, reason)).run(local(ANY)))
    assert "raise the version" in refused.value.hint
    assert "command again" not in refused.value.hint


def test_a_missing_right_is_a_credential_error() -> None:
    with pytest.raises(CredentialError, match="may not"):
        list(Server(CredentialError("ops may not.")).run(local(ANY)))


def test_a_redirected_upload_names_the_target() -> None:
    with pytest.raises(PpmError, match=r"to https://index\.test/new/"):
        list(Server(answer(308, location="https://index.test/new/")).run(local(ANY)))


def test_an_index_that_shows_the_file_late_is_asked_again() -> None:
    late = [None, None, BROKEN, page(), page((ANY, "aa"))]
    server = Server(lists=late)
    assert done(server.run(local(ANY))) == [(ANY, "published")]
    assert server.waits == [upload_loop.LOOKS[1], PAUSES[0], *upload_loop.LOOKS[2:3]]


@pytest.mark.parametrize(("listed", "reason"), [(None, "not in the index after"), (BROKEN, "The connection broke")])
def test_a_file_that_the_index_never_shows_is_not_published(listed: Exception | None, reason: str) -> None:
    with pytest.raises(PpmError, match=f"was accepted, but not seen in the index: .*{reason}"):
        list(Server(lists=[None, *[listed] * 99]).run(local(ANY)))


def test_a_file_that_the_index_shows_with_other_content_is_not_published() -> None:
    with pytest.raises(PpmError, match="shows it with sha256 bb, not aa"):
        list(Server(lists=[None, page((ANY, "bb"))]).run(local(ANY)))
