"""A program that examines torch and the models, and prints what it finds as JSON; the doctor runs it."""

import json
import os
import sys
from importlib.metadata import version
from typing import Any

from dinox_mcp.backends.local.checkpoints import presets
from dinox_mcp.errors import DinoxError
from dinox_mcp.settings import Settings


def examine(settings: Settings) -> dict[str, Any]:
    """Return the device with its memory in bytes, and for each role the model and whether it is here."""
    from dinox_mcp.backends.local.checkpoints import device as devices

    try:
        device = devices.choose(settings.device, settings.precision)
    except DinoxError as error:
        return {"error": str(error)}
    free, total = _memory(device.kind, device.name)
    return {
        "device": device.name,
        "precision": device.precision,
        "torch": version("torch"),
        "transformers": version("transformers"),
        "free": free,
        "total": total,
        "models": [_model(role, name, device.kind) for role, name in presets.chosen(settings).items()],
    }


def _model(role: presets.Role, name: str | None, kind: presets.DeviceKind) -> dict[str, Any]:
    from dinox_mcp.backends.local.checkpoints.hub import Hub

    known = {"role": role, "name": name or presets.default(role, kind)}
    try:
        return {**known, "here": Hub().find(presets.resolve(name, kind, role)) is not None}
    except DinoxError as error:
        return {**known, "error": str(error)}


def _memory(kind: presets.DeviceKind, name: str) -> tuple[int, int]:
    """Return the free bytes and all bytes of the GPU or the machine; zeros where they are not known."""
    if kind == "cuda":
        import torch

        free, total = torch.cuda.mem_get_info(name)
        return int(free), int(total)
    try:
        page = os.sysconf("SC_PAGE_SIZE")
        return page * os.sysconf("SC_AVPHYS_PAGES"), page * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # macOS does not count free pages, Windows has no sysconf
        return 0, 0


if __name__ == "__main__":
    sys.stdout.write(json.dumps(examine(Settings.load())))
