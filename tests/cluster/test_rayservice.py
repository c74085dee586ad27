"""cluster/rayservice.py: the manifests for KubeRay."""

import os
from pathlib import Path

import pytest
import yaml

from cluster import plan, rayservice
from cluster.settings import Kubernetes, Settings

CRD = os.environ.get("KUBERAY_CRD", "")  # config/crd/bases/ray.io_rayservices.yaml of KubeRay's repository
APPLICATION = {
    "name": "digits", "route_prefix": "/predictions/digits", "import_path": plan.MODEL, "args": {"model": "digits"},
    "deployments": [{"name": "Model", "num_replicas": 2}],
}  # fmt: skip


@pytest.fixture
def made() -> list[dict]:
    settings = Settings(kubernetes=Kubernetes(name="shop", image="shop:7", workers=3, gpus=1))
    return rayservice.manifests(plan.config([APPLICATION, plan.gateway("k", 1)], settings), settings)


def test_the_service_has_the_configuration_that_a_local_cluster_gets(made):
    config = yaml.safe_load(made[0]["spec"]["serveConfigV2"])
    assert config == plan.config([APPLICATION, plan.gateway("k", 1)], Settings())


def test_pods_are_not_root_and_cannot_write_their_root(made):
    cluster = made[0]["spec"]["rayClusterConfig"]
    for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
        container = group["template"]["spec"]["containers"][0]
        assert container["securityContext"]["runAsNonRoot"] and container["securityContext"]["readOnlyRootFilesystem"]
        assert {each["name"]: each["value"] for each in container["env"]}["RAY_SERVE_ENABLE_HA_PROXY"] == "1"
        assert container["image"] == "shop:7"


def test_only_the_operator_and_the_front_door_reach_the_pods(made):
    policy = made[0]["spec"]["rayClusterConfig"]["networkPolicy"]
    assert policy["mode"] == "DenyAllIngress"
    reached = {role: policy[role]["ingressRules"][0] for role in ("head", "worker")}
    spaces = {role: rule["from"][0]["namespaceSelector"]["matchLabels"] for role, rule in reached.items()}
    assert spaces == {
        "head": {"kubernetes.io/metadata.name": "kuberay-system"},
        "worker": {"kubernetes.io/metadata.name": "front"},
    }
    assert [rule["ports"][0]["port"] for rule in reached.values()] == [8265, 8000]
    assert made[0]["spec"]["rayClusterConfig"]["authOptions"] == {"mode": "token"}


def test_a_head_that_dies_loses_nothing_and_a_drain_takes_one_worker_at_a_time(made):
    cluster = made[0]["spec"]["rayClusterConfig"]
    assert cluster["gcsFaultToleranceOptions"]["redisAddress"]
    worker = cluster["workerGroupSpecs"][0]["template"]
    assert worker["spec"]["containers"][0]["readinessProbe"]["httpGet"] == {"path": "/-/healthz", "port": 8000}
    assert made[1]["spec"]["selector"]["matchLabels"] == worker["metadata"]["labels"]
    assert made[1]["spec"]["maxUnavailable"] == 1


def errors(value, schema: dict, at: str = "") -> list[str]:
    """Where a manifest is not what the CRD says. A key that it does not list is an error: Kubernetes would drop it silently."""
    if schema.get("x-kubernetes-int-or-string") or schema.get("x-kubernetes-preserve-unknown-fields"):
        return []
    kinds = {"object": dict, "array": list, "string": str, "integer": int, "boolean": bool, "number": (int, float)}
    if not isinstance(value, kinds[schema["type"]]) or (schema["type"] == "integer" and isinstance(value, bool)):
        return [f"{at}: {value!r} is no {schema['type']}"]
    found = [f"{at}: {value!r} is none of {schema['enum']}"] if "enum" in schema and value not in schema["enum"] else []
    if isinstance(value, list):
        return found + [error for index, each in enumerate(value) for error in errors(each, schema["items"], f"{at}[{index}]")]
    if isinstance(value, dict) and "properties" in schema:
        known = schema["properties"]
        found += [f"{at}.{key} is unknown" for key in value if key not in known]
        found += [f"{at}.{key} is missing" for key in schema.get("required", []) if key not in value]
        return found + [error for key, each in value.items() if key in known for error in errors(each, known[key], f"{at}.{key}")]
    if isinstance(value, dict) and isinstance(schema.get("additionalProperties"), dict):
        inner = schema["additionalProperties"]
        return found + [error for key, each in value.items() for error in errors(each, inner, f"{at}.{key}")]
    return found


@pytest.mark.skipif(not CRD, reason="KUBERAY_CRD names no file: ray-operator/config/crd/bases/ray.io_rayservices.yaml of KubeRay")
def test_the_service_is_what_kuberays_own_definition_says(made):
    definition = yaml.load(Path(CRD).read_text(), Loader=yaml.CSafeLoader)
    version = next(each for each in definition["spec"]["versions"] if each["name"] == "v1")
    schema = version["schema"]["openAPIV3Schema"]
    schema["properties"]["metadata"] = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    assert errors(made[0], schema) == []
    made[0]["spec"]["rayClusterConfig"]["headGroupSpec"]["template"]["spec"]["containers"][0]["imagee"] = "x"
    assert len(errors(made[0], schema)) == 1  # the check can fail
