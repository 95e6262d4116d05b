"""Objects that the API server lets pass and no gateway can serve, among others that it must."""

import unittest

from cluster import Case, a_gateway, a_route, a_rule, accepted, status, until
from load import Load


class Hostile(Case):
    def test_they_spoil_nothing_but_themselves(self):
        address = self.serve()
        with Load(address) as load:
            self.apply(*nonsense())
            until("a route after all of them is live", 30, lambda: self.later(address))
        print(load)
        self.assertEqual((load.failures, list(load.statuses)), ([], [200]))
        route = self.get("httproute", "later")
        self.assertTrue(accepted(route), route.get("status"))

    def later(self, address):
        self.apply(a_route("later", "web", [a_rule("echo", "/later")]))
        return status(address, "/later") == 200


def nonsense():
    """Of every kind that the adapter reads, something that is allowed to exist."""
    label = {"kubernetes.io/service-name": "echo"}
    slice = {"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4"}
    regex = {"path": {"type": "RegularExpression", "value": "/(" * 300}}
    long_host = ".".join(["a" * 60] * 4)
    return [
        # Endpoints of the Service under test that nobody can connect to, and one that says nothing.
        {**slice, "metadata": {"name": "of-nothing", "labels": label}, "endpoints": [], "ports": None},
        {**slice, "metadata": {"name": "of-no-service"}, "endpoints": [{"addresses": ["192.0.2.1"]}]},
        {**slice, "addressType": "FQDN", "metadata": {"name": "of-names", "labels": label}, "endpoints": [{"addresses": ["nowhere.example"]}], "ports": [{"port": 80}]},
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "outside"}, "spec": {"type": "ExternalName", "externalName": "nowhere.example"}},
        {"apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls", "metadata": {"name": "rubbish"}, "stringData": {"tls.crt": "rubbish", "tls.key": ""}},
        a_route("regex", "web", [{"matches": [regex], "backendRefs": [{"name": "echo", "port": 80}]}]),
        a_route("nowhere", "no-such-gateway", [a_rule("echo")]),
        a_route("external", "web", [a_rule("outside", "/outside")]),
        a_route("long", "web", [a_rule("echo", "/" + "long/" * 200)], hostnames=[long_host]),
        a_route("itself", "web", [{"filters": [{"type": "RequestMirror", "requestMirror": {"backendRef": {"name": "absent", "port": 1}}}]}], hostnames=["itself.example"]),
        a_gateway("odd", [{"name": "odd", "protocol": "example.com/odd", "port": 1}, {"name": "secure", "protocol": "HTTPS", "port": 443, "tls": {"certificateRefs": [{"name": "rubbish"}]}}]),
    ]


if __name__ == "__main__":
    unittest.main()
