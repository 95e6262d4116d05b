#!/usr/bin/env python3
"""Runs the official conformance suite against the cluster of $KUBECONFIG, from a place that reaches
the addresses of Gateways. What it tests follows from the features in the status of the GatewayClass.

Tests count by their own result lines, because the report of this release of the suite calls tests
that run in parallel passed before they began. Only where all agree is the report kept.

Arguments that are not below go to the suite, such as --run-test=HTTPRouteWeight or --skip-tests=A,B.
"""

import argparse
import collections
import os
import pathlib
import re
import shutil
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
CACHE = pathlib.Path(os.environ.get("XDG_CACHE_HOME", pathlib.Path.home() / ".cache")) / "doppel" / "conformance"

# Who is tested, for the report.
IMPLEMENTATION = {
    "organization": "doppel",
    "project": "doppel",
    "url": "https://doppel.dev",
    "version": "0.1.0",
    "contact": "https://doppel.dev",
}

# As test2json asks for them: with a mark that no output of a test can have.
BEGINNING = re.compile(r"\x16=== RUN +TestConformance/([^/\s]+)$")
RESULT = re.compile(r"\x16--- (PASS|FAIL|SKIP): TestConformance(?:/([^/\s]+))? \(([\d.]+)s\)$")


def main():
    arguments, flags = parse_arguments()
    suite = build()
    if arguments.build:
        return
    arguments.output.mkdir(parents=True, exist_ok=True)
    for old in ("report.yaml", "results.tsv", "suite.log"):
        (arguments.output / old).unlink(missing_ok=True)
    wait_for_namespaces_to_go()
    results, complete = run(suite, arguments, flags)
    sys.exit(judge(results, complete, arguments))


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False)
    parser.add_argument("--build", action="store_true", help="compile the suite and end: the rest needs no network but the cluster's")
    parser.add_argument("--gateway-class", default="doppel")
    parser.add_argument("--profiles", default="GATEWAY-HTTP,GATEWAY-GRPC")
    parser.add_argument("--output", type=pathlib.Path, default=CACHE / "last", help="a folder for suite.log, results.tsv, report.yaml")
    parser.add_argument("--record", action="store_true", help="keep the report in reports/ if everything passed")
    parser.add_argument("--timeout", default="40m", help="of the whole suite")
    return parser.parse_known_args()


def build():
    suite = CACHE / "conformance.test"
    go = ["go", "test", "-c", "-trimpath", "-o", suite, "."]
    environment = {**os.environ, "GOTOOLCHAIN": "local", "GOWORK": "off", "GOFLAGS": "-mod=readonly", "CGO_ENABLED": "0"}
    subprocess.run(go, cwd=HERE, env=environment, check=True)
    return suite


def wait_for_namespaces_to_go():
    """Those of a run before this one may still be on their way out."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        namespaces = subprocess.run(["kubectl", "get", "namespaces"], capture_output=True, text=True, check=True).stdout
        if not re.search(r"^gateway-conformance-\S+ +Terminating", namespaces, re.M):
            return
        time.sleep(0.5)


def run(suite, arguments, flags):
    """The result and seconds of each test, and whether the suite itself came to its end."""
    command = [
        suite,
        "-test.v=test2json",
        "-test.run=^TestConformance$",
        f"-test.timeout={arguments.timeout}",
        f"--gateway-class={arguments.gateway_class}",
        f"--conformance-profiles={arguments.profiles}",
        f"--report-output={arguments.output / 'report.yaml'}",
        *(f"--{name}={value}" for name, value in IMPLEMENTATION.items()),
        *flags,
    ]
    results, complete = collections.OrderedDict(), False
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace")
    with process, open(arguments.output / "suite.log", "w") as log:
        for line in process.stdout:
            log.write(line.replace("\x16", ""))
            # A mark may stand behind the unfinished line of a test.
            for part in re.split("(?=\x16)", line.rstrip("\n")):
                if beginning := BEGINNING.match(part):
                    results[beginning[1]] = ("UNFINISHED", "")
                elif result := RESULT.match(part):
                    outcome, name, seconds = result.groups()
                    if name is None:
                        complete = outcome == "PASS"
                    else:
                        results[name] = (outcome, seconds)
                        if outcome != "SKIP":
                            print(f"{outcome} {name} ({seconds} s)", flush=True)
    return results, complete and process.returncode == 0


def judge(results, complete, arguments):
    with open(arguments.output / "results.tsv", "w") as table:
        for name, (outcome, seconds) in sorted(results.items()):
            table.write(f"{outcome}\t{name}\t{seconds}\n")
    of = lambda *outcomes: [name for name, (outcome, _) in results.items() if outcome in outcomes]
    passed, failed, skipped = of("PASS"), of("FAIL", "UNFINISHED"), of("SKIP")
    good = complete and passed and not failed
    if not good and not failed:
        print(f"the suite itself failed, or nothing ran; the end of {arguments.output}/suite.log:")
        print("".join((arguments.output / "suite.log").read_text().splitlines(keepends=True)[-25:]))
    if failed:
        print(f"failed: {', '.join(failed)}; see {arguments.output}/suite.log")
    if good and arguments.record:
        record(arguments.output / "report.yaml")
    print(f"{len(passed)} passed, {max(len(failed), not good)} failed, {len(skipped)} skipped", flush=True)
    return 0 if good else 1


def record(report):
    text = report.read_text()
    value = lambda field: re.search(rf"^{field}: (.*)$", text, re.M)[1]
    name = f"{value('gatewayAPIVersion')}-{value('gatewayAPIChannel')}.yaml"
    shutil.copy(report, HERE / "reports" / name)
    print(f"kept as tests/conformance/reports/{name}")


if __name__ == "__main__":
    main()
