"""Changes that happen every day must not cost a single request."""

import unittest

from cluster import HOME, Case, a_route, a_rule, all_ready, gateway_pods, kubectl, status, until
from load import Load

CHANGES = 100


class Rollout(Case):
    def test_a_hundred_changes_of_a_route(self):
        address = self.serve()
        with Load(address) as load:
            for number in range(CHANGES):
                self.apply(a_route("main", "web", [a_rule("echo"), a_rule("echo", f"/change-{number}")]))
            self.apply(a_route("main", "web", [a_rule("echo"), a_redirect()]))
            until("the last change is live", 10, lambda: status(address, "/gone") == 302)
        print(load)
        self.assertEqual((load.failures, list(load.statuses)), ([], [200]))

    def test_a_rollout_of_the_gateway(self):
        address = self.serve()
        before = {pod["metadata"]["uid"] for pod in gateway_pods()}
        with Load(address) as load:
            kubectl("--namespace", HOME, "rollout", "restart", "daemonset/doppel")
            kubectl("--namespace", HOME, "rollout", "status", "daemonset/doppel", "--timeout=150s")
            until("only new pods are left", 90, lambda: all_ready(gateway_pods()) and not before & every_uid())
        print(load)
        self.assertEqual((load.failures, list(load.statuses)), ([], [200]))


def a_redirect():
    """Answered by the gateway itself, and by nothing before the last change."""
    redirect = {"type": "RequestRedirect", "requestRedirect": {"hostname": "elsewhere.example"}}
    return {"matches": [{"path": {"type": "PathPrefix", "value": "/gone"}}], "filters": [redirect]}


def every_uid():
    return set(kubectl("--namespace", HOME, "get", "pods", "--output=jsonpath={.items[*].metadata.uid}").split())


if __name__ == "__main__":
    unittest.main()
