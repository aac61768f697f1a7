"""twine's .pypirc, which flit and ppmctl read too."""

from __future__ import annotations

from ppmctl.client.index_url import base_url
from ppmctl.client_config.index_target import IndexTarget, Scope
from ppmctl.client_config.ini import IniEdit
from ppmctl.client_config.lines import Body, Unreadable
from ppmctl.errors import UsageError

# The servers that twine knows if the file has no index-servers; otherwise it knows only those.
IMPLIED = ("pypi", "testpypi")


def wanted(target: IndexTarget) -> dict[str, str]:
    """Return the options of the index's section, by name."""
    options = {"repository": target.address.upload, "username": target.username, "ca_cert": target.ca}
    return {name: value for name, value in options.items() if value}


def notes(target: IndexTarget, _scope: Scope) -> tuple[str, ...]:
    """Return what to know besides the file."""
    secret = target.publishing_secret("TWINE_PASSWORD, FLIT_PASSWORD")
    publish = f"twine upload --repository {target.name} dist/*, or flit publish --repository {target.name}"
    authorities = [f"flit ignores ca_cert; it needs REQUESTS_CA_BUNDLE={target.ca}"] if target.ca else []
    return (f"To publish: {publish}; {secret}.", *authorities)


File = IniEdit


def plan(body: Body, target: IndexTarget, _scope: Scope) -> IniEdit:
    """Return the edit for a .pypirc. Raise Unreadable where the file calls another index by that name."""
    edit = File(body)
    if target.name in edit.values and not _is_about(edit.values[target.name].get("repository"), target):
        header = next(each for each in edit.statements if each.section == target.name)
        raise Unreadable(
            f"[{target.name}] is another index.", line=header.start + 1, hint="Choose another name: --name OTHER"
        )
    if "index-servers" in edit.values.get("distutils", {}):
        edit.set("distutils", "index-servers", target.name, is_list=True)
    else:  # two groups, so that the first can stay where others have added names below it
        edit.put("distutils", "index-servers =", *(f"    {name}" for name in IMPLIED))
        edit.put("distutils", f"    {target.name}")
    for name, value in wanted(target).items():
        edit.set(target.name, name, value)
    if body.bom:
        edit.notes.append("It starts with a byte order mark, which twine rejects: save it without one.")
    return edit.finish()


def _is_about(repository: str | None, target: IndexTarget) -> bool:
    try:
        return repository is not None and base_url(repository, where="") == target.address.base
    except UsageError:
        return False
