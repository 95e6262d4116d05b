"""The adapter that writes is killed: another one takes over."""

import unittest

from cluster import HOME, Case, a_route, a_rule, accepted, gateway_pods, get, kill, until


class Leader(Case):
    def test_another_takes_over(self):
        self.serve()
        leader = holder()
        pod = next(pod for pod in gateway_pods() if pod["metadata"]["name"] in leader)
        kill(pod, "doppel-adapter")
        self.apply(a_route("late", "web", [a_rule("echo", "/late")]))
        until("a new route is accepted", 60, lambda: accepted(self.get("httproute", "late")))


def holder():
    return get("lease", "doppel-adapter", HOME)["spec"]["holderIdentity"]


if __name__ == "__main__":
    unittest.main()
