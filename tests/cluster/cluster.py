"""What the tests in a cluster share: kubectl, the objects they make, and waiting for what must come.

They run on any cluster with Doppel in it, from a place that reaches the addresses of Gateways.
"""

import http.client
import json
import os
import secrets
import ssl
import subprocess
import time
import unittest

CLASS = "doppel"
HOME = "doppel-system"
IMAGE = os.environ.get("DOPPEL_TESTS_IMAGE", "doppel-tests:dev")
GATEWAY_API = "gateway.networking.k8s.io/v1"


class Case(unittest.TestCase):
    """A test with a namespace of its own, which is gone afterwards."""

    maxDiff = None

    def setUp(self):
        self.namespace = f"doppel-test-{secrets.token_hex(3)}"
        apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self.namespace}})
        self.addCleanup(kubectl, "delete", "namespace", self.namespace, "--wait=false")

    def apply(self, *objects):
        apply(*objects, namespace=self.namespace)

    def get(self, kind, name):
        return get(kind, name, self.namespace)

    def serve(self, *objects, gateway="web", service="echo"):
        """A Gateway on port 80, an echo service, a route between them and what else is given; returns
        the address, at which the route answers."""
        self.apply(a_gateway(gateway), *an_echo(service), a_route("main", gateway, [a_rule(service)]), *objects)
        address = self.address(gateway)
        until("the route answers", 60, lambda: status(address) == 200)
        return address

    def address(self, gateway):
        def assigned():
            gateway_now = self.get("gateway", gateway)
            addresses = gateway_now.get("status", {}).get("addresses")
            return addresses and condition(gateway_now, "Programmed") and addresses[0]["value"]

        return until(f"Gateway {gateway} is programmed and has an address", 60, assigned)


# ---- kubectl ---------------------------------------------------------------------------------


def kubectl(*arguments, stdin=None):
    command = ["kubectl", "--request-timeout=30s", *arguments]
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=180)
    if done.returncode != 0:
        raise AssertionError(f"kubectl {' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout


def apply(*objects, namespace=None):
    where = ["--namespace", namespace] if namespace else []
    everything = json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})
    kubectl("apply", "--server-side", "--force-conflicts", "--filename=-", *where, stdin=everything)


def get(kind, name, namespace=HOME):
    return json.loads(kubectl("get", kind, name, "--namespace", namespace, "--output=json", "--show-managed-fields"))


def gateway_pods():
    """The pods of the DaemonSet, without those that are on their way out."""
    selector = "--selector=app.kubernetes.io/name=doppel,app.kubernetes.io/component=gateway"
    pods = json.loads(kubectl("get", "pods", "--namespace", HOME, selector, "--output=json"))["items"]
    return [pod for pod in pods if "deletionTimestamp" not in pod["metadata"]]


def all_ready(pods):
    return bool(pods) and all(condition(pod, "Ready") for pod in pods)


def kill(pod, program):
    """Ends a program in a pod as a crash would. The pods have no shell and no kill, but share one
    process namespace with a container that is put beside them."""
    attach = ["--namespace", HOME, "debug", pod["metadata"]["name"], "--profile=restricted", "--quiet"]
    name = f"kill-{secrets.token_hex(3)}"
    kubectl(*attach, f"--image={IMAGE}", f"--container={name}", "--", "/usr/bin/pkill", "-KILL", "-x", program)


def restarts(pod, container):
    status = get("pod", pod["metadata"]["name"])["status"]
    every = status["containerStatuses"] + status.get("initContainerStatuses", [])
    return next(one["restartCount"] for one in every if one["name"] == container)


# ---- conditions ------------------------------------------------------------------------------


def until(what, seconds, condition):
    """What `condition` returns, as soon as that is true."""
    deadline = time.monotonic() + seconds
    while True:
        result = condition()
        if result:
            return result
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds} s: {what}")
        time.sleep(0.1)


def condition(object, type):
    """Whether a condition is true and of the object's newest generation."""
    return is_true(object.get("status", {}).get("conditions", []), type, object)


def accepted(route):
    """Whether its first parent takes the route as it is now."""
    return is_true(parent_conditions(route), "Accepted", route)


def is_true(conditions, type, object):
    newest = object["metadata"].get("generation")
    return any(
        one["type"] == type and one["status"] == "True" and one.get("observedGeneration", newest) == newest
        for one in conditions
    )


def reason(conditions, type):
    return next((one["reason"] for one in conditions if one["type"] == type), None)


def parent_conditions(route):
    """Of the first parent that has any."""
    parents = route.get("status", {}).get("parents", [])
    return parents[0]["conditions"] if parents else []


# ---- requests --------------------------------------------------------------------------------


def request(address, path="/", host="test.example", port=80, ca=None):
    """The status and body of an answer; over TLS with the server named `host` if there is a CA."""
    connection = http.client.HTTPConnection(address, port, timeout=5)
    try:
        if ca is not None:
            connection.connect()
            context = ssl.create_default_context(cadata=ca)
            connection.sock = context.wrap_socket(connection.sock, server_hostname=host)
        connection.request("GET", path, headers={"Host": host})
        answer = connection.getresponse()
        return answer.status, answer.read().decode(errors="replace")
    finally:
        connection.close()


def status(address, *arguments, **options):
    """The status of an answer, or the name of what came instead of one."""
    try:
        return request(address, *arguments, **options)[0]
    except (OSError, http.client.HTTPException) as error:
        return type(error).__name__


# ---- objects ---------------------------------------------------------------------------------


def a_gateway(name, listeners=None, gateway_class=CLASS):
    listeners = listeners or [{"name": "http", "protocol": "HTTP", "port": 80}]
    spec = {"gatewayClassName": gateway_class, "listeners": listeners}
    return {"apiVersion": GATEWAY_API, "kind": "Gateway", "metadata": {"name": name}, "spec": spec}


def a_route(name, gateway, rules, **spec):
    spec = {"parentRefs": [{"name": gateway}], "rules": rules, **spec}
    return {"apiVersion": GATEWAY_API, "kind": "HTTPRoute", "metadata": {"name": name}, "spec": spec}


def a_rule(service, path="/", namespace=None):
    backend = {"name": service, "port": 80, **({"namespace": namespace} if namespace else {})}
    return {"matches": [{"path": {"type": "PathPrefix", "value": path}}], "backendRefs": [backend]}


def an_echo(name, replicas=1):
    """A Deployment of the echo service and its Service. A pod that is to end serves on for its grace
    period, because the program takes no notice of SIGTERM."""
    labels = {"app": name}
    container = {
        "name": "echo",
        "image": IMAGE,
        "command": ["/doppel-echo", "--listen", "0.0.0.0:8080", "--name", name],
        "ports": [{"containerPort": 8080}],
        # Soon ready, and not taken for gone when the machine is too busy to ask.
        "readinessProbe": {"tcpSocket": {"port": 8080}, "periodSeconds": 1, "failureThreshold": 10},
    }
    pod = {"terminationGracePeriodSeconds": 10, "enableServiceLinks": False, "containers": [container]}
    return (
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": name},
            "spec": {
                "replicas": replicas,
                "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": pod},
            },
        },
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": name},
            "spec": {"selector": labels, "ports": [{"port": 80, "targetPort": 8080}]},
        },
    )
