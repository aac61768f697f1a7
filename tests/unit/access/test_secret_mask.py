"""Secrets in texts that are logged: each spelling is found, and ordinary names are not."""

from __future__ import annotations

import logging
import secrets
import time

import pytest

from ppmctl.access import htpasswd, invites, secret_mask

SECRET = "ppm_" + "aB3_" * 10 + "xyz"
SPELLINGS = {
    "as issued": SECRET,
    "an invite's code": "ppm_join_" + "aB3_" * 8,
    "its first half": SECRET[:28],
    "in the middle of a name": f"ann-{SECRET}-laptop",
    "in a query": f"a=1&token={SECRET}&b=2",
    "an encoded underscore": SECRET.replace("ppm_", "ppm%5F"),
    "an underscore that was encoded twice": SECRET.replace("ppm_", "ppm%255f"),
    "every sign encoded": "".join(f"%{ord(sign):02x}" for sign in SECRET),
    "every sign encoded twice": "".join(f"%25{ord(sign):02X}" for sign in SECRET),
    "another case of the prefix": SECRET.replace("ppm_", "PpM_"),
}
NAMES = (
    *(
        "ppm_env",
        "ppm_x",
        "ppm_bot",
        "ppm_",
        "ppm-env-geo-analysis-with-a-long-name",
        "PPM_PRIVATE_NAMES_OF_THIS_INDEX",
    ),
    *("ppm_env_for_everybody_who_learns_machines-1.0.0-py3-none-any.whl", "ppm_Toolbox2-1.0.tar.gz"),
    *("ppm_MyVeryLongProjectNameForTesting", "a%20ppm_env%20And%20many%20more%20words%20with%203%20numbers"),
)


@pytest.mark.parametrize("text", SPELLINGS.values(), ids=SPELLINGS)
def test_each_spelling_of_a_secret_is_masked(text: str) -> None:
    assert secret_mask.has_secret(text)
    masked = secret_mask.mask(f"before {text} {text} after")
    assert masked.startswith("before ")
    assert masked.endswith(" after")
    assert masked.count(secret_mask.MASKED) == 2
    assert "aB3" not in masked
    assert "%61%42%33" not in masked.replace("%25", "%")


@pytest.mark.parametrize("name", NAMES)
def test_ordinary_names_are_no_secrets(name: str) -> None:
    assert not secret_mask.has_secret(name)
    assert not secret_mask.has_whole_secret(name)
    assert secret_mask.mask(name) == name


def test_every_issued_secret_is_found() -> None:
    for _ in range(200):
        for made in (htpasswd.new_secret(), invites.new_code()):
            assert secret_mask.has_secret(made), made
            assert secret_mask.has_whole_secret(f"/simple/{made}/"), made


def test_names_of_files_are_not_whole_secrets() -> None:
    """A path is refused only for a whole secret: such files may be published."""
    for name in ("ppm_GeoAnalysis2ToolkitNotebook_extra-1.0-py3-none-any.whl", f"{SECRET}extra", SECRET[:-1]):
        assert secret_mask.has_secret(name)
        assert not secret_mask.has_whole_secret(name)


@pytest.mark.parametrize("unit", ["ppm_", "p", "%70", "ppm%5f%41", "ppm_a", "%25"])
def test_a_long_text_costs_little(unit: str) -> None:
    """A client chooses it, and nginx and the application look at it before they authenticate."""
    text = unit * (32_000 // len(unit))
    start = time.thread_time()
    secret_mask.mask(text)
    secret_mask.has_whole_secret(text)
    assert time.thread_time() - start < 2


@pytest.fixture
def _masked_logs() -> object:
    before = logging.getLogRecordFactory()
    secret_mask.mask_logs()
    yield
    logging.setLogRecordFactory(before)


@pytest.mark.usefixtures("_masked_logs")
def test_logs_have_no_secret(caplog: pytest.LogCaptureFixture) -> None:
    """Neither in the message, nor in its arguments, nor in a traceback."""
    log = logging.getLogger("a.library")
    log.error("%s %s failed, %d%%", "GET", f"/simple/{SECRET}/", 7)
    log.error("Invalid header: Authorization Basic %s==", secrets.token_hex(20))
    try:
        raise ValueError(SECRET)
    except ValueError:
        log.exception("It failed: %s", SECRET)
    assert "/simple/ppm_***/ failed, 7%" in caplog.text
    assert "Authorization Basic ***" in caplog.text
    assert "ValueError: ppm_***" in caplog.text
    assert "aB3" not in caplog.text
