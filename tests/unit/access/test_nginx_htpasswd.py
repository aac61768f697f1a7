"""Where nginx looks for whom: credentials/nginx/."""

from __future__ import annotations

from ppmctl.access import accounts, credential_files, nginx_htpasswd
from ppmctl.access.account import Actor
from ppmctl.index.layout import Volume

ME = Actor(name="unix:ada", origin="here")


def test_every_part_has_the_names_that_nginx_looks_for_there() -> None:
    """Facts about MurmurHash2; that nginx agrees is tests/nginx's to show."""
    assert [nginx_htpasswd.part_of(name) for name in ("", "a", "ops", "ops+laptop", "x" * 129)] == [0, 57, 84, 51, 40]


def test_nginx_reads_whom_the_application_lets_in(volume: Volume) -> None:
    """One line each, in the part of the name; parts that are missing or wrong are mended by the next prune."""
    for name in ("ops", "ada", "eve"):
        accounts.create_user(volume, ME, name, role="reader")
    accounts.disable(volume, ME, "eve")
    listed = volume.htpasswd.read_text().splitlines()
    assert len(listed) == 2

    def found() -> dict[str, str]:
        return {path.name: path.read_text() for path in volume.parts.iterdir()}

    right = {f"{number:02d}": "" for number in range(nginx_htpasswd.PARTS)}
    right |= {f"{nginx_htpasswd.part_of(line.partition(':')[0]):02d}": f"{line}\n" for line in listed}
    assert found() == right
    assert {path.stat().st_mode & 0o777 for path in volume.parts.iterdir()} == {0o640}
    (volume.parts / "00").unlink()
    (volume.parts / "84").write_text("eve:{PLAIN}x\n")
    accounts.prune(volume)
    assert found() == right


def test_a_line_by_hand_is_not_for_nginx(volume: Volume) -> None:
    """It has no rights before somebody says which."""
    accounts.create_user(volume, ME, "ops", role="reader")
    stray = volume.htpasswd.read_text().replace("ops:", "stray:")
    with volume.htpasswd.open("a") as file:
        file.write(stray)
    credential_files.make_list(volume)
    assert stray not in "".join(path.read_text() for path in volume.parts.iterdir())
