#!/usr/bin/env bash
# The traffic-mirroring page on the cluster of $KUBECONFIG, word for word: its manifests by kubectl
# apply, curl, and the logs of both services. Fails if anything is not as the page says. To be run
# from a place that reaches the addresses of Gateways.
#
#   DOPPEL_ECHO=1    for clusters that cannot pull the page's image: the echo service of this
#                    repository in its place (see traffic-mirroring/)
#   DOPPEL_KEEP=1    leave everything there at the end
set -euo pipefail
cd "$(dirname "$0")/../.."
pages=k8s/examples/traffic-mirroring

say() { printf '\n$ %s\n' "$*"; }
run() { say "$*" && "$@"; }
fail() {
    printf '\n%s\n' "$1" >&2
    kubectl --namespace server get gateway,httproute,pods --output=wide >&2 || true
    kubectl --namespace doppel-system logs daemonset/doppel --container=adapter --tail=20 >&2 || true
    exit 1
}
# within SECONDS COMMAND...: until the command succeeds.
within() {
    local end=$((SECONDS + $1))
    until "${@:2}"; do
        [ $SECONDS -lt $end ] || return 1
        sleep 0.2
    done
}

finish() {
    [ -n "${DOPPEL_KEEP:-}" ] || kubectl delete --wait=false --ignore-not-found -f $pages/00-gatewayclass.yaml -f $pages/01-namespace.yaml >/dev/null
}
trap finish EXIT

# A run before this one may still be on its way out.
kubectl wait --for=delete namespace/server --timeout=120s >/dev/null 2>&1 || true

ask() { curl --silent --show-error --max-time 10 "http://$GATEWAY_IP:8000/" -d 'Hello world'; }
answers() { [ "$(ask 2>/dev/null)" = 'Hello world' ]; }
log_of() { kubectl --namespace server logs "deployment/$1"; }
# head_of SERVICE: of the newest request in its log, without the number or the time before it.
head_of() {
    log_of "$1" | sed -E 's/^#[0-9]+ (complete|aborted).*//; s/^[0-9-]+ [0-9:.]+ \[[A-Z]+\] //' |
        awk '/^#[0-9]+ |^\{/ { head = "" } { head = head $0 "\n" } END { printf "%s", head }' | sed -E 's/^#[0-9]+ //'
}
requests_of() { log_of "$1" | grep -cE '^#[0-9]+ [A-Z]+ /|method' || true; }

run kubectl apply -f $pages/00-gatewayclass.yaml -f $pages/01-namespace.yaml
if [ -n "${DOPPEL_ECHO:-}" ]; then
    kubectl kustomize --load-restrictor=LoadRestrictionsNone tests/cluster/traffic-mirroring | kubectl apply -f -
else
    run kubectl apply -f $pages/02-pipy.yaml -f $pages/03-pipy-mirror.yaml
fi
run kubectl apply -f $pages/04-gateway.yaml -f $pages/05-httproute.yaml

kubectl --namespace server rollout status deployment/pipy deployment/pipy-mirror --timeout=120s >/dev/null || fail 'The services do not start.'
kubectl --namespace server wait --for=condition=Programmed gateway/simple-fsm-gateway --timeout=60s >/dev/null || fail 'The Gateway is not programmed.'
accepted="{.status.parents[?(@.controllerName=='doppel.dev/gateway-controller')].conditions[?(@.type=='Accepted')].status}=True"
kubectl --namespace server wait --for=jsonpath="$accepted" httproute/foo --timeout=60s >/dev/null || fail 'The route is not accepted.'
run kubectl get gateway,httproute -A

say "export GATEWAY_IP=\$(kubectl -n server get gateway simple-fsm-gateway -o jsonpath='{.status.addresses[0].value}')"
GATEWAY_IP=$(kubectl -n server get gateway simple-fsm-gateway -o jsonpath='{.status.addresses[0].value}')
echo "$GATEWAY_IP"

say "curl http://$GATEWAY_IP:8000/ -d 'Hello world'"
# A new address takes a moment to be known everywhere.
within 30 answers || fail "no answer from http://$GATEWAY_IP:8000/"
ask
echo
[ "$(requests_of pipy-mirror)" = 0 ] || fail 'pipy-mirror got a request that it should not have.'

run kubectl apply -f $pages/mirror/all.yaml
before=$(requests_of pipy)
mirrored() { answers && [ "$(requests_of pipy-mirror)" != 0 ]; }
within 30 mirrored || fail 'pipy-mirror gets no copy.'
say "curl http://$GATEWAY_IP:8000/ -d 'Hello world'"
ask
echo
# The copy may come a moment later.
same() { [ -n "$(head_of pipy)" ] && [ "$(head_of pipy)" = "$(head_of pipy-mirror)" ]; }
within 10 same || fail "The heads differ.
pipy: $(head_of pipy)
pipy-mirror: $(head_of pipy-mirror)"
[ "$(requests_of pipy)" -gt "$before" ] || fail 'pipy got no request of its own.'

run kubectl -n server logs deployment/pipy --tail=9
run kubectl -n server logs deployment/pipy-mirror --tail=9
printf '\nBoth services log the same head.\n'
