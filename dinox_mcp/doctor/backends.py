"""Checks of the backends: which can be used, the embedded models, local models, and the keys of the cloud."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import version
from typing import Any
from uuid import uuid4

from pydantic import SecretStr

from dinox_mcp import __version__
from dinox_mcp.backends import local, registry
from dinox_mcp.backends.dinox.replies import PROBLEMS, Failure, Verdict, explain, message_of, quote, read_reply
from dinox_mcp.backends.local import families
from dinox_mcp.backends.local.checkpoints import presets
from dinox_mcp.doctor.report import Check, Status
from dinox_mcp.doctor.system import REINSTALL
from dinox_mcp.errors import BackendError, BusyError, DinoxError, KeyRejectedError, QuotaError
from dinox_mcp.settings import Settings
from dinox_mcp.types.extras import extras_command

_BUILT_IN = {"dinox", "embedded", "local"}


def check_backends(settings: Settings) -> Iterator[Check]:
    """Check which backends can be used, what the others lack, and which plug-ins do not load."""
    known = registry.Backends(settings)
    if known.auto:
        ready = ", ".join(known.ready())
        yield Check("Backends", "chosen", "ok", f"{ready} (auto: the best of them for each prompt)")
        for name, unready in known.unready().items():
            yield Check("Backends", name, "note", "cannot be used yet", unready.remedy)
    else:
        yield Check("Backends", "chosen", "ok", f"{known.choose()} (as set)")
    for plugin in sorted(set(known.names()) - _BUILT_IN):
        try:
            known.get(plugin)
        except DinoxError as error:
            yield Check("Backends", plugin, "problem", str(error), "reinstall or remove this plug-in")
        else:
            yield Check("Backends", plugin, "ok", "a plug-in that loads")


_EMBEDDED = "Embedded"
_CODE = "dinox-mcp doctor"


def check_embedded() -> Iterator[Check]:
    """Load every embedded model, and read a code."""
    try:
        for name, load in (("objects", _objects), ("text", _text)):
            try:
                yield from load()
            except BackendError as error:
                yield Check(_EMBEDDED, name, "problem", str(error).partition("; ")[0], error.remedy)
        yield from _codes()
    except (ImportError, OSError) as error:
        yield Check(_EMBEDDED, "packages", "problem", f"a package does not load: {error!s:.200}", REINSTALL)


def _objects() -> Iterator[Check]:
    from dinox_mcp.backends.embedded import bodies, objects, parts
    from dinox_mcp.backends.kind_words import KINDS

    objects.ObjectDetector()
    yield Check(_EMBEDDED, "objects", "ok", f"{objects.FAMILY}, {len(KINDS)} kinds of things: {', '.join(KINDS)}")
    for name, family, load in (
        ("bodies", bodies.FAMILY, bodies.PoseEstimator),
        ("faces", parts.FACES, parts.FaceFinder),
        ("hands", parts.HANDS, parts.HandFinder),
    ):
        load()
        yield Check(_EMBEDDED, name, "ok", f"{family}, its files load")


def _text() -> Iterator[Check]:
    from dinox_mcp.backends.embedded import text_lines

    for name in (text_lines.LINES, text_lines.LETTERS, text_lines.TURNS):
        text_lines.Model(name)
    yield Check(_EMBEDDED, "text", "ok", f"{text_lines.FAMILY}, its files load")


def _codes() -> Iterator[Check]:
    """Make a code, and read it with the reader of the backend."""
    import cv2
    import numpy as np

    from dinox_mcp.backends.embedded import codes
    from dinox_mcp.backends.embedded.prompts import Kind

    modules = np.asarray(cv2.QRCodeEncoder.create().encode(_CODE), np.uint8)
    picture = np.pad(modules.repeat(4, axis=0).repeat(4, axis=1), 16, constant_values=255)
    texts = [found.text for found in codes.read_symbols(picture, {Kind.QR})]
    packages = f"ZXing-C++ {version('zxing-cpp')}, OpenCV {cv2.__version__}"
    if texts == [_CODE]:
        yield Check(_EMBEDDED, "codes", "ok", f"{packages}, a test code is read")
    else:
        remedy = "reinstall: pip install --force-reinstall zxing-cpp opencv-python-headless"
        yield Check(_EMBEDDED, "codes", "problem", f"{packages}: a test code is not read (got {texts})", remedy)


_LOCAL = "Local models"
_PROBE_TIMEOUT_S = 120
_GB = 1e9


def check_local(settings: Settings, probe: "Callable[[], dict[str, Any]] | None" = None) -> Iterator[Check]:
    """Check the device and the models of the local backend; `probe` returns what `examine` does, in another process."""
    if not local.has_torch():
        enough = local.runs_without_torch(settings)
        status: Status = "problem" if settings.backend == "local" and not enough else "note"
        known = presets.PRESETS | presets.DESCRIBING
        names = ", ".join(name for name, preset in known.items() if preset.without_torch)
        what = f"torch and transformers are not installed; these models need neither: {names}"
        yield Check(_LOCAL, "extra", status, what, extras_command(["local"]))
    found = (probe or run_probe)()
    if error := found.get("error"):
        yield Check(_LOCAL, "device", "problem", str(error), "see docs/local.md, or DINOX_MCP_BACKEND=embedded")
        return
    memory = f", {found['free'] / _GB:.1f} of {found['total'] / _GB:.1f} GB free" if found.get("total") else ""
    yield Check(_LOCAL, "device", "ok", f"{found['device']}, {found['precision']}, {found['runtime']}{memory}")
    for model in found["models"]:
        yield _check_model(model, needed=settings.backend == "local" and model["role"] == "objects")
    if labels := families.of_name(None, settings).labels:
        yield Check(_LOCAL, "kinds", "ok", f"{len(labels)} kinds of things and no others: {', '.join(labels)}")


def run_probe() -> dict[str, Any]:
    """Import torch and find the models in another process, so that this one stays small and survives."""
    try:
        done = subprocess.run(
            [sys.executable, "-c", "from dinox_mcp.doctor.backends import print_probe; print_probe()"],
            capture_output=True,
            timeout=_PROBE_TIMEOUT_S,
            check=False,
            env={**os.environ, "PYTHONIOENCODING": "utf-8"},
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return {"error": f"checking torch failed: {error!s:.200}"}
    try:
        answer: dict[str, Any] = json.loads(done.stdout)
    except ValueError:
        last = (done.stderr.decode("utf-8", "replace").strip().splitlines() or ["no message"])[-1]
        return {"error": f"checking torch ended with status {done.returncode}: {last[:200]}"}
    return answer


def print_probe() -> None:
    """Print what `examine` finds as JSON: `run_probe` calls this in another process."""
    sys.stdout.write(json.dumps(examine(Settings.load())))


def examine(settings: Settings) -> dict[str, Any]:
    """Return the device with its memory in bytes, and for each role the model and whether it is here."""
    from dinox_mcp.backends.local.checkpoints.checkpoint import Checkpoint

    try:
        device, precision, runtime = Checkpoint(settings.model, settings).will_run()
    except DinoxError as error:
        return {"error": str(error)}
    free, total = _memory(device.kind, device.name)
    return {
        "device": device.name,
        "precision": precision,
        "runtime": runtime,
        "free": free,
        "total": total,
        "models": [
            _role(role, name, device.kind)
            for role, name in presets.chosen(settings).items()
            if local.has_torch() or role == "objects" or (role == "masks" and local.masks_without_torch(settings))
        ],
    }


def _role(role: presets.Role, name: str | None, kind: presets.DeviceKind) -> dict[str, Any]:
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


def _check_model(model: dict[str, Any], *, needed: bool) -> Check:
    role, name = model["role"], model["name"]
    if error := model.get("error"):
        return Check(_LOCAL, role, "problem", f"{name}: {error}", "see dinox-mcp pull --list")
    if model["here"]:
        return Check(_LOCAL, role, "ok", f"{name}, here")
    if needed and os.environ.get("HF_HUB_OFFLINE"):
        finding = f"{name}, not here, and HF_HUB_OFFLINE forbids to download it"
        return Check(_LOCAL, role, "problem", finding, f"unset it and run dinox-mcp pull {name}")
    if needed:
        then = "the first request downloads it"
    else:
        then = "auto uses it once it is here" if role == "objects" else "downloaded when it is first needed"
    return Check(_LOCAL, role, "note", f"{name}, not here; {then}", f"dinox-mcp pull {name}")


_CLOUD = "Cloud (dinox)"
_TIMEOUT_S = 10
_GET_ONE = "get one at https://deepdataspace.com and set DINOX_API_KEY; dinox-mcp install writes it into a host's file"


def check_cloud(settings: Settings, keys: Mapping[str, SecretStr], *, offline: bool = False) -> Iterator[Check]:
    """Check whether the service accepts the keys, without spending quota.

    A task that does not exist is requested with each key, and with a made-up key; only creating a task costs anything.
    If the service refuses the made-up key and not the other, the other is accepted. Whether it has credit is known
    only after a paid request.

    Args:
        settings: The settings, which may have a key.
        keys: The keys in the files of hosts, by the hosts' names.
        offline: Whether to contact nobody.
    """
    keys = ({"environment": settings.api_key} if settings.api_key else {}) | dict(keys)
    if not keys:
        needed = settings.backend == "dinox"
        yield Check(_CLOUD, "key", "problem" if needed else "note", "none", _GET_ONE)
        return
    names = ", ".join(keys)
    if offline:
        yield Check(_CLOUD, "key", "note", f"set ({names}); not checked, as --offline says")
        return
    base = str(settings.api_base_url).rstrip("/")
    made_up = _look_up(base, SecretStr(f"doctor-{uuid4().hex}"))
    if isinstance(made_up, OSError):
        cause, remedy = explain(str(made_up))
        yield Check(_CLOUD, "service", "problem", f"{_host(base)} cannot be reached ({cause})", remedy)
        return
    yield Check(_CLOUD, "service", "ok", f"{_host(base)} answers")
    same: dict[str, list[str]] = {}
    for name, key in keys.items():
        same.setdefault(key.get_secret_value(), []).append(name)
    for value, owners in same.items():
        yield _check_key(
            _look_up(base, SecretStr(value)), ", ".join(owners), refuses=isinstance(made_up, KeyRejectedError)
        )


def not_contacted(reason: str) -> Check:
    """Return the check of a service to which no key was sent."""
    return Check(_CLOUD, "key", "note", f"not checked: {reason}")


def _check_key(found: BackendError | OSError | None, owners: str, *, refuses: bool) -> Check:
    """Judge a key by the response to it; `refuses` is whether the service refuses a made-up key."""
    name = f"key ({owners})"
    if isinstance(found, KeyRejectedError):
        return Check(_CLOUD, name, "problem", _first(found), f"correct it, or {_GET_ONE}")
    if isinstance(found, QuotaError):
        return Check(_CLOUD, name, "problem", _first(found), "add credit to the account of the key")
    if isinstance(found, BusyError):
        return Check(_CLOUD, name, "note", _first(found), "run the doctor again in a minute")
    if found is not None:
        return Check(_CLOUD, name, "problem", _first(found), "check DINOX_API_BASE_URL, and what answers there")
    if refuses:
        return Check(_CLOUD, name, "ok", "accepted, where a made-up one is refused; nothing was spent")
    finding = "not refused, but neither is a made-up one: only a paid request shows whether it is accepted"
    return Check(_CLOUD, name, "note", finding)


def _look_up(base: str, key: SecretStr) -> BackendError | OSError | None:
    """Request a task that does not exist; None if that is the response, an OSError without a response."""
    import httpx2

    try:
        headers = {"User-Agent": f"dinox-mcp/{__version__}", "Token": key.get_secret_value()}
        reply = httpx2.get(f"{base}/v2/task_status/{uuid4()}", headers=headers, timeout=_TIMEOUT_S)
        read_reply(reply.status_code, reply.headers, reply.content, key)
    except (httpx2.RequestError, httpx2.InvalidURL, *PROBLEMS) as problem:
        return OSError(quote(message_of(problem), key))
    except Failure as failure:
        return None if failure.verdict is Verdict.LOST else failure.error
    return None


def _first(error: BackendError | OSError) -> str:
    """Return the first part of an error; its remedy is for requests, not for the doctor."""
    return str(error).rpartition("; ")[0] or str(error)


def _host(base: str) -> str:
    return base.rpartition("@")[2].removeprefix("https://")
