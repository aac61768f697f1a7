"""What mirrors are told, so that they miss no change."""

from __future__ import annotations

from ppmctl.server.mirror_api import reported


def test_a_mirror_gets_no_serial_that_a_later_change_of_another_project_has() -> None:
    """A page that changed often has a serial of the future; the other project's next one has that second's."""
    before = reported({"busy": 1100, "old": 900}, now=1000.9)
    assert before["old"] == 900
    assert before["busy"] < 1000
    after = reported({"busy": 1100, "old": 1000}, now=1010)
    assert {name for name, serial in after.items() if serial > max(before.values())} == {"busy", "old"}
    later = reported({"busy": 1100, "old": 1000}, now=2000)
    assert later == {"busy": 1100, "old": 1000}
