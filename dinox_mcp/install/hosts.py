"""The hosts: where each keeps its MCP servers, in which format, and what an entry looks like.

Taken from the hosts' own documentation in November 2026; docs/install.md lists the files.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any, cast

from dinox_mcp.errors import SettingsError
from dinox_mcp.install import jsonc, toml
from dinox_mcp.install.files import Machine, Text
from dinox_mcp.install.jsonc_reader import COMMA, COMMENT, extras, place
from dinox_mcp.install.toml import Format, Keys

KEY = "DINOX_API_KEY"
_BOM = "a byte order mark at its beginning"
_LENIENT = frozenset({COMMENT, COMMA, _BOM})
INPUT = "dinox-key"
"""The input by which VS Code asks for the key and keeps it outside the file."""


@dataclass(frozen=True, slots=True)
class Launch:
    """What starts the server."""

    command: str
    args: tuple[str, ...]
    env: Mapping[str, str]


Entry = dict[str, Any]
Places = Callable[[Machine], Path]


def _plain(launch: Launch) -> Entry:
    env = {"env": dict(launch.env)} if launch.env else {}
    return {"command": launch.command, "args": list(launch.args), **env}


def _with(**more: object) -> Callable[[Launch], Entry]:
    return lambda launch: more | _plain(launch)


def _opencode(launch: Launch) -> Entry:
    env = {"environment": dict(launch.env)} if launch.env else {}
    return {"type": "local", "command": [launch.command, *launch.args], **env}


@dataclass(frozen=True, slots=True)
class Host:
    """A program that starts MCP servers.

    `keys` lead to its servers in the file; `reference` is how the file names the variable that holds the key, and
    `forwards` the option that lists variables to pass on instead; `asks` for the key itself; `defaults` are options
    that an entry has unless it says otherwise; `programs` are its names on a command line; `then` is what makes it
    read the file again. Most hosts read plain JSON; `takes` lists what one reads besides.
    """

    name: str
    title: str
    user: Places
    then: str
    project: Places | None = None
    keys: Keys = ("mcpServers",)
    entry: Callable[[Launch], Entry] = _plain
    reference: str | None = None
    programs: tuple[str, ...] = ()
    forwards: str | None = None
    asks: bool = False
    defaults: Mapping[str, object] = field(default_factory=dict)
    module: ModuleType = jsonc
    takes: frozenset[str] = frozenset()

    @property
    def format(self) -> Format:
        """How its file is written."""
        return cast("Format", self.module)

    def path(self, machine: Machine, *, project: bool) -> Path:
        """Give its file, for the user or for the project in the working folder.

        Raises:
            SettingsError: it has none for projects.
        """
        if not project:
            return self.user(machine)
        if self.project is None:
            raise SettingsError(f"{self.title} has no settings for a project; leave --project out")
        return self.project(machine)

    def cannot_read(self, text: Text) -> str | None:
        """Say what the host stumbles over in its file, so that it reads nothing of it; None where it reads all.

        Raises:
            ConfigError: the file is broken.
        """
        if self.module is not jsonc:
            return None
        if text.bom and _BOM not in self.takes:
            return f"has {_BOM}, which {self.title} does not read"
        odd = next(((what, at) for what, at in extras(text.text) if what not in self.takes), None)
        return odd and f"{place(text.text, odd[1])} has {odd[0]}, which {self.title} does not read"

    def found(self, machine: Machine) -> bool:
        """Tell whether it seems to be on a machine: its file, a folder of its own, or its program is there."""
        path = self.user(machine)
        shared = {machine.home, machine.config, machine.applications}
        return (
            path.exists()
            or (path.parent.is_dir() and path.parent not in shared)
            or any(machine.which(program) for program in self.programs)
        )


def _in_home(*parts: str) -> Places:
    return lambda machine: machine.home.joinpath(*parts)


def _in_project(*parts: str) -> Places:
    return lambda machine: machine.project.joinpath(*parts)


def _in_applications(*parts: str) -> Places:
    return lambda machine: machine.applications.joinpath(*parts)


def _claude_desktop(machine: Machine) -> Path:
    """Windows keeps the settings of an app from its store, as Claude is since 2026, in the app's own folder."""
    name = "claude_desktop_config.json"
    if machine.platform == "win32":
        packages = machine.folder("LOCALAPPDATA", "AppData", "Local") / "Packages"
        own = [path / "LocalCache" / "Roaming" / "Claude" for path in sorted(packages.glob("Claude_*"))]
        if own:
            return next((path for path in own if (path / name).exists()), own[0]) / name
    return machine.applications / "Claude" / name


def _claude_code(machine: Machine) -> Path:
    return machine.folder("CLAUDE_CONFIG_DIR") / ".claude.json"


def _zed(machine: Machine) -> Path:
    if machine.platform == "win32":
        return machine.applications / "Zed" / "settings.json"
    return (machine.config if machine.platform == "linux" else machine.home / ".config") / "zed" / "settings.json"


def _opencode_file(folder: Path) -> Path:
    commented = folder / "opencode.jsonc"
    return commented if commented.exists() else folder / "opencode.json"


_RESTART = "quit {title} altogether, not only its window, and start it again"
_NEW_SESSION = "start a new session of {title}; /mcp lists the server"

HOSTS = {
    host.name: host
    for host in (
        Host("claude-desktop", "Claude Desktop", _claude_desktop, _RESTART),
        Host(
            "claude-code",
            "Claude Code",
            _claude_code,
            _NEW_SESSION,
            project=_in_project(".mcp.json"),
            entry=_with(type="stdio"),
            reference="${DINOX_API_KEY:-}",
            programs=("claude",),
        ),
        Host(
            "cursor",
            "Cursor",
            _in_home(".cursor", "mcp.json"),
            "switch the server on in Cursor's settings, under Tools & MCP",
            project=_in_project(".cursor", "mcp.json"),
            reference="${env:DINOX_API_KEY}",
            programs=("cursor",),
        ),
        Host(
            "vscode",
            "VS Code",
            _in_applications("Code", "User", "mcp.json"),
            "run 'MCP: List Servers' in VS Code and start dinox; it asks for the key then (Enter: none)",
            project=_in_project(".vscode", "mcp.json"),
            keys=("servers",),
            entry=_with(type="stdio"),
            reference=f"${{input:{INPUT}}}",
            programs=("code",),
            asks=True,
            takes=_LENIENT,
        ),
        Host(
            "codex",
            "Codex",
            lambda machine: machine.folder("CODEX_HOME", ".codex") / "config.toml",
            _NEW_SESSION,
            project=_in_project(".codex", "config.toml"),
            keys=("mcp_servers",),
            # It would wait 10 s for the start, which is short where uvx has to download, and 60 s for an answer.
            defaults={"startup_timeout_sec": 120, "tool_timeout_sec": 300},
            forwards="env_vars",
            programs=("codex",),
            module=toml,
        ),
        Host(
            "gemini",
            "Gemini CLI",
            _in_home(".gemini", "settings.json"),
            _NEW_SESSION + ", in folders that you trust",
            project=_in_project(".gemini", "settings.json"),
            reference="${DINOX_API_KEY}",
            programs=("gemini",),
            takes=frozenset({COMMENT}),
        ),
        Host(
            "windsurf",
            "Windsurf",
            _in_home(".codeium", "windsurf", "mcp_config.json"),
            "press Refresh in Windsurf's MCP settings",
            programs=("windsurf",),
        ),
        Host(
            "zed",
            "Zed",
            _zed,
            "Zed starts the server at once; Agent Panel, Settings shows a green dot",
            keys=("context_servers",),
            entry=_with(source="custom"),
            programs=("zed",),
            takes=_LENIENT,
        ),
        Host(
            "copilot",
            "GitHub Copilot CLI",
            lambda machine: machine.folder("COPILOT_HOME", ".copilot") / "mcp-config.json",
            _NEW_SESSION,
            entry=lambda launch: {"type": "local"} | _plain(launch) | {"tools": ["*"]},
            programs=("copilot",),
        ),
        Host(
            "opencode",
            "opencode",
            lambda machine: _opencode_file(machine.config / "opencode"),
            _NEW_SESSION,
            project=lambda machine: _opencode_file(machine.project),
            keys=("mcp",),
            entry=_opencode,
            reference="{env:DINOX_API_KEY}",
            programs=("opencode",),
            takes=_LENIENT,
        ),
        Host(
            "kiro",
            "Kiro",
            _in_home(".kiro", "settings", "mcp.json"),
            "Kiro starts the server at once; its MCP panel lists it",
            project=_in_project(".kiro", "settings", "mcp.json"),
            reference="${DINOX_API_KEY}",
            programs=("kiro", "kiro-cli"),
        ),
        Host(
            "lm-studio",
            "LM Studio",
            _in_home(".lmstudio", "mcp.json"),
            "switch the server on in LM Studio's Program tab",
            programs=("lms",),
        ),
    )
}


def find(name: str) -> Host:
    """Give the host of a name.

    Raises:
        SettingsError: there is none.
    """
    if name not in HOSTS:
        raise SettingsError(f"{name!r:.80} is no host that can be set up; choose from {', '.join(HOSTS)}")
    return HOSTS[name]
