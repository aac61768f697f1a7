"""The Helm chart in `deploy/helm/ppm`: Helm's own engine renders it, and each object fits Kubernetes' schemas.

No cluster runs here: what a cluster does with the objects is not shown.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import helm_python
import kubernetes_validate
import pytest
import yaml

from ppmctl import __version__
from ppmctl.index.layout import Volume

ROOT = Path(__file__).parents[2]
CHART = ROOT / "deploy" / "helm" / "ppm"
ADDRESS = {"storage": {"address": "s3://packages/ppm"}}
EVERYTHING: dict[str, Any] = {
    "storage": {
        "address": "s3://packages/ppm",
        "redirect": True,
        "cacheMaxSize": "50G",
        "environment": {"AWS_REGION": "eu-central-1", "AWS_ENDPOINT_URL": "https://s3.example.com"},
        "secret": "bucket",
    },
    "nodes": 3,
    "images": {"registry": "registry.example.com/packages/", "tag": "1.2.3", "pullSecrets": ["registry"]},
    "settings": {"PPM_READ_ACCESS": "public"},
    "nginx": {"files": {"site.conf": "server { }\n", "locations/files.conf": 'location "/x" { }\n'}},
    "cache": {"size": "100Gi", "storageClass": "fast"},
    "service": {"type": "LoadBalancer", "port": 8000},
    "ingress": {
        "enabled": True,
        "className": "nginx",
        "host": "packages.example.com",
        "tlsSecret": "certificate",
        "annotations": {"nginx.ingress.kubernetes.io/proxy-body-size": "0"},
    },
    "serviceAccount": {"annotations": {"eks.amazonaws.com/role-arn": "arn:aws:iam::1:role/packages"}},
    "nodeSelector": {"disk": "fast"},
    "tolerations": [{"key": "packages", "operator": "Exists"}],
}
ON_THE_MACHINE = {**ADDRESS, "cache": {"persistent": False}}
VERSIONS = ("1.27", kubernetes_validate.latest_version())  # of persistentVolumeClaimRetentionPolicy, and the newest


def objects(values: dict[str, Any], *, name: str = "packages") -> dict[tuple[str, str], dict[str, Any]]:
    """Return the rendered objects by kind and name."""
    with helm_python.Chart.load(CHART) as chart:
        chart.validate_schema(values)
        files = chart.render(values, name=name, namespace="index")
    return {(one["kind"], one["metadata"]["name"]): one for one in _documents(files)}


def _documents(files: dict[str, str]) -> Iterator[dict[str, Any]]:
    for path, text in files.items():
        if not path.endswith("NOTES.txt"):
            yield from filter(None, yaml.safe_load_all(text))


def nodes(values: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = objects(values)["StatefulSet", "packages"]
    return found


def containers(values: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {one["name"]: one for one in nodes(values)["spec"]["template"]["spec"]["containers"]}


def environment(values: dict[str, Any]) -> dict[str, str]:
    """Return the variables of the application."""
    return {one["name"]: one["value"] for one in containers(values)["application"]["env"]}


@pytest.mark.parametrize("values", [ADDRESS, EVERYTHING, ON_THE_MACHINE], ids=["least", "everything", "no claim"])
@pytest.mark.parametrize("version", VERSIONS)
def test_each_object_fits_the_schema(values: dict[str, Any], version: str) -> None:
    """Strictly: a field that Kubernetes does not know fails too."""
    made = objects(values)
    kinds = {kind for kind, _name in made}
    assert kinds >= {"StatefulSet", "Service", "ServiceAccount", "PodDisruptionBudget"}
    assert ("Ingress" in kinds, "ConfigMap" in kinds) == ((True, True) if values is EVERYTHING else (False, False))
    for one in made.values():
        kubernetes_validate.validate(one, version, strict=True)


@pytest.mark.parametrize("values", [ADDRESS, EVERYTHING], ids=["least", "everything"])
def test_lint_finds_nothing(values: dict[str, Any]) -> None:
    report = helm_python.lint(CHART, values, strict=True)
    assert [one for one in report["messages"] if "icon is recommended" not in one["error"]] == []
    assert report["errors"] == []


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({}, "address"),
        ({"storage": {"address": "https://packages"}}, "address"),
        ({**ADDRESS, "replicas": 3}, "replicas"),
        ({**ADDRESS, "nodes": 0}, "nodes"),
        ({**ADDRESS, "ingress": {"enabled": True}}, "host"),
        ({**ADDRESS, "settings": {"PPM_STORAGE": "s3://other"}}, "settings"),
        ({"storage": {**ADDRESS["storage"], "environment": {"AWS_SECRET_ACCESS_KEY": "x"}}}, "environment"),
        ({"storage": {**ADDRESS["storage"], "cacheMaxSize": "much"}}, "cacheMaxSize"),
    ],
)
def test_wrong_values_are_refused(changed: dict[str, Any], named: str) -> None:
    """The error names the value. A secret is not accepted where it would be stored with the release."""
    with pytest.raises(helm_python.HelmValuesError) as refused:
        objects(changed)
    assert named in str(refused.value)


def test_the_versions_are_those_of_this_release() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert (chart["version"], chart["appVersion"]) == (__version__, __version__)


def test_the_images_are_those_of_compose() -> None:
    composed = yaml.safe_load((ROOT / "docker" / "compose.yml").read_text())["services"]
    names = {composed[service]["image"].partition(":")[0] for service in ("pypiserver", "nginx")}
    assert {one["image"] for one in containers(ADDRESS).values()} == {f"{name}:{__version__}" for name in names}
    with_registry = {one["image"] for one in containers(EVERYTHING).values()}
    assert with_registry == {f"registry.example.com/packages/{name}:1.2.3" for name in names}


def test_the_application_gets_its_settings_and_the_names_of_secrets_only() -> None:
    assert environment(EVERYTHING) == {
        "PPM_STORAGE": "s3://packages/ppm",
        "PPM_STORAGE_REDIRECT": "true",
        "PPM_CACHE_MAX_SIZE": "50G",
        "PPM_READ_ACCESS": "public",
        "AWS_REGION": "eu-central-1",
        "AWS_ENDPOINT_URL": "https://s3.example.com",
    }
    assert containers(EVERYTHING)["application"]["envFrom"] == [{"secretRef": {"name": "bucket"}}]
    assert "envFrom" not in containers(ADDRESS)["application"]
    assert {kind for kind, _name in objects(EVERYTHING)}.isdisjoint({"Secret"})


def test_containers_have_no_rights_that_they_do_not_need() -> None:
    """As the profile `restricted` of Kubernetes' pod security standards asks."""
    pod = nodes(ADDRESS)["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsNonRoot"]
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["automountServiceAccountToken"] is False
    for one in pod["containers"]:
        assert one["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert one["resources"]["limits"]["memory"]
    assert {next(iter(volume.keys() - {"name"})) for volume in pod["volumes"]} == {"emptyDir"}


def test_everything_that_selects_nodes_finds_them() -> None:
    made = objects(EVERYTHING)
    spec = nodes(EVERYTHING)["spec"]
    labels = spec["template"]["metadata"]["labels"].items()
    selectors = [
        spec["selector"]["matchLabels"],
        made["PodDisruptionBudget", "packages"]["spec"]["selector"]["matchLabels"],
        *(one["spec"]["selector"] for (kind, _name), one in made.items() if kind == "Service"),
    ]
    assert len(selectors) == 4
    assert all(selector and selector.items() <= labels for selector in selectors)
    assert ("Service", spec["serviceName"]) in made
    assert ("ServiceAccount", spec["template"]["spec"]["serviceAccountName"]) in made
    ports = {port["name"] for one in containers(EVERYTHING).values() for port in one.get("ports", ())}
    targets = {
        port["targetPort"] for (kind, _), one in made.items() if kind == "Service" for port in one["spec"]["ports"]
    }
    assert targets <= ports
    backend = made["Ingress", "packages"]["spec"]["rules"][0]["http"]["paths"][0]["backend"]["service"]
    assert backend["port"]["name"] in [port["name"] for port in made["Service", backend["name"]]["spec"]["ports"]]


@pytest.mark.parametrize("values", [ADDRESS, EVERYTHING, ON_THE_MACHINE], ids=["least", "everything", "no claim"])
def test_each_mounted_volume_exists(values: dict[str, Any]) -> None:
    spec = nodes(values)["spec"]
    there = {one["name"] for one in spec["template"]["spec"]["volumes"]}
    there |= {one["metadata"]["name"] for one in spec.get("volumeClaimTemplates", ())}
    assert {mount["name"] for one in containers(values).values() for mount in one["volumeMounts"]} == there


def test_both_containers_share_the_volume_the_socket_and_the_sign_that_nginx_runs() -> None:
    """The application ends after nginx, whose file with its process id it looks at."""
    mounts = {
        name: {mount["mountPath"]: mount["name"] for mount in one["volumeMounts"]}
        for name, one in containers(ADDRESS).items()
    }
    for path in ("/srv/ppm", "/run/ppm", "/run/nginx"):
        assert mounts["application"][path] == mounts["nginx"][path]
    config = (ROOT / "docker" / "nginx" / "rendered" / "etc" / "nginx" / "nginx.conf").read_text()
    stop = containers(ADDRESS)["application"]["lifecycle"]["preStop"]["exec"]["command"][-1]
    assert "pid /run/nginx/nginx.pid;" in config
    assert "/run/nginx/nginx.pid" in stop


def test_nothing_that_only_the_bucket_can_repair_stops_a_pod() -> None:
    """A start of the application succeeds without the bucket; only nginx tells whether a node that runs is ready."""
    application, nginx = (containers(EVERYTHING)[name] for name in ("application", "nginx"))
    for probe in ("startupProbe", "livenessProbe"):
        assert application[probe]["exec"]["command"] == ["ppmctl", "health", "--alive"]
    assert "readinessProbe" not in application
    assert nginx["readinessProbe"]["exec"]["command"][-1].endswith("; exec health")


def test_a_node_that_has_never_read_its_bucket_is_not_ready(volume: Volume, tmp_path: Path) -> None:
    """As with a wrong credential and an empty disk: an upgrade stops at the first such pod."""
    command = containers(EVERYTHING)["nginx"]["readinessProbe"]["exec"]["command"][-1]
    (tmp_path / "health").write_text("#!/bin/sh\n")
    (tmp_path / "health").chmod(0o755)
    here = command.replace("/srv/ppm", str(volume.root))
    assert here != command

    def is_ready() -> bool:
        path = f"{tmp_path}:{os.environ['PATH']}"
        return subprocess.run(["sh", "-c", here], env={"PATH": path}, stdout=subprocess.DEVNULL).returncode == 0

    assert not is_ready()
    volume.listed.touch()
    assert is_ready()


def test_a_pod_that_is_not_ready_gets_no_connections() -> None:
    """Its application starts again, or it ends: other pods serve."""
    services = [one["spec"] for (kind, _name), one in objects(EVERYTHING).items() if kind == "Service"]
    assert [service.get("publishNotReadyAddresses", False) for service in services] == [False, False]


def test_own_files_of_nginx_replace_those_of_the_image() -> None:
    """A ConfigMap's key has no slash; the volume gives each file its path again."""
    config = objects(EVERYTHING)["ConfigMap", "packages-nginx"]
    volumes = nodes(EVERYTHING)["spec"]["template"]["spec"]["volumes"]
    (volume,) = (one["configMap"] for one in volumes if "configMap" in one)
    assert volume["name"] == config["metadata"]["name"]
    files = {item["path"]: config["data"][item["key"]] for item in volume["items"]}
    assert files == EVERYTHING["nginx"]["files"]
    assert len(config["data"]) == len(files)
    assert "env" not in containers(EVERYTHING)["nginx"]
    assert containers(ADDRESS)["nginx"]["env"] == [{"name": "PPM_NGINX", "value": "bucket"}]
    other = json.loads(json.dumps(EVERYTHING))
    other["nginx"]["files"]["site.conf"] += "# changed\n"
    annotations = [nodes(values)["spec"]["template"]["metadata"]["annotations"] for values in (EVERYTHING, other)]
    assert annotations[0] != annotations[1], "a change of the configuration restarts the nodes"


def test_a_long_name_of_a_release_fits() -> None:
    """A node's name, with its number, is a label of at most 63 characters."""
    for kind, name in objects(ADDRESS, name="p" * 53):
        assert len(f"{name}-1234567890") <= 63, (kind, name)
