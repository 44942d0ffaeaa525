"""The Helm chart in `deploy/helm`: rendered by Helm, held against Kubernetes' schemas and the service."""

from __future__ import annotations

import configparser
import importlib.util
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from streamsim import config
from streamsim.config import ConfigError
from tests.support import ROOT

CHART = ROOT / "deploy" / "helm" / "streamsim"
HELM = shutil.which("helm")
pytestmark = pytest.mark.skipif(
    HELM is None and importlib.util.find_spec("helm_python") is None,
    reason="neither helm nor helm-python-sdk is installed, so nothing renders the chart",
)

Resource = dict[str, Any]
STORES: Resource = {"stores": {"redis": "redis://:a@redis:6379", "mongo": "mongodb://b:c@mongo/streamsim"}}
EVERYTHING: Resource = {
    "existingSecret": "own",
    "image": {"repository": "registry.example/streamsim", "tag": "1.2.3"},
    "imagePullSecrets": [{"name": "pull"}],
    "replicas": 5,
    "settings": {"server.log": "text", "lane.queue": 4000, "server.access_log": True},
    "podNetworks": ["10.1.0.0/16", "fd00::/8"],
    "nodeSelector": {"disk": "fast"},
    "tolerations": [{"key": "own", "operator": "Exists"}],
    "affinity": {"podAntiAffinity": {}},
    "podAnnotations": {"prometheus.io/scrape": "true"},
    "router": {"trustedProxies": ["10.2.0.0/16"], "replicas": 3},
    "service": {"type": "LoadBalancer", "port": 8080},
    "ingress": {
        "enabled": True,
        "className": "own",
        "tlsSecret": "tls",
        "host": "a.example.com",
        "annotations": {"a/b": "c"},
    },
    "networkPolicy": {
        "clients": [{"namespaceSelector": {"matchLabels": {"name": "ingress"}}}],
        "metrics": [{"namespaceSelector": {"matchLabels": {"name": "monitoring"}}}],
        "stores": [{"ipBlock": {"cidr": "10.9.0.0/16"}}],
        "storePorts": [6380, 27018],
    },
}
ALL_VALUES = {"least": STORES, "everything": EVERYTHING}
VERSIONS = sorted(
    {kubernetes_validate.latest_version(), "1.25.0"},
)


class Refused(Exception):
    """What Helm says of values that the chart does not take."""


def render(values: Resource, folder: Path) -> list[Resource]:
    """What the chart makes of the values, as the release `team` in the namespace `here`.

    :raises Refused: it does not take them.
    """
    if HELM is not None:
        file = folder / "values.yaml"
        file.write_text(yaml.safe_dump(values))
        command = [HELM, "template", "team", str(CHART), "--namespace", "here", "--values", str(file)]
        ended = subprocess.run(command, capture_output=True, text=True, check=False)
        if ended.returncode:
            raise Refused(ended.stderr)
        texts = [ended.stdout]
    else:
        from helm_python import Chart, HelmError

        try:
            with Chart.load(CHART) as chart:
                chart.validate_schema(values)
                rendered = chart.render(values, name="team", namespace="here")
        except HelmError as error:
            raise Refused(str(error)) from None
        texts = [text for name, text in rendered.items() if name.endswith(".yaml")]
    return [one for text in texts for one in yaml.safe_load_all(text) if one]


@pytest.fixture(params=ALL_VALUES)
def resources(request: pytest.FixtureRequest, tmp_path: Path) -> list[Resource]:
    return render(ALL_VALUES[request.param], tmp_path)


def of(resources: list[Resource], kind: str, name: str = "") -> Resource:
    """The resource of a kind, whose name ends so."""
    (found,) = (
        one for one in resources if one["kind"] == kind and one["metadata"]["name"] == f"team-streamsim{name}"
    )
    return found


def templates(resources: list[Resource]) -> Iterator[Resource]:
    """Those of pods."""
    for one in resources:
        if one["kind"] in {"StatefulSet", "Deployment"}:
            yield one["spec"]["template"]


def selected(resources: list[Resource], selector: dict[str, str]) -> list[str]:
    """Names of the containers of the pods that a selector means."""
    return [
        container["name"]
        for template in templates(resources)
        if selector.items() <= template["metadata"]["labels"].items()
        for container in template["spec"]["containers"]
    ]


@pytest.mark.parametrize("version", VERSIONS)
def test_kubernetes_accepts_what_is_rendered(resources: list[Resource], version: str) -> None:
    assert len(resources) >= 9
    for one in resources:
        kubernetes_validate.validate(one, version, strict=True)


def test_pods_keep_the_restricted_standard_and_write_nowhere_but_to_their_own_folders(
    resources: list[Resource],
) -> None:
    for template in templates(resources):
        spec = template["spec"]
        assert spec["automountServiceAccountToken"] is False
        assert not {"hostNetwork", "hostPID", "hostIPC"} & set(spec)
        security = spec["securityContext"]
        assert security["runAsNonRoot"] is True
        assert security["runAsUser"] > 0
        assert security["seccompProfile"] == {"type": "RuntimeDefault"}
        for volume in spec["volumes"]:
            assert set(volume) - {"name"} in ({"emptyDir"}, {"configMap"})
        for container in spec["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            assert "memory" in container["resources"]["limits"]


def test_servers_run_as_the_user_of_the_image_with_options_that_exist(resources: list[Resource]) -> None:
    spec = of(resources, "StatefulSet")["spec"]["template"]["spec"]
    user = re.search(r"^USER (\d+):(\d+)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    assert user is not None
    assert [spec["securityContext"][name] for name in ("runAsUser", "runAsGroup")] == [
        int(part) for part in user.groups()
    ]
    (container,) = spec["containers"]
    secret = {"redis": "redis://r:6379", "mongo": "mongodb://m/streamsim", "adminPassword": "a"}
    environment = {
        one["name"]: one["value"] if "value" in one else secret[one["valueFrom"]["secretKeyRef"]["key"]]
        for one in container["env"]
    }
    settings = config.load(environment=environment)
    assert (settings.storage.redis, settings.storage.mongo) == (secret["redis"], secret["mongo"])
    assert settings.server.trusted_proxies
    assert settings.server.log in ("json", "text")
    # What is asked of a pod and how long it may take fits what the process does.
    assert container["readinessProbe"]["timeoutSeconds"] > settings.storage.wait_s
    pause = int(container["lifecycle"]["preStop"]["exec"]["command"][1])
    assert spec["terminationGracePeriodSeconds"] > settings.server.drain_s + pause


def test_what_kubernetes_would_tell_of_services_ends_no_start(resources: list[Resource]) -> None:
    # The variable of a Service named streamsim-server: a process that had it would not start.
    with pytest.raises(ConfigError, match=r"server\.port|STREAMSIM_SERVER_PORT"):
        config.load(environment={"STREAMSIM_SERVER_PORT": "tcp://10.0.0.1:80"})
    assert all(template["spec"]["enableServiceLinks"] is False for template in templates(resources))


def test_services_budgets_and_policies_mean_the_pods_that_they_are_for(resources: list[Resource]) -> None:
    for kind, name, container in (
        ("Service", "-servers", "server"),
        ("Service", "", "nginx"),
        ("PodDisruptionBudget", "", "server"),
        ("PodDisruptionBudget", "-router", "nginx"),
        ("NetworkPolicy", "-servers", "server"),
        ("NetworkPolicy", "-router", "nginx"),
        ("StatefulSet", "", "server"),
        ("Deployment", "-router", "nginx"),
    ):
        spec = of(resources, kind, name)["spec"]
        selector = spec["podSelector"] if kind == "NetworkPolicy" else spec["selector"]
        assert selected(resources, selector.get("matchLabels", selector)) == [container], (kind, name)
    assert of(resources, "StatefulSet")["spec"]["serviceName"] == "team-streamsim-servers"
    assert of(resources, "Service", "-servers")["spec"]["clusterIP"] == "None"


def test_a_server_is_called_by_the_router_and_who_may_see_metrics(tmp_path: Path) -> None:
    for values, peers in ((STORES, 1), (EVERYTHING, 2)):
        resources = render(values, tmp_path)
        (rule,) = of(resources, "NetworkPolicy", "-servers")["spec"]["ingress"]
        assert selected(resources, rule["from"][0]["podSelector"]["matchLabels"]) == ["nginx"]
        assert len(rule["from"]) == peers
        _dns, stores = of(resources, "NetworkPolicy", "-servers")["spec"]["egress"]
        ports = values.get("networkPolicy", {}).get("storePorts", [6379, 27017])
        assert [port["port"] for port in stores["ports"]] == ports
        _dns, servers = of(resources, "NetworkPolicy", "-router")["spec"]["egress"]
        assert selected(resources, servers["to"][0]["podSelector"]["matchLabels"]) == ["server"]


def test_the_router_has_the_committed_nginx_configuration_and_every_server(
    resources: list[Resource],
) -> None:
    text = of(resources, "ConfigMap", "-router")["data"]["nginx.conf"]
    committed = (ROOT / "deploy" / "nginx.conf").read_text()
    upstream = re.compile(
        r"(?:    # Names are looked up.*?)?    upstream streamsim \{.*?\n    \}\n\n", re.DOTALL
    )
    assert upstream.sub("", text).strip() == upstream.sub("", committed).strip()
    servers = re.findall(r"^ +server (\S+):8080 resolve max_fails=1 fail_timeout=2s;$", text, re.MULTILINE)
    assert servers == [
        f"team-streamsim-{number}.team-streamsim-servers.here.svc.cluster.local"
        for number in range(of(resources, "StatefulSet")["spec"]["replicas"])
    ]
    assert "hash $streamsim_key consistent;" in text


def test_the_ingress_leads_to_the_router_and_what_stands_before_it_is_believed(tmp_path: Path) -> None:
    resources = render(EVERYTHING, tmp_path)
    (rule,) = of(resources, "Ingress")["spec"]["rules"]
    backend = rule["http"]["paths"][0]["backend"]["service"]
    service = of(resources, "Service")
    assert backend["name"] == service["metadata"]["name"]
    assert backend["port"]["name"] in {port["name"] for port in service["spec"]["ports"]}
    assert "10.2.0.0/16 1;" in of(resources, "ConfigMap", "-router")["data"]["proxies.conf"]
    assert "Ingress" not in {one["kind"] for one in render(STORES, tmp_path)}


def test_passwords_are_in_a_secret_alone(tmp_path: Path) -> None:
    resources = render({**STORES, "adminPassword": "correct horse"}, tmp_path)
    secret = of(resources, "Secret")["stringData"]
    assert secret == {**STORES["stores"], "adminPassword": "correct horse"}
    others = yaml.safe_dump([one for one in resources if one["kind"] != "Secret"])
    assert not [text for text in secret.values() if text in others]
    # One of your own is taken in its place.
    own = render(EVERYTHING, tmp_path)
    assert "Secret" not in {one["kind"] for one in own}
    env = of(own, "StatefulSet")["spec"]["template"]["spec"]["containers"][0]["env"]
    references = [one["valueFrom"]["secretKeyRef"] for one in env if "valueFrom" in one]
    assert {one["name"] for one in references} == {"own"}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, "stores.redis (a URL such as redis://:PASSWORD@HOST:6379), or existingSecret, must be given"),
        ({"stores": {"redis": "redis://a"}}, "stores.mongo (a URL such as"),
        ({**STORES, "replicas": 0}, "replicas"),
        ({**STORES, "replica": 2}, "replica"),
        ({**STORES, "podNetworks": []}, "podNetworks"),
        ({**STORES, "settings": {"port": 1}}, "'port'"),
        ({"stores": {"redis": "localhost", "mongo": "mongodb://a"}}, "redis"),
    ],
)
def test_values_that_cannot_be_used_are_named(values: Resource, message: str, tmp_path: Path) -> None:
    with pytest.raises(Refused, match=re.escape(message)):
        render(values, tmp_path)


def test_the_chart_has_the_version_of_the_service() -> None:
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert chart["appVersion"] == setup["metadata"]["version"]
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    router = yaml.safe_load((CHART / "values.yaml").read_text())["router"]["image"]
    assert router.startswith(compose["services"]["nginx"]["image"].removesuffix("-alpine"))
