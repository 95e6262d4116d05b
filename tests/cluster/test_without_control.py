"""Requests are served when nobody is there to configure: without adapters, without an API server,
and by a gateway that starts again meanwhile."""

import unittest

import lab
from cluster import Case, a_route, a_rule, all_ready, gateway_pods, kill, restarts, status, until
from load import Load


class WithoutControl(Case):
    def test_all_adapters_are_killed(self):
        address = self.serve()
        pods = gateway_pods()
        before = [restarts(pod, "adapter") for pod in pods]
        with Load(address) as load:
            for pod in pods:
                kill(pod, "doppel-adapter")
            for pod, count in zip(pods, before):
                until("the adapter was started again", 60, lambda: restarts(pod, "adapter") > count)
            # What is changed now takes effect: the new adapters are at work.
            self.apply(a_route("main", "web", [a_rule("echo"), a_rule("nowhere", "/changed")]))
            until("a change is live", 60, lambda: status(address, "/changed") == 500)
            until("all pods are ready again", 60, lambda: all_ready(gateway_pods()))
        print(load)
        self.assertEqual((load.failures, list(load.statuses)), ([], [200]))

    @lab.needed
    def test_the_api_server_does_not_answer(self):
        address = self.serve()
        with Load(address) as load, lab.api_server_stopped():
            until("some time has passed", 60, lambda: load.requests > 2000)
        print(load)
        self.assertEqual((load.failures, list(load.statuses)), ([], [200]))
        self.apply(a_route("main", "web", [a_rule("echo"), a_rule("nowhere", "/changed")]))
        until("a change is live", 60, lambda: status(address, "/changed") == 500)

    @lab.needed
    def test_a_gateway_starts_again_while_the_api_server_does_not_answer(self):
        address = self.serve()
        node = gateway_pods()[0]["spec"]["nodeName"]
        with lab.api_server_stopped():
            killed = lab.kill(node, "doppel-gateway")
            self.assertTrue(killed)
            another = lambda: set(lab.processes(node, "doppel-gateway")) - set(killed)
            until("the gateway was started again", 60, another)
            until("every node answers", 30, lambda: [status(address) for _ in range(30)] == 30 * [200])


if __name__ == "__main__":
    unittest.main()
