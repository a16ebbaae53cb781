"""Python, the packages, and the settings."""

import platform
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version

from dinox_mcp.backends import registry
from dinox_mcp.doctor.report import Check
from dinox_mcp.errors import DinoxError, SettingsError
from dinox_mcp.install.machine import Machine
from dinox_mcp.settings import Settings, unknown_variables

_PACKAGES = ("mcp", "pydantic", "numpy", "opencv-python-headless", "onnxruntime", "rapidocr", "zxing-cpp", "pillow")
_OWN = {"dinox", "embedded", "local"}


def check(machine: Machine) -> Iterator[Check]:
    """Say which Python this is, with which packages, and whether uvx is here."""
    area = "Python"
    yield Check(area, "version", "ok", f"{platform.python_version()}, {sys.executable}")
    yield Check(area, "platform", "ok", platform.platform())
    found = {name: _version(name) for name in _PACKAGES}
    missing = [name for name, number in found.items() if number is None]
    said = ", ".join(f"{name} {number}" for name, number in found.items() if number)
    if missing:
        remedy = "reinstall: pip install --force-reinstall dinox-mcp"
        yield Check(area, "packages", "problem", f"missing: {', '.join(missing)}", remedy)
    else:
        yield Check(area, "packages", "ok", said)
    if video := _version("av"):
        yield Check(area, "video", "ok", f"av {video}")
    else:
        yield Check(area, "video", "note", "not installed", "for videos: pip install 'dinox-mcp[video]'")
    uvx = machine.which("uvx")
    yield Check(area, "uvx", "ok" if uvx else "note", uvx or "not found; hosts are given this Python's program")


def load() -> tuple[Settings, list[Check]]:
    """Read the settings; with wrong ones the rest is looked at with the defaults."""
    checks = [Check("Settings", "variables", "problem", line, "correct the name") for line in unknown_variables()]
    try:
        settings = Settings.load()
        if settings.backend != "auto":
            registry.find(settings.backend)
    except SettingsError as error:
        checks.append(Check("Settings", "options", "problem", str(error), "correct this environment variable"))
        return Settings.model_construct(), checks
    given = ", ".join(sorted(settings.model_fields_set))
    return settings, [*checks, Check("Settings", "options", "ok", f"set: {given}" if given else "all as by default")]


def backends(settings: Settings) -> Iterator[Check]:
    """Say which backends answer, what the others lack, and which plug-ins do not load."""
    known = registry.Backends(settings)
    if known.auto:
        yield Check(
            "Backends", "chosen", "ok", f"{', '.join(known.ready())} (auto: the best of them for each question)"
        )
        for name, unready in known.unready().items():
            yield Check("Backends", name, "note", "cannot answer yet", unready.remedy)
    else:
        yield Check("Backends", "chosen", "ok", f"{known.choose()} (as set)")
    for plugin in sorted(set(known.names()) - _OWN):
        try:
            known.get(plugin)
        except DinoxError as error:
            yield Check("Backends", plugin, "problem", str(error), "reinstall or remove this plug-in")
        else:
            yield Check("Backends", plugin, "ok", "a plug-in that loads")


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
