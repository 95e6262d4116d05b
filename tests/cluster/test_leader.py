"""The adapter that writes is killed: another one takes over."""

import unittest

from cluster import HOME, Case, a_route, a_rule, gateway_pods, get, is_true, kill, parent_conditions, until


class Leader(Case):
    def test_another_takes_over(self):
        self.serve()
        leader = holder()
        pod = next(pod for pod in gateway_pods() if pod["metadata"]["name"] in leader)
        kill(pod, "doppel-adapter")
        self.apply(a_route("late", "web", [a_rule("echo", "/late")]))
        accepted = lambda: is_true(parent_conditions(self.get("httproute", "late")), "Accepted")
        until("a new route is accepted", 60, accepted)


def holder():
    return get("lease", "doppel-adapter", HOME)["spec"]["holderIdentity"]


if __name__ == "__main__":
    unittest.main()
