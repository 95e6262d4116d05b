//! What tests of several modules begin with.

/// A GatewayClass `doppel` of ours.
pub(crate) const CLASS: &str = "
apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: {name: doppel}
spec: {controllerName: doppel.dev/gateway-controller}
---";
