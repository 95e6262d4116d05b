"""Pods come and go while requests flow. A request is answered by a pod, or told that there is none."""

import unittest

from cluster import Case, kubectl, status, until
from load import Load


class Endpoints(Case):
    def test_from_none_to_ten_and_back(self):
        address = self.serve()
        self.scale(0)
        until("nothing answers", 60, lambda: status(address) == 503)

        with Load(address) as load:
            self.scale(10)
            until("something answers", 60, lambda: status(address) == 200)
            self.rollout()
            self.scale(0)
            until("nothing answers", 60, lambda: status(address) == 503)
        print(load)
        self.assertEqual((load.failures, set(load.statuses)), ([], {200, 503}))

    def test_from_ten_to_one_costs_nothing(self):
        address = self.serve()
        self.scale(10)
        self.rollout()
        with Load(address) as load:
            self.scale(1)
            until("one is left", 90, lambda: len(self.pods()) == 1)
        print(load)
        self.assertEqual((load.failures, list(load.statuses)), ([], [200]))

    def scale(self, replicas):
        kubectl("--namespace", self.namespace, "scale", "deployment/echo", f"--replicas={replicas}")

    def rollout(self):
        kubectl("--namespace", self.namespace, "rollout", "status", "deployment/echo", "--timeout=90s")

    def pods(self):
        return kubectl("--namespace", self.namespace, "get", "pods", "--output=name").split()


if __name__ == "__main__":
    unittest.main()
