"""A model by the name that a user gave it: found, fetched, and loaded into the runtime that suits it."""

from collections.abc import Hashable
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from threading import Event

from dinox_mcp.backends.base import Report
from dinox_mcp.backends.local.checkpoints import device as devices
from dinox_mcp.backends.local.checkpoints import files
from dinox_mcp.backends.local.checkpoints.device import Device
from dinox_mcp.backends.local.checkpoints.hub import Hub, title
from dinox_mcp.backends.local.checkpoints.presets import ModelSource, Role, resolve, smaller, variable
from dinox_mcp.backends.local.checkpoints.running import Runner, fingerprint
from dinox_mcp.backends.local.models.base import Interrupted, Loaded
from dinox_mcp.errors import BackendError, DinoxError, ServiceError
from dinox_mcp.settings import Settings

_CUDA_BATCH = 8
_FETCHED = 0.2  # of the progress of a first request


@dataclass(eq=False)
class Checkpoint:
    """A model by the name that a user gave it; None is the default of the device for its role.

    A model that `follows` is to follow objects through a video. Methods are slow: they are called in a worker's thread.
    """

    name: str | None
    settings: Settings
    hub: Hub = field(default_factory=Hub)
    role: Role = "objects"
    follows: bool = False
    _folder: Path = Path()

    @property
    def key(self) -> str:
        """What the model is called in messages."""
        return self.name or ("default" if self.role == "objects" else f"for {self.role}")

    def identify(self) -> Hashable:
        """Return what is equal for two names of one model, such as a preset, its repository, and a commit of that.

        A model on this machine is identified by its folder, which is that of its commit.

        Raises:
            SettingsError: there is no such model or device.
            BackendError: torch does not work here.
        """
        try:
            source = self._source
            here = self.hub.find(source)
        except DinoxError:
            raise
        except Exception as error:
            raise self.explain(error) from error
        return self.role, self.follows, here or replace(source, revision=source.revision or "main")

    def fetch(self, report: Report) -> int:
        """Download what is missing; return the size of the weights in bytes.

        Raises:
            SettingsError: there is no such model or device.
            BackendError: it cannot be had; the message says why.
        """
        stop = Event()

        def report_download(fraction: float, message: str) -> None:
            try:
                report(_FETCHED * fraction, message)
            except Interrupted:
                stop.set()

        try:
            self._folder = self.hub.fetch(self._source, report_download, stop)
        except files.Stopped:
            raise Interrupted from None
        return sum(file.stat().st_size for file in self._folder.glob("*.safetensors"))

    def load(self) -> Loaded:
        """Load into memory what was fetched.

        Raises:
            BackendError: it does not load; the message says why.
        """
        model, used, notes = self._runner.load(self._folder)
        name = title(self._source, self._folder)
        return Loaded(
            model=model,
            name=name,
            fingerprint=fingerprint(self._folder, used.precision),
            batch=_CUDA_BATCH if used.kind == "cuda" else 1,
            notes=notes,
            signature=name if self._source.repo else f"{name}#{fingerprint(self._folder)[:8]}",
        )

    def trim(self) -> None:
        """Return freed memory to the system and the GPU."""
        devices.trim()

    def explain(self, error: Exception) -> BackendError:
        """Explain an error of the model's own code in one line, with a remedy."""
        if devices.is_about_memory(error):
            return devices.out_of_memory(self._runner.device, smaller(self.role))
        line = " ".join(str(error).split())[:300]
        return ServiceError(
            f"the model {self.key} failed ({type(error).__name__}: {line}); try again, or choose another with "
            f"{variable(self.role)}"
        )

    def will_run(self) -> tuple[Device, str, str]:
        """Return where the model runs, its precision, and the versions of what runs it, as far as is known by now.

        Raises:
            SettingsError: There is no such model or device.
            UnsupportedError: torch is needed, and missing or broken.
        """
        return self._runner.will_run(self.hub.find(self._source), self._source.repo)

    @cached_property
    def _runner(self) -> Runner:
        return Runner(self.key, self.settings, self.role, self.follows)

    @cached_property
    def _source(self) -> ModelSource:
        return resolve(self.name, self._runner.device.kind, self.role)
