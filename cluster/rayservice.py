"""The manifests of a RayService for KubeRay 1.7 or later: the same Serve configuration, and the pods that it runs in.

KubeRay's fields: ray.io/v1 RayService, ray-operator/apis/ray/v1 in its repository.
"""

from typing import Any

import yaml

from cluster.local import FAST
from cluster.settings import Kubernetes, Settings

RAY_VERSION = "2.60.0"  # of requirements/ray.txt; KubeRay chooses its probes by it
ARCHIVES = "/models"  # where a pod sees the volume with model_store/
API_PORT = 8265
DRAINING = 120  # seconds that a pod may take to answer what it holds
OPERATOR_NAMESPACE = "kuberay-system"
ENVIRONMENT = FAST | {"BUNDLE_ARCHIVES": "/tmp/archives"}
SECURITY = {
    "runAsNonRoot": True,
    "runAsUser": 1000,
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
    "seccompProfile": {"type": "RuntimeDefault"},
}


def manifests(config: dict[str, Any], settings: Settings) -> list[dict[str, Any]]:
    """The RayService and its PodDisruptionBudget.

    Args:
        config: of Serve, see `cluster/plan.py`, with archives where the pods find them.
    """
    chosen = settings.kubernetes
    return [service(config, settings), budget(chosen)]


def service(config: dict[str, Any], settings: Settings) -> dict[str, Any]:
    chosen = settings.kubernetes
    return {
        "apiVersion": "ray.io/v1",
        "kind": "RayService",
        "metadata": {"name": chosen.name},
        "spec": {
            "serveConfigV2": yaml.safe_dump(config, sort_keys=False),
            "excludeHeadPodFromServeSvc": True,
            "upgradeStrategy": {"type": "NewCluster"},  # for a new image; new archives change the running cluster in place
            "rayClusterConfig": cluster(chosen, settings.port),
        },
    }


def cluster(chosen: Kubernetes, port: int) -> dict[str, Any]:
    gpu = {"nvidia.com/gpu": str(chosen.gpus)} if chosen.gpus else {}
    return {
        "rayVersion": RAY_VERSION,
        "enableInTreeAutoscaling": True,
        "autoscalerOptions": {"upscalingMode": "Default", "idleTimeoutSeconds": 300},
        "authOptions": {"mode": "token"},  # the operator makes the secret
        "gcsFaultToleranceOptions": {
            "redisAddress": chosen.redis,
            "redisPassword": {"valueFrom": {"secretKeyRef": {"name": f"{chosen.name}-redis", "key": "password"}}},
        },
        "networkPolicy": network_policy(chosen, port),
        "headGroupSpec": {
            "rayStartParams": {"num-cpus": "0", "dashboard-host": "0.0.0.0"},  # no replica runs next to the head
            "template": pod(chosen, "head", {"cpu": "2", "memory": "6Gi"}, {}),
        },
        "workerGroupSpecs": [
            {
                "groupName": "workers",
                "replicas": chosen.workers,
                "minReplicas": chosen.workers,
                "maxReplicas": max(chosen.most_workers, chosen.workers),
                "rayStartParams": {},
                "template": pod(chosen, "worker", {"cpu": str(chosen.cpus), "memory": chosen.memory} | gpu, worker_probe(port)),
            }
        ],
    }


def network_policy(chosen: Kubernetes, port: int) -> dict[str, Any]:
    """Nothing reaches the pods but each other, the operator at the head's API, and the front door at the workers' ingress."""

    def only(namespace: str, number: int) -> dict[str, Any]:
        peer = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}}}
        return {"ingressRules": [{"from": [peer], "ports": [{"protocol": "TCP", "port": number}]}]}

    return {
        "mode": "DenyAllIngress",
        "head": only(OPERATOR_NAMESPACE, API_PORT),
        "worker": only(chosen.front_namespace, port),
    }


def pod(chosen: Kubernetes, role: str, resources: dict[str, str], probe: dict[str, Any]) -> dict[str, Any]:
    """A pod's template: not root, a root file system that cannot be written, and time to drain."""
    label = {"app": f"{chosen.name}-{role}"}
    mounts = [
        {"name": "archives", "mountPath": ARCHIVES, "readOnly": True},
        {"name": "scratch", "mountPath": "/tmp"},
    ]
    container = {
        "name": "ray",
        "image": chosen.image,
        "env": [{"name": name, "value": value} for name, value in ENVIRONMENT.items()],
        "resources": {"limits": resources, "requests": resources},
        "securityContext": SECURITY,
        "volumeMounts": mounts,
        **probe,
    }
    return {
        "metadata": {"labels": label},
        "spec": {
            "automountServiceAccountToken": role == "head",  # the autoscaler, next to the head, asks Kubernetes for pods
            "terminationGracePeriodSeconds": DRAINING,
            "securityContext": {"fsGroup": 1000},
            "containers": [container],
            "volumes": [
                {"name": "archives", "persistentVolumeClaim": {"claimName": chosen.archives_claim, "readOnly": True}},
                {"name": "scratch", "emptyDir": {}},
            ],
            "topologySpreadConstraints": [
                {
                    "maxSkew": 1,
                    "topologyKey": "kubernetes.io/hostname",
                    "whenUnsatisfiable": "ScheduleAnyway",
                    "labelSelector": {"matchLabels": label},
                }
            ],
        },
    }


def worker_probe(port: int) -> dict[str, Any]:
    """Ready if HAProxy here has a replica to send to. KubeRay itself adds a liveness probe, of the raylet."""
    http = {"path": "/-/healthz", "port": port}
    return {
        "ports": [{"containerPort": port, "name": "serve"}],
        "readinessProbe": {"httpGet": http, "periodSeconds": 2, "timeoutSeconds": 2, "failureThreshold": 2},
        # The service stops sending first; then Ray drains.
        "lifecycle": {"preStop": {"exec": {"command": ["sh", "-c", "sleep 10; ray stop --grace-period 90"]}}},
    }


def budget(chosen: Kubernetes) -> dict[str, Any]:
    """A drain of machines takes one worker at a time."""
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {"name": f"{chosen.name}-workers"},
        "spec": {"maxUnavailable": 1, "selector": {"matchLabels": {"app": f"{chosen.name}-worker"}}},
    }
