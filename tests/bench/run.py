#!/usr/bin/env python3
"""Measures this gateway, nginx and Envoy side by side, in one run, at the same work: what one
request costs in CPU time, with and without mirrors; and this gateway alone, with many routes.

Each proxy has one worker on a core of its own; load and services share the other core. All proxies run
at once, and what is compared is measured one right after the other, so that a slow moment of the machine
hits all alike, and the median counts. CPU time is that of the proxy's processes: it is steadier than
throughput.
"""

import argparse
import datetime
import itertools
import pathlib
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile

import alone
import load
import notice
import peers
import report

PARTS = ["peers", "notice", "alone"]

MIRRORS = ["none", "one", "two", "black hole", "dead"]

# What a mirror in trouble is measured with: the other kinds of work say nothing more.
IN_TROUBLE = {mirror: ["GET", "POST 64 KiB"] for mirror in ("black hole", "dead")}


def main():
    arguments = parse_arguments()
    results = {"settings": settings(arguments)}
    with tempfile.TemporaryDirectory(prefix="doppel-bench-") as folder:
        folder = pathlib.Path(folder)
        # Where nginx is started by root, its worker is somebody else, who is to read what it serves.
        folder.chmod(0o711)
        services = peers.Services(folder / "services")
        bench = Bench(arguments, folder, services, results)
        try:
            # Rounds of all, so that a run that is broken off leaves what it has of each.
            for number in range(arguments.rounds):
                if "peers" in arguments.only:
                    bench.side_by_side(number)
                if "notice" in arguments.only:
                    bench.troubled(number)
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
    parser.add_argument("--pingora", type=pathlib.Path, help="gateway/examples/pingora.rs; without it is left out")
    parser.add_argument("--table", type=pathlib.Path, help="the binary of gateway/benches/table.rs, for look-ups")
    parser.add_argument("--only", nargs="*", choices=PARTS, default=PARTS)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=0.8, help="per case and round: at full load, and at a fixed rate")
    parser.add_argument("--work", nargs="*", choices=load.WORK, default=list(load.WORK))
    parser.add_argument("--protocols", nargs="*", choices=load.PROTOCOLS, default=list(load.PROTOCOLS))
    parser.add_argument("--mirrors", nargs="*", choices=MIRRORS, default=MIRRORS)
    parser.add_argument("--peers", nargs="*", choices=peers.PEERS, default=None)
    parser.add_argument("--output", type=pathlib.Path, help="a folder for results.json, results.md and the plots")
    return parser.parse_args()


class Bench:
    """What is measured goes into `results` at once, and is written down."""

    def __init__(self, arguments, folder, services, results):
        self.arguments, self.folder, self.services, self.results = arguments, folder, services, results
        self.binaries = {"doppel": arguments.doppel.resolve(), "envoy": arguments.envoy, "pingora": arguments.pingora}
        there = [peer for peer in peers.PEERS if peer == "nginx" or self.binaries[peer]]
        self.chosen = arguments.peers or there
        self.samples = {"cases": {}, "notice": {}}

    def start(self, peer, mirror):
        """A proxy, and its ports by protocol."""
        place = pathlib.Path(tempfile.mkdtemp(prefix=f"{peer}-", dir=self.folder))
        ports = dict(zip(load.PROTOCOLS, (peers.free_port(), peers.free_port())))
        services = self.services
        mirrors = dict(zip(MIRRORS, [[], services.mirrors[:1], services.mirrors, [services.black_hole], [services.dead]]))
        binary = self.binaries.get(peer)
        start = peers.PEERS[peer]
        return start(place, peers.PROXY_CORE, binary, list(ports.values()), services.primary, mirrors[mirror]), ports

    def side_by_side(self, number):
        """A round of all cases. Proxies that nobody asks cost nothing."""
        arguments, running = self.arguments, {}
        try:
            for mirror, peer in itertools.product(arguments.mirrors, self.chosen):
                if peer != "pingora" or mirror == "none":
                    running[mirror, peer] = self.start(peer, mirror)
            for protocol, work in itertools.product(arguments.protocols, arguments.work):
                samples = {key: {} for key in running if work in IN_TROUBLE.get(key[0], load.WORK)}
                for figures in (self.cost, self.time):
                    # Each has its turn to be the first.
                    for key in load.turned(list(samples), number):
                        if "failed" in samples[key]:
                            continue
                        try:
                            samples[key] |= figures(*running[key], protocol, work)
                        except load.Failed as error:
                            # Half of a case's figures are none.
                            samples[key] = {"failed": str(error)}
                for (mirror, peer), sample in samples.items():
                    self.note(number, "cases", (protocol, work, mirror, peer), sample)
        finally:
            for proxy, _ in running.values():
                proxy.stop()

    def cost(self, proxy, ports, protocol, work):
        return load.cost(self.folder, proxy, ports[protocol], protocol, work, self.arguments.seconds)

    def time(self, _proxy, ports, protocol, work):
        rate = load.WORK[work][2]
        return load.fixed_rate(self.folder, ports[protocol], protocol, work, rate, self.arguments.seconds)

    def troubled(self, number):
        """A round of what clients notice of mirrors in trouble."""
        for peer in self.chosen:
            if peer == "pingora":
                continue
            start = lambda mirror: self.start(peer, mirror)
            try:
                for (what, work, mirror), sample in notice.measure(self.arguments.seconds, self.folder, start):
                    self.note(number, "notice", (what, work, mirror, peer), sample)
            except load.Failed as error:
                print(f"{number + 1} {peer}: {error}", file=sys.stderr)

    def note(self, number, part, case, sample):
        print(number + 1, *case, sample, file=sys.stderr)
        self.samples[part].setdefault(case, []).append(sample)
        names = {"cases": ("protocol", "work", "mirror", "peer"), "notice": ("what", "work", "mirror", "peer")}[part]
        self.results[part] = [
            {**dict(zip(names, case)), **median(samples), "samples": samples}
            for case, samples in self.samples[part].items()
        ]
        if self.arguments.output:
            report.write(self.results, self.arguments.output)


def median(samples):
    """Of each figure; of what was never measured, none. And of failures, the first."""
    keys = dict.fromkeys(key for sample in samples for key in sample if key != "failed")
    known = {key: [sample[key] for sample in samples if sample.get(key) is not None] for key in keys}
    failed = [sample["failed"] for sample in samples if "failed" in sample]
    return {
        **{key: round(statistics.median(values), 3) if values else None for key, values in known.items()},
        **({"failed": failed[0], "failures": len(failed)} if failed else {}),
    }


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
