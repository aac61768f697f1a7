"""`ppmctl web`."""

from __future__ import annotations

import os
import sys
import webbrowser
from collections.abc import Mapping
from pathlib import Path

import click

from ppmctl import output
from ppmctl.cli.options import Answer, answers
from ppmctl.cli.package_source import connected, index_options
from ppmctl.client.identity import login_link


@click.command()
@click.argument("path", default="")
@click.option("--print", "is_printed", is_flag=True, help="Print the link instead of opening a browser.")
@index_options
@answers
def web(path: str, is_printed: bool, index: str | None, credential_file: Path | None) -> Answer:
    """Open the index in a browser, logged in with your credential, at the page PATH (such as /project/hello/).

    The link works once, for a minute. Where there is no browser, it is printed: open it yourself.
    """
    with connected(index, credential_file) as (address, transport):
        link = login_link(address, transport, path)
    is_opened = not is_printed and _has_browser(os.environ, sys.platform) and webbrowser.open(link.url)
    notes = [f"{address.base}/ is open in the browser."] if is_opened else [f"It works once, until {link.expires}."]
    values = {"index": address.base, "url": link.url, "expires": link.expires, "is_opened": is_opened}
    return Answer(values, lambda: None if is_opened else output.data(link.url), notes=notes)


def _has_browser(environ: Mapping[str, str], platform: str) -> bool:
    """Return whether a browser with windows can be opened here. Without BROWSER, none in the terminal is wanted."""
    has_windows = platform in ("darwin", "win32") or bool(environ.get("DISPLAY") or environ.get("WAYLAND_DISPLAY"))
    return has_windows or bool(environ.get("BROWSER"))
