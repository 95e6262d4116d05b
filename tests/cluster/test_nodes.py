"""A node is emptied, and comes back."""

import unittest

from cluster import HOME, Case, all_ready, gateway_pods, kubectl, until
from load import Load

TAINT = "doppel.dev/test=leave:NoExecute"


class Nodes(Case):
    def test_a_node_goes_and_another_comes(self):
        nodes = {pod["spec"]["nodeName"] for pod in gateway_pods()}
        if len(nodes) < 2:
            self.skipTest("needs two nodes with gateways")
        address = self.serve()
        # Requests must not fail for want of the echo service.
        stays = self.node_of_echo()
        leaves = min(nodes - {stays})
        with Load(address) as load:
            kubectl("taint", "node", leaves, TAINT)
            try:
                until("no gateway is left on it", 90, lambda: leaves not in self.every_node())
            finally:
                kubectl("taint", "node", leaves, f"{TAINT}-")
            until("it has a gateway again", 60, lambda: all_ready(gateway_pods()) and leaves in self.every_node())
        print(load)
        # A load balancer that leads an address to a node breaks what is open there when it leads the
        # address to another: each connection once, which no gateway can help.
        self.assertLessEqual(len(load.failures), load.connections, load)
        self.assertEqual(list(load.statuses), [200])

    def node_of_echo(self):
        return kubectl("--namespace", self.namespace, "get", "pods", "--output=jsonpath={.items[0].spec.nodeName}")

    def every_node(self):
        """Also of pods that are on their way out."""
        return kubectl("--namespace", HOME, "get", "pods", "--output=jsonpath={.items[*].spec.nodeName}").split()


if __name__ == "__main__":
    unittest.main()
