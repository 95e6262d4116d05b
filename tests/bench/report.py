#!/usr/bin/env python3
"""Writes what was measured: results.json, results.md and a plot per protocol into a folder. Called by
itself, writes the kept results' summary into the README, between its two marks; with --check, tells
whether that has been done.
"""

import json
import pathlib
import statistics
import sys

HERE = pathlib.Path(__file__).resolve().parent
README = HERE.parent.parent / "README.md"
BEGIN = "<!-- performance: by tests/bench/report.py -->\n"
END = "<!-- /performance -->\n"

COLOURS = {"doppel": "#c8553d", "nginx": "#588157", "envoy": "#7b6ba8", "pingora": "#9a9a9a"}


def main(check):
    results = json.loads((HERE / "results" / "results.json").read_text())
    old = README.read_text()
    before, rest = old.split(BEGIN)
    new = before + BEGIN + "\n" + summary(results) + "\n" + END + rest.split(END)[1]
    if check and new != old:
        sys.exit("README.md does not say what the benchmarks' results say: run tests/bench/report.py")
    if not check:
        README.write_text(new)


def write(results, folder):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "results.json").write_text(json.dumps(results, indent=1) + "\n")
    (folder / "results.md").write_text(markdown(results))
    for protocol in dict.fromkeys(case["protocol"] for case in results.get("cases", [])):
        name = protocol.lower().replace("/", "").replace(".", "")
        (folder / f"{name}.svg").write_text(plot(results, protocol))


# ---- tables ----------------------------------------------------------------------------------


def markdown(results):
    settings = "; ".join(f"{key}: {value}" for key, value in results["settings"].items())
    lines = ["# Results", "", f"By `make bench`, which [the page above](../README.md) explains. {settings}.", ""]
    lines += ["## Aims", "", *aims_table(results)]
    if "cases" in results:
        lines += [
            "",
            "## Side by side",
            "",
            "CPU time per request in microseconds, the smallest of a row in bold; in brackets requests per second at full",
            "load; median and 99th percentile of the time to answer at a fixed rate, in milliseconds; MiB of memory; and how much",
            "of the fixed rate was answered, where that is less than nine of ten.",
            "",
        ]
        lines += peers_table(results["cases"])
    if "notice" in results:
        lines += ["", "## What clients notice of a mirror in trouble", "", *notice_tables(results["notice"])]
    if "alone" in results:
        lines += ["", "## This gateway alone", ""] + alone_table(results["alone"])
    return "\n".join(lines) + "\n"


def aims_table(results):
    lines = ["| what | aim | reached | |", "|---|---|---|---|"]
    for what, most, unit, reached, of in aims(results):
        if reached is None:
            lines.append(f"| {what} | ≤ {most} {unit} | not measured | |")
        else:
            lines.append(f"| {what} | ≤ {most} {unit} | {reached:.2f} {unit}{of} | {'yes' if reached <= most else 'no'} |")
    return lines


def aims(results):
    """What, how much at most, of what unit, what came of it, and of which figures."""
    cases = {(c["work"], c["mirror"], c["peer"]): c for c in results.get("cases", []) if c["protocol"] == "HTTP/1.1"}
    cpu = lambda one, other: paired(cases.get(one), cases.get(other), "cpu_us")
    ratio = lambda one, other: (None, "") if not one or not other else (one / other, f" ({one:.4g} / {other:.4g})")
    for work, of_envoy, of_nginx in (("GET", 0.65, 0.65), ("POST 1 KiB", 0.7, 0.7), ("POST 64 KiB", 0.8, 1.0)):
        for peer, most in (("envoy", of_envoy), ("nginx", of_nginx)):
            yield f"{work}, one mirror: CPU time by that of {peer}", most, "", *cpu(
                (work, "one", "doppel"), (work, "one", peer)
            )
    for work in ("GET", "POST 1 KiB", "POST 64 KiB"):
        for peer, most in (("envoy", 1.0), ("pingora", 1.1)):
            yield f"{work}, no mirror: CPU time by that of {peer}", most, "", *cpu(
                (work, "none", "doppel"), (work, "none", peer)
            )
    for work in ("GET", "POST 1 KiB", "POST 64 KiB"):
        yield f"{work}: CPU time with one mirror by that without", 1.5, "", *cpu(
            (work, "one", "doppel"), (work, "none", "doppel")
        )
    noticed = {(c["what"], c["work"], c["mirror"]): c for c in results.get("notice", []) if c["peer"] == "doppel"}
    notice = lambda one, other, key: paired(noticed.get(one), noticed.get(other), key)
    for mirror in ("black hole", "dead"):
        for work in dict.fromkeys(work for what, work, _ in noticed if what == "half load"):
            yield f"{work}, {mirror} as mirror: 99th percentile at half of full load by that without", 1.05, "", *notice(
                ("half load", work, mirror), ("half load", work, "none"), "p99_ms"
            )
    kept = lambda mirror: ("kept connection", "POST 1 KiB", mirror)
    yield "black hole as mirror: requests 2 and 3 of a connection by those without", 1.05, "", *notice(
        kept("black hole"), kept("none"), "p50_ms"
    )
    alone = results.get("alone", {})
    looked_up = {row["routes"]: row["same_ns"] for row in alone.get("look-up", [])}
    for most in (5_000, 40_000):
        yield f"look-up at {most:,} routes by that at 10", 1.5, "", *ratio(looked_up.get(most), looked_up.get(10))
    routes = {row["routes"]: row for row in alone.get("routes", [])}
    for count, most in ((5_000, 5), (40_000, 15)):
        yield f"one changed route among {count:,} is live", most, "ms", routes.get(count, {}).get("live_ms"), ""
    yield "memory at 5,000 routes", 30, "MiB", routes.get(5_000, {}).get("resident_mib"), ""
    yield "50 uploads of 64 MiB into a stuck mirror: memory grows by", 64 + 16, "MiB", alone.get("uploads", {}).get("growth_mib"), ""


def paired(one, other, key):
    """The median of the ratios of what was measured one right after the other, and both medians."""
    if one is None or other is None:
        return None, ""
    pairs = [(a.get(key), b.get(key)) for a, b in zip(one["samples"], other["samples"])]
    ratios = [a / b for a, b in pairs if a and b]
    return (statistics.median(ratios), f" ({one[key]:.4g} / {other[key]:.4g})") if ratios else (None, "")


def notice_tables(notice):
    peers = list(dict.fromkeys(case["peer"] for case in notice))
    lines = [
        "At half of the load that each can take without a mirror: median and 99th percentile of the time to answer, in",
        "milliseconds, and how much was answered, where that is less than nine of ten. And of the second and third request",
        "on a connection: the median, and the longest.",
        "",
        "| | work | mirror | " + " | ".join(peers) + " |",
        "|---|---|---|" + "---|" * len(peers),
    ]
    by_row = {}
    for case in notice:
        by_row.setdefault((case["what"], case["work"], case["mirror"]), {})[case["peer"]] = case
    for row, by_peer in sorted(by_row.items()):
        lines.append(f"| {' | '.join(row)} | {' | '.join(noticed(by_peer[peer]) if peer in by_peer else '' for peer in peers)} |")
    return lines


def noticed(case):
    if "p50_ms" not in case:
        return case["failed"]
    share = case.get("answered_share", 1)
    few = "" if share is None or share >= 0.9 else f"; {100 * share:.0f} % answered"
    return f"{case['p50_ms']}, {case.get('p99_ms', case.get('worst_ms'))}{few}{failures(case)}"


def failures(case):
    return f"; failed {case['failures']} times: {case['failed']}" if "failed" in case else ""


def peers_table(cases):
    by_row = {}
    for case in cases:
        by_row.setdefault((case["protocol"], case["work"], case["mirror"]), {})[case["peer"]] = case
    peers = list(dict.fromkeys(case["peer"] for case in cases))
    lines = ["| protocol | work | mirror | " + " | ".join(peers) + " |", "|---|---|---|" + "---|" * len(peers)]
    for row, by_peer in sorted(by_row.items(), key=lambda item: item[0][0]):
        least = min((case["cpu_us"] for case in by_peer.values() if case.get("cpu_us")), default=None)
        cells = [cell(by_peer[peer], least) if peer in by_peer else "" for peer in peers]
        lines.append(f"| {' | '.join(row)} | {' | '.join(cells)} |")
    return lines


def cell(case, least):
    if "cpu_us" not in case:
        return case["failed"]
    figures = f"{case['per_second']:.0f}/s; {case['p50_ms']}, {case['p99_ms']}; {case['resident_mib']}"
    if case["answered_share"] < 0.9:
        figures += f"; {100 * case['answered_share']:.0f} % answered"
    figures += failures(case)
    cpu = "–" if case["cpu_us"] is None else f"{case['cpu_us']}"
    return f"**{cpu}** ({figures})" if least and case["cpu_us"] == least else f"{cpu} ({figures})"


def alone_table(alone):
    lines = ["| routes | start | its CPU time | memory | changed route live | at worst | its CPU time |", "|" + "---|" * 7]
    for row in alone["routes"]:
        lines.append(
            f"| {row['routes']:,} | {row['start_s']} s | {row['start_cpu_s']} s | {row['resident_mib']} MiB "
            f"| {row['live_ms']} ms | {row['live_worst_ms']} ms | {row['change_cpu_ms']} ms |"
        )
    uploads = alone["uploads"]
    lines += [
        "",
        "50 uploads of 64 MiB at once, with a mirror that takes nothing: memory grows from "
        f"{uploads['before_mib']} to {uploads['most_mib']} MiB, by {uploads['growth_mib']}; 64 MiB may wait for mirrors.",
    ]
    if "look-up" in alone:
        lines += ["", "| look-up among | with | the same ten | all in turn |", "|---|---|---|---|"]
        for row in alone["look-up"]:
            lines.append(f"| {row['routes']:,} | {row['places']} | {row['same_ns']} ns | {row['scattered_ns']} ns |")
        lines += ["", "A look-up allocates nothing: `gateway/tests/lookup_allocations.rs` counts."]
    return lines


def summary(results):
    """For the README: what a request costs, for HTTP/1.1, without a mirror and with one."""
    cases = {(c["work"], c["mirror"], c["peer"]): c.get("cpu_us") for c in results["cases"] if c["protocol"] == "HTTP/1.1"}
    peers = list(dict.fromkeys(peer for *_, peer in cases))
    lines = ["| CPU time per request, without a mirror / with one | " + " | ".join(peers) + " |", "|---|" + "---|" * len(peers)]
    for work in dict.fromkeys(work for work, *_ in cases):
        pairs = [[cases.get((work, mirror, peer)) for mirror in ("none", "one")] for peer in peers]
        lines.append(f"| {work} | " + " | ".join(" / ".join(f"{cpu:.0f}" if cpu else "–" for cpu in pair) + " µs" for pair in pairs) + " |")
    better = {}
    for case in results["cases"]:
        ours = next((c for c in results["cases"] if all(c[k] == case[k] for k in ("protocol", "work", "mirror")) and c["peer"] == "doppel"), None)
        if ours and case["peer"] != "doppel" and case.get("cpu_us") and ours.get("cpu_us") and case["cpu_us"] < ours["cpu_us"]:
            better.setdefault(case["peer"], []).append(f"{case['protocol']} {case['work']} ({case['mirror']})")
    count = len({(c["protocol"], c["work"], c["mirror"]) for c in results["cases"]})
    for peer, where in better.items():
        listed = ": " + ", ".join(where) if len(where) <= 6 else ""
        lines += ["", f"{peer} costs less in {len(where)} of {count} cases{listed}."]
    alone = {row["routes"]: row for row in results.get("alone", {}).get("routes", [])}
    if 5000 in alone:
        row = alone[5000]
        lines += ["", f"With 5,000 routes: {row['resident_mib']:.0f} MiB of memory; a changed route is live after {row['live_ms']:.1f} ms."]
    lines += ["", f"nginx {results['settings']['nginx']}, Envoy {results['settings']['envoy']}, {results['settings']['date']}; one worker each, medians of {results['settings']['rounds']} interleaved rounds."]
    return "\n".join(lines) + "\n"


# ---- plots -----------------------------------------------------------------------------------


def plot(results, protocol):
    """Bars of CPU time per request: a panel for each kind of work, a group for each kind of mirror."""
    cases = [case for case in results["cases"] if case["protocol"] == protocol and case.get("cpu_us")]
    works = list(dict.fromkeys(case["work"] for case in cases))
    mirrors = list(dict.fromkeys(case["mirror"] for case in cases))
    peers = list(dict.fromkeys(case["peer"] for case in cases))
    bar, gap, left, height, panel = 20, 24, 60, 150, 215
    group = bar * len(peers) + gap
    width = left + group * len(mirrors) + 20
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{panel * len(works) + 40}" font-family="sans-serif" font-size="12">',
        '<rect width="100%" height="100%" fill="white"/>',
        f'<text x="{left}" y="20" font-size="14">CPU µs per request, {protocol}</text>',
    ]
    for index, peer in enumerate(peers):
        x = width - 90 * (len(peers) - index)
        out.append(f'<rect x="{x}" y="10" width="12" height="12" fill="{COLOURS[peer]}"/><text x="{x + 16}" y="20">{peer}</text>')
    for number, work in enumerate(works):
        of_work = [case for case in cases if case["work"] == work]
        most = max(case["cpu_us"] for case in of_work)
        floor = 40 + panel * number + 20 + height
        out.append(f'<text x="{left}" y="{floor - height - 6}" font-weight="bold">{work}</text>')
        out.append(f'<line x1="{left}" y1="{floor}" x2="{width - 10}" y2="{floor}" stroke="#888"/>')
        for case in of_work:
            tall = (height - 20) * case["cpu_us"] / most
            x = left + group * mirrors.index(case["mirror"]) + bar * peers.index(case["peer"])
            out.append(f'<rect x="{x}" y="{floor - tall:.1f}" width="{bar - 2}" height="{tall:.1f}" fill="{COLOURS[case["peer"]]}"/>')
            out.append(f'<text x="{x + bar / 2 - 1}" y="{floor - tall - 3:.1f}" text-anchor="middle" font-size="9">{case["cpu_us"]:.0f}</text>')
        for index, mirror in enumerate(mirrors):
            x = left + group * index + bar * len(peers) / 2
            out.append(f'<text x="{x}" y="{floor + 15}" text-anchor="middle">{mirror}</text>')
    return "\n".join(out + ["</svg>"]) + "\n"


if __name__ == "__main__":
    main("--check" in sys.argv[1:])
