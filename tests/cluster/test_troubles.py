"""What a person must act on comes to that person's notice, and is taken back once it is mended."""

import json
import secrets
import unittest

from cluster import HOME, IMAGE, Case, a_gateway, a_route, a_rule, an_echo, condition, gateway_pods, kill, kubectl, parent_conditions, reason, until

# Free in the network of a gateway pod, be that its node's, and no privilege to bind.
PORT = 8088


class Troubles(Case):
    def test_events_tell_of_them(self):
        secure = {"name": "https", "protocol": "HTTPS", "port": 443, "tls": {"certificateRefs": [{"name": "absent"}]}}
        self.apply(a_gateway("web", [secure, {"name": "http", "protocol": "HTTP", "port": 80}]))
        self.apply(a_route("main", "web", [a_rule("late")]))
        until("the Gateway has an Event", 30, lambda: self.event("Gateway", "web", "InvalidCertificateRef"))
        until("the route has an Event", 30, lambda: self.event("HTTPRoute", "main", "BackendNotFound"))

        self.apply(*an_echo("late"))
        resolved = lambda: reason(parent_conditions(self.get("httproute", "main")), "ResolvedRefs")
        until("the route's status says that it is mended", 30, lambda: resolved() == "ResolvedRefs")

    def test_a_port_that_is_taken(self):
        listener = {"name": "http", "protocol": "HTTP", "port": PORT}
        self.apply(a_gateway("web", [listener]))
        self.address("web")
        port = self.target_port()
        kubectl("--namespace", self.namespace, "delete", "gateway", "web")
        pod = gateway_pods()[0]
        until("the gateway lets its port go", 30, lambda: port not in ports(pod))

        taker = listen(pod, port)
        self.addCleanup(kill, pod, "doppel-echo")
        until("the port is taken", 60, lambda: "running" in state(pod, taker))
        self.apply(a_gateway("web", [listener]))
        until("the status names the pod", 30, lambda: f"(gateway {pod['status']['podIP']})" in self.message())
        self.assertFalse(condition(self.get("gateway", "web"), "Programmed"))
        until("the Gateway has an Event", 30, lambda: self.event("Gateway", "web", "Invalid"))

        kill(pod, "doppel-echo")
        until("the Gateway is programmed", 90, lambda: condition(self.get("gateway", "web"), "Programmed"))

    def event(self, kind, name, reason):
        found = json.loads(kubectl("--namespace", self.namespace, "get", "events", "--output=json"))["items"]
        about = [(one["involvedObject"]["kind"], one["involvedObject"]["name"], one["reason"]) for one in found]
        return (kind, name, reason) in about

    def target_port(self):
        """Where the Gateway's port leads to in the pods."""
        selector = "--selector=gateway.networking.k8s.io/gateway-name=web"
        slices = json.loads(kubectl("--namespace", self.namespace, "get", "endpointslices", selector, "--output=json"))["items"]
        return slices[0]["ports"][0]["port"] if slices else PORT

    def message(self):
        """Why the listener is not programmed."""
        listeners = self.get("gateway", "web").get("status", {}).get("listeners", [])
        conditions = [one for listener in listeners for one in listener["conditions"]]
        return next((one["message"] for one in conditions if one["type"] == "Programmed" and one["status"] == "False"), "")


def ports(pod):
    """Those that the gateway listens on, or would."""
    path = f"/api/v1/namespaces/{HOME}/pods/{pod['metadata']['name']}:19000/proxy/config"
    return [int(socket["address"].rsplit(":", 1)[1]) for socket in json.loads(kubectl("get", "--raw", path))["sockets"]]


def listen(pod, port):
    """Puts a container into the pod that has the port; returns its name."""
    name = f"taker-{secrets.token_hex(3)}"
    attach = ["--namespace", HOME, "debug", pod["metadata"]["name"], "--profile=restricted", "--quiet"]
    kubectl(*attach, f"--image={IMAGE}", f"--container={name}", "--", "/doppel-echo", "--listen", f"0.0.0.0:{port}")
    return name


def state(pod, container):
    query = f"--output=jsonpath={{.status.ephemeralContainerStatuses[?(@.name=='{container}')].state}}"
    return kubectl("--namespace", HOME, "get", "pod", pod["metadata"]["name"], query)


if __name__ == "__main__":
    unittest.main()
