"""A permission or a certificate that is withdrawn is withdrawn at once, and nothing beside it."""

import base64
import pathlib
import subprocess
import tempfile
import unittest

from cluster import GATEWAY_API, Case, a_gateway, a_route, a_rule, an_echo, apply, kubectl, parent_conditions, reason, status, until

HOST = "shop.example"


class Withdrawn(Case):
    def test_a_grant(self):
        elsewhere = f"{self.namespace}-b"
        apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": elsewhere}})
        self.addCleanup(kubectl, "delete", "namespace", elsewhere, "--wait=false")
        apply(*an_echo("theirs"), grant(self.namespace), namespace=elsewhere)
        address = self.serve(a_route("theirs", "web", [a_rule("theirs", "/theirs", elsewhere)]))
        until("the granted route answers", 60, lambda: status(address, "/theirs") == 200)

        kubectl("--namespace", elsewhere, "delete", "referencegrant", "grant")
        until("it answers no more", 10, lambda: status(address, "/theirs") == 500)
        refused = lambda: reason(parent_conditions(self.get("httproute", "theirs")), "ResolvedRefs") == "RefNotPermitted"
        until("its status says why", 10, refused)
        self.assertEqual(status(address), 200)

        apply(grant(self.namespace), namespace=elsewhere)
        until("it answers again", 10, lambda: status(address, "/theirs") == 200)

    def test_a_certificate(self):
        certificate, key = self_signed(HOST)
        listeners = [
            {"name": "http", "protocol": "HTTP", "port": 80},
            {"name": "https", "protocol": "HTTPS", "port": 443, "tls": {"certificateRefs": [{"name": "pair"}]}},
        ]
        self.apply(secret(certificate, key), a_gateway("web", listeners), *an_echo("echo"))
        self.apply(a_route("main", "web", [a_rule("echo")]))
        address = self.address("web")
        secure = lambda: status(address, host=HOST, port=443, ca=certificate)
        until("both listeners answer", 60, lambda: (status(address), secure()) == (200, 200))

        kubectl("--namespace", self.namespace, "delete", "secret", "pair")
        until("HTTPS answers no more", 10, lambda: secure() != 200)
        until("its status says why", 10, lambda: self.listener_reason("https") == "InvalidCertificateRef")
        self.assertEqual(status(address), 200)

        other, other_key = self_signed(HOST)
        self.apply(secret(other, other_key))
        until("the new certificate is served", 10, lambda: status(address, host=HOST, port=443, ca=other) == 200)
        self.assertEqual(secure(), "SSLCertVerificationError")

    def listener_reason(self, name):
        listeners = self.get("gateway", "web").get("status", {}).get("listeners", [])
        return next((reason(one["conditions"], "ResolvedRefs") for one in listeners if one["name"] == name), None)


def grant(namespace):
    spec = {
        "from": [{"group": "gateway.networking.k8s.io", "kind": "HTTPRoute", "namespace": namespace}],
        "to": [{"group": "", "kind": "Service"}],
    }
    return {"apiVersion": GATEWAY_API, "kind": "ReferenceGrant", "metadata": {"name": "grant"}, "spec": spec}


def secret(certificate, key):
    data = {"tls.crt": certificate, "tls.key": key}
    encoded = {name: base64.b64encode(text.encode()).decode() for name, text in data.items()}
    return {"apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls", "metadata": {"name": "pair"}, "data": encoded}


def self_signed(host):
    with tempfile.TemporaryDirectory() as folder:
        command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
        command += ["-days", "2", "-subj", f"/CN={host}", "-addext", f"subjectAltName=DNS:{host}"]
        command += ["-out", f"{folder}/crt", "-keyout", f"{folder}/key"]
        subprocess.run(command, check=True, capture_output=True)
        return tuple(pathlib.Path(folder, name).read_text() for name in ("crt", "key"))


if __name__ == "__main__":
    unittest.main()
