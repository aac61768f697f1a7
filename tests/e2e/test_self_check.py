"""Tests of `ppmctl self-check`, which an upgrade runs with the new release before it switches to it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support import evidence, wheels
from support.servers import PPMCTL, Server

BIN = Path(sys.executable).parent


@pytest.fixture
def temporary() -> Iterator[Path]:
    """Yield an empty TMPDIR, with a short path: a socket's address is limited to 107 bytes."""
    folder = Path(tempfile.mkdtemp(prefix="sc-"))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def check(temporary: Path, tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run the self-check of a volume; assert that no file is left, with any result."""
    (tmp_path / "root" / "packages").mkdir(parents=True)  # as the role `base` does

    def run(
        *options: str, command: tuple[str | Path, ...] = PPMCTL, **environ: str
    ) -> subprocess.CompletedProcess[str]:
        own = {name: value for name, value in os.environ.items() if not name.startswith("PPM_")}
        done = subprocess.run(
            [*map(str, command), "self-check", *options],
            capture_output=True,
            text=True,
            timeout=200,
            cwd=tmp_path,
            env={**own, "TMPDIR": str(temporary), "PPM_ROOT": str(tmp_path / "root"), **environ},
        )
        assert list(temporary.iterdir()) == [], done.stderr
        return done

    return run


Check = Callable[..., subprocess.CompletedProcess[str]]


def snapshot(root: Path) -> dict[str, tuple[int, int, bytes]]:
    """Return inode, mtime and content of each file of a volume, but for the log of requests and its counts."""
    files = {str(path.relative_to(root)): path for path in root.rglob("*") if path.is_file()}
    files = {name: path for name, path in files.items() if not name.startswith(("requests/", "stats/"))}
    return {
        name: (path.stat().st_ino, path.stat().st_mtime_ns, path.read_bytes()) for name, path in sorted(files.items())
    }


def test_a_working_release_passes_while_the_server_runs(
    serve: Callable[..., Server], check: Check, tmp_path: Path
) -> None:
    """It changes nothing on the volume, and does not disturb readers."""
    server = serve()
    assert server.upload(wheels.wheel("x", "1.0")).status_code == 200
    evidence.nothing_is_left(server.root)
    evidence.until((server.root / "index" / "boot").exists, "the note of the start")
    found = "/search?q=x"  # by another thread
    evidence.until(lambda: server.get(found).json().get("projects"), "the project in the search index")
    before = snapshot(server.root)
    statuses: set[int] = set()
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            statuses.add(server.get("/simple/x/").status_code)

    reading = threading.Thread(target=read)
    reading.start()
    checked = check(PPM_READ_ACCESS="public", PPM_BOOT_ID="0" * 32, PPM_THREADS="2")
    as_json = check("--json")
    done.set()
    reading.join()
    assert checked.returncode == 0, checked.stderr
    assert len(checked.stdout.splitlines()) == 1
    assert "works here" in checked.stdout
    assert as_json.returncode == 0
    assert json.loads(as_json.stdout).items() >= {"ok": True, "root": str(server.root)}.items()
    assert statuses == {200}
    assert snapshot(server.root) == before
    assert server.upload(wheels.wheel("x", "2.0")).status_code == 200


def test_self_check_needs_no_network(check: Check) -> None:
    """Like systemd-run -p PrivateNetwork=yes: not even a loopback is up."""
    user = () if os.geteuid() == 0 else ("--map-root-user",)
    done = check(command=("unshare", *user, "--net", *PPMCTL))
    assert done.returncode == 0, done.stderr


def test_a_bad_setting_is_named(check: Check, tmp_path: Path) -> None:
    """In any source; also an unknown variable, which the server would ignore."""
    done = check("--json", PPM_PRIVATE_NAMES="acme/*")
    assert done.returncode == 1
    assert "PPM_PRIVATE_NAMES is 'acme/*'" in done.stderr
    printed = json.loads(done.stdout)
    assert printed["ok"] is False
    assert "PPM_PRIVATE_NAMES is 'acme/*'" in printed["message"]
    done = check(PPM_PRIVATE_NAME="acme-*")
    assert done.returncode == 1
    assert "PPM_PRIVATE_NAME is set" in done.stderr
    assert "Did you mean PPM_PRIVATE_NAMES?" in done.stderr
    (tmp_path / "root" / "ppm.yml").write_text("threads: many\n")
    done = check()
    assert done.returncode == 1
    assert f"threads in {tmp_path / 'root' / 'ppm.yml'} is 'many'" in done.stderr


def test_a_volume_that_can_t_be_used_is_named(check: Check, tmp_path: Path) -> None:
    """Its folders must be on one file system with links and locks, and its credentials readable."""
    (tmp_path / "root" / "drop").write_text("")
    done = check()
    assert done.returncode == 1
    assert f"The volume {tmp_path / 'root'} can't be used" in done.stderr
    (tmp_path / "root" / "drop").unlink()
    entries = tmp_path / "root" / "credentials" / "access.yml"
    entries.parent.mkdir(parents=True)
    entries.write_text("ops: [\n")  # an invalid entry has no rights, and the others keep theirs
    assert check().returncode == 0
    entries.unlink()
    entries.mkdir()
    done = check()
    assert done.returncode == 1
    assert "The credentials can't be read" in done.stderr


def test_self_check_tests_its_own_installation(check: Check, tmp_path: Path) -> None:
    """A folder with that name in the working folder, such as a checkout, is not the release."""
    (tmp_path / "ppmctl").mkdir()
    (tmp_path / "ppmctl" / "__init__.py").write_text("raise ImportError('another ppmctl')\n")
    done = check(command=(BIN / "ppmctl",))
    assert done.returncode == 0, done.stderr


# the fault of the release → the code that causes it, and the message of the self-check
SABOTAGE = {
    "it does not start": (
        "import os; os._exit(5)",
        "ended with exit code 5 instead of serving",
    ),
    "it lets everybody in": (
        "import ppmctl.server.app as a; a.authenticated = lambda *_, **__: a.rights.ANYONE",
        "200 (OK) instead of 401 for /simple/ without a credential",
    ),
    "it takes no uploads": (
        "import ppmctl.index.store as s; s.Store.put = None",
        "instead of 200 for a publisher's upload",
    ),
    "its JSON is wrong": (
        "import ppmctl.index.pages as i; i.json_page = lambda *_: b'{}'",
        "/simple/ppm-self-check/ is not a page of a Simple API",
    ),
    "its HTML is wrong": (
        "import ppmctl.index.pages as i; i.html_page = lambda *_: b''",
        "the page in HTML: ppm_self_check-1.0-py3-none-any.whl is not on it",
    ),
    "its files are wrong": (
        (
            "import ppmctl.server.simple_api as r; f = r.Reader._file;"
            " r.Reader._file = lambda s, q, b, p, n: f(s, q, b, p, n) if n.endswith('data') else r.Response('x')"
        ),
        ".whl is not what the page has the hash of",
    ),
    "its metadata are wrong": (
        (
            "import ppmctl.server.simple_api as r; f = r.Reader._file;"
            " r.Reader._file = lambda s, q, b, p, n: r.Response('x') if n.endswith('data') else f(s, q, b, p, n)"
        ),
        ".metadata is not what the page has the hash of",
    ),
    "it dies on a request": (
        "import os, ppmctl.server.app as a; a.authenticated = lambda *_, **__: os.killpg(0, 9)",
        "GET /simple/ was not answered",
    ),
    "it ends badly": (
        "import os, gunicorn.arbiter as a; a.Arbiter.halt = lambda *_, **__: os._exit(7)",
        "ended with exit code 7 after SIGTERM",
    ),
}


@pytest.mark.parametrize("what", SABOTAGE)
def test_a_broken_release_fails_with_the_error_and_the_servers_log(check: Check, tmp_path: Path, what: str) -> None:
    code, says = SABOTAGE[what]
    (tmp_path / "broken").mkdir()
    # every process reads sitecustomize before the program: the server is recognised by its command line
    written = [
        "import sys",
        "if b'serve' in open('/proc/self/cmdline', 'rb').read().split(bytes(1)):",
        "    print('the log of', 'the server', file=sys.stderr, flush=True)",
        f"    {code}",
    ]
    (tmp_path / "broken" / "sitecustomize.py").write_text("\n".join(written))
    done = check("--json", PYTHONPATH=str(tmp_path / "broken"))
    assert done.returncode == 1, done.stdout
    printed = json.loads(done.stdout)
    assert says in printed["message"]
    assert "the log of the server" in printed["log"]
    assert says in done.stderr
    if what == "it does not start":
        plain = check(PYTHONPATH=str(tmp_path / "broken"))
        assert plain.returncode == 1
        assert "the log of the server" in plain.stderr
        assert plain.stdout == ""
