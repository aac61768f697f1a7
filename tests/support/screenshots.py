"""Make the pictures of the web pages in docs/images/, with a real server and Debian's Chromium: make screenshots."""

from __future__ import annotations

import tempfile
from pathlib import Path

from support import browsed, servers
from support.browser import chromium, tab

FOLDER = Path(__file__).parents[2] / "docs" / "images"
PAGES = {
    "home": "/",
    "project": "/project/sea-maps/",
    "environment": "/environment/coast/",
    "account": "/account/",
    "admin": "/admin/",
    "upload": "/upload/",
}
WINDOW = {"width": 1000, "height": 700}


def main() -> None:
    """Write one PNG file for each page."""
    with tempfile.TemporaryDirectory(prefix="ppm-screenshots-") as work, chromium() as browser:
        server = servers.start(Path(work) / "root", options=("--upstream", "none"))
        try:
            browsed.fill(server)
            with tab(browser, server.url, viewport=WINDOW, timezone_id="Europe/Berlin", locale="en-GB") as opened:
                opened.log_in(*server.auth)
                for name, path in PAGES.items():
                    opened.open(path)
                    # the port changes with each run
                    opened.page.evaluate(
                        """port => { for (const code of document.querySelectorAll("code"))
                            code.textContent = code.textContent.replaceAll(port, ":8080"); }""",
                        f":{server.port}",
                    )
                    opened.page.screenshot(path=FOLDER / f"{name}.png")
        finally:
            server.kill()


if __name__ == "__main__":
    main()
