"""Ray Serve's REST API: read what is deployed, change it, wait until it serves. KubeRay uses the same API."""

import time
from collections.abc import Callable
from typing import Any

import requests

from serving.errors import ServerError, Unreachable

PATH = "/api/serve/applications/"
ANSWER = 60  # seconds
READY = 900  # seconds for an application to serve
STARTING = "STARTING"  # what Serve says of a proxy
POLLING = 0.2  # seconds between two looks


class Api:
    """The API of one cluster.

    Args:
        url: of the dashboard, such as http://127.0.0.2:8265.
        token: of the cluster; "" if token authentication is off.
    """

    def __init__(self, url: str, token: str):
        self.url = url
        self.session = requests.Session()
        self.session.trust_env = False  # a proxy or a .netrc file is for other servers
        if token:
            self.session.headers["Authorization"] = f"Bearer {token}"

    def state(self) -> dict[str, Any]:
        """What Serve says of itself: proxies, applications with their status, message, replicas and configuration."""
        return self.send("GET").json()

    def applications(self) -> dict[str, dict[str, Any]]:
        """The applications by name."""
        return self.state()["applications"]

    def configured(self) -> dict[str, dict[str, Any]]:
        """The configuration of each application, as it was deployed last."""
        found = {name: each["deployed_app_config"] for name, each in self.applications().items()}
        return {name: each for name, each in found.items() if each}

    def put(self, config: dict[str, Any]) -> None:
        """Let the cluster have exactly these applications. It returns before they serve.

        Raises:
            ServerError: Serve refuses the configuration.
        """
        self.send("PUT", json=config)

    def wait(self, names: list[str], seconds: float = READY, say: Callable[[str], object] = lambda line: None) -> None:
        """Return when these applications serve, and no node's ingress is about to start.

        Args:
            say: gets each new remark of Serve's, for example that no node has room.

        Raises:
            ServerError: one of them failed, or is not ready in time; the message has the reason.
        """
        deadline, said = time.monotonic() + seconds, {""}
        while True:
            state = self.state()
            found, proxies = state["applications"], (state.get("proxies") or {}).values()
            for remark in {remark for name in names if name in found for remark in remarks(found[name])} - said:
                said.add(remark)
                say(remark)
            states = {name: found[name]["status"] if name in found else "MISSING" for name in names}
            starting = [f"the ingress of {each['node_ip']} is {STARTING}" for each in proxies if each["status"] == STARTING]
            if all(status == "RUNNING" for status in states.values()) and not starting:
                return
            failed = [name for name, status in states.items() if status == "DEPLOY_FAILED"]
            if failed:
                raise ServerError(f"{failed[0]} cannot be deployed: {reason(found[failed[0]])}")
            if time.monotonic() > deadline:
                waiting = [f"{name} is {status}" for name, status in states.items() if status != "RUNNING"]
                reasons = ", ".join(waiting + starting)
                raise ServerError(f"not ready after {seconds:.0f} s: {reasons}; see: make status ENGINE=ray")
            time.sleep(POLLING)

    def wait_gone(self, name: str, seconds: float = READY) -> None:
        """Return when there is no application of that name.

        Raises:
            ServerError: it is still there after so many seconds.
        """
        deadline = time.monotonic() + seconds
        while name in self.applications():
            if time.monotonic() > deadline:
                raise ServerError(f"{name} has not ended after {seconds:.0f} s; see: make status ENGINE=ray")
            time.sleep(POLLING)

    def send(self, method: str, **options: Any) -> requests.Response:
        try:
            answer = self.session.request(method, self.url + PATH, timeout=ANSWER, **options)
        except (requests.ConnectionError, requests.Timeout) as error:
            raise Unreachable(
                f"the cluster's API at {self.url} cannot be reached ({type(error).__name__}); "
                "make cluster-start starts a local cluster; host and dashboard_port in cluster.yaml name another"
            ) from error
        if answer.status_code == 401 or answer.status_code == 403:
            raise ServerError(f"the cluster's API at {self.url} refuses the token of .ray/token with {answer.status_code}")
        if not answer.ok:
            raise ServerError(f"Ray Serve refused {method} with {answer.status_code}: {answer.text[-1000:]}")
        return answer


def remarks(application: dict[str, Any]) -> list[str]:
    """The first line of what Serve says of each deployment that is not healthy."""
    waiting = [each for each in application["deployments"].values() if each["status"] != "HEALTHY"]
    return [each["message"].strip().partition("\n")[0][:300] for each in waiting]


def reason(application: dict[str, Any]) -> str:
    """Why an application failed: the last line of an exception that a replica raised, or Serve's own message."""
    messages = [
        application.get("message", ""),
        *(each.get("message", "") for each in application.get("deployments", {}).values()),
    ]
    lines = [line.strip() for message in reversed(messages) for line in message.splitlines() if line.strip()]
    errors = [line for line in lines if line.partition(":")[0].endswith(("Error", "Exception", "WrongAnswer", "Unavailable"))]
    return (errors or lines or ["Serve gives no reason"])[-1]
