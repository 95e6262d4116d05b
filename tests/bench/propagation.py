#!/usr/bin/env python3
"""Measures, in the cluster of $KUBECONFIG with Doppel in it, how soon a change is served.

1. Routes one after another: the time from the API server's answer to the first 200, with more and
   more routes in place. What is answered before that should be 404 and nothing else.
2. Many routes at once: the time until the Gateway's attachedRoutes is right and until each route has
   its status, and how often statuses were written for it, of Gateways and of routes.
3. Memory of the gateway and the adapter with many routes in place.

To be run from a place that reaches the addresses of Gateways.
"""

import argparse
import collections
import concurrent.futures
import http.client
import json
import pathlib
import re
import statistics
import subprocess
import sys
import threading
import time

sys.path.append(str(pathlib.Path(__file__).resolve().parent.parent / "cluster"))
from cluster import GATEWAY_API, HOME, Case, a_gateway, a_route, a_rule, an_echo, gateway_pods, status, until

# Requests to the API server at the same time, for many routes at once.
WRITERS = 16

# A gateway that needs longer than this for a route has failed.
PATIENCE = 30


def main():
    arguments = parse_arguments()
    with Api() as api, Place() as place:
        report = {"steps": steps(api, place, arguments.steps)}
        report["at once"] = at_once(api, place, arguments.at_once, arguments.steps)
        more = arguments.memory - arguments.steps - arguments.at_once
        if more > 0:
            at_once(api, place, more, arguments.steps + arguments.at_once)
        report["memory"] = memory(api)
    text = json.dumps(report, indent=1)
    print(text)
    if arguments.output:
        arguments.output.write_text(text + "\n")


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=3000, help="routes one after another")
    parser.add_argument("--at-once", type=int, default=1000, help="routes at once")
    parser.add_argument("--memory", type=int, default=5000, help="routes in place when memory is measured")
    parser.add_argument("--output", type=pathlib.Path, help="a file for the results")
    return parser.parse_args()


# ---- what is measured ------------------------------------------------------------------------


def steps(api, place, count):
    """By the number of routes in place, what the last of them took."""
    times, others = [], collections.Counter()
    gateway = http.client.HTTPConnection(place.address, 80, timeout=5)
    for number in range(count):
        api.create_route(place.namespace, number)
        answered = time.monotonic()
        while (answer := ask(gateway, number)) != 200:
            if answer != 404:
                # A 503 while there is no endpoint is the echo service's.
                others[f"{answer} with {api.ready_endpoints(place)} ready"] += 1
            if time.monotonic() - answered > PATIENCE:
                raise AssertionError(f"route {number} is not served after {PATIENCE} s: {answer}")
            # Asking without a pause would keep a processor from those who work.
            time.sleep(0.001)
        times.append(time.monotonic() - answered)
    thirds = [times[begin : begin + count // 3] for begin in range(0, count - count % 3, max(1, count // 3))]
    return {"all": summary(times), "thirds": [summary(third) for third in thirds], "other answers": dict(others)}


def ask(gateway, number):
    try:
        gateway.request("GET", f"/route-{number}")
        answer = gateway.getresponse()
        answer.read()
        return answer.status
    except (OSError, http.client.HTTPException) as error:
        gateway.close()
        return type(error).__name__


def summary(times):
    in_ms = sorted(1000 * seconds for seconds in times)
    at = lambda share: round(in_ms[min(len(in_ms) - 1, int(share * len(in_ms)))], 1)
    return {"routes": len(in_ms), "p50 ms": at(0.5), "p90 ms": at(0.9), "p99 ms": at(0.99), "max ms": at(1), "mean ms": round(statistics.mean(in_ms), 1)}


def at_once(api, place, count, present):
    writes = api.status_writes()
    numbers = range(present, present + count)
    expected = present + count + 1  # The test's own route is one as well.
    with api.statuses(place, {f"route-{number}" for number in numbers}) as statuses:
        began = time.monotonic()
        with concurrent.futures.ThreadPoolExecutor(WRITERS) as pool:
            list(pool.map(lambda number: api.create_route(place.namespace, number), numbers))
        created = time.monotonic()
        until("attachedRoutes is right", 300, lambda: api.attached_routes(place) == expected)
        attached = time.monotonic()
        gateway = http.client.HTTPConnection(place.address, 80, timeout=5)
        until("the last route is served", PATIENCE, lambda: ask(gateway, numbers[-1]) == 200)
        until("all routes have a status", 300, lambda: len(statuses.told) == count)
    after = api.status_writes()
    return {
        "routes": count,
        "creating s": round(created - began, 2),
        "attachedRoutes right s after": round(attached - created, 2),
        "all statuses s after": round(max(statuses.told.values()) - created, 2),
        "status writes": {resource: after[resource] - writes[resource] for resource in after},
    }


def memory(api):
    """In MiB, by pod and container, as the kubelet knows it; without files in memory."""
    pods = {pod["metadata"]["name"]: pod["spec"]["nodeName"] for pod in gateway_pods()}
    found = {}
    for node in sorted(set(pods.values())):
        stats = json.loads(api.get(f"/api/v1/nodes/{node}/proxy/stats/summary"))
        for pod in stats["pods"]:
            if pod["podRef"]["name"] in pods and pod["podRef"]["namespace"] == HOME:
                for container in pod["containers"]:
                    found[f"{node} {container['name']}"] = round(container["memory"].get("rssBytes", 0) / 2**20, 1)
    return found


# ---- the cluster -----------------------------------------------------------------------------


class Place(Case):
    """A namespace with a Gateway, an echo service and a route, for as long as it is entered."""

    def __enter__(self):
        self.setUp()
        # No request for another route may find its way to this one.
        self.apply(a_gateway("web"), *an_echo("echo"), a_route("main", "web", [a_rule("echo", "/main")]))
        self.address = self.address("web")
        until("the route answers", 60, lambda: status(self.address, "/main") == 200)
        return self

    def __exit__(self, *_):
        self.doCleanups()


class Api:
    """The API server, by way of `kubectl proxy`, with a connection for each thread."""

    def __enter__(self):
        self.proxy = subprocess.Popen(["kubectl", "proxy", "--port=0"], stdout=subprocess.PIPE, text=True)
        self.port = int(re.search(r":(\d+)$", self.proxy.stdout.readline().strip())[1])
        self.connections = {}
        return self

    def __exit__(self, *_):
        self.proxy.terminate()
        self.proxy.wait()

    def call(self, method, path, body=None):
        me = threading.get_ident()
        if me not in self.connections:
            self.connections[me] = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        connection = self.connections[me]
        connection.request(method, path, body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        text = answer.read().decode()
        if answer.status >= 300:
            raise AssertionError(f"{method} {path}: {answer.status} {text[:300]}")
        return text

    def get(self, path):
        return self.call("GET", path)

    def create_route(self, namespace, number):
        route = a_route(f"route-{number}", "web", [a_rule("echo", f"/route-{number}")])
        self.call("POST", f"/apis/{GATEWAY_API}/namespaces/{namespace}/httproutes", json.dumps(route))

    def attached_routes(self, place):
        gateway = json.loads(self.get(f"/apis/{GATEWAY_API}/namespaces/{place.namespace}/gateways/web"))
        return gateway["status"]["listeners"][0]["attachedRoutes"]

    def ready_endpoints(self, place):
        path = f"/apis/discovery.k8s.io/v1/namespaces/{place.namespace}/endpointslices?labelSelector=kubernetes.io/service-name%3Decho"
        slices = json.loads(self.get(path))["items"]
        return sum(endpoint["conditions"]["ready"] for slice in slices for endpoint in slice["endpoints"] or [])

    def statuses(self, place, names):
        path = f"/apis/{GATEWAY_API}/namespaces/{place.namespace}/httproutes"
        version = json.loads(self.get(f"{path}?limit=1"))["metadata"]["resourceVersion"]
        return Statuses(self.port, path, version, names)

    def status_writes(self):
        """By resource, how many the API server has answered."""
        counts = collections.Counter({"gateways": 0, "httproutes": 0})
        for line in self.get("/metrics").splitlines():
            if line.startswith("apiserver_request_total{") and 'subresource="status"' in line:
                labels = dict(re.findall(r'(\w+)="([^"]*)"', line))
                if labels["resource"] in counts and labels["verb"] in ("APPLY", "PATCH", "PUT"):
                    counts[labels["resource"]] += int(float(line.rsplit(" ", 1)[1]))
        return counts


class Statuses:
    """When routes of these names got a status, as watches tell: to ask again and again would keep the API
    server from its work."""

    def __init__(self, port, path, version, names):
        self.port, self.path, self.version, self.names = port, path, version, names
        self.told = {}
        self.left = threading.Event()
        self.thread = threading.Thread(target=self.run)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.left.set()
        self.thread.join()

    def run(self):
        """Watches for two seconds at a time; each goes on where the one before ended."""
        while not self.left.is_set():
            connection = http.client.HTTPConnection("127.0.0.1", self.port)
            connection.request("GET", f"{self.path}?watch=1&timeoutSeconds=2&resourceVersion={self.version}")
            for line in connection.getresponse():
                route = json.loads(line)["object"]
                self.version = route["metadata"]["resourceVersion"]
                if route["metadata"]["name"] in self.names and route.get("status", {}).get("parents"):
                    self.told.setdefault(route["metadata"]["name"], time.monotonic())
            connection.close()


if __name__ == "__main__":
    main()
