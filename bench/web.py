"""Compare the deployed nginx with a minimal ("bare") one: the cost of its configuration for a page, a file, metadata.

The bare one serves the same files from the same disk, with the same TLS, authentication and access log. Both run all
the time on one processor, which the load generator does not use, and are measured in turn. The deployed one is also
measured with a credential with limited reads, which the application answers on any processor.
"""

from __future__ import annotations

import contextlib
import os
import random
import statistics
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import requests
from support import debian, raw, rendering, servers, volumes, webserver
from support.debian import Tree
from support.evidence import until
from support.rendering import Directive, Places
from support.webserver import Site

from ppmctl.index.layout import METADATA
from ppmctl.server import content_negotiation

CONNECTIONS = 16
PATHS = 2000  # requested in turn, spread over all projects
_TICK = os.sysconf("SC_CLK_TCK")

_BARE = """
user {user};
worker_processes auto;
pid {folder}/nginx.pid;
error_log {folder}/log/error.log error;
events {{ worker_connections 8192; }}
http {{
    {temporary}
    include {mime_types};
    default_type application/octet-stream;
    server_tokens off;
    sendfile on;
    tcp_nopush on;
    {tls}
    {log_format}
    access_log {folder}/log/access.log ppm;
    server {{
        listen 127.0.0.1:{port} ssl;
        server_name localhost;
        ssl_certificate {tls_folder}/fullchain.pem;
        ssl_certificate_key {tls_folder}/privkey.pem;
        auth_basic "bare";
        auth_basic_user_file {root}/credentials/htpasswd;
        root {root};
        location /simple/ {{ root {root}/index; index index.html; }}
    }}
}}
"""

# Lua for wrk: it makes the requests once, sends them repeatedly, and prints the counts in one line
SCRIPT = """
local requests, number = {}, 0
function init(args)
    wrk.headers["Authorization"] = args[2]
    wrk.headers["Accept"] = args[3]
    for path in io.lines(args[1]) do requests[#requests + 1] = wrk.format("GET", path) end
end
function request()
    number = number % #requests + 1
    return requests[number]
end
function done(summary)
    local wrong = summary.errors
    io.write(string.format("\\n%d %d %d\\n", summary.requests, summary.duration,
        wrong.connect + wrong.read + wrong.write + wrong.status + wrong.timeout))
end
"""


@dataclass(frozen=True, kw_only=True)
class Served:
    """A running nginx: its process ID, its port, and for pages and files the file with the paths to request."""

    name: str
    process: int
    port: int
    paths: Mapping[str, Path]

    def workers(self) -> list[int]:
        return [int(pid) for pid in Path(f"/proc/{self.process}/task/{self.process}/children").read_text().split()]

    def pin(self) -> None:
        """Keep the workers on the first processor, which the load generator does not use."""
        for worker in self.workers():
            os.sched_setaffinity(worker, {_processors()[0]})

    def processor_seconds(self) -> float:
        """Return the processor time of all workers so far, in seconds."""
        fields = [Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split() for pid in self.workers()]
        return sum(int(field[11]) + int(field[12]) for field in fields) / _TICK


def compare(files: int, *, rounds: int, seconds: int, others: int = 0, release: int = 13) -> list[dict[str, object]]:
    """Return rows with requests a second, microseconds of processor time a request, and their ratios.

    `others` is the number of further credentials; the client's own is in the middle of them.
    """
    with _both(files, others, release) as (deployed, bare, site, script, limited):
        rows: list[dict[str, object]] = []
        for what in deployed.paths:
            for number in range(rounds):
                loads = ((deployed, site.auth), (bare, site.auth))
                figures = {served.name: load(served, what, site, script, seconds, auth) for served, auth in loads}
                (rate, cost), (bare_rate, bare_cost) = figures["deployed"], figures["bare"]
                row: dict[str, object] = {"what": what, "files": files, "credentials": others + 1, "round": number}
                row |= {"deployed/s": rate, "bare/s": bare_rate, "ratio": rate / bare_rate}
                limited_rate, _cost = load(deployed, what, site, script, seconds, limited)
                row |= {"limited/s": limited_rate, "ratio of limited to deployed": limited_rate / rate}
                row |= {"deployed µs": cost, "bare µs": bare_cost, "ratio of work": bare_cost / cost}
                rows.append(row)
        return rows


def table(rows: list[dict[str, object]]) -> str:
    """Return the medians of all rounds as a Markdown table."""
    names = [name for name in rows[0] if name not in ("what", "files", "credentials", "round")]
    lines = ["| | files | credentials | " + " | ".join(names) + " |", "| --- | --- | --- |" + " --- |" * len(names)]
    for key in dict.fromkeys((row["what"], row["files"], row["credentials"]) for row in rows):
        mine = [row for row in rows if (row["what"], row["files"], row["credentials"]) == key]
        medians = {name: statistics.median(float(str(row[name])) for row in mine) for name in names}
        shown = [f"{value:.2f}" if name.startswith("ratio") else f"{value:,.0f}" for name, value in medians.items()]
        lines.append(f"| {key[0]} | {key[1]:,} | {key[2]:,} | " + " | ".join(shown) + " |")
    return "\n".join(lines)


@contextlib.contextmanager
def _both(files: int, others: int, release: int) -> Iterator[tuple[Served, Served, Site, Path, tuple[str, str]]]:
    tree = debian.tree(release)
    projects = files // volumes.FILES_EACH
    with tempfile.TemporaryDirectory(prefix="ppm-bench-") as work, contextlib.ExitStack() as running:
        folder = Path(work)
        root = folder / "root"
        volumes.fill(root, projects=projects)
        volumes.crowd(root, others // 2)
        webserver.admin(root)
        volumes.crowd(root, others - others // 2)
        made = servers.ppmctl("user", "add", "limited", "--role", "reader", "--project", "*", "--root", str(root))
        servers.ppmctl("index", "rebuild", "--root", str(root))
        rendering.render([(folder / "rendered", rendering.variables(tree, ipv6=False, ppm_upstream="none"))])
        site = webserver.start(folder / "rendered", tree, root)
        running.callback(site.close)
        bare_folder = folder / "bare"
        process, port = start_bare(tree, site, bare_folder, rendering.parse(folder / "rendered"))
        running.callback(process.wait)
        running.callback(process.terminate)
        script = folder / "load.lua"
        script.write_text(SCRIPT)
        deployed = Served(
            name="deployed", process=site.nginx.pid, port=site.port, paths=write_paths(folder / "a", projects, "")
        )
        bare = Served(
            name="bare",
            process=process.pid,
            port=port,
            paths=write_paths(folder / "b", projects, "/index", "index.json"),
        )
        for served in (deployed, bare):
            served.pin()
        _require_same_content(deployed, bare, site)
        yield deployed, bare, site, script, ("limited", made.stdout.strip())


def _processors() -> list[int]:
    """Return the usable processors; the servers use the first, the load generator the last."""
    return sorted(os.sched_getaffinity(0))


def write_paths(folder: Path, projects: int, pages: str, page: str = "") -> dict[str, Path]:
    """Write the paths to request into files: the same projects for both servers, under the URLs of each."""
    folder.mkdir()
    chance = random.Random(count := projects * volumes.FILES_EACH)
    numbers = [chance.randrange(count) for _number in range(PATHS)]
    files = [
        f"/packages/{volumes.project(number // 10)}/{volumes.filename(number // 10, number % 10)}"
        for number in numbers
    ]
    listed = {
        "page": [f"{pages}/simple/{volumes.project(number // 10)}/{page}" for number in numbers],
        "file": files,
        "metadata": [path + METADATA for path in files],
    }
    for what, paths in listed.items():
        (folder / what).write_text("".join(f"{path}\n" for path in paths))
    return {what: folder / what for what in listed}


def start_bare(tree: Tree, site: Site, folder: Path, configuration: Directive) -> tuple[subprocess.Popen[bytes], int]:
    places = Places(folder=folder, root=site.root, socket=folder / "none", plain_port=0, tls_port=servers.free_port())
    for made in (places.logs, folder / "tmp"):
        made.mkdir(parents=True)
    (http,) = configuration.all("http")
    tls = [directive for directive in http.block if directive.name.startswith("ssl_")]
    log_format = next(http.all("log_format"))
    parts = [
        *log_format.arguments[:2],
        *(f"'{part}'" for part in log_format.arguments[2:]),
    ]
    text = _BARE.format(
        user=rendering.me(),
        folder=folder,
        temporary=rendering.temporary_paths(folder),
        mime_types=tree.mime_types,
        tls=" ".join(f"{one.name} {' '.join(one.arguments)};" for one in tls).replace(":ppm_tls:", ":bare:"),
        log_format=f"log_format {' '.join(_without_maps(parts))};",
        port=places.tls_port,
        tls_folder=site.places.tls,
        root=site.root,
    )
    places.configuration.parent.mkdir(parents=True)
    places.configuration.write_text(text)
    process = webserver.start_nginx(tree, places)
    until(lambda: _answers(places.tls_port, site), "the bare nginx")
    return process, places.tls_port


def _without_maps(parts: list[str]) -> list[str]:
    """Return a log format without the variables that only the deployed configuration defines."""
    plain = {"path": "request_uri", "user": "remote_user", "host": "host", "agent": "http_user_agent"}
    for name, own in plain.items():
        parts = [part.replace(f"$ppm_logged_{name}", f"${own}") for part in parts]
    return parts


def _answers(port: int, site: Site) -> bool:
    try:
        return requests.get(f"https://localhost:{port}/", verify=str(site.ca), timeout=5).status_code == 401
    except requests.ConnectionError:
        return False


def _require_same_content(deployed: Served, bare: Served, site: Site) -> None:
    """Check that both answer with the same bytes."""
    for what in deployed.paths:
        answers = []
        for served in (deployed, bare):
            path = served.paths[what].read_text().split()[0]
            headers = {"Accept": content_negotiation.TABLE[0][1], "Accept-Encoding": "identity"}
            url = f"https://localhost:{served.port}{path}"
            answer = requests.get(url, auth=site.auth, headers=headers, verify=str(site.ca), timeout=60)
            answer.raise_for_status()
            answers.append(answer.content)
        if answers[0] != answers[1]:
            raise RuntimeError(f"The two serve different content for a {what}")


def load(
    served: Served, what: str, site: Site, script: Path, seconds: int, auth: tuple[str, str]
) -> tuple[float, float]:
    """Return requests a second, and microseconds of the workers' processor time for each."""
    before = served.processor_seconds()
    done = subprocess.run(
        [
            *("taskset", "--cpu-list", str(_processors()[-1]), *site.tree.wrk),
            *("--threads", "1", "--connections", str(CONNECTIONS), "--duration", f"{seconds}s"),
            *("--script", str(script), f"https://localhost:{served.port}/", "--"),
            *(str(served.paths[what]), raw.basic(*auth), content_negotiation.TABLE[0][1]),
        ],
        capture_output=True,
        text=True,
        timeout=seconds + 60,
    )
    if done.returncode:
        raise RuntimeError(f"wrk exited {done.returncode}:\n{done.stdout}{done.stderr}")
    count, microseconds, errors = map(int, done.stdout.split("\n")[-2].split())
    if errors:
        raise RuntimeError(f"{served.name}: {errors} of {count} requests failed")
    return count / microseconds * 1e6, (served.processor_seconds() - before) / count * 1e6
