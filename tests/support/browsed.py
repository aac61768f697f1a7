"""An index with something to see on each of its web pages, and the list of these pages."""

from __future__ import annotations

from support import wheels
from support.environments import revision
from support.servers import Server, ppmctl

README = """# Sea maps

Draws maps of the sea from [tide tables](https://tides.example/), for paper and for screens.

```python
import sea_maps

sea_maps.draw("Atlantic", scale=250_000).save("atlantic.svg")
```

| scale | paper | of |
| --- | --- | --- |
| 1 : 250 000 | A3 | coast |
| 1 : 1 000 000 | A2 | ocean |

- Depths in metres or fathoms
- Lights, buoys and wrecks

![A map](https://maps.example/atlantic.png)
"""
# as an admin; a test checks that each route of the site is one of them, or of STRANGERS_PAGES
PAGES = (
    "/",
    "/projects/",
    "/projects/?order=newest",
    "/search?q=sea",
    "/search?q=nothing+like+it",
    "/project/sea-maps/",
    "/project/sea-maps/1.1/",
    "/project/harbour-lights/",
    "/project/sea-maps/manage",
    "/project/sea-maps/manage/remove?release=1.0",
    "/environments/",
    "/environments/delete",
    "/environment/coast/",
    "/environment/coast/delete",
    "/account/",
    "/upload/",
    "/admin/",
    "/admin/project?name=sea-maps",
    "/admin/users/",
    "/admin/users/ann/",
    "/admin/users/ann/disable",
    "/admin/users/ann/remove",
    "/admin/tokens/",
    "/admin/statistics/",
    "/admin/audit",
)
STRANGERS_PAGES = ("/login", "/join")


def fill(index: Server) -> None:
    """Publish projects, a shared environment and what else pages show; make the users ann (publisher) and bob."""
    fields = {
        "summary": "Maps of the sea, drawn from tide tables",
        "keywords": "maps,sea,tides",
        "license_expression": "MIT",
        "requires_python": ">=3.11",
        "author": "Ann Chart",
        "author_email": "Ann Chart <ann@maps.example>",
        "project_url": "Documentation, https://maps.example/docs",
        "description_content_type": "text/markdown",
    }
    for version in ("1.0", "1.1", "2.0"):
        meta = wheels.metadata("sea-maps", version, metadata_version="2.4", **fields).partition(b"\n\n")[0]
        more = b"\nRequires-Dist: tide-tables>=1\nRequires-Dist: numpy\nRequires-Dist: rich ; extra == 'cli'"
        more += b"\nProvides-Extra: cli\nClassifier: Topic :: Scientific/Engineering :: GIS"
        more += b"\nClassifier: Programming Language :: Python :: 3"
        made = wheels.wheel("sea-maps", version, meta=meta + more + b"\n\n" + README.encode())
        assert index.upload(made).status_code == 200
        assert index.upload(wheels.sdist("sea-maps", version, meta=meta + more + b"\n\n" + README.encode())).ok
    for name, summary in (
        ("tide-tables", "When the water comes"),
        ("harbour-lights", "Where the coast is"),
        ("fathom", "Depths, in metres and fathoms"),
        *((name, "") for name in ("flask", "passlib", "flask-login")),
    ):
        more = {"summary": summary} if summary else {}
        assert index.upload(wheels.wheel(name, "1.2", **more)).status_code == 200
    for number, wanted in ((1, ("sea-maps", "rich")), (2, ("sea-maps>=2", "tide-tables"))):
        assert index.upload(revision("coast", number, *wanted)).status_code == 200
    place = ("--root", str(index.root))
    ppmctl("package", "yank", "sea-maps", "1.1", "--reason", "draws Atlantis", *place)
    ppmctl("package", "status", "harbour-lights", "deprecated", "--reason", "use sea-maps", *place)
    ppmctl("user", "add", "ann", "--role", "publisher", *place)
    ppmctl("user", "add", "bob", "--role", "reader", *place)
