"""Saved prompts: examples encoded by a model, under a name, on disk, and separate for each tenant."""

import re
from datetime import UTC, datetime
from pathlib import Path

from platformdirs import user_data_path
from pydantic import ValidationError

from dinox_mcp.errors import InputError, NotFoundError, SettingsError
from dinox_mcp.store.files import read_regular, write_atomically
from dinox_mcp.store.tenants import folder_name
from dinox_mcp.types.detection import Embedding, Value

MAX_PROMPTS = 1000  # of the user of this machine
MAX_PROMPTS_OF_CALLER, MAX_PROMPTS_OF_CALLERS = 50, 300  # of one caller over HTTP, and of all of them together
MAX_BYTES = 1024 * 1024  # of one prompt's file
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
_MODE = 0o600  # only this user may read it


class SavedPrompt(Value):
    """An embedding of a number of `examples` under a `name`; objects found by it get the `label`."""

    name: str
    label: str
    examples: int
    created: datetime
    embedding: Embedding


class SavedPrompts:
    """The saved prompts in a folder: one file each, in one folder for each tenant."""

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder or user_data_path("dinox-mcp") / "prompts"

    def put(self, name: str, label: str, examples: int, embedding: Embedding, tenant: str = "") -> SavedPrompt:
        """Save a prompt, in place of one of the same name.

        Raises:
            InputError: the name is not valid, or there are too many.
            SettingsError: the folder cannot be written.
        """
        path = self._path(name, tenant)
        if not path.exists():
            self._check_number(tenant)
        created = datetime.now(UTC).replace(microsecond=0)
        prompt = SavedPrompt(name=path.stem, label=label, examples=examples, created=created, embedding=embedding)
        data = prompt.model_dump_json().encode()
        if len(data) > MAX_BYTES:
            raise InputError(f"the prompt has {len(data)} bytes, more than {MAX_BYTES}; save it from fewer examples")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(path, data, _MODE)
        except OSError as error:
            raise SettingsError(
                f"the prompt cannot be saved in {path.parent} ({error.strerror}); set DINOX_MCP_PROMPTS_FOLDER to a "
                "folder that can be written"
            ) from None
        return prompt

    def check(self, name: str) -> None:
        """Refuse a name that is not valid.

        Raises:
            InputError: it is not.
        """
        self._path(name, "")

    def get(self, name: str, tenant: str = "") -> SavedPrompt:
        """Fetch a prompt by its name.

        Raises:
            NotFoundError: there is no prompt of that name.
            InputError: its file is damaged.
        """
        path = self._path(name, tenant)
        try:
            return SavedPrompt.model_validate_json(read_regular(path, MAX_BYTES))
        except OSError:
            known = ", ".join(self.list(tenant)[:20]) or "none yet; save_prompt makes one"
            raise NotFoundError(f"there is no saved prompt {path.stem!r}; there are: {known}") from None
        except ValidationError:
            raise InputError(f"the saved prompt {path.stem!r} is damaged; save it again with save_prompt") from None

    def list(self, tenant: str = "") -> list[str]:
        """List the names of a tenant's prompts, in alphabetical order."""
        try:
            return sorted(path.stem for path in self._folder_of(tenant).glob("*.json") if _NAME.fullmatch(path.stem))
        except OSError:
            return []

    def delete(self, name: str, tenant: str = "") -> None:
        """Delete a prompt.

        Raises:
            NotFoundError: there is no prompt of that name.
        """
        path = self._path(name, tenant)
        if not path.exists():
            self.get(name, tenant)  # raises with the names that there are
        path.unlink(missing_ok=True)

    def _check_number(self, tenant: str) -> None:
        """Refuse one more prompt if the tenant, or all callers over HTTP together, have too many."""
        most = MAX_PROMPTS_OF_CALLER if tenant else MAX_PROMPTS
        if len(self.list(tenant)) >= most:
            raise InputError(
                f"there are {most} saved prompts already; delete some with save_prompt(name=…, delete=true)"
            )
        if tenant and sum(1 for _ in self._folder.glob("*/*.json")) - len(self.list()) >= MAX_PROMPTS_OF_CALLERS:
            raise InputError(
                f"this server keeps {MAX_PROMPTS_OF_CALLERS} saved prompts of its callers already; whoever runs it can "
                "delete some"
            )

    def _path(self, name: str, tenant: str) -> Path:
        folded = re.sub(r"\s+", "-", name.strip().casefold())
        if not _NAME.fullmatch(folded):
            raise InputError(
                f"the name {name[:80]!r} of a saved prompt is not valid; use 1 to 64 letters a to z, digits, - and _"
            )
        return self._folder_of(tenant) / f"{folded}.json"

    def _folder_of(self, tenant: str) -> Path:
        return self._folder / folder_name(tenant, "own")
