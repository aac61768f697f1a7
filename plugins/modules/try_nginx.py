#!/usr/bin/python
"""Try nginx's configuration of the index with the other sites of a host, before anything there is changed."""

from __future__ import annotations

import hashlib
import re
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.ppm.index.plugins.module_utils.ppm_addresses import own_addresses

DOCUMENTATION = """
module: try_nginx
short_description: try nginx's configuration with the other sites of a host
description:
  - Runs C(nginx -T) with the new files in a temporary folder and everything else that is in /etc/nginx.
  - Fails with all problems. Changes nothing.
options:
  files:
    description: The content of each new file by its path.
    type: dict
    required: true
  domain:
    description: The name of the index.
    type: str
    required: true
  ports:
    description: The ports of the index.
    type: list
    elements: int
    required: true
  replace:
    description: Whether an nginx.conf or a default site that was changed on the host may be replaced.
    type: bool
    default: false
  state:
    description: What the message says about the host.
    type: str
    default: Nothing was changed on this host
author: The ppm developers
"""
RETURN = """
is_new:
  description: Whether nginx.conf is not that of the index yet.
  type: bool
  returned: success
"""

ETC = "/etc/nginx/"
_MARK = f"include {ETC}ppm/http.conf;"  # in every nginx.conf of an index
_SITES = f"include {ETC}sites-enabled/*;"
_DEFAULT = "sites-enabled/default"  # Debian's, which an index removes
_HINTS = {
    r"duplicate default server": "remove default_server from its listen directives, which the index needs",
    r"duplicate listen options": "remove the options of that listen directive, such as reuseport and backlog",
    r"directive is duplicate": "remove it there, or move it into that site's server block",
}
_OTHER_HINT = "repair or remove that file"


@dataclass(frozen=True, kw_only=True)
class Nginx:
    """The nginx of a host. `packaged` has the MD5 of Debian's configuration files by path."""

    etc: Path = Path(ETC)
    command: tuple[str, ...] = ("/usr/sbin/nginx",)
    packaged: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Tried:
    """The result of a try: the errors and warnings, and the content of the other sites' files by path."""

    output: str
    others: Mapping[str, str]


def is_ours(nginx: Nginx) -> bool:
    """Return whether an earlier run has written nginx.conf."""
    path = nginx.etc / "nginx.conf"
    return path.is_file() and _MARK in path.read_text(errors="replace")


def problems(
    nginx: Nginx,
    files: Mapping[str, str],
    domain: str,
    ports: list[int],
    *,
    addresses: frozenset[str] = frozenset(),
    replace: bool = False,
) -> Iterator[str]:
    """Yield what keeps the index and the other sites from being served together, each with a hint.

    `addresses` are those of `domain`.
    """
    if not replace:
        yield from _replaced(nginx)
    tried = attempt(nginx, files)
    errors = re.findall(r"\[(?:emerg|alert|crit)\] (?:\d+#\d+: )?(.+)", tried.output)
    for message in errors[:1]:
        hint = next((hint for pattern, hint in _HINTS.items() if re.search(pattern, message)), _OTHER_HINT)
        yield f"nginx can't serve the index together with the other sites of this host: {message}. Please {hint}."
    if f'conflicting server name "{domain}"' in tried.output:
        name = re.compile(rf"^[^#\n]*\bserver_name\b[^;]*?(?<![\w.-]){re.escape(domain)}(?![\w.-])", re.MULTILINE)
        paths = [path for path, text in tried.others.items() if name.search(text)]
        where = " and ".join(paths) or "another file of nginx"
        yield f"{where}: a site has the name {domain} already; remove that site, or choose another ppm_domain."
    for path, text in tried.others.items():
        for address in dict.fromkeys(_taken(text, ports, addresses)):
            yield (
                f"{path}: a site listens on {address}, and gets all requests to that address, also those for the"
                " index; let it listen on the port alone."
            )
        if not errors:
            yield from (f"{path}: {problem}" for problem in _hidden(text, ports))


def attempt(nginx: Nginx, files: Mapping[str, str]) -> Tried:
    """Run nginx's own check with `files` in a temporary folder, and with all other files of the host."""
    with tempfile.TemporaryDirectory(prefix="ppm-nginx-") as folder:
        conf = Path(folder) / "conf"
        conf.mkdir()
        for entry in nginx.etc.iterdir():  # other sites include files by relative paths
            if entry.name not in ("nginx.conf", "ppm"):
                (conf / entry.name).symlink_to(entry)
        for name, content in files.items():
            if name.startswith(ETC):
                path = conf / name.removeprefix(ETC)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(_moved(content, nginx.etc, conf), encoding="utf-8")
        try:
            done = subprocess.run(
                [*nginx.command, "-T", "-c", str(conf / "nginx.conf")],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=60,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as exc:
            return Tried(output=f"[emerg] {exc}", others={})
        parts = re.split(r"^# configuration file (.+):\n", done.stdout, flags=re.MULTILINE)
        dumped = dict(zip(parts[1::2], parts[2::2], strict=True))
        output = done.stderr.replace(f"{conf}/", ETC)
        if done.returncode and "[emerg]" not in output:
            output += f"\n[emerg] {output.strip() or 'nginx -T failed'}"
        return Tried(output=output, others={path: text for path, text in dumped.items() if f"{conf}/" not in path})


def _moved(content: str, etc: Path, conf: Path) -> str:
    """Return a file of the index for the temporary folder, without what is written or does not exist yet."""
    names = sorted(path.name for path in (etc / "sites-enabled").glob("[!.]*"))
    included = (f"include {ETC}sites-enabled/{name};" for name in names if name != "default")
    content = content.replace(_SITES, " ".join(included))
    content = content.replace(f"{ETC}ppm/", f"{conf}/ppm/").replace(ETC, f"{etc}/")
    content = re.sub(r"(?m)^pid .*;", f"pid {conf.parent}/nginx.pid;", content)
    content = re.sub(r"access_log /\S*/", f"access_log {conf.parent}/", content)
    content = re.sub(r"client_body_temp_path .*;", f"client_body_temp_path {conf.parent}/bodies;", content)
    content = re.sub(r"ssl_certificate_key .*;", "", content)
    return re.sub(r"ssl_certificate .*;", "ssl_reject_handshake on;", content)


def _replaced(nginx: Nginx) -> Iterator[str]:
    """Yield a problem for each file that was changed on the host, and that an index replaces."""
    allow = "; or set ppm_nginx_replace: true, which keeps a copy in /var/backups/ppm"
    if (nginx.etc / "nginx.conf").exists() and not is_ours(nginx) and not _is_packaged(nginx, "nginx.conf"):
        yield (
            f"{ETC}nginx.conf was changed on this host, and ppm replaces it: move what other sites need into"
            f" {ETC}conf.d/ or {ETC}sites-enabled/, and restore the package's file{allow}."
        )
    default = nginx.etc / _DEFAULT
    is_link = default.resolve() == (nginx.etc / "sites-available/default").resolve()
    if default.exists() and not (is_link and _is_packaged(nginx, "sites-available/default")):
        yield (
            f"{ETC}{_DEFAULT} was changed on this host, and ppm removes it: give that site another file name, and"
            f" remove default_server from it{allow}."
        )


def _is_packaged(nginx: Nginx, name: str) -> bool:
    digest = hashlib.md5((nginx.etc / name).read_bytes(), usedforsecurity=False).hexdigest()  # dpkg's
    return nginx.packaged.get(f"{ETC}{name}") == digest


def _taken(text: str, ports: list[int], addresses: frozenset[str]) -> Iterator[str]:
    """Yield where a site listens on one of `addresses` and `ports`; nginx prefers that to all addresses."""
    for given in re.findall(r"\blisten\s+([^\s;]+)", re.sub(r"#.*", "", text)):
        address, _, port = given.rpartition(":") if re.search(r":\d+$", given) else (given, "", "80")
        if address.strip("[]") in addresses and int(port) in ports:
            yield given


def _hidden(text: str, ports: list[int]) -> Iterator[str]:
    """Yield why a site and the index can't both be reached, although nginx takes them together."""
    for listens, names in _servers(text):
        own = [listen for listen in listens if _port(listen[0]) in ports]
        for address, *options in own:
            if "ipv6only=off" in options and address.startswith("["):
                yield f"listen {address} ipv6only=off takes IPv4 too, which the index listens on; remove that option."
            if "proxy_protocol" in options:
                yield f"listen {address} proxy_protocol is for all sites of that port; use a port of its own for it."
        has_wildcard = any(re.fullmatch(r"\*?:?\d*|\[::\]:\d+|0\.0\.0\.0:\d+", address) for address, *_ in own)
        if (has_wildcard or not listens) and not any(re.search(r"[A-Za-z0-9~*]", name) for name in names):
            yield (
                "a site has no server_name, so it gets the requests for names of no site; the index refuses those."
                " Give it the name by which it is asked, which may be an address."
            )


def _port(address: str) -> int:
    """Return the port of a listen directive's address; 0 for a Unix socket, and for an address of the loopback."""
    if re.match(r"unix:|127\.|\[::1\]", address):
        return 0
    port = re.search(r":(\d+)$|^(\d+)$", address)
    return int(port[1] or port[2]) if port else 80


def _servers(text: str) -> Iterator[tuple[list[list[str]], list[str]]]:
    """Yield the words of each listen directive of each server block, and its names."""
    text = re.sub(r"(?m)(?:^|\s)#.*$", "", text)
    text = re.sub(r"""(["'])((?:\\.|(?!\1)[^\\])*)\1""", lambda quoted: re.sub(r"[{};]", "", quoted[2]), text)
    for start in re.finditer(r"\bserver\s*\{", text):
        depth, end = 1, start.end()
        while depth and end < len(text):
            depth += {"{": 1, "}": -1}.get(text[end], 0)
            end += 1
        block = text[start.end() : end]
        listens = [found.split() for found in re.findall(r"(?m)(?:^|[;{}\s])listen\s+([^;]+);", block)]
        names = re.findall(r"(?m)(?:^|[;{}\s])(?:server_name|include)\s+([^;]+);", block)  # a file may have the name
        yield listens, [name for found in names for name in found.split()]


def packaged() -> dict[str, str]:
    """Return the MD5 of each configuration file of Debian's packages of nginx, by path."""
    done = subprocess.run(
        ["dpkg-query", "--show", "--showformat=${Conffiles}\n", "nginx*"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    lines = (line.split() for line in done.stdout.splitlines())
    return {line[0]: line[1] for line in lines if len(line) >= 2}


def addresses_of(domain: str) -> frozenset[str]:
    """Return the addresses of this host that a name leads to; all, if none does: a router in front translates."""
    try:
        found = {str(info[4][0]) for info in socket.getaddrinfo(domain, 80, type=socket.SOCK_STREAM)}
    except OSError:
        found = set()
    own = frozenset(own_addresses())
    return own & found or own


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "files": {"type": "dict", "required": True},
            "domain": {"type": "str", "required": True},
            "ports": {"type": "list", "elements": "int", "required": True},
            "replace": {"type": "bool", "default": False},
            "state": {"type": "str", "default": "Nothing was changed on this host"},
        },
        supports_check_mode=True,
    )
    given = module.params
    nginx = Nginx(packaged=packaged())
    domain = given["domain"]
    more = {"addresses": addresses_of(domain), "replace": given["replace"]}
    found = list(problems(nginx, given["files"], domain, given["ports"], **more))
    if found:
        listed = "\n".join(f"  - {problem}" for problem in found)
        module.fail_json(msg=f"{given['state']}. The problems:\n{listed}")
    module.exit_json(changed=False, is_new=not is_ours(nginx))


if __name__ == "__main__":
    main()
