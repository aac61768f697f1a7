"""Ask the web pages without a socket, as a browser would: with cookies, and forms that have their page's token."""

from __future__ import annotations

import re
from html import unescape
from html.parser import HTMLParser
from typing import Any

from werkzeug.test import Client, TestResponse

from ppmctl.access import accounts
from ppmctl.access.account import SERVER
from ppmctl.access.credential_files import Access, Credentials
from ppmctl.distributions import distribution
from ppmctl.index.search_index import SearchIndex
from ppmctl.index.store import Store
from ppmctl.server.settings import server_settings
from ppmctl.web.application import application

HTML = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


class Page(HTMLParser):
    """An answer: its status, headers, text as a reader sees it, links, and the hidden fields of its forms."""

    def __init__(self, answer: TestResponse) -> None:
        super().__init__()
        self.status, self.headers, self.html = answer.status_code, answer.headers, answer.get_data(as_text=True)
        self.links: list[str] = []
        self.fields: dict[str, str] = {}
        self._words: list[str] = []
        self._hidden = 0
        self.feed(self.html)

    @property
    def text(self) -> str:
        """Return the words of the page, each once separated by one space."""
        return re.sub(r"\s+", " ", " ".join(self._words)).strip()

    @property
    def fixed(self) -> str:
        """Return the HTML without the tokens of forms, which are other texts each time."""
        return re.sub(r'(?<=name="form_token" value=")[0-9a-f]+', "", self.html)

    @property
    def location(self) -> str:
        return self.headers.get("Location", "")

    @property
    def secret(self) -> str:
        """Return the secret that the page shows."""
        found = re.search(r"ppm_[A-Za-z0-9_-]{43}", self.html)
        assert found is not None, self.text
        return found[0]

    def wrong(self, field: str) -> str:
        """Return what the page says is wrong with a field; "" for nothing."""
        found = re.search(rf'id="{field}-wrong" role="alert">([^<]*)', self.html)
        return unescape(found[1]) if found else ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        self._hidden += tag in ("script", "style", "title")
        if tag == "a" and "href" in values:
            self.links.append(values["href"])
        if tag == "input" and values.get("type") == "hidden":
            self.fields.setdefault(values.get("name", ""), values.get("value", ""))

    def handle_endtag(self, tag: str) -> None:
        self._hidden -= tag in ("script", "style", "title")

    def handle_data(self, data: str) -> None:
        if not self._hidden:
            self._words.append(data)


class Visitor:
    """A browser at an index. `https`: it has connected by TLS."""

    def __init__(self, store: Store, *, https: bool = False, **settings: Any) -> None:
        self.store = store
        SearchIndex(store).refresh()
        values = server_settings(store.volume.root, flags=settings, environ={})
        self.application = application(values, store)
        self.client = Client(self.application)
        self.base = "https://index.test" if https else "http://index.test"

    def another(self) -> Visitor:
        """Return another browser at the same running index, which is not logged in."""
        other = object.__new__(Visitor)
        other.__dict__ |= {**self.__dict__, "client": Client(self.application)}
        return other

    def credential(self, name: str, secret: str) -> Access:
        """Return what a credential may do now; fail if it does not work."""
        access = Credentials(self.store.volume).authenticate(name, secret)
        assert access is not None
        return access

    def get(self, path: str, **headers: str) -> Page:
        """Ask for a page; redirects are not followed."""
        return Page(self.client.get(path, base_url=self.base, headers=HTML | headers))

    def post(self, path: str, *, at: str | None = None, **fields: Any) -> Page:
        """Send a form, with the token of the page `at`, by default of the login page or of the same path."""
        token = self.get(at or path).fields.get("form_token", "")
        return self.send(path, form_token=token, **fields)

    def send(self, path: str, *, headers: dict[str, str] | None = None, **fields: Any) -> Page:
        """Send exactly these fields."""
        sent = {"Origin": self.base, **HTML, **(headers or {})}
        return Page(self.client.post(path, base_url=self.base, data=fields, headers=sent))

    def log_in(self, name: str, secret: str, **fields: str) -> Page:
        return self.post("/login", username=name, password=secret, **fields)

    def publish(self, *made: tuple[str, bytes], by: str = "ann+ci", **options: Any) -> None:
        """Publish what `wheels` made, without an upload, and bring the search index up to date."""
        projects = set()
        for filename, content in made:
            with self.store.area.new_file() as received:
                received.write(content)
                received.finish()
                dist = distribution.inspect(received.path, filename)
                self.store.put(received, dist, by=by, show=False, **options)
                projects.add(dist.name.project)
        for project in projects:
            self.store.refresh(project)
        SearchIndex(self.store).refresh()

    def as_user(self, name: str, role: str = "reader", **grant: Any) -> str:
        """Create a user, log in, and return the user's secret."""
        issued = accounts.create_user(self.store.volume, SERVER, name, role=role, **grant)
        secret = issued.secret.reveal()
        page = self.log_in(name, secret)
        assert page.status == 303, page.text
        return secret
