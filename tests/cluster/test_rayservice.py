"""cluster/rayservice.py: the manifests for KubeRay."""

import pytest
import yaml

from cluster import plan, rayservice
from cluster.settings import Kubernetes, Settings
from tests.cluster.kuberay import errors, schema

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


def test_the_service_is_what_kuberays_own_definition_says(made):
    assert errors(made[0], schema()) == []
    made[0]["spec"]["rayClusterConfig"]["headGroupSpec"]["template"]["spec"]["containers"][0]["imagee"] = "x"
    assert len(errors(made[0], schema())) == 1  # the check can fail
