"""A deployed index: nginx with the role's configuration, and `ppmctl serve` on a socket behind it."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests

from ppmctl.server import unix_http
from support import rendering
from support.debian import Tree
from support.rendering import DOMAIN, Places
from support.servers import PPMCTL, Server, ppmctl


@dataclass(kw_only=True)
class Site(Server):
    """An index behind the nginx of `tree`; `process` is the application, `port` is for clients."""

    tree: Tree
    places: Places
    nginx: subprocess.Popen[bytes]
    has_tls: bool
    environ: Mapping[str, str] = field(default_factory=dict)
    session: requests.Session = field(default_factory=requests.Session)

    def __post_init__(self) -> None:
        self.session.trust_env = False
        self.session.verify = str(self.ca)

    @property
    def url(self) -> str:
        return f"{'https' if self.has_tls else 'http'}://{DOMAIN}:{self.port}"

    @property
    def ca(self) -> Path:
        return self.places.folder / "ca.pem"

    def get(self, path: str, **options: Any) -> requests.Response:
        return self.request("GET", path, **options)

    def upload(
        self, made: tuple[str, bytes], *, path: str = "/", fields: Mapping[str, str] | None = None, **options: Any
    ) -> requests.Response:
        form = {":action": "file_upload", "protocol_version": "1"} | dict(fields or {})
        return self.request("POST", path, data=form, files={"content": made}, **({"timeout": 120} | options))

    def request(self, method: str, path: str, **options: Any) -> requests.Response:
        """Send a request as the admin, without following redirects, over a persistent connection."""
        options = {"auth": self.auth, "timeout": 60, "allow_redirects": False} | options
        return self.session.request(method, self.url + path, **options)

    def access_log(self) -> str:
        return (self.places.logs / "access.log").read_text(errors="replace")

    @property
    def requests_log(self) -> Path:
        """Return the log that downloads are counted from."""
        return self.places.logs / "ppm" / "requests.log"

    def error_log(self) -> str:
        return (self.places.logs / "error.log").read_text(errors="replace")

    def clear_logs(self) -> None:
        """Empty the logs."""
        for log in self.places.logs.glob("*.log"):
            os.truncate(log, 0)

    def bodies(self) -> list[str]:
        """Return the request bodies on the volume: those of nginx, which are unlinked files, and others."""
        folder = self.root / "bodies"
        names = [str(path) for path in folder.rglob("*") if path.is_file()]
        for descriptor in (path for worker in self._workers() for path in Path(f"/proc/{worker}/fd").iterdir()):
            with contextlib.suppress(FileNotFoundError):
                names += [str(descriptor.readlink())]
        return [path for path in names if path.startswith(f"{folder}/")]

    def reload(self) -> None:
        """Reload nginx, and wait until new workers have taken over."""
        before = self._workers()
        self.nginx.send_signal(signal.SIGHUP)
        until = time.monotonic() + 30
        while not (now := set(self._workers())) or now & set(before):
            assert time.monotonic() < until, f"nginx did not reload:\n{self.error_log()}"
            time.sleep(0.01)

    def configure(self, rendered: Path) -> None:
        """Give nginx another configuration; the application keeps its settings."""
        rendering.place(rendered, self.tree, self.places, faster={})
        self.reload()

    def _workers(self) -> list[str]:
        return Path(f"/proc/{self.nginx.pid}/task/{self.nginx.pid}/children").read_text().split()

    def start_application(self) -> None:
        """Start the application, and wait until it answers at its socket."""
        socket_path = self.places.socket
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                [*self.command, "serve", "--root", str(self.root), "--host", f"unix:{socket_path}", *self.options],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                env={**os.environ, **self.environ},
            )
        _wait(
            lambda: unix_http.is_healthy(str(socket_path), timeout=5),
            self.process,
            lambda: f"The application did not come up:\n{self.log.read_text()[-4000:]}",
        )

    def start_again(self) -> None:
        self.start_application()

    @contextlib.contextmanager
    def without_application(self) -> Iterator[None]:
        """Stop the application and remove its socket during the block."""
        self.stop()
        self.places.socket.unlink(missing_ok=True)
        try:
            yield
        finally:
            self.start_application()

    def close(self) -> None:
        """Stop nginx and the application."""
        self.session.close()
        with contextlib.suppress(ProcessLookupError):
            self.kill()
        self.nginx.send_signal(signal.SIGQUIT if self.nginx.poll() is None else 0)
        try:
            self.nginx.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self.nginx.send_signal(signal.SIGTERM)
            self.nginx.wait(timeout=30)
        shutil.rmtree(self.places.folder, ignore_errors=True)


def start(
    rendered: Path,
    tree: Tree,
    root: Path,
    *,
    options: Sequence[str] = (),
    faster: Mapping[str, str] | None = None,
    ipv6: bool = True,
    command: Sequence[str] = PPMCTL,
) -> Site:
    """Serve the volume at `root`, created with a first admin if needed, with the configuration in `rendered`.

    The application is started by `command`.
    """
    folder = Path(tempfile.mkdtemp(prefix="ppm-"))  # a short path: a socket's address is limited to 107 bytes
    plain_port, tls_port = _free_port(), _free_port()
    places = Places(
        folder=folder,
        root=root,
        socket=folder / "ppm.sock",
        plain_port=plain_port,
        tls_port=tls_port,
        ipv6=ipv6,
    )
    root.mkdir(parents=True, exist_ok=True)
    rendering.place(rendered, tree, places, faster=faster or {})
    make_certificate(tree, places.folder / "ca.pem", places.tls)
    has_tls = "ssl_certificate " in (rendered / "etc/nginx/ppm/site.conf").read_text()
    environ = environment(rendered) | {"PPM_ROOT": str(root)}
    site = Site(
        root=root,
        port=tls_port if has_tls else plain_port,
        process=None,  # type: ignore[arg-type]  # it is started below
        log=root.with_name(root.name + ".log"),
        options=tuple(options),
        command=tuple(command),
        environ=environ,
        tree=tree,
        places=places,
        nginx=start_nginx(tree, places),
        has_tls=has_tls,
        user="admin",
        secret=admin(root),
    )
    try:
        site.start_application()
        _wait(
            lambda: site.get("/healthz", auth=None, timeout=5).ok,
            site.nginx,
            lambda: f"nginx did not come up:\n{(places.folder / 'said').read_text()}{site.error_log()}",
        )
    except BaseException:
        site.close()
        raise
    return site


def environment(rendered: Path) -> dict[str, str]:
    """Return the environment of the application's unit."""
    lines = (rendered / "etc/ppm/ppm.env").read_text().splitlines()
    pairs = (line.partition("=") for line in lines if line and not line.startswith("#"))
    return {name: value for name, _, value in pairs}


def admin(root: Path) -> str:
    """Return the secret of the volume's admin, who is created if needed."""
    kept = root.with_name(root.name + ".admin")
    if not kept.exists():
        ppmctl("init", "--root", str(root))
        kept.write_text(
            ppmctl("user", "add", "admin", "--role", "admin", "--root", str(root)).stdout.strip(), encoding="ascii"
        )
    return kept.read_text()


def start_nginx(tree: Tree, places: Places) -> subprocess.Popen[bytes]:
    with (places.folder / "said").open("ab") as log:
        return subprocess.Popen(
            [*tree.nginx, "-g", "daemon off;", *configured(places)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            env=openssl_environment(tree),
        )


def check(rendered: Path, tree: Tree, folder: Path, *, root: str = "/srv/ppm") -> str:
    """Return the output of `nginx -t` for the rendered files, with ppm_root `root`; fail if nginx rejects them."""
    places = Places(folder=folder, root=folder / "root", socket=folder / "ppm.sock", plain_port=8080, tls_port=8443)
    rendering.place(rendered, tree, places, root=root, faster={})
    make_certificate(tree, folder / "ca.pem", places.tls)
    done = subprocess.run(
        [*tree.nginx, "-t", *configured(places)],
        capture_output=True,
        text=True,
        timeout=60,
        env=openssl_environment(tree),
    )
    assert done.returncode == 0, done.stderr
    return done.stderr


def configured(places: Places) -> list[str]:
    """Return nginx's arguments to use only its own configuration, and none of the machine's."""
    return ["-c", str(places.configuration), "-p", str(places.folder), "-e", str(places.logs / "error.log")]


def openssl_environment(tree: Tree) -> dict[str, str]:
    """Return the environment in which a release's OpenSSL finds its own settings."""
    return {**os.environ, "OPENSSL_CONF": str(tree.root / "etc" / "ssl" / "openssl.cnf")}


EC = ("ec", "-pkeyopt", "ec_paramgen_curve:prime256v1")


def make_certificate(tree: Tree, ca: Path, folder: Path, *, key: Sequence[str] = EC) -> None:
    """Make a certificate for DOMAIN in `folder`, in certbot's layout, by the authority in `ca`, created if needed."""
    ca_key = ca.with_suffix(".key")
    plain = ca.with_suffix(".cnf")
    plain.write_text("[req]\ndistinguished_name = name\n[name]\n")
    new = [*tree.openssl, "req", "-config", str(plain), "-x509", "-days", "10", "-nodes", "-newkey"]

    def run(*arguments: str | Path) -> None:
        command = [*new, *map(str, arguments)]
        subprocess.run(command, check=True, capture_output=True, timeout=60, env=openssl_environment(tree))

    own = ["-subj", "/CN=An authority of a test", "-addext", "basicConstraints=critical,CA:TRUE"]
    if not ca.exists():
        run(*EC, *own, "-addext", "keyUsage=critical,keyCertSign,cRLSign", "-keyout", ca_key, "-out", ca)
    leaf = [*key, "-CA", ca, "-CAkey", ca_key, "-subj", f"/CN={DOMAIN}", "-addext", f"subjectAltName=DNS:{DOMAIN}"]
    leaf += ["-addext", "basicConstraints=critical,CA:FALSE", "-addext", "extendedKeyUsage=serverAuth"]
    run(*leaf, "-keyout", folder / "privkey.pem", "-out", folder / "fullchain.pem")


def has_ipv6() -> bool:
    """Return whether this machine's loopback has an IPv6 address."""
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


def _free_port() -> int:
    """Return a port that is free on the loopback for IPv4 and IPv6."""
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port: int = probe.getsockname()[1]
            if not has_ipv6():
                return port
            with socket.socket(socket.AF_INET6) as other, contextlib.suppress(OSError):
                other.bind(("::1", port))
                return port


def _wait(condition: Any, process: subprocess.Popen[bytes], complain: Any) -> None:
    until = time.monotonic() + 60
    while time.monotonic() < until and process.poll() is None:
        with contextlib.suppress(requests.ConnectionError):
            if condition():
                return
        time.sleep(0.02)
    raise AssertionError(complain())
