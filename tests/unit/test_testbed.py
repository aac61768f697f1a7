"""Tests of the testbed's settings, leases and images; tests/hosts tests its hosts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from testbed import compose, container, debian, deployment, disposable, engine, lease, machine, place, playbook, ports
from testbed.bed import Stay, sweep
from testbed.engine import Engine
from testbed.errors import BedError
from testbed.hosts import Wanted
from testbed.lease import Lease
from testbed.playbook import Recap

OUTPUT = """
PLAY [all] *********************************************************************

TASK [nginx : Write the configuration] *****************************************
changed: [a] => (item=nginx.conf)
changed: [a] => (item=site.conf)
ok: [b]

TASK [Look] ********************************************************************
ok: [a]

TASK [Say changed: [a]] ********************************************************
ok: [a] =>
    msg: |-
        changed: [a]

RUNNING HANDLER [nginx : Reload nginx] *****************************************
changed: [b -> a(10.0.0.1)]

PLAY RECAP *********************************************************************
a                          : ok=5    changed=1    unreachable=0    failed=0    skipped=1    rescued=0    ignored=0
b                          : ok=1    changed=1    unreachable=0    failed=2    skipped=0    rescued=3    ignored=4
"""


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return place.cache()


# the machine


def test_a_container_gets_pip_settings_that_are_valid_in_it() -> None:
    settings = {
        "cert": "/opt/company/ca.pem",
        "extra-index-url": "file:///opt/simple https://packages.example.com/simple\nhttp://localhost:3141/x",
        "find-links": "/opt/wheels",
        "index-url": "https://mirror.example.com/simple",
        "no-color": "true",
        "timeout": "180",
    }
    assert machine.pip_configuration(settings).splitlines() == [
        "[global]",
        "index-url = https://mirror.example.com/simple",
        "extra-index-url = https://packages.example.com/simple",
        "timeout = 180",
        "cert = /etc/ssl/certs/ca-certificates.crt",
    ]
    assert machine.pip_configuration({"find-links": "./x ~/y /z", "no-color": "1"}) == ""


def test_a_container_gets_the_proxies_that_it_can_reach() -> None:
    here = {"http_proxy": "http://127.0.0.1:3128", "HTTPS_PROXY": "http://proxy.example.com:3128"}
    assert machine.environment(here).splitlines()[-4:] == [
        "https_proxy=http://proxy.example.com:3128",
        "HTTPS_PROXY=http://proxy.example.com:3128",
        "no_proxy=localhost,127.0.0.1,.test",
        "NO_PROXY=localhost,127.0.0.1,.test",
    ]
    assert "127.0.0.1:3128" not in machine.environment(here)
    assert machine.apt_proxies(here) == 'Acquire::https::Proxy "http://proxy.example.com:3128";\n'
    assert machine.environment({"http_proxy": "http://localhost:3128", "no_proxy": "x"}) == ""
    assert machine.environment({}) == machine.apt_proxies({}) == ""


def test_mirrors_are_read_from_both_forms_of_apt_sources() -> None:
    new = "Types: deb\n# URIs: http://old.example.com/debian\nURIs: http://a.example.com/debian\nSuites: x\n"
    old = "deb [arch=amd64 signed-by=/x] https://b.example.com/debian-security y main\n"
    old += "# deb http://c.example.com/debian z\n"
    assert list(machine.source_uris(new)) == ["http://a.example.com/debian"]
    assert list(machine.source_uris(old)) == ["https://b.example.com/debian-security"]


# playbooks


def test_the_recap_and_the_changed_tasks_are_read_from_ansibles_output() -> None:
    assert playbook.recaps(OUTPUT) == {
        "a": Recap(ok=5, changed=1, skipped=1),
        "b": Recap(ok=1, changed=1, failed=2, rescued=3, ignored=4),
    }
    assert playbook.changed_tasks(OUTPUT) == ("nginx : Write the configuration", "nginx : Reload nginx")


def test_a_playbook_run_has_a_time_limit(tmp_path: Path) -> None:
    (tmp_path / "p.yml").write_text(
        "- {hosts: all, gather_facts: false, connection: local, tasks: [{ansible.builtin.command: sleep 60}]}\n"
    )
    (tmp_path / "hosts.yml").write_text("all: {hosts: {here: {ansible_connection: local}}}\n")
    result = playbook.run(tmp_path / "p.yml", tmp_path / "hosts.yml", timeout=1)
    assert result.code == 124
    assert result.seconds < 30
    assert result.hosts == {}


# leases


def test_a_lease_is_valid_while_its_process_lives(cache: Path) -> None:
    mine = Lease(name="mine")
    mine.take("unix:///a")
    script = """
        from testbed.lease import Lease
        theirs = Lease(name="theirs")
        theirs.take("unix:///b")
        print("taken", flush=True)
        input()
    """
    command = [sys.executable, "-c", textwrap.dedent(script)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stdout.readline() == b"taken\n"
        assert lease.live() == {"mine": "unix:///a", "theirs": "unix:///b"}
        process.kill()
        process.wait()
        assert lease.live() == {"mine": "unix:///a"}
    mine.end()
    assert lease.live() == {}
    assert list((cache / "leases").iterdir()) == []


def test_a_lease_with_a_keeper_is_valid_while_its_folder_exists(cache: Path, tmp_path: Path) -> None:
    keeper = tmp_path / "keeper"
    keeper.mkdir()
    for _ in range(2):
        kept = Lease(name="kept", keeper=keeper)
        kept.take("unix:///a")
        kept.let_go()
    assert lease.live() == {"kept": "unix:///a"}
    keeper.rmdir()
    assert lease.live() == {}


def test_equal_paths_of_two_machines_have_different_names(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They may use one engine, and must not see each other's containers."""
    machine = cache / "machine-id"
    monkeypatch.setattr(place, "MACHINE_ID", machine)
    names = set()
    for content in (b"", b"1234\n", b"5678\n"):
        machine.write_bytes(content)
        names |= {place.short_name(cache), place.short_name(cache)}
    machine.unlink()
    assert len(names) == 3
    assert place.short_name(cache) in names


# the engine


def test_the_testbeds_own_engine_is_used_for_its_containers(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An engine that appears later at the default socket does not have its containers."""
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    monkeypatch.setattr(engine, "_answering", lambda url: f"api of {url}")
    assert engine.find().url == "unix:///var/run/docker.sock"
    own = engine.find(engine._daemon().url)
    assert own.own
    assert own.api == f"api of {own.url}"
    assert place.of_this_cache() in own.url


def test_without_an_engine_the_error_has_a_hint(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "_answering", lambda url: None)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    with pytest.raises(BedError, match="systemctl start docker"):
        engine.find()
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere")
    with pytest.raises(BedError, match="unset it"):
        engine.find()


# compose


def program(folder: Path, name: str, says: str) -> None:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"#!/bin/sh\n{says}\n")
    (folder / name).chmod(0o755)


def test_the_installed_compose_is_used_if_it_is_recent(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, root = tmp_path / "bin", tmp_path / "root"
    monkeypatch.setattr(compose, "ENVIRONMENT", {"PATH": str(here)})
    monkeypatch.setattr(compose.packages, "unpacked", lambda release, names, below: root)
    plugins = root / "usr/libexec/docker/cli-plugins"
    plugins.mkdir(parents=True)
    program(plugins, "docker-compose", "echo 2.26.1-4")

    def command() -> tuple[str, ...]:
        compose.client.cache_clear()
        return compose.client()

    assert command() == (str(plugins / "docker-compose"),)
    program(here, "docker", 'echo "unknown command: docker $1" >&2; exit 1')
    program(here, "docker-compose", "echo 1.29.2")
    assert command() == (str(plugins / "docker-compose"),)
    program(here, "docker-compose", "echo v2.40.0")
    assert command() == ("docker-compose",)
    program(here, "docker", "[ $1 = compose ] && echo 5.0.1")
    assert command() == ("docker", "compose")
    compose.client.cache_clear()


def test_a_deployment_ignores_variables_of_the_shell(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program(
        tmp_path / "bin", "compose", 'env | grep -E "^(PPM|COMPOSE|DOCKER)"; echo "$@"; echo complaint >&2; exit 3'
    )
    monkeypatch.setattr(compose, "client", lambda: (str(tmp_path / "bin" / "compose"),))
    variables = {"PPM_DATA": "/mine", "COMPOSE_FILE": "mine.yml", "DOCKER_CONTEXT": "mine", "PPMCTL_INDEX": "mine"}
    monkeypatch.setattr(compose, "ENVIRONMENT", {**compose.ENVIRONMENT, **variables})
    engine_of = Engine(url="unix:///a", own=False, api=None)
    made = compose.Compose(engine=engine_of, project="p", environment={"PPM_TAG": "x"})
    done = made.call("ps", check=False)
    *environ, arguments = done.out.splitlines()
    assert sorted(environ) == ["COMPOSE_ANSI=never", "DOCKER_HOST=unix:///a", "PPM_TAG=x"]
    assert arguments == f"--file {compose.FILE} --project-name p --env-file /dev/null ps"
    with pytest.raises(BedError, match="complaint"):
        made.call("ps")
    program(tmp_path / "bin", "compose", "sleep 60")
    with pytest.raises(BedError, match="took over 1 s"):
        made.call("ps", timeout=1)


def test_containers_of_a_deployment_are_labelled_with_its_lease(cache: Path, tmp_path: Path) -> None:
    file = tmp_path / "compose.yml"
    file.write_text("services: {a: {image: x}, b: {image: y}}\nvolumes: {data: , run: }\n")
    labels = {"labels": container.lease_labels("mine")}
    over = compose.leased(tmp_path / "over.json", (file,), "mine", volumes=True)
    assert json.loads(over.read_text()) == {
        "services": {"a": labels, "b": labels},
        "networks": {"default": labels},
        "volumes": {"data": labels, "run": labels},
    }
    assert "volumes" not in json.loads(compose.leased(over, (file,), "mine", volumes=False).read_text())
    file.write_text("services: {a: {image: x, build: {context: .}}}\n")
    services = json.loads(compose.leased(over, (file,), "mine", volumes=False).read_text())["services"]
    assert services == {"a": {**labels, "build": {"labels": container.image_labels()}}}
    inherited = container.image_labels().keys() & container.lease_labels("mine").keys()
    assert not inherited, "a user's container would inherit them from the image"


def test_images_get_the_tag_of_the_user(monkeypatch: pytest.MonkeyPatch, cache: Path, tmp_path: Path) -> None:
    monkeypatch.setattr(deployment, "FOLDER", tmp_path)
    stay = Stay(engine=Engine(url="unix:///a", own=False, api=None), lease=Lease(name="mine"))
    monkeypatch.setenv("PPM_TAG", "mine")
    assert deployment._deployment(stay).environment == {"PPM_TAG": "mine", "PPM_SOCKETS_TAG": "mine"}
    monkeypatch.delenv("PPM_TAG")
    assert deployment._deployment(stay).environment == {"PPM_TAG": "latest"}


def test_the_port_of_make_host_leads_to_the_hosts_https(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Wanted] = []
    monkeypatch.setattr(ports, "free", lambda wanted, *, first, hint: wanted or first)
    for port in (9443, None):
        disposable._new(cast("Any", SimpleNamespace(host=made.append)), port)
    assert [host.ports for host in made] == [{443: 9443}, {443: 8443}]


def test_images_of_leases_that_have_ended_are_swept(cache: Path) -> None:
    """Only images of this cache: leases of others are unknown. Images with a user's tag stay."""

    def image(name: str, *tags: str, of: str = "") -> dict[str, object]:
        labels = container.image_labels() | ({container.BUILT: of} if of else {})
        return {"Id": name, "RepoTags": list(tags), "Labels": labels}

    def snapshot(name: str, lease: str) -> dict[str, object]:
        return {"Id": name, "RepoTags": [], "Labels": container.lease_labels(lease) | {container.SNAPSHOT: lease}}

    here = [
        image("live", "ppm-nginx:ppm-testbed-1"),
        image("next", "ppm-nginx:ppm-testbed-1-next"),
        image("left", "ppm-nginx:ppm-testbed-12"),
        image("left-next", "ppm-nginx:ppm-testbed-12-next", "ppm-nginx:mine"),
        image("committed-by-a-user", "<none>:<none>"),
        image("make-images", "ppm-nginx:latest"),
        image("make-images-under-test", "ppm-nginx:ppm-testbed-1-make"),
        image("elsewhere", "ppm-nginx:ppm-testbed-12-elsewhere", of="another"),
        snapshot("live-snapshot", "ppm-testbed-1"),
        snapshot("left-snapshot", "ppm-testbed-12"),
        # of a user's container, which inherited the labels that images had before
        {"Id": "inherited", "RepoTags": [], "Labels": container.lease_labels("ppm-testbed-12")},
    ]
    removed: list[str] = []

    def images(*, filters: dict[str, list[str]]) -> list[dict[str, Any]]:
        def has(labels: dict[str, str], label: str) -> bool:
            name, _, value = label.partition("=")
            return name in labels and value in ("", labels[name])

        return [one for one in here if all(has(one["Labels"], label) for label in filters["label"])]

    def remove(name: str) -> None:
        removed.append(name)
        if name == "ppm-nginx:ppm-testbed-12":
            raise engine.Refusal("a container is of it")

    nothing = SimpleNamespace(list=lambda **_: [])
    api = SimpleNamespace(containers=nothing, networks=nothing, volumes=nothing)
    api.api, api.images = SimpleNamespace(images=images), SimpleNamespace(remove=remove)
    sweep(Engine(url="unix:///a", own=False, api=api), ["ppm-testbed-1"])
    assert removed == ["ppm-nginx:ppm-testbed-12", "ppm-nginx:ppm-testbed-12-next", "left-snapshot"]


def test_only_what_the_testbed_named_itself_is_swept(cache: Path) -> None:
    """A user's container inherits the labels of its image, such as those that images had in earlier versions."""
    left, living = container.lease_labels("ppm-testbed-12"), container.lease_labels("ppm-testbed-1")
    odd = container.lease_labels("mine")
    given = {
        "ppm-testbed-12-host1": left,
        "ppm-testbed-12-3-nginx-1": left,
        "ppm-testbed-12_default": left,
        "ppm-testbed-12": left,
        "ppm-nginx-1": left,
        "ppm_default": left,
        "mine-ppm-testbed-12-nginx-1": left,
        "ppm-testbed-123-nginx-1": left,
        "mine-1": odd,
        "ppm-testbed-1-host1": living,
    }
    removed: list[str] = []

    def existing(**_: object) -> list[SimpleNamespace]:
        return [
            SimpleNamespace(
                name=name, labels=labels, attrs={"Labels": labels}, remove=lambda name=name, **_: removed.append(name)
            )
            for name, labels in given.items()
        ]

    each = SimpleNamespace(list=existing)
    api = SimpleNamespace(containers=each, networks=each, volumes=each)
    api.api = SimpleNamespace(images=lambda **_: [])
    sweep(Engine(url="unix:///a", own=False, api=api), ["ppm-testbed-1"])
    assert removed == 3 * [
        "ppm-testbed-12-host1",
        "ppm-testbed-12-3-nginx-1",
        "ppm-testbed-12_default",
        "ppm-testbed-12",
    ]


# Debian's images


class Images:
    """The images of an engine: `pulls` are the registry's images in order; None: no registry."""

    def __init__(self, present: str, *pulls: str | None) -> None:
        self.present = present
        self.pulls = list(pulls)

    def get(self, tag: str) -> SimpleNamespace:
        assert tag == "debian:13-slim"
        if not self.present:
            raise engine.Missing("no such image")
        return SimpleNamespace(id=f"sha256:{self.present}")

    def pull(self, *_: str) -> None:
        pulled = self.pulls.pop(0)
        if pulled is None:
            raise engine.Refusal("no such host")
        self.present = pulled


@pytest.fixture
def base(cache: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    def make(of: Engine, *_: object) -> None:
        of.api.images.present = "made"

    monkeypatch.setattr(debian, "_make", make)

    def ask(images: Images, *, own: bool = False) -> str:
        api = SimpleNamespace(images=images)
        return debian.base(Engine(url="unix:///a", own=own, api=api), 13).removeprefix("sha256:")

    return ask


def test_debian_is_pulled_once_a_week(base: Callable[..., str], cache: Path) -> None:
    images = Images("", "first", "second")
    assert [base(images), base(images)] == ["first", "first"]
    (stamp,) = cache.glob("base-*")
    eight_days_ago = time.time() - 8 * 24 * 3600
    os.utime(stamp, (eight_days_ago, eight_days_ago))
    assert [base(images), base(images)] == ["second", "second"]
    assert len(list(cache.glob("base-*"))) == 1


def test_debian_is_built_if_it_can_not_be_pulled(base: Callable[..., str]) -> None:
    assert base(Images("", None)) == "made"


def test_a_users_own_debian_image_is_never_replaced_by_a_built_one(base: Callable[..., str]) -> None:
    """For example on an offline laptop: other builds on that engine expect the published image."""
    images = Images("published", None, None)
    assert base(images) == "published"
    assert images.present == "published"
    assert base(Images("older", None), own=True) == "made"


def test_an_old_debian_image_is_used_if_no_new_one_is_available(
    base: Callable[..., str], monkeypatch: pytest.MonkeyPatch, cache: Path
) -> None:
    def fail(*_: object) -> None:
        raise BedError("no mirror")

    monkeypatch.setattr(debian, "_make", fail)
    assert base(Images("loaded", None), own=True) == "loaded"
    with pytest.raises(BedError, match="no mirror"):
        base(Images("", None))
