"""Others than its owner add listeners to a Gateway and take them away, at no cost to its own."""

import unittest

from cluster import GATEWAY_API, Case, a_gateway, a_route, a_rule, an_echo, apply, condition, kubectl, reason, status, until
from load import Load

CHANGES = 10


class ListenerSets(Case):
    def test_a_listener_set_comes_and_goes(self):
        team = f"{self.namespace}-team"
        apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": team}})
        self.addCleanup(kubectl, "delete", "namespace", team, "--wait=false")
        address = self.serve(allowing("All"))
        apply(*an_echo("theirs"), self.theirs(), namespace=team)
        at_theirs = lambda: status(address, "/", "theirs.example", 8080)
        with Load(address) as load:
            for _ in range(CHANGES):
                apply(self.a_set(), namespace=team)
                until("the port of the set answers", 30, lambda: at_theirs() == 200)
                kubectl("--namespace", team, "delete", "listenerset", "more")
                until("it answers no more", 30, lambda: at_theirs() != 200)
        print(load)
        self.assertEqual((load.failures, list(load.statuses)), ([], [200]))

    def test_a_permission_is_withdrawn(self):
        address = self.serve(allowing("Same"))
        self.apply(self.a_set(), *an_echo("theirs"), self.theirs())
        until("the port of the set answers", 30, lambda: status(address, "/", "theirs.example", 8080) == 200)
        attached = lambda: self.get("gateway", "web")["status"].get("attachedListenerSets", 0)
        until("its Gateway counts it", 10, lambda: attached() == 1)

        self.apply(allowing("None"))
        until("it answers no more", 30, lambda: status(address, "/", "theirs.example", 8080) != 200)
        the_set = lambda: self.get("listenerset", "more")
        until("its status says why", 10, lambda: reason(the_set()["status"]["conditions"], "Accepted") == "NotAllowed")
        until("its Gateway counts it no more", 10, lambda: attached() == 0)
        self.assertFalse(condition(the_set(), "Programmed"))
        self.assertEqual(status(address), 200)

    def a_set(self):
        listener = {"name": "http", "protocol": "HTTP", "port": 8080, "hostname": "theirs.example"}
        spec = {"parentRef": {"name": "web", "namespace": self.namespace}, "listeners": [listener]}
        return {"apiVersion": GATEWAY_API, "kind": "ListenerSet", "metadata": {"name": "more"}, "spec": spec}

    def theirs(self):
        return a_route("theirs", "web", [a_rule("theirs")], parentRefs=[{"kind": "ListenerSet", "name": "more"}])


def allowing(namespaces):
    gateway = a_gateway("web")
    gateway["spec"]["allowedListeners"] = {"namespaces": {"from": namespaces}}
    return gateway


if __name__ == "__main__":
    unittest.main()
