"""The parts of htpasswd for nginx: credentials/nginx/."""

from __future__ import annotations

import re
from pathlib import Path

from ppmctl.access import accounts, credential_files, nginx_htpasswd, rights
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


def test_limited_credentials_are_in_no_part(volume: Volume) -> None:
    """nginx could serve them everything. A file of their own has their line, while they work and are limited."""

    def found() -> tuple[set[str], dict[str, str]]:
        listed = "".join(path.read_text() for path in volume.parts.iterdir()).splitlines()
        limited = {path.name: path.read_text() for path in volume.limited.iterdir()}
        return {line.partition(":")[0] for line in listed}, limited

    def lines(*names: str) -> dict[str, str]:
        stored = volume.htpasswd.read_text().splitlines()
        return {line.partition(":")[0]: f"{line}\n" for line in stored if line.partition(":")[0] in names}

    accounts.create_user(volume, ME, "ops", role="reader")
    accounts.create_token(volume, ME, "ops+early", role="reader")  # limited later, by its owner alone
    accounts.create_user(volume, ME, "ann", role="publisher", reads=["acme-*"])
    accounts.create_token(volume, ME, "ann+ci", role="reader")
    assert found() == ({"ops", "ops+early"}, lines("ann", "ann+ci"))
    assert {path.stat().st_mode & 0o777 for path in volume.limited.iterdir()} == {0o640}
    accounts.rotate(volume, ME, "ann+ci")
    assert found() == ({"ops", "ops+early"}, lines("ann", "ann+ci"))
    accounts.change(volume, ME, "ann", reads=[])
    assert found() == ({"ops", "ops+early", "ann"}, lines("ann+ci")), "the token has the limit as its own"
    accounts.change(volume, ME, "ops", projects=["acme-*"])
    accounts.remove(volume, ME, "ann")
    assert found() == (set(), lines("ops", "ops+early"))
    (volume.limited / "eve").write_text("eve:{PLAIN}x\n")
    accounts.prune(volume)
    assert found() == (set(), lines("ops", "ops+early"))
    accounts.disable(volume, ME, "ops")
    assert found() == (set(), {})


def test_the_name_of_a_limited_credential_leads_nowhere(volume: Volume) -> None:
    """A name that was written by hand can be a path: nginx then knows the credential from no file."""
    accounts.create_user(volume, ME, "ann", role="reader", projects=["acme-*"])
    stored = volume.htpasswd.read_text().partition(":")[2]
    entries = volume.access.read_text()
    for number, name in enumerate(("ann+/../../x", "ann+../nginx/00", "ann+.x y", "ann+" + "x" * 65)):
        entries += f'"{name}": {{role: reader}}\n'
        volume.htpasswd.write_text(f"{volume.htpasswd.read_text()}{name}:{stored}")
        assert name in credential_files.snapshot(volume).hashes, number
    volume.access.write_text(entries)
    accounts.prune(volume)
    assert [path.name for path in volume.limited.iterdir()] == ["ann"]
    assert "".join(path.read_text() for path in volume.parts.iterdir()) == ""
    assert not (volume.root / "x").exists()


def test_nginx_and_ppmctl_agree_on_the_form_of_a_name() -> None:
    template = Path(__file__).parents[3] / "roles/nginx/templates/etc/nginx/ppm/http.conf.j2"
    (pattern,) = re.findall(r'"~\^\(\?<ppm_name>(.*)\)\\z" \$ppm_name;', template.read_text(encoding="utf-8"))
    assert pattern.replace("(?:", "(") == rights._NAME.pattern


def test_a_line_without_an_entry_is_in_no_part(volume: Volume) -> None:
    """It was added by hand and has no rights yet."""
    accounts.create_user(volume, ME, "ops", role="reader")
    stray = volume.htpasswd.read_text().replace("ops:", "stray:")
    with volume.htpasswd.open("a") as file:
        file.write(stray)
    credential_files.ensure_htpasswd(volume)
    assert stray not in "".join(path.read_text() for path in volume.parts.iterdir())
