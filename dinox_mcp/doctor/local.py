"""The local backend: what it would run on, and which models are here; torch stays out of this process."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

from dinox_mcp.backends.local import extra
from dinox_mcp.doctor.report import Check, Status
from dinox_mcp.settings import Settings

_AREA = "Local models"
_TIMEOUT_S = 120
_GB = 1e9
_INSTALL = "pip install 'dinox-mcp[local]', or dinox-mcp install HOST --backend local"


def check(settings: Settings, chosen: str, look: "Callable[[], dict[str, Any]] | None" = None) -> Iterator[Check]:
    """Say where models would run and which are here; `chosen` is the backend that answers."""
    if not extra.installed():
        status: Status = "problem" if settings.backend == "local" else "note"
        yield Check(_AREA, "extra", status, "torch and transformers are not installed", _INSTALL)
        return
    found = (look or ask)()
    if error := found.get("error"):
        yield Check(_AREA, "device", "problem", str(error), "see docs/local.md, or DINOX_MCP_BACKEND=embedded")
        return
    memory = f", {found['free'] / _GB:.1f} of {found['total'] / _GB:.1f} GB free" if found.get("total") else ""
    versions = f"torch {found['torch']}, transformers {found['transformers']}"
    yield Check(_AREA, "device", "ok", f"{found['device']}, {found['precision']}, {versions}{memory}")
    for model in found["models"]:
        yield _about(model, needed=chosen == "local" and model["role"] == "objects")


def ask() -> dict[str, Any]:
    """Have another process import torch and look."""
    try:
        done = subprocess.run(
            [sys.executable, "-m", "dinox_mcp.doctor.probe"],
            capture_output=True,
            timeout=_TIMEOUT_S,
            check=False,
            env={**os.environ, "PYTHONIOENCODING": "utf-8"},
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return {"error": f"looking at torch failed: {error!s:.200}"}
    try:
        answer: dict[str, Any] = json.loads(done.stdout)
    except ValueError:
        last = (done.stderr.decode("utf-8", "replace").strip().splitlines() or ["no message"])[-1]
        return {"error": f"looking at torch ended with status {done.returncode}: {last[:200]}"}
    return answer


def _about(model: dict[str, Any], *, needed: bool) -> Check:
    role, name = model["role"], model["name"]
    if error := model.get("error"):
        return Check(_AREA, role, "problem", f"{name}: {error}", "see dinox-mcp pull --list")
    if model["here"]:
        return Check(_AREA, role, "ok", f"{name}, here")
    if needed and os.environ.get("HF_HUB_OFFLINE"):
        said = f"{name}, not here, and HF_HUB_OFFLINE forbids to download it"
        return Check(_AREA, role, "problem", said, f"unset it and run dinox-mcp pull {name}")
    if needed:
        first = "the first question downloads it"
    else:
        first = "auto asks it once it is here" if role == "objects" else "downloaded when it is first needed"
    return Check(_AREA, role, "note", f"{name}, not here; {first}", f"dinox-mcp pull {name}")
