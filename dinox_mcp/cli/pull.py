"""`dinox-mcp pull`: download a model before the first request, with progress on the terminal."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm import tqdm

from dinox_mcp.backends import local
from dinox_mcp.backends.local.checkpoints import copying, files
from dinox_mcp.backends.local.checkpoints.hub import Hub, title
from dinox_mcp.backends.local.checkpoints.presets import (
    DESCRIBING,
    PRESETS,
    ModelSource,
    chosen,
    resolve,
    variable,
)
from dinox_mcp.cli.terminal import load_settings
from dinox_mcp.errors import UnsupportedError

if TYPE_CHECKING:
    from dinox_mcp.backends.local.checkpoints.presets import DeviceKind
    from dinox_mcp.settings import Settings


def add_flags(command: argparse.ArgumentParser) -> None:
    """Add the description and the flags of `pull` to its parser."""
    command.description = "Download a model for the local backend, or what is missing or new of it."
    command.set_defaults(run=run)
    command.add_argument(
        "model",
        nargs="?",
        metavar="MODEL",
        help="a preset, owner/name or owner/name@revision of the hub (default: DINOX_MCP_MODEL, or the device's)",
    )
    instead = command.add_mutually_exclusive_group()
    instead.add_argument(
        "--from",
        dest="folder",
        type=Path,
        metavar="FOLDER",
        help="take the model's files from a folder that was copied here, instead of downloading them",
    )
    instead.add_argument(
        "--files", action="store_true", help="list the model's files and their addresses, for a machine without network"
    )
    instead.add_argument("--list", action="store_true", help="list the presets and whether each is here")


def run(options: argparse.Namespace) -> None:
    """Download the model, or list the presets."""
    if options.list:
        list_presets()
    elif options.files:
        list_files(load_settings(), options.model)
    else:
        pull(load_settings(), options.model, folder=options.folder)


def pull(settings: "Settings", name: str | None, hub: Hub | None = None, folder: Path | None = None) -> None:
    """Download a model, or what is missing or new of it, and print where it is.

    Args:
        settings: The settings.
        name: The model; None for the one of the settings.
        hub: The hub; None for the one of the environment.
        folder: The folder with the model's files, if they are copied from there instead.

    Raises:
        SettingsError: there is no such model or device.
        BackendError: it cannot be downloaded or copied; the message explains why.
    """
    name = name or settings.model
    source = _source(settings, name)
    quiet = not sys.stderr.isatty()
    bar_format = "{desc}: {percentage:3.0f}%|{bar}| {remaining} left"
    with tqdm(total=1.0, desc=source.name, bar_format=bar_format, leave=False, disable=quiet) as bar:

        def show(fraction: float, message: str) -> None:
            bar.set_description_str(message, refresh=False)
            bar.n = fraction
            bar.refresh()

        try:
            hub = hub or Hub()
            here = copying.adopt(hub, source, folder, show) if folder else hub.fetch(source, show, update=True)
        except KeyboardInterrupt:
            sys.stderr.write("dinox-mcp: interrupted; the next pull goes on from here\n")
            raise
    from dinox_mcp.backends.local.checkpoints.graph import fitting

    family = files.family(here, None)  # which checks that the model can be loaded
    role = source.role or family.role
    size = files.weights_size(here)
    sys.stdout.write(f"{title(source, here)}: {size / 1e6:.0f} MB{_licence(source)}\n{here}\n")
    if source.repo and not source.revision and folder is None:
        sys.stdout.write(f"to stay with exactly this one, set {variable(role)}={source.repo}@{here.name}\n")
    if not local.has_torch() and fitting(here) is None:
        sys.stdout.write("to run it, install the extra 'local': dinox-mcp doctor prints how\n")
    if name is not None and name not in chosen(settings).values():
        sys.stdout.write(f"to use it, set DINOX_MCP_BACKEND=local and {variable(role)}={name}\n")


def list_files(settings: "Settings", name: str | None, hub: Hub | None = None) -> None:
    """Print the files of a model with their addresses, sizes and checksums; None is the one of the settings.

    Raises:
        SettingsError: there is no such model or device.
        BackendError: the hub does not answer, or has no such model.
    """
    name = name or settings.model
    source = _source(settings, name)
    if source.repo is None:
        raise UnsupportedError(f"{source.folder} is a folder; --files lists a model of the hub: name a preset")
    commit, listed = copying.listing(hub or Hub(), source)
    size = sum(one.size or 0 for one in listed)
    sys.stdout.write(f"{source.repo}@{commit}: {len(listed)} files, {size / 1e6:.0f} MB{_licence(source)}\n")
    for one in listed:
        sys.stdout.write(f"{one.size or '?':>12}  {one.url}{f'  sha256 {one.sha256}' if one.sha256 else ''}\n")
    pinned = f"{source.repo}@{commit}"
    chosen_as = name if name and source.revision else pinned
    sys.stdout.write(f"put them into one folder there, then run: dinox-mcp pull {chosen_as} --from FOLDER\n")


def list_presets(hub: Hub | None = None) -> None:
    """Print the presets: what each is good for, what it costs, and whether it is here."""
    hub = hub or Hub()
    for name, preset in (PRESETS | DESCRIBING).items():
        here = "here" if hub.find(ModelSource(preset.repo, preset.revision)) else "not here"
        gated = ", gated" if preset.gated else ""
        if name == next(iter(DESCRIBING)):
            sys.stdout.write("for the description of given boxes:\n")
        sys.stdout.write(
            f"{name}: {preset.repo}, {preset.megabytes} MB, {preset.licence}{gated}, {here}\n"
            f"    {preset.good_for}\n    {preset.accuracy} (published); on two CPU cores {preset.cost}\n"
        )


def _source(settings: "Settings", name: str | None) -> ModelSource:
    """Find a model of the hub or a folder, in the role that the settings use it in."""
    kind: DeviceKind = "cpu"
    if name in {None, "accurate"} and local.has_torch() and settings.runtime != "onnx":
        from dinox_mcp.backends.local.checkpoints import device  # with torch, which takes seconds

        kind = device.choose(settings.device).kind
    used = (role for role, model in chosen(settings).items() if model == name)
    return resolve(name, kind, "objects" if name == settings.model else next(used, None))


def _licence(source: ModelSource) -> str:
    licences = {preset.repo: preset.licence for preset in (PRESETS | DESCRIBING).values()}
    return f", {licences[source.repo]}" if source.repo in licences else ""
