#!/usr/bin/env python3
"""Measures this gateway, nginx and Envoy side by side, in one run, at the same work: what one
request costs in CPU time, with and without mirrors; and this gateway alone, with many routes.

Each proxy has one worker on a core of its own; load and services share the other core. Rounds are
interleaved, so that a slow moment of the machine hits all alike, and the median counts. CPU time is
that of the proxy's processes, read from /proc: it is steadier than throughput.
"""

import argparse
import datetime
import json
import pathlib
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile

import alone
import load
import peers
import report

MIRRORS = ["none", "one", "two", "black hole", "dead"]


def main():
    arguments = parse_arguments()
    results = {"settings": settings(arguments)}
    with tempfile.TemporaryDirectory(prefix="doppel-bench-") as folder:
        folder = pathlib.Path(folder)
        services = peers.Services(folder / "services")
        try:
            if "peers" in arguments.only:
                results["cases"] = side_by_side(arguments, folder, services)
                if arguments.output:
                    # The longer part is not lost with the other.
                    report.write(results, arguments.output)
            if "alone" in arguments.only:
                results["alone"] = alone.measure(arguments, folder, services)
        finally:
            services.stop()
    print(report.markdown(results))
    if arguments.output:
        report.write(results, arguments.output)


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--doppel", type=pathlib.Path, required=True, help="the gateway's release binary")
    parser.add_argument("--envoy", type=pathlib.Path, help="Envoy's binary; without one it is left out")
    parser.add_argument("--table", type=pathlib.Path, help="the binary of gateway/benches/table.rs, for look-ups")
    parser.add_argument("--only", nargs="*", choices=["peers", "alone"], default=["peers", "alone"])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1, help="per case and round: at full load, and at a fixed rate")
    parser.add_argument("--work", nargs="*", choices=load.WORK, default=list(load.WORK))
    parser.add_argument("--protocols", nargs="*", choices=load.PROTOCOLS, default=list(load.PROTOCOLS))
    parser.add_argument("--mirrors", nargs="*", choices=MIRRORS, default=MIRRORS)
    parser.add_argument("--peers", nargs="*", choices=peers.PEERS, default=None)
    parser.add_argument("--output", type=pathlib.Path, help="a folder for results.json, results.md and the plots")
    return parser.parse_args()


def side_by_side(arguments, folder, services):
    binaries = {"doppel": arguments.doppel.resolve(), "nginx": None, "envoy": arguments.envoy}
    chosen = arguments.peers or [peer for peer in peers.PEERS if peer != "envoy" or arguments.envoy]
    mirrors = dict(zip(MIRRORS, [[], services.mirrors[:1], services.mirrors, [services.black_hole], [services.dead]]))
    cases = {}
    for number in range(arguments.rounds):
        for mirror in arguments.mirrors:
            for peer in chosen:
                place = folder / f"{peer}-{mirror.replace(' ', '-')}-{number}"
                place.mkdir()
                ports = dict(zip(load.PROTOCOLS, (peers.free_port(), peers.free_port())))
                start = peers.PEERS[peer]
                to = list(ports.values()), services.primary, mirrors[mirror]
                proxy = start(place, peers.PROXY_CORE, binaries[peer], *to)
                try:
                    for protocol in arguments.protocols:
                        for work in arguments.work:
                            sample = load.measure(place, proxy, ports[protocol], protocol, work, arguments.seconds)
                            cases.setdefault((protocol, work, mirror, peer), []).append(sample)
                            print(f"{number + 1} {protocol:8} {work:13} {mirror:10} {peer:6} {sample}", file=sys.stderr)
                finally:
                    proxy.stop()
    return [
        {**dict(zip(("protocol", "work", "mirror", "peer"), case)), **median(samples), "samples": samples}
        for case, samples in cases.items()
    ]


def median(samples):
    """Of each figure; of what was never measured, none."""
    known = {key: [sample[key] for sample in samples if sample[key] is not None] for key in samples[0]}
    return {key: statistics.median(values) if values else None for key, values in known.items()}


def settings(arguments):
    told = lambda command: subprocess.run(command, capture_output=True, text=True)
    nginx = told([shutil.which("nginx") or "/usr/sbin/nginx", "-v"]).stderr
    envoy = told([arguments.envoy, "--version"]).stdout.split("version:")[-1] if arguments.envoy else "left out"
    return {
        "date": datetime.date.today().isoformat(),
        "machine": f"{platform.machine()}, Linux {platform.release().split('-')[0]}",
        "doppel": told([arguments.doppel.resolve(), "--version"]).stdout.strip().split()[-1],
        "nginx": nginx.strip().split("/")[-1],
        "envoy": envoy.strip().split("/")[1] if "/" in envoy else envoy,
        "rounds": arguments.rounds,
        "seconds per case": arguments.seconds,
    }


if __name__ == "__main__":
    main()
