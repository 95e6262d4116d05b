"""Several classes may be ours, and others are not ours to touch."""

import secrets
import unittest

from cluster import GATEWAY_API, Case, a_gateway, a_route, a_rule, apply, condition, kubectl, status, until


class Classes(Case):
    def test_a_second_class_is_served_and_a_foreign_one_left_alone(self):
        second, foreign = (f"doppel-test-{secrets.token_hex(3)}" for _ in range(2))
        self.make_class(second, "doppel.dev/gateway-controller")
        self.make_class(foreign, "elsewhere.example/controller")
        address = self.serve()
        self.apply(a_gateway("second", gateway_class=second), a_gateway("foreign", gateway_class=foreign))
        self.apply(a_route("second", "second", [a_rule("echo", "/second")]))

        other = self.address("second")
        self.assertNotEqual(address, other)
        until("its own route answers", 30, lambda: status(other, "/second") == 200)
        # The same port, no hostname on either, and yet neither serves the other's routes.
        self.assertEqual((status(address, "/second"), status(other, "/")), (200, 404))
        untouched = self.get("gateway", "foreign")
        self.assertFalse(condition(untouched, "Accepted"))
        managers = {entry["manager"] for entry in untouched["metadata"]["managedFields"]}
        self.assertNotIn("doppel-adapter", managers)

    def make_class(self, name, controller):
        spec = {"controllerName": controller}
        apply({"apiVersion": GATEWAY_API, "kind": "GatewayClass", "metadata": {"name": name}, "spec": spec})
        self.addCleanup(kubectl, "delete", "gatewayclass", name, "--wait=false")


if __name__ == "__main__":
    unittest.main()
