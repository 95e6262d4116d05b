#!/usr/bin/env python3
"""Measures this gateway, nginx and Envoy side by side, in one run, at the same work: what one
request costs in CPU time, with and without mirrors.

Each proxy has one worker on a core of its own; load and services share the other core. Rounds are
interleaved, so that a slow moment of the machine hits all alike, and the median counts. CPU time is
that of the proxy's processes, read from /proc: it is steadier than throughput.
"""

import argparse
import datetime
import json
import pathlib
import platform
import re
import shutil
import statistics
import subprocess
import sys
import tempfile

import peers

# Name, method, path, bytes of the request's body.
WORK = [
    ("GET", "GET", "/", 0),
    ("POST 1 KiB", "POST", "/", 1024),
    ("POST 64 KiB", "POST", "/", 65536),
    ("GET of 64 KiB", "GET", "/large", 0),
]
CONNECTIONS = 16


def main():
    arguments = parse_arguments()
    with tempfile.TemporaryDirectory(prefix="doppel-bench-") as folder:
        folder = pathlib.Path(folder)
        services = peers.Services(folder / "services")
        try:
            results = measure(arguments, folder, services)
        finally:
            services.stop()
    report = {"settings": settings(arguments), "cases": results}
    table = render(report)
    print(table)
    if arguments.output:
        arguments.output.mkdir(parents=True, exist_ok=True)
        (arguments.output / "results.json").write_text(json.dumps(report, indent=1) + "\n")
        (arguments.output / "results.md").write_text(table)


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--doppel", type=pathlib.Path, required=True, help="the gateway's release binary")
    parser.add_argument("--envoy", type=pathlib.Path, help="Envoy's binary; without one it is left out")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=2, help="per case and round")
    parser.add_argument("--work", nargs="*", choices=[name for name, *_ in WORK], default=[name for name, *_ in WORK])
    parser.add_argument("--mirrors", nargs="*", default=["none", "one", "two", "black hole", "dead"])
    parser.add_argument("--peers", nargs="*", choices=peers.PEERS, default=None)
    parser.add_argument("--output", type=pathlib.Path, help="a folder for results.json and results.md")
    return parser.parse_args()


def measure(arguments, folder, services):
    binaries = {"doppel": arguments.doppel.resolve(), "nginx": None, "envoy": arguments.envoy}
    chosen = arguments.peers or [peer for peer in peers.PEERS if peer != "envoy" or arguments.envoy]
    mirrors = {
        "none": [],
        "one": services.mirrors[:1],
        "two": services.mirrors,
        "black hole": [services.black_hole],
        "dead": [services.dead],
    }
    cases = {}
    for round_number in range(arguments.rounds):
        for mirror in arguments.mirrors:
            for peer in chosen:
                place = folder / f"{peer}-{mirror.replace(' ', '-')}-{round_number}"
                place.mkdir()
                port = peers.free_port()
                proxy = peers.PEERS[peer](
                    place, peers.PROXY_CORE, binaries[peer], port, services.primary, mirrors[mirror]
                )
                try:
                    for name, method, path, size in WORK:
                        if name in arguments.work:
                            sample = load(place, proxy, port, method, path, size, arguments.seconds)
                            cases.setdefault((name, mirror, peer), []).append(sample)
                            print(f"{round_number + 1} {name:14} {mirror:10} {peer:7} {sample}", file=sys.stderr)
                finally:
                    proxy.stop()
    return [
        {"work": name, "mirror": mirror, "peer": peer, **{key: statistics.median(s[key] for s in samples) for key in samples[0]}, "samples": samples}
        for (name, mirror, peer), samples in cases.items()
    ]


def load(place, proxy, port, method, path, size, seconds):
    """One case once: CPU microseconds per request, requests per second, p50 and p99 in milliseconds,
    resident memory in MiB."""
    script = place / "request.lua"
    script.write_text(f'wrk.method = "{method}"\nwrk.body = string.rep("x", {size})\n')
    command = ["taskset", "-c", peers.LOAD_CORE, "wrk", "-t1", f"-c{CONNECTIONS}", "--latency", "-s", str(script)]
    url = f"http://127.0.0.1:{port}{path}"
    subprocess.run([*command, "-d1", url], check=True, capture_output=True)
    before = proxy.cpu_seconds()
    output = subprocess.run([*command, f"-d{seconds}", url], check=True, capture_output=True, text=True).stdout
    spent = proxy.cpu_seconds() - before
    requests = int(re.search(r"(\d+) requests in", output)[1])
    failed = re.search(r"Non-2xx or 3xx responses: (\d+)|Socket errors: (.*)", output)
    if failed:
        print(f"  {failed[0]}", file=sys.stderr)
    return {
        "cpu_us": round(spent / max(requests, 1) * 1e6, 1),
        "per_second": round(requests / seconds),
        "p50_ms": milliseconds(re.search(r"50%\s+(\S+)", output)[1]),
        "p99_ms": milliseconds(re.search(r"99%\s+(\S+)", output)[1]),
        "resident_mib": round(proxy.resident_mib(), 1),
    }


def milliseconds(text):
    """What wrk writes; infinite where not one request was answered."""
    found = re.fullmatch(r"([\d.]+)(us|ms|s|m)", text)
    return round(float(found[1]) * {"us": 1e-3, "ms": 1, "s": 1e3, "m": 6e4}[found[2]], 3) if found else float("inf")


def settings(arguments):
    version = lambda command: subprocess.run(command, capture_output=True, text=True)
    nginx = version([shutil.which("nginx") or "/usr/sbin/nginx", "-v"]).stderr.strip()
    envoy = version([arguments.envoy, "--version"]).stdout.strip() if arguments.envoy else None
    return {
        "date": datetime.date.today().isoformat(),
        "machine": f"{platform.machine()}, Linux {platform.release()}",
        "rounds": arguments.rounds,
        "seconds": arguments.seconds,
        "connections": CONNECTIONS,
        "doppel": version([arguments.doppel.resolve(), "--version"]).stdout.strip(),
        "nginx": nginx,
        "envoy": envoy,
    }


def render(report):
    cases = {(case["work"], case["mirror"], case["peer"]): case for case in report["cases"]}
    names = list(dict.fromkeys(peer for _, _, peer in cases))
    lines = [
        "CPU microseconds per request; medians. " + "; ".join(f"{key}: {value}" for key, value in report["settings"].items()),
        "",
        "| work | mirror | " + " | ".join(names) + " |",
        "|---|---|" + "---|" * len(names),
    ]
    for work, mirror in dict.fromkeys((work, mirror) for work, mirror, _ in cases):
        row = [cases.get((work, mirror, peer)) for peer in names]
        cells = [f"{case['cpu_us']} ({case['per_second']}/s, p99 {case['p99_ms']} ms)" if case else "" for case in row]
        lines.append(f"| {work} | {mirror} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
