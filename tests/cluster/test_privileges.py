"""What somebody who has taken over a program of ours gets beyond what it needs: nothing."""

import unittest

import lab
from cluster import Case, gateway_pods, kubectl

ADAPTER = "--as=system:serviceaccount:doppel-system:doppel-adapter"
TOKEN = "var/run/secrets/kubernetes.io/serviceaccount/token"


class Privileges(Case):
    def test_the_adapter_touches_its_own_services_alone(self):
        self.apply(a_service("theirs"))
        for attempt in (
            ["delete", "service", "theirs"],
            ["label", "service", "theirs", "app.kubernetes.io/managed-by=doppel"],
            ["create", "service", "clusterip", "new", "--tcp=80"],
        ):
            with self.assertRaisesRegex(AssertionError, "may only touch what is labelled"):
                kubectl("--namespace", self.namespace, ADAPTER, *attempt)
        self.apply(a_service("ours", {"app.kubernetes.io/managed-by": "doppel"}))
        kubectl("--namespace", self.namespace, ADAPTER, "delete", "service", "ours")

    def test_the_gateway_has_no_token(self):
        pods = gateway_pods()
        self.assertTrue(pods)
        for pod in pods:
            gateway = next(one for one in pod["spec"]["containers"] if one["name"] == "gateway")
            paths = [mount["mountPath"] for mount in gateway["volumeMounts"]]
            self.assertEqual(sorted(paths), ["/run/doppel/config", "/run/doppel/process"])

    @lab.needed
    def test_the_gateway_cannot_look_into_the_adapter(self):
        """Though they share processes and a user: their groups keep them apart."""
        node = gateway_pods()[0]["spec"]["nodeName"]
        adapter = lab.processes(node, "doppel-adapter")[0]
        read = lambda group: lab.on_node(
            node, "setpriv", "--reuid=65532", f"--regid={group}", "--clear-groups", "cat", f"/proc/{adapter}/root/{TOKEN}"
        )
        self.assertEqual(read(65532), "")
        # So would it be with the adapter's own group, if the path were wrong.
        self.assertNotEqual(read(65533), "")


def a_service(name, labels=None):
    spec = {"ports": [{"port": 80}]}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "labels": labels or {}}, "spec": spec}


if __name__ == "__main__":
    unittest.main()
