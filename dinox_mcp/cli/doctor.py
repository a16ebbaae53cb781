"""`dinox-mcp doctor`: checks everything, and prints what was found."""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from itertools import groupby

from dinox_mcp import __version__
from dinox_mcp.cli import terminal
from dinox_mcp.cli.terminal import Style, paint, printable
from dinox_mcp.doctor import backends, report, system
from dinox_mcp.doctor.report import Check, Status, summarize
from dinox_mcp.install.launch import Machine

_MARKS: dict[Status, tuple[str, Style]] = {
    "ok": ("ok", "good"),
    "note": ("note", "warning"),
    "problem": ("PROBLEM", "bad"),
}


def add_flags(command: argparse.ArgumentParser) -> None:
    """Add the description and the flags of `doctor` to its parser."""
    command.description = "Report what works here, what does not, and the remedy. Costs no quota, prints no key."
    command.epilog = "exit status: 0 no problems, 1 there are problems"
    command.set_defaults(run=run)
    command.add_argument("--json", action="store_true", help="print one JSON document")
    command.add_argument("--offline", action="store_true", help="contact no service on the network")


def run(options: argparse.Namespace, machine: Machine | None = None) -> None:
    """Print the report; exit with status 1 where there are problems."""
    checks = list(check_all(machine or Machine.here(), offline=options.offline))
    if options.json:
        terminal.write(json.dumps(report.document(checks), ensure_ascii=True, indent=2) + "\n")
    else:
        terminal.write_lines(_lines(checks))
    if report.problems(checks):
        sys.exit(1)


def check_all(machine: Machine, *, offline: bool = False) -> Iterator[Check]:
    """Check everything, in the order of the report: the summary comes last, where a person reads first."""
    yield from system.check_python(machine)
    settings, checks = system.load_settings()
    keys = system.host_keys(machine, str(settings.api_base_url))
    yield from checks
    yield from backends.check_backends(settings)
    if any(check.name == "options" and check.status == "problem" for check in checks):
        yield backends.not_contacted("the settings are wrong, and may name another service")
    else:
        yield from backends.check_cloud(settings, keys, offline=offline)
    yield from backends.check_local(settings)
    embedded = list(backends.check_embedded())
    yield from embedded
    yield from system.check_folders(settings)
    yield from system.check_hosts(machine)
    yield from summarize(settings, embedded, keys)


def _lines(checks: Sequence[Check]) -> list[str]:
    lines = [paint(f"dinox-mcp {__version__}", "title")]
    width = max((len(check.name) for check in checks), default=0)
    for area, inside in groupby(checks, key=lambda check: check.area):
        lines += ["", paint(area, "title")]
        for check in inside:
            mark, style = _MARKS[check.status]
            lines.append(f"  {paint(f'{mark:8}', style)}{check.name:{width}}  {printable(check.finding)}")
            if check.remedy:
                lines.append(f"  {'':8}{'':{width}}  {paint(f'-> {printable(check.remedy)}', 'accent')}")
    count = report.problems(checks)
    total = f"{count} problem{'s' if count > 1 else ''}" if count else "no problems"
    return [*lines, "", paint(total, "bad" if count else "good")]
