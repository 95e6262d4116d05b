#!/usr/bin/env python3
"""Writes what the kept reports of the conformance suite say into the README, between its two marks;
with --check, tells whether that has been done.
"""

import pathlib
import re
import sys
import textwrap

HERE = pathlib.Path(__file__).resolve().parent
README = HERE.parent.parent / "README.md"
BEGIN = "<!-- conformance: by tests/conformance/table.py -->\n"
END = "<!-- /conformance -->\n"


def main(check):
    old = README.read_text()
    before, rest = old.split(BEGIN)
    after = rest.split(END)[1]
    new = before + BEGIN + "\n" + "\n".join(map(section, sorted((HERE / "reports").glob("*.yaml")))) + "\n" + END + after
    if check and new != old:
        sys.exit("README.md does not say what the conformance reports say: run tests/conformance/table.py")
    if not check:
        README.write_text(new)


def section(report):
    text = report.read_text()
    field = lambda name: re.search(rf"^{name}: (.*)$", text, re.M)[1].strip('"')
    profiles = [Profile(part) for part in re.split(r"^- ", text.split("\nprofiles:\n")[1], flags=re.M)[1:] if "core:" in part]
    profiles.sort(key=lambda profile: profile.name)
    lines = [f"Gateway API {field('gatewayAPIVersion')}, {field('gatewayAPIChannel')} channel, as of {field('date')[:10]}:", ""]
    lines += ["| Profile | Core | Extended | Features beyond the core |", "| --- | --- | --- | --- |"]
    lines += [profile.row() for profile in profiles]
    for profile in profiles:
        if profile.unsupported:
            lines += ["", textwrap.fill(f"{profile.name} without {', '.join(profile.unsupported)}.", 120)]
    lines += ["", f"[The report](tests/conformance/reports/{report.name}) names every feature."]
    return "\n".join(lines) + "\n"


class Profile:
    def __init__(self, text):
        self.name = re.search(r"^  name: (.*)$", text, re.M)[1]
        core, _, extended = text.partition("\n  extended:\n")
        self.core, self.extended = counts(core), counts(extended)
        self.supported, self.unsupported = items(extended, "supportedFeatures"), items(extended, "unsupportedFeatures")

    def row(self):
        of_all = f"{len(self.supported)} of {len(self.supported) + len(self.unsupported)}"
        return f"| {self.name} | {share(self.core)} | {share(self.extended)} | {of_all} |"


def counts(text):
    return {outcome: int(count) for outcome, count in re.findall(r"(Passed|Failed|Skipped): (\d+)", text)}


def share(counts):
    return f"{counts.get('Passed', 0)} of {sum(counts.values())} tests"


def items(text, name):
    found = re.search(rf"^    {name}:\n((?:    - .*\n)*)", text + "\n", re.M)
    return [line.strip("- \n") for line in found[1].splitlines()] if found else []


if __name__ == "__main__":
    main("--check" in sys.argv[1:])
