"""The parts of htpasswd for nginx: credentials/nginx/."""

from __future__ import annotations

from ppmctl.access import accounts, credential_files, nginx_htpasswd
from ppmctl.access.account import Actor
from ppmctl.index.layout import Volume

ME = Actor(name="unix:ada", origin="here")


def test_part_of_computes_the_hash_of_nginx() -> None:
    """Known values of MurmurHash2; tests/nginx checks that nginx agrees."""
    assert [nginx_htpasswd.part_of(name) for name in ("", "a", "ops", "ops+laptop", "x" * 129)] == [0, 57, 84, 51, 40]


def test_parts_have_the_enabled_users_and_prune_repairs_them(volume: Volume) -> None:
    """Each line is in the part of its name; a missing or wrong part is repaired by the next prune."""
    for name in ("ops", "ada", "eve"):
        accounts.create_user(volume, ME, name, role="reader")
    accounts.disable(volume, ME, "eve")
    listed = volume.htpasswd.read_text().splitlines()
    assert len(listed) == 2

    def parts() -> dict[str, str]:
        return {path.name: path.read_text() for path in volume.parts.iterdir()}

    right = {f"{number:02d}": "" for number in range(nginx_htpasswd.PARTS)}
    right |= {f"{nginx_htpasswd.part_of(line.partition(':')[0]):02d}": f"{line}\n" for line in listed}
    assert parts() == right
    assert {path.stat().st_mode & 0o777 for path in volume.parts.iterdir()} == {0o640}
    (volume.parts / "00").unlink()
    (volume.parts / "84").write_text("eve:{PLAIN}x\n")
    accounts.prune(volume)
    assert parts() == right


def test_a_line_without_an_entry_is_in_no_part(volume: Volume) -> None:
    """It was added by hand and has no rights yet."""
    accounts.create_user(volume, ME, "ops", role="reader")
    stray = volume.htpasswd.read_text().replace("ops:", "stray:")
    with volume.htpasswd.open("a") as file:
        file.write(stray)
    credential_files.ensure_htpasswd(volume)
    assert stray not in "".join(path.read_text() for path in volume.parts.iterdir())
