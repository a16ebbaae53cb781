"""`dinox-mcp doctor`: look at everything, and print what was found."""

import json
from collections.abc import Iterator

from dinox_mcp import streams
from dinox_mcp.doctor import cloud, embedded, folders, hosts, local, report, summary, system
from dinox_mcp.doctor.report import Check
from dinox_mcp.install.machine import Machine


def run(*, as_json: bool = False, offline: bool = False, machine: Machine | None = None) -> bool:
    """Print the report, and tell whether all is well."""
    checks = list(look(machine or Machine.here(), offline=offline))
    document = report.document(checks)
    if as_json:
        streams.write(json.dumps(document, ensure_ascii=True, indent=2) + "\n")
    else:
        streams.write("".join(streams.printable(line) + "\n" for line in report.table(checks)))
    return bool(document["ok"])


def look(machine: Machine, *, offline: bool = False) -> Iterator[Check]:
    """Look at everything, in the order of the report."""
    yield from system.check(machine)
    settings, checks = system.load()
    keys = hosts.keys(machine, str(settings.api_base_url))
    yield from checks
    yield from system.backends(settings)
    if any(check.name == "options" and check.status == "problem" for check in checks):
        yield cloud.not_asked("the settings are wrong, and may name another service")
    else:
        yield from cloud.check(settings, keys, offline=offline)
    yield from local.check(settings, settings.backend)
    found = list(embedded.check())
    yield from found
    yield from folders.check(settings)
    yield from hosts.check(machine)
    yield from summary.check(settings, found, keys)
