"""What only this gateway is asked: many routes, one of them changed, and uploads into a mirror that
is stuck."""

import http.client
import re
import signal
import socket
import statistics
import subprocess
import sys
import threading
import time

import peers

ROUTES = (10, 5_000, 40_000)
CHANGES = 7
UPLOADS, UPLOAD_MIB = 50, 64


def measure(arguments, folder, services):
    results = {"routes": [many_routes(arguments.doppel.resolve(), folder, services, count) for count in ROUTES]}
    results["uploads"] = uploads(arguments.doppel.resolve(), folder, services)
    if arguments.table:
        results["look-up"] = look_up(arguments.table)
    return results


def many_routes(binary, folder, services, count):
    """Start-up, memory, and what a changed route costs, with a file for each of so many routes and
    for each of a fifth as many backends, as the adapter writes them."""
    place, port = folder / f"routes-{count}", peers.free_port()
    documents = place / "documents"
    documents.mkdir(parents=True)
    (documents / "listener.yaml").write_text(f"listener: {{name: web, address: '127.0.0.1:{port}'}}\n")
    backends = max(1, count // 5)
    for i in range(backends):
        text = f"backend: {{name: shop/svc-{i}:8080, endpoints: ['127.0.0.1:{services.primary}']}}\n"
        (documents / f"backend-{i}.yaml").write_text(text)
    for i in range(count):
        (documents / f"route-{i}.yaml").write_text(route(i, backends, f"/route-{i}"))
    # What was changed a moment ago is read again with the next signal, in case it changes once more.
    time.sleep(1)
    began = time.monotonic()
    proxy = peers.gateway(place, peers.PROXY_CORE, binary, documents, port)
    try:
        client = http.client.HTTPConnection("127.0.0.1", port)
        peers.wait_for(lambda: status(client, f"/route-{count - 1}") == 200, "the last route", 60)
        started, cpu = time.monotonic() - began, proxy.cpu_seconds()
        time.sleep(1)
        resident = proxy.resident_mib()
        times = [change(proxy, documents, backends, count, client, number) for number in range(CHANGES)]
        rest = 0.2 + 2 * max(times)
        spent = [cpu_of_change(proxy, documents, backends, count, number, rest) for number in range(CHANGES)]
    finally:
        proxy.stop()
    result = {
        "routes": count,
        "start_s": round(started, 3),
        "start_cpu_s": round(cpu, 2),
        "resident_mib": round(resident, 1),
        "live_ms": round(1e3 * statistics.median(times), 2),
        "live_worst_ms": round(1e3 * max(times), 2),
        "change_cpu_ms": round(statistics.median(spent), 2),
    }
    print(result, file=sys.stderr)
    return result


def route(index, backends, prefix):
    return f"""route:
  name: shop/route-{index}
  listeners: [web]
  hostnames: [127.0.0.1]
  order: 2026-01-01T00:00:00Z shop/route-{index}
  rules:
  - matches:
    - path: {{prefix: {prefix}}}
    backends:
    - backend: shop/svc-{index % backends}:8080
"""


def replace(documents, backends, count, prefix):
    """A route's document by another, as the adapter does it."""
    new = documents / ".new"
    new.write_text(route(count // 2, backends, prefix))
    new.rename(documents / f"route-{count // 2}.yaml")


def change(proxy, documents, backends, count, client, number):
    """Seconds from the signal to the first answer by the changed route."""
    prefix = f"/changed-{number}"
    replace(documents, backends, count, prefix)
    began = time.monotonic()
    proxy.child.send_signal(signal.SIGHUP)
    peers.wait_for(lambda: status(client, prefix) == 200, prefix, pause=0)
    took = time.monotonic() - began
    # Until a file's time tells whether it changed again.
    time.sleep(0.1)
    return took


def cpu_of_change(proxy, documents, backends, count, number, rest):
    """Milliseconds of CPU time, with nobody asking; `rest` is enough seconds for it to be over."""
    before = proxy.cpu_seconds()
    replace(documents, backends, count, f"/unasked-{number}")
    proxy.child.send_signal(signal.SIGHUP)
    time.sleep(rest)
    return 1e3 * (proxy.cpu_seconds() - before)


def status(client, path):
    client.request("GET", path)
    answer = client.getresponse()
    answer.read()
    return answer.status


def uploads(binary, folder, services):
    """How much the memory grows while large bodies are sent at once, with a mirror that takes none."""
    place, ports = folder / "uploads", (peers.free_port(), peers.free_port())
    place.mkdir()
    proxy = peers.doppel(place, peers.PROXY_CORE, binary, ports, services.primary, [services.black_hole])
    try:
        before = most = proxy.resident_mib()
        threads = [threading.Thread(target=upload, args=(ports[0],)) for _ in range(UPLOADS)]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            most = max(most, proxy.resident_mib())
            time.sleep(0.01)
    finally:
        proxy.stop()
    result = {"before_mib": round(before, 1), "most_mib": round(most, 1), "growth_mib": round(most - before, 1)}
    print(result, file=sys.stderr)
    return result


def upload(port):
    piece = b"x" * (1 << 20)
    with socket.create_connection(("127.0.0.1", port)) as connection:
        head = f"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {UPLOAD_MIB << 20}\r\n\r\n"
        connection.sendall(head.encode())
        for _ in range(UPLOAD_MIB):
            connection.sendall(piece)
        answer = connection.recv(4096)
        if b" 200 " not in answer:
            raise AssertionError(f"an upload was answered {answer[:100]}")


def look_up(binary):
    """What gateway/benches/table.rs says, in nanoseconds."""
    output = subprocess.run(
        ["taskset", "-c", peers.PROXY_CORE, binary, "--bench"], check=True, capture_output=True, text=True
    ).stdout
    rows = re.findall(r"^ *(\d+) (a host each|one host, a prefix each) +(\d+) ns +(\d+) ns", output, re.M)
    return [{"routes": int(n), "places": places, "same_ns": int(a), "scattered_ns": int(b)} for n, places, a, b in rows]
