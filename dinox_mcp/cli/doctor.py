"""`dinox-mcp doctor`: look at everything, and print what was found."""

import json
from collections.abc import Iterator

from dinox_mcp.cli import terminal
from dinox_mcp.doctor import backends, hosts, report, system
from dinox_mcp.doctor.report import Check, summarize
from dinox_mcp.doctor.system import check_folders
from dinox_mcp.install.files import Machine


def run(*, as_json: bool = False, offline: bool = False, machine: Machine | None = None) -> bool:
    """Print the report, and tell whether all is well."""
    checks = list(look(machine or Machine.here(), offline=offline))
    document = report.document(checks)
    if as_json:
        terminal.write(json.dumps(document, ensure_ascii=True, indent=2) + "\n")
    else:
        terminal.write("".join(terminal.printable(line) + "\n" for line in report.table(checks)))
    return bool(document["ok"])


def look(machine: Machine, *, offline: bool = False) -> Iterator[Check]:
    """Look at everything, in the order of the report."""
    yield from system.check(machine)
    settings, checks = system.load()
    keys = hosts.keys(machine, str(settings.api_base_url))
    yield from checks
    yield from system.backends(settings)
    if any(check.name == "options" and check.status == "problem" for check in checks):
        yield backends.not_asked("the settings are wrong, and may name another service")
    else:
        yield from backends.check_cloud(settings, keys, offline=offline)
    yield from backends.check_local(settings, settings.backend)
    found = list(backends.check_embedded())
    yield from found
    yield from check_folders(settings)
    yield from hosts.check(machine)
    yield from summarize(settings, found, keys)
