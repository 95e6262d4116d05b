"""What clients notice of a mirror that is in trouble: how long answers take at half of the load that
the proxy can take without one, and how long those take that follow on a connection."""

import socket
import statistics
import sys
import time

import load
import peers

MIRRORS = ["none", "black hole", "dead"]
WORK = ["GET", "POST 64 KiB"]
PROTOCOL = "HTTP/1.1"

# How often each is measured in a round, by turns.
TURNS = 4

# Connections, requests on each, and seconds after which an answer is not waited for any longer.
CONNECTIONS, REQUESTS, LIMIT = 60, 3, 5


def measure(seconds, folder, start):
    """One round for one proxy, which `start` runs with each of the mirrors. All run at once, so that
    they are measured one right after the other; those that nobody asks cost nothing."""
    proxies = {}
    try:
        for mirror in MIRRORS:
            proxies[mirror] = start(mirror)
        port = lambda mirror: proxies[mirror][1][PROTOCOL]
        for work in WORK:
            for mirror in MIRRORS:
                load.full_load(folder, port(mirror), PROTOCOL, work, load.WARM_UP / 1e3)
            answered, took = load.full_load(folder, port("none"), PROTOCOL, work, seconds)
            rate = answered / took / 2
            for turn in range(TURNS):
                for mirror in load.turned(MIRRORS, turn):
                    sample = {"rate": round(rate)}
                    try:
                        sample |= load.fixed_rate(folder, port(mirror), PROTOCOL, work, rate, seconds)
                    except load.Failed as error:
                        sample["failed"] = str(error)
                    yield ("half load", work, mirror), sample
        for mirror, sample in kept_connections({mirror: port(mirror) for mirror in MIRRORS[:2]}).items():
            yield ("kept connection", "POST 1 KiB", mirror), sample
    finally:
        for proxy, _ in proxies.values():
            proxy.stop()


def kept_connections(ports):
    """How long the requests take that come second and third on their connection, in milliseconds, by
    mirror; a connection to each by turns."""
    times, failed = {mirror: [] for mirror in ports}, {}
    for _ in range(CONNECTIONS):
        for mirror in [mirror for mirror in ports if mirror not in failed]:
            try:
                times[mirror] += one_connection(ports[mirror])
            except load.Failed as error:
                failed[mirror] = {"failed": str(error)}
    figures = lambda times: {"p50_ms": round(statistics.median(times), 3), "worst_ms": round(max(times), 3)}
    return {mirror: failed.get(mirror) or figures(times[mirror]) for mirror in ports}


def one_connection(port):
    request = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1024\r\n\r\n" + b"x" * 1024
    times = []
    with socket.create_connection(("127.0.0.1", port), timeout=LIMIT) as client:
        for number in range(REQUESTS):
            began = time.perf_counter()
            try:
                client.sendall(request)
                if not answered(client):
                    raise load.Failed("the connection was closed")
            except TimeoutError:
                raise load.Failed(f"request {number + 1} had no answer in {LIMIT} s") from None
            times.append(1e3 * (time.perf_counter() - began))
    return times[1:]


def answered(client):
    """Reads one answer, which is short and has a length."""
    received = b""
    while True:
        head, end, body = received.partition(b"\r\n\r\n")
        if end:
            length = next(int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
            if len(body) >= length:
                return True
        more = client.recv(65536)
        if not more:
            return False
        received += more
