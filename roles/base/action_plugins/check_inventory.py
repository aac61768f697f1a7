"""Every `ppm_` variable against the argument specs of all roles, the certificate files, the host: before a change.

One failure lists all that is wrong, each with the variable's name and what to do.
"""

from __future__ import annotations

import difflib
import fnmatch
import ipaddress
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, date, datetime
from pathlib import Path, PurePosixPath
from typing import Any

import yaml
from ansible.errors import AnsibleError, AnsibleFileNotFound
from ansible.plugins.action import ActionBase
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

ROLES = Path(__file__).parents[2]
DEBIAN = ("12", "13")
MIN_FREE = 512 << 20  # bytes: a release's packages, and some room for uploads

# Variables that had another name once, with the one they have now.
RENAMED: dict[str, str] = {}

_DOMAIN = re.compile(r"(?=.{1,253}$)[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)*")
_SIZE = re.compile(r"([1-9][0-9]*)([KMG]?)")
_GLOB = re.compile(r"[A-Za-z0-9._*?\[\]!-]+")
_URL = re.compile(r"https?://[A-Za-z0-9._:\[\]-]+(?:/[A-Za-z0-9._~/%+,=&?:@!*()-]*)?")
_EMAIL = re.compile(r"[A-Za-z0-9][A-Za-z0-9.!#&'*+/=?^_`|~-]*@[A-Za-z0-9.-]+\.[A-Za-z0-9-]+")
_HOSTS = re.compile(r"[A-Za-z0-9.*:/_-]+")
_CREDENTIAL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}(\+[A-Za-z0-9._-]{1,64})?", re.ASCII)
_SECRET = re.compile(r"[!-~]{32,200}", re.ASCII)
_ROOT = re.compile(r"(?:/(?!\.{1,2}(?:/|\Z))[A-Za-z0-9._-]+)+")

# Folders of the system's own, those that it clears and those that the service's sandbox hides, with all that is in
# them; and folders with other tenants.
_SYSTEM = (
    *("/bin", "/boot", "/dev", "/etc", "/home", "/lib", "/lib32", "/lib64", "/opt/ppm", "/proc", "/root", "/run"),
    *("/sbin", "/sys", "/tmp", "/usr", "/var/lib/ppm/acme", "/var/lock", "/var/log", "/var/run", "/var/tmp"),  # noqa: S108 - refused
)
_SHARED = ("/media", "/mnt", "/opt", "/srv", "/var", "/var/cache", "/var/lib", "/var/mail", "/var/spool", "/var/www")
_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
_MOST_BYTES = 1 << 62  # nginx and systemd count in 63 bits
_LEAST_MEMORY = 128 << 20  # bytes: the application with a few uploads under way
_OTHER_TASKS = 32  # those of the application that are not ppm_threads, with some room
_LEAST_RSA = 2048  # bits: OpenSSL takes no less

_KINDS = {"str": "a text", "path": "a path", "int": "a whole number", "bool": "true or false", "list": "a list"}
_TYPES: dict[str, tuple[type, ...]] = {
    "str": (str,),
    "path": (str,),
    "int": (int,),
    "bool": (bool,),
    "list": (list, tuple),
    "dict": (dict,),
}


class ActionModule(ActionBase):  # type: ignore[misc]  # ansible is untyped
    """Takes roles (whose specs count) and packages (to look for on the host); returns `host`, as probe_host.

    With `instead` it is about containers, and no host is looked at: variables that have no effect there, each with
    what to do in their stead.
    """

    _requires_connection = True

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        del tmp
        task_vars = task_vars or {}
        arguments = self._task.args
        specs = read_specs(ROLES, arguments["roles"])
        values = {}
        problems = []
        for name in sorted(name for name in task_vars if name.startswith("ppm_")):
            try:
                values[name] = self._templar.template(task_vars[name])
            except Exception as exc:
                problems.append(f"{name}: its value can't be made out: {' '.join(str(exc).split())}")
        values = {name: _plain(specs.get(name, {}), value) for name, value in values.items()}
        known = {name: spec for name, spec in specs.items() if name in values or name not in task_vars}
        instead = arguments.get("instead")
        if instead is not None:
            known, values = for_containers(known, values)
            problems += ineffective(known, values, instead)
        problems += variable_problems(known, values)
        if not problems:
            problems += file_problems(values, self._read)
        if not problems and instead is None:
            found = self._execute_module(
                module_name="probe_host",
                module_args={"root": values["ppm_root"], "packages": arguments["packages"], "ports": [80, 443]},
                task_vars=task_vars,
            )
            if found.get("failed"):
                return {**result, **found}
            result["host"] = found["host"]
            problems += host_problems(found["host"], values)
        if problems:
            listed = "\n".join(f"  - {problem}" for problem in problems)
            where = "was changed on this host" if instead is None else "was written"
            result |= {"failed": True, "msg": f"Nothing {where}. What is in the way:\n{listed}"}
        return result | {"changed": False}

    def _read(self, path: str) -> bytes:
        """A file of the controlling machine, decrypted if ansible-vault has encrypted it."""
        try:
            return Path(self._loader.get_real_file(self._loader.path_dwim(path))).read_bytes()
        except AnsibleFileNotFound as exc:
            raise FileNotFoundError(2, "there is no such file") from exc
        except AnsibleError as exc:
            raise OSError(5, " ".join(str(exc).split())) from exc


def read_specs(roles: Path, names: list[str]) -> dict[str, dict[str, Any]]:
    """The options of all the roles' argument specs, by name."""
    specs: dict[str, dict[str, Any]] = {}
    for name in names:
        path = roles / name / "meta" / "argument_specs.yml"
        specs |= yaml.safe_load(path.read_text(encoding="utf-8"))["argument_specs"]["main"].get("options", {})
    return specs


def for_containers(
    specs: Mapping[str, dict[str, Any]], values: Mapping[str, Any]
) -> tuple[dict[str, dict[str, Any]], dict[str, Any]]:
    """Specs and values as containers have them: none makes a certificate of its own, only TLS needs a domain."""
    tls, domain = dict(specs["ppm_tls"]), dict(specs["ppm_domain"])
    tls["choices"] = [choice for choice in tls["choices"] if choice != "selfsigned"]
    domain["required"] = values.get("ppm_tls") != "none"
    given = {name: value for name, value in values.items() if name != "ppm_domain" or value}
    return {**specs, "ppm_tls": tls, "ppm_domain": domain}, given


def ineffective(
    specs: Mapping[str, Mapping[str, Any]], values: Mapping[str, Any], instead: Mapping[str, str]
) -> Iterator[str]:
    """The variables of `instead` that were set to anything but their default."""
    for name, hint in instead.items():
        if name in values and values[name] != specs.get(name, {}).get("default"):
            yield f"{name} has no effect in containers: {hint}"


def _plain(spec: Mapping[str, Any], value: Any) -> Any:
    """A value as its type; `-e name=value` on the command line gives texts alone. What is none stays as it is."""
    if isinstance(value, str):
        if spec.get("type") == "int" and value.isdecimal():
            return int(value)
        if spec.get("type") == "bool" and value.lower() in {"true", "yes", "false", "no"}:
            return value.lower() in {"true", "yes"}
    return value


def variable_problems(specs: Mapping[str, Mapping[str, Any]], values: Mapping[str, Any]) -> Iterator[str]:
    """What is wrong with the variables by themselves."""
    for name in values:
        if name in RENAMED:
            yield f"{name} is now called {RENAMED[name]}: rename it in your inventory."
        elif name not in specs:
            near = difflib.get_close_matches(name, specs, n=1)
            hint = f"did you mean {near[0]}?" if near else "roles/*/README.md list those that there are."
            yield f"{name} is not a variable of ppm: {hint}"
    for name, spec in specs.items():
        value = values.get(name)
        if name not in values or value is None:
            if spec.get("required"):
                yield f"{name} is missing: set it in your inventory. {_about(spec)}"
        elif spec.get("elements") == "dict":
            yield from _credential_problems(name, spec["options"], value)
        elif (problem := _wrong_type(spec, value)) is not None:
            yield f"{name} is {value!r}: {problem}"
    yield from _wrong_values(
        {
            name: value
            for name, value in values.items()
            if name in specs and specs[name].get("elements") != "dict" and not _wrong_type(specs[name], value)
        }
    )


def _credential_problems(variable: str, options: Mapping[str, Any], value: Any) -> Iterator[str]:
    """What is wrong with declared users or tokens. No value is said but a name: any could be a secret."""
    if not isinstance(value, list | tuple):
        yield f"{variable}: it must be a list of mappings, such as [{{name: ann, role: reader}}]."
        return
    names = [entry.get("name") for entry in value if isinstance(entry, Mapping)]
    for number, entry in enumerate(value, start=1):
        if not isinstance(entry, Mapping):
            yield f"{variable}, number {number}: it must be a mapping with a name and a role."
            continue
        where = f"{variable}, number {number}"
        name = entry.get("name")
        is_token = variable == "ppm_tokens"
        if not isinstance(name, str) or not _CREDENTIAL.fullmatch(name) or ("+" in name) != is_token:
            must = "OWNER+PURPOSE, such as ci+deploy" if is_token else "letters, digits and . _ @ -"
            yield f"{where}: its name must be {must}."
            continue
        where += f" ({name})"
        if names.count(name) > 1 and names.index(name) == number - 1:
            yield f"{where}: the name is there twice."
        if entry.get("role") is None and entry.get("state") != "absent":
            yield f"{where}: its role is missing; one of {', '.join(options['role']['choices'])}."
        for key, given in entry.items():
            if key not in options or (is_token and key == "email"):
                near = difflib.get_close_matches(str(key), options, n=1)
                hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(options)}."
                yield f"{where}: {key} is not known; {hint}"
            elif given is not None and (wanted := _wrong_part(key, options[key], given)):
                yield f"{where}: its {key} must be {wanted}."


def _wrong_part(key: str, spec: Mapping[str, Any], given: Any) -> str | None:
    if key == "expires" and isinstance(given, date):  # as YAML has it without quotes
        return None
    if _wrong_type(spec, given) is not None:
        return " or ".join(spec["choices"]) if "choices" in spec else f"{_KINDS[spec['type']]}"
    if key == "secret" and not _SECRET.fullmatch(given):
        return "32 to 200 random characters without spaces (openssl rand -hex 32)"
    if key == "email" and not _EMAIL.fullmatch(given):
        return "an e-mail address"
    if key == "projects" and not all(_GLOB.fullmatch(glob) for glob in given):
        return "patterns of names, such as acme-*"
    if key == "expires":
        try:
            datetime.fromisoformat(given)
        except ValueError:
            return "a day such as 2030-01-31, or a time such as 2030-01-31T12:00:00Z"
    return None


def _about(spec: Mapping[str, Any]) -> str:
    description = spec["description"]
    return description if isinstance(description, str) else " ".join(description)


def _wrong_type(spec: Mapping[str, Any], value: Any) -> str | None:
    kind = spec.get("type", "str")
    if not isinstance(value, _TYPES[kind]) or (kind == "int" and isinstance(value, bool)):
        example = f", such as {spec['default']}" if kind in ("str", "path") and spec.get("default") else ""
        return f"it must be {_KINDS.get(kind, kind)}{example}."
    if isinstance(value, list | tuple) and (wrong := [item for item in value if not isinstance(item, str)]):
        return f"it must be a list of texts, and {wrong[0]!r} is none."
    if spec.get("choices") and value not in spec["choices"]:
        return f"it must be {' or '.join(spec['choices'])}."
    return None


def _wrong_values(values: Mapping[str, Any]) -> Iterator[str]:
    """What a type does not say. These end up in nginx's configuration and in systemd's units, hence so strict."""

    def check(name: str, fits: Callable[[str], object], must: str, *, empty: bool = False) -> Iterator[str]:
        value = values.get(name)
        for item in value if isinstance(value, list | tuple) else [value]:
            if isinstance(item, str) and not (empty and item == "") and not fits(item):
                yield f"{name} is {item!r}: it must be {must}."

    tls = values.get("ppm_tls")
    yield from check("ppm_domain", _DOMAIN.fullmatch, "a host name in small letters, such as packages.example.com")
    if tls != "none" and str(values.get("ppm_domain")).rpartition(".")[2].isdecimal():
        yield f"ppm_domain is {values['ppm_domain']!r}: certificates are for names; it must be a host name."
    yield from check("ppm_root", _ROOT.fullmatch, "an absolute path of letters, digits and . _ - /, such as /srv/ppm")
    must = "a folder of the index's own, such as /srv/ppm; this one has other uses"
    yield from check("ppm_root", _is_a_folder_of_its_own, must)
    yield from check("ppm_max_upload_size", _is_size, "a size such as 500M or 4G")
    yield from check("ppm_memory_max", _is_enough_memory, "a size of 128M or more, such as 512M or 2G")
    yield from check("ppm_private_names", _GLOB.fullmatch, "a pattern of names, such as acme-*")
    for name in ("ppm_upstream_url", "ppm_pip_index_url", "ppm_proxy_url", "ppm_acme_directory"):
        must = "a URL without a credential, such as https://index.example/simple/"
        yield from check(name, _URL.fullmatch, must, empty=True)
    yield from check("ppm_acme_email", _EMAIL.fullmatch, "an e-mail address", empty=True)
    yield from check("ppm_no_proxy", _HOSTS.fullmatch, "a host name or a network")
    yield from check("ppm_trusted_proxies", _is_network, "a network such as 10.0.0.0/8")
    if tls == "letsencrypt" and not values.get("ppm_acme_email"):
        yield (
            "ppm_acme_email is missing: set it in your inventory, the certificate authority warns that address before"
            " a certificate ends; or choose another ppm_tls (provided, selfsigned, none)."
        )
    for name in ("ppm_tls_certificate", "ppm_tls_key"):
        if tls == "provided" and not values.get(name):
            yield f"{name} is missing: with ppm_tls provided it is the path of a PEM file on the controlling machine."
    for name, low, high in (
        ("ppm_hsts_max_age", 0, 1 << 31),
        ("ppm_connections_per_address", 1, 1 << 16),
        ("ppm_threads", 2, 512),
        ("ppm_tasks_max", 64, 1 << 16),
        ("ppm_keep_releases", 2, 100),
    ):
        value = values.get(name)
        if isinstance(value, int) and not low <= value <= high:
            yield f"{name} is {value}: it must be from {low} to {high}."
    threads, tasks = values.get("ppm_threads", 0), values.get("ppm_tasks_max", 0)
    if 64 <= tasks < threads + _OTHER_TASKS and threads <= 512:
        yield f"ppm_tasks_max is {tasks}: with {threads} ppm_threads it must be {threads + _OTHER_TASKS} or more."


def _is_a_folder_of_its_own(path: str) -> bool:
    return path not in _SHARED and not any(PurePosixPath(path).is_relative_to(folder) for folder in _SYSTEM)


def _is_size(text: str, *, least: int = 1) -> bool:
    match = _SIZE.fullmatch(text)
    return match is not None and least <= int(match[1]) * _UNITS[match[2]] <= _MOST_BYTES


def _is_enough_memory(text: str) -> bool:
    return _is_size(text, least=_LEAST_MEMORY)


def _is_network(text: str) -> bool:
    try:
        ipaddress.ip_network(text, strict=False)
    except ValueError:
        return False
    return "%" not in text and "." not in text.partition("/")[2]  # neither a zone nor a netmask: nginx knows neither


def file_problems(values: Mapping[str, Any], read: Callable[[str], bytes]) -> Iterator[str]:
    """What is wrong with the files on the controlling machine that variables name."""
    authorities = values.get("ppm_ca_certificates") or []
    for path in authorities:
        if sum(Path(other).stem == Path(path).stem for other in authorities) > 1:
            yield f"ppm_ca_certificates: two files are called {Path(path).stem}, as the host would: rename one."
        try:
            x509.load_pem_x509_certificates(read(path))
        except OSError as exc:
            yield f"ppm_ca_certificates: {path} can't be read: {exc.strerror}."
        except ValueError:
            yield f"ppm_ca_certificates: {path} has no certificate in PEM."
    if values.get("ppm_tls") == "provided":
        yield from _certificate_problems(values, read)


def _certificate_problems(values: Mapping[str, Any], read: Callable[[str], bytes]) -> Iterator[str]:
    content = {}
    for name in ("ppm_tls_certificate", "ppm_tls_key"):
        try:
            content[name] = read(values[name])
        except OSError as exc:
            yield f"{name}: {values[name]} can't be read: {exc.strerror}."
    if len(content) < 2:
        return
    try:
        certificate, *chain = x509.load_pem_x509_certificates(content["ppm_tls_certificate"])
    except ValueError:
        yield f"ppm_tls_certificate: {values['ppm_tls_certificate']} has no certificate in PEM."
        return
    try:
        key = load_pem_private_key(content["ppm_tls_key"], password=None)
    except (ValueError, TypeError):
        yield f"ppm_tls_key: {values['ppm_tls_key']} has no private key in PEM without a passphrase."
        return
    form = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    if key.public_key().public_bytes(*form) != certificate.public_key().public_bytes(*form):
        yield "ppm_tls_key: it is not the key of ppm_tls_certificate's first certificate, which must be the host's."
    if certificate.not_valid_after_utc <= datetime.now(UTC):
        yield f"ppm_tls_certificate: it ended on {certificate.not_valid_after_utc:%Y-%m-%d}; get a new one."
    if certificate.not_valid_before_utc > datetime.now(UTC):
        yield f"ppm_tls_certificate: it counts from {certificate.not_valid_before_utc:%Y-%m-%d} on; wait till then."
    public = certificate.public_key()
    if isinstance(public, RSAPublicKey) and public.key_size < _LEAST_RSA:
        yield f"ppm_tls_certificate: nginx takes no RSA key of {public.key_size} bits; get one of {_LEAST_RSA}."
    if any(one.issuer != next_one.subject for one, next_one in zip([certificate, *chain], chain, strict=False)):
        yield "ppm_tls_certificate: it must be in order, each certificate followed by that of its issuer."
    names = _names(certificate)
    if not any(_covers(name, values["ppm_domain"]) for name in names):
        listed = ", ".join(names) or "no name"
        yield f"ppm_tls_certificate: it is for {listed}, and ppm_domain is {values['ppm_domain']}."


def _names(certificate: x509.Certificate) -> list[str]:
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return []
    return [name.lower() for name in extension.value.get_values_for_type(x509.DNSName)]


def _covers(name: str, domain: str) -> bool:
    return name == domain or (name.startswith("*.") and fnmatch.fnmatch(domain.partition(".")[2], name[2:]))


def host_problems(host: Mapping[str, Any], values: Mapping[str, Any]) -> Iterator[str]:
    """What keeps the host from being what the variables say."""
    if host["debian"] not in DEBIAN or not host["systemd"]:
        yield f"This host is not a Debian {' or '.join(DEBIAN)} that runs systemd; ppm is made for those."
    if host["user"] != 0:
        yield "ansible_become: the tasks do not run as root; use become, or root as ansible_user."
    volume, root = host["volume"], values["ppm_root"]
    if not volume["is_folder"]:
        yield f"ppm_root is {root}: {volume['nearest']} is not a folder; choose another path."
    elif volume["read_only"]:
        yield f"ppm_root is {root}: {volume['nearest']} is mounted read-only; mount it to be written."
    elif values["ppm_root_is_mount"] and not volume.get("is_mount"):
        yield f"ppm_root_is_mount: nothing is mounted at {root}; mount the volume, or set it to false."
    elif volume["free_inodes"] == 0:
        yield f"ppm_root is {root}: {volume['nearest']} has no inode left for another file; make room."
    elif volume["free"] < MIN_FREE:
        free = f"{volume['free'] >> 20} MB free, {MIN_FREE >> 20} MB are needed"
        yield f"ppm_root is {root}: {volume['nearest']} has {free}; make room."
    for port, program in host["listeners"].items():
        wanted = {"80"} if values.get("ppm_tls") == "none" else {"80", "443"}
        if program != "nginx" and "ppm_tls" in values and port in wanted:
            yield (
                f"Port {port} is taken by {program}: stop it (apt-get purge it if it is not needed), or use another"
                " host; an index needs port 80, and 443 unless ppm_tls is none."
            )
