"""twine: its .pypirc, which flit and ppmctl read too."""

from __future__ import annotations

from ppmctl.address import base_url
from ppmctl.clients import IndexTarget, Snippet, ini, sh
from ppmctl.clients.lines import Add, Body, Mute, Plan, Unreadable
from ppmctl.errors import UsageError

# What twine means by a file without index-servers; with one, it knows no others than those it names.
IMPLIED = ("pypi", "testpypi")


def wanted(target: IndexTarget) -> dict[str, str]:
    """The options of the index's section, by name."""
    options = {"repository": target.address.upload}
    if target.username:
        options["username"] = target.username
    if target.ca:
        options["ca_cert"] = target.ca
    return options


def render(target: IndexTarget, place: str) -> Snippet:
    """A .pypirc with one index to upload to, without a password."""
    where = (
        ["the password is in the keyring, where `ppmctl login` put it"]
        if target.in_keyring
        else [
            "the password into TWINE_PASSWORD, or a keyring:",
            f"# keyring set {target.address.upload} {target.username or 'USER'}",
        ]
    )
    lines = [
        f"# {place}, for twine upload --repository {target.name}; {where[0]}",
        *where[1:],
        "[distutils]",
        "index-servers =",
        *(f"    {name}" for name in (*IMPLIED, target.name)),
        "",
        f"[{target.name}]",
        *(f"{name} = {value}" for name, value in wanted(target).items()),
    ]
    return Snippet(text="\n".join(lines), says=_authorities(target))


def says(target: IndexTarget) -> tuple[str, ...]:
    """What to know beside the file."""
    secret = (
        "the secret is in the keyring, where `ppmctl login` put it"
        if target.in_keyring
        else f"the secret: keyring set {sh(target.address.upload)} {sh(target.username or 'USER')}; in CI"
        " TWINE_PASSWORD, FLIT_PASSWORD"
    )
    publish = f"twine upload --repository {target.name} dist/*, or flit publish --repository {target.name}"
    return (f"To publish: {publish}; {secret}.", *_authorities(target))


def _authorities(target: IndexTarget) -> tuple[str, ...]:
    if target.ca:
        return (f"flit reads no ca_cert: REQUESTS_CA_BUNDLE={target.ca}",)
    return ()


def normal(name: str) -> str:
    """The name of an option, as configparser has it."""
    return name.lower()


def plan(body: Body, target: IndexTarget) -> Plan:
    """What makes a .pypirc know the index. Unreadable where its name is another index's there."""
    file = ini.File(body, normal)
    edits: list[Add | Mute] = []
    options = wanted(target)
    section = file.section(target.name)
    if section is not None and not _is_about(file.values[target.name].get("repository"), target):
        raise Unreadable(
            f"[{target.name}] is about another index.", line=section.header + 1, hint="Call this one --name OTHER."
        )
    distutils = file.section("distutils")
    if distutils is not None and distutils.option("index-servers"):
        edits += file.put_into(distutils, "index-servers", target.name)
    else:
        servers = [("index-servers =", *(f"    {name}" for name in IMPLIED)), (f"    {target.name}",)]
        if distutils is None:
            edits.append(file.new_section("distutils", *servers[0]))
        else:
            edits.append(Add(at=distutils.end, texts=servers[0]))
        edits.append(Add(at=edits[-1].at, texts=servers[1]))
    if section is None:
        lines = [f"{name} = {value}" for name, value in options.items()]
        at = len(body.lines)
        edits.append(
            Add(at=at, texts=(*([""] if body.lines or distutils is None else []), f"[{target.name}]", *lines))
        )
    else:
        for name, value in options.items():
            edits += file.set_one(section, name, value)
    touched: dict[tuple[str, str], object] = {(target.name, name): None for name in options}
    return ini.proven(file, edits, normal, {**touched, ("distutils", "index-servers"): None}, _notes(body))


def _notes(body: Body) -> tuple[str, ...]:
    return ("It starts with a byte order mark, at which twine stops: save it without one.",) if body.bom else ()


def _is_about(repository: str | None, target: IndexTarget) -> bool:
    try:
        return repository is not None and base_url(repository, where="") == target.address.base
    except UsageError:
        return False
