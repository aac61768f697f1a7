"""Output for people on a terminal, exact output anywhere else, and errors as JSON on request."""

from __future__ import annotations

import io
import json
import logging
import sys
import time
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from datetime import UTC, datetime
from pathlib import Path

import click
import pytest

from ppmctl import output
from ppmctl.cli import commands
from ppmctl.errors import CredentialError, PpmError
from ppmctl.index.import_folder import Left
from ppmctl.secret import Secret

MOMENT = datetime(2026, 3, 1, 22, 30, 5, tzinfo=UTC)
ROWS = [("a.whl", output.Bytes(46_415_120), MOMENT), ("long-name.whl", None, None)]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.delenv("NO_COLOR", raising=False)
    return Terminal()


def test_a_table_in_a_pipe_is_plain_and_exact(capsys: pytest.CaptureFixture[str]) -> None:
    output.table(("FILE", "SIZE", "UPLOADED"), ROWS)
    assert capsys.readouterr().out == (
        "FILE           SIZE      UPLOADED\n"
        "a.whl          46415120  2026-03-01T22:30:05Z\n"
        "long-name.whl  -         -\n"
    )


def test_a_table_on_a_terminal_has_units_the_local_time_and_colour(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", "Asia/Tokyo")

    time.tzset()
    try:
        with redirect_stdout(terminal):
            output.table(("FILE", "SIZE", "UPLOADED"), ROWS)
    finally:
        monkeypatch.delenv("TZ")
        time.tzset()
    shown = terminal.getvalue()
    assert "46.4 MB" in shown
    assert "2026-03-02 07:30" in shown
    assert "\x1b[1m" in shown


def test_no_color_is_obeyed(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    with redirect_stdout(terminal):
        output.table(("FILE",), [("ok",)])
        output.finding("fail", "tls", "expired", "renew it")
        output.fields([("Projects", 3)])
    assert "expired" in terminal.getvalue()
    assert "\x1b[3" not in terminal.getvalue()


def test_a_long_name_is_not_cut_on_a_narrow_terminal(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    with redirect_stdout(terminal):
        output.table(("FILE", "SIZE"), [("x" * 40, output.Bytes(1))])
    assert terminal.getvalue().count("x") == 40


def test_control_characters_in_cells_are_not_printed(terminal: Terminal) -> None:
    with redirect_stdout(terminal):
        output.table(("A",), [("\x1b[2J\x07evil",)])
        output.fields([("A", "\x1b[2Jevil")])
    assert terminal.getvalue().count("evil") == 2
    assert "\x1b[2J" not in terminal.getvalue()
    assert "\x07" not in terminal.getvalue()


EVIL = "a\x1b]0;title\x07\x1b[2Jb\x9b31mc\u202egnp.exe\u2066\u200b\x00\x7f\udcffd"


def is_harmless(text: str) -> bool:
    """Return whether a terminal obeys nothing in a text."""
    return all(letter.isprintable() or letter in "\n\t" for letter in text)


@pytest.mark.parametrize("write", [output.data, output.say, output.block, lambda text: output.block(text, talk=True)])
def test_control_characters_in_lines_are_not_printed(
    write: Callable[[str], None], capsys: pytest.CaptureFixture[str]
) -> None:
    write(EVIL)
    printed = "".join(capsys.readouterr())
    assert printed.startswith("a?]0;title??[2Jb?31mc?gnp.exe")
    assert is_harmless(printed)


def test_a_line_stays_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    """The name of a file can have an end of line in it, and would make up a line of its own."""
    output.data("left  a\nleft  b", "c\td", "e\u2028f\x85g\x0bh\ri")
    output.say("x\ny")
    output.block("one\r\ntwo\rthree\n")
    out, err = capsys.readouterr()
    assert out == "left  a?left  b\nc\td\ne?f?g?h?i\none\ntwo?three\n\n"
    assert err == "x?y\n"


def test_control_characters_in_errors_findings_and_progress_are_not_printed(terminal: Terminal) -> None:
    with redirect_stdout(terminal), redirect_stderr(terminal):
        output.error(PpmError(EVIL, hint=EVIL))
        output.finding("fail", EVIL, EVIL, EVIL)
        output.fields([(EVIL, EVIL)])
        output.table(("A",), [(EVIL,)], talk=True)
    # on a terminal rich writes colours of its own
    shown = terminal.getvalue()
    assert shown.count("gnp.exe") == 8
    assert not any(letter in shown for letter in "\x07\x9b\u202e\u2066\u200b\x00\x7f\udcff")
    assert not any(sequence in shown for sequence in ("\x1b]", "\x1b[2J"))
    terminal.truncate(0)
    with redirect_stderr(terminal), output.progress(EVIL, 1):
        pass
    assert "gnp.exe" in terminal.getvalue()
    assert "\x1b]0" not in terminal.getvalue()


def test_control_characters_in_the_log_are_not_printed(capsys: pytest.CaptureFixture[str]) -> None:
    """The server logs the paths that strangers request."""
    handler = output.LogHandler(logging.WARNING)
    handler.handle(logging.LogRecord("x", logging.ERROR, "x.py", 1, "GET %s failed", (EVIL,), None))
    err = capsys.readouterr().err
    assert err.startswith("GET a?]0;title?")
    assert is_harmless(err)


def test_control_characters_in_arguments_are_not_printed(capsys: pytest.CaptureFixture[str]) -> None:
    """A shell puts the names of files into them."""
    for arguments in (["index", "check", EVIL], ["env", EVIL], ["publish", f"--{EVIL}"]):
        assert commands.run(arguments) == 2
        assert is_harmless(capsys.readouterr().err)


def test_json_is_exact(capsys: pytest.CaptureFixture[str]) -> None:
    value = {"name": EVIL, "emoji": "\U0001f600", "tag": "\U000e0041", "line": "a\r\nb"}
    output.as_json(value)
    out = capsys.readouterr().out
    assert json.loads(out) == value
    assert is_harmless(out)


@pytest.mark.parametrize("in_json", [False, True])
def test_errors_have_no_secret(in_json: bool, capsys: pytest.CaptureFixture[str]) -> None:
    url = "https://me:s3cret@x/?token=s3cret"
    output.error(PpmError(f"{url} is wrong.", hint=f"curl {url}"), in_json=in_json)
    printed = "".join(capsys.readouterr())
    assert "s3cret" not in printed
    assert printed.count("https://***@x/?token=***") == 2


@pytest.mark.parametrize("total", [2, None])
def test_output_during_a_progress_bar_reaches_the_pipe(terminal: Terminal, total: int | None) -> None:
    """rich would print it to the stream of the bar."""
    piped = io.StringIO()
    with redirect_stderr(terminal), redirect_stdout(piped), output.progress("Reading", total) as step:
        output.data("a.whl")
        step(1)
    assert piped.getvalue() == "a.whl\n"
    assert "Reading" in terminal.getvalue()
    assert "a.whl" not in terminal.getvalue()


def test_text_that_is_not_a_time_stays_text() -> None:
    assert output.moment("2026-03-01T22:30:05Z") == MOMENT
    assert output.moment("long ago") == "long ago"
    assert output.moment("") is None


def test_json_has_dataclasses_and_paths_and_no_secret(capsys: pytest.CaptureFixture[str]) -> None:
    output.as_json([Left(path=Path("a\x1b"), reason="no wheel")])
    assert capsys.readouterr().out.split() == [
        "[",
        "{",
        '"path":',
        '"a\\u001b",',
        '"reason":',
        '"no',
        'wheel"',
        "}",
        "]",
    ]
    with pytest.raises(TypeError):
        output.as_json({"secret": Secret("ppm_x")})


def test_an_error_with_json_is_one_document_on_stdout(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(**_options: object) -> None:
        raise CredentialError("No.", hint="ppmctl login")

    monkeypatch.setattr(commands.cli, "main", fail)
    assert commands.run(["whoami", "--json"]) == 4
    printed = capsys.readouterr()
    assert json.loads(printed.out) == {"error": {"message": "No.", "hint": "ppmctl login", "exit_code": 4}}
    assert printed.err == ""


@pytest.mark.parametrize(("raised", "code"), [(KeyboardInterrupt(), 130), (ZeroDivisionError("x"), 3)])
def test_interruptions_and_bugs_are_printed_as_json(
    raised: BaseException, code: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(**_options: object) -> None:
        raise raised

    monkeypatch.setattr(commands.cli, "main", fail)
    assert commands.run(["stats", "--json"]) == code
    assert json.loads(capsys.readouterr().out)["error"]["exit_code"] == code


def test_a_wrong_option_is_printed_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert commands.run(["stats", "--json", "--nonsense"]) == 2
    assert json.loads(capsys.readouterr().out)["error"]["message"] == "No such option '--nonsense'."


def test_renamed_paths_are_printed_with_their_new_names(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In everything that `output` prints, and in click's own errors."""
    monkeypatch.setattr(sys, "stdout", sys.stdout)
    monkeypatch.setattr(sys, "stderr", sys.stderr)
    output.rename({"/tmp/tmp.Xq3/a_token": "a token", "/tmp/tmp.Xq4/in": "/home/ann/in"})
    output.data("/tmp/tmp.Xq3/a_token")
    output.as_json({"output": "/tmp/tmp.Xq3/a_token"})
    output.table(("FILE",), [["/tmp/tmp.Xq4/in"]])
    output.error(PpmError("It is in /tmp/tmp.Xq4/in.", hint="/tmp/tmp.Xq3 and /tmp/tmp.Xq3/a_token"))
    click.UsageError("No /tmp/tmp.Xq4/in.").show()
    out, err = capsys.readouterr()
    assert out == 'a token\n{\n  "output": "a token"\n}\nFILE\n/home/ann/in\n'
    assert err.splitlines() == [
        "ppmctl: It is in /home/ann/in.",
        "        /tmp/tmp.Xq3 and a token",
        "Error: No /home/ann/in.",
    ]
