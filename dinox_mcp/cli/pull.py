"""`dinox-mcp pull`: have a model on this machine before the first question, with progress on the terminal."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm import tqdm

from dinox_mcp.backends.local import extra
from dinox_mcp.backends.local.checkpoints import loader
from dinox_mcp.backends.local.checkpoints.hub import Hub, title
from dinox_mcp.backends.local.checkpoints.presets import (
    DESCRIBING,
    PRESETS,
    ModelSource,
    Role,
    chosen,
    resolve,
    variable,
)
from dinox_mcp.errors import BackendError

if TYPE_CHECKING:
    from dinox_mcp.backends.local.checkpoints.presets import DeviceKind
    from dinox_mcp.settings import Settings


def pull(settings: "Settings", name: str | None, hub: Hub | None = None) -> None:
    """Fetch a model, or what is missing or new of it, and print where it is; None is the one that settings ask for.

    Raises:
        SettingsError: there is no such model or device.
        BackendError: it cannot be had; the message says why.
    """
    extra.require()
    name = name or settings.model
    source = resolve(name, _device_kind(settings, name), _role(settings, name))
    quiet = not sys.stderr.isatty()
    with tqdm(desc=source.name, unit="B", unit_scale=True, leave=False, disable=quiet) as bar:

        def show(done: int, total: int, _message: str) -> None:
            bar.total = total or None
            bar.update(done - bar.n)
            bar.refresh()

        try:
            folder = (hub or Hub()).fetch(source, show, update=True)
        except KeyboardInterrupt:
            sys.stderr.write("dinox-mcp: interrupted; the next pull goes on from here\n")
            raise
    size = _inspect(folder)
    sys.stdout.write(f"{title(source, folder)}: {size / 1e6:.0f} MB{_licence(source)}\n{folder}\n")
    role = source.role or loader.role_of(folder)
    if source.repo and not source.revision:
        sys.stdout.write(f"to stay with exactly this one, set {variable(role)}={source.repo}@{folder.name}\n")
    if name is not None and name not in chosen(settings).values():
        sys.stdout.write(f"to use it, set DINOX_MCP_BACKEND=local and {variable(role)}={name}\n")


def list_presets(hub: Hub | None = None) -> None:
    """Print the presets: what each is good for, what it costs, and whether it is here."""
    hub = hub or Hub()
    for name, preset in (PRESETS | DESCRIBING).items():
        here = "here" if extra.installed() and hub.find(ModelSource(repo=preset.repo)) else "not here"
        gated = ", gated" if preset.gated else ""
        if name == next(iter(DESCRIBING)):
            sys.stdout.write("what is told of given boxes:\n")
        sys.stdout.write(
            f"{name}: {preset.repo}, {preset.megabytes} MB, {preset.licence}{gated}, {here}\n"
            f"    {preset.good_for}\n    {preset.accuracy} (published); on two CPU cores {preset.cost}\n"
        )


def _device_kind(settings: "Settings", name: str | None) -> "DeviceKind":
    """Ask torch, which takes seconds to import, only where the answer decides on the model."""
    if name not in {None, "accurate"}:
        return "cpu"
    from dinox_mcp.backends.local.checkpoints import device

    return device.choose(settings.device).kind


def _role(settings: "Settings", name: str | None) -> Role | None:
    """Tell what a model is for, as far as settings and presets know; its own configuration tells the rest."""
    if name is None or name == settings.model:
        return "objects"
    return next((role for role, model in chosen(settings).items() if model == name), None)


def _inspect(folder: Path) -> int:
    """See that the model is one of ours and its weights are whole; give their size in bytes."""
    from safetensors import SafetensorError, safe_open

    loader.family(folder, None)
    weights = [folder / name for name in loader.weight_files(folder)]
    for path in weights:
        try:
            with safe_open(path, framework="numpy"):
                pass
        except (SafetensorError, OSError) as error:
            raise BackendError(
                f"{path} is broken as its authors published it ({error}); choose another model"
            ) from error
    return sum(path.stat().st_size for path in weights)


def _licence(source: ModelSource) -> str:
    licences = {preset.repo: preset.licence for preset in (PRESETS | DESCRIBING).values()}
    return f", {licences[source.repo]}" if source.repo in licences else ""
