"""The hosts: the file where each keeps its MCP servers, its format, and the form of an entry.

Taken from the hosts' own documentation in November 2026; docs/install.md lists the files.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from dinox_mcp.errors import SettingsError
from dinox_mcp.install.files import TOML, Format, Keys, Text
from dinox_mcp.install.jsonc import COMMA, COMMENT, JSONC, extras, position
from dinox_mcp.install.launch import Launch, Machine

KEY = "DINOX_API_KEY"
_BOM = "a byte order mark at its beginning"
_LENIENT = frozenset({COMMENT, COMMA, _BOM})
INPUT = "dinox-key"
"""The name of the input in VS Code's file: VS Code asks for the key itself and keeps it elsewhere."""


Entry = dict[str, Any]
PathOf = Callable[[Machine], Path]


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

    Attributes:
        user: The path of its file for this user.
        next_step: What the person does to make it read the file again.
        project: The path of its file for a project, if it has one.
        keys: The nested keys that lead to the servers in the file.
        entry: Makes an entry of the file.
        reference: How an entry names the variable that holds the key.
        forwards: The option that lists variables to pass on, where the host has that instead of references.
        programs: Its names on a command line, where they are not `name`.
        asks_for_key: Whether it asks for the key itself and keeps it.
        defaults: Options that an entry gets unless it has them.
        format: The format of its file.
        accepts: What its parser accepts besides plain JSON.
        skills: The folder from which it reads skills, if it has skills.
    """

    name: str
    title: str
    user: PathOf
    next_step: str
    project: PathOf | None = None
    keys: Keys = ("mcpServers",)
    entry: Callable[[Launch], Entry] = _plain
    reference: str | None = None
    programs: tuple[str, ...] = ()
    forwards: str | None = None
    asks_for_key: bool = False
    defaults: Mapping[str, object] = field(default_factory=dict)
    format: Format = JSONC
    accepts: frozenset[str] = frozenset()
    skills: PathOf | None = None

    def path(self, machine: Machine, *, project: bool) -> Path:
        """Return the path of its file, for the user or for the project in the working folder.

        Raises:
            SettingsError: The host has no file for projects.
        """
        if not project:
            return self.user(machine)
        if self.project is None:
            raise SettingsError(f"{self.title} has no settings for a project; leave --project out")
        return self.project(machine)

    def cannot_read(self, text: Text) -> str | None:
        """Return the part of a file that the host cannot parse, so that it ignores all of it; None if there is none."""
        if self.format is not JSONC:
            return None
        if text.bom and _BOM not in self.accepts:
            return f"has {_BOM}, which {self.title} does not read"
        odd = next(((what, at) for what, at in extras(text.text) if what not in self.accepts), None)
        return odd and f"{position(text.text, odd[1])} has {odd[0]}, which {self.title} does not read"

    def found(self, machine: Machine) -> bool:
        """Return whether it is on a machine: its file, a folder of its own, or its program exists."""
        path = self.user(machine)
        shared = {machine.home, machine.config, machine.applications}
        return (
            path.exists()
            or (path.parent.is_dir() and path.parent not in shared)
            or any(machine.which(program) for program in self.programs or (self.name,))
        )


def _in(folder: Literal["home", "project", "applications"], *parts: str) -> PathOf:
    return lambda machine: Path(getattr(machine, folder), *parts)


def _claude_desktop(machine: Machine) -> Path:
    """Return the file of Claude Desktop; an app from Windows' store, as it is since 2026, has a folder of its own."""
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
            project=_in("project", ".mcp.json"),
            entry=_with(type="stdio"),
            reference="${DINOX_API_KEY:-}",
            programs=("claude",),
            skills=lambda machine: machine.folder("CLAUDE_CONFIG_DIR", ".claude") / "skills",
        ),
        Host(
            "cursor",
            "Cursor",
            _in("home", ".cursor", "mcp.json"),
            "switch the server on in Cursor's settings, under Tools & MCP",
            project=_in("project", ".cursor", "mcp.json"),
            reference="${env:DINOX_API_KEY}",
            skills=_in("home", ".cursor", "skills"),
        ),
        Host(
            "vscode",
            "VS Code",
            _in("applications", "Code", "User", "mcp.json"),
            "run 'MCP: List Servers' in VS Code and start dinox; it asks for the key then (Enter: none)",
            project=_in("project", ".vscode", "mcp.json"),
            keys=("servers",),
            entry=_with(type="stdio"),
            reference=f"${{input:{INPUT}}}",
            programs=("code",),
            asks_for_key=True,
            accepts=_LENIENT,
        ),
        Host(
            "codex",
            "Codex",
            lambda machine: machine.folder("CODEX_HOME", ".codex") / "config.toml",
            _NEW_SESSION,
            project=_in("project", ".codex", "config.toml"),
            keys=("mcp_servers",),
            # Codex waits 10 s for the start, which is short where uvx has to download, and 60 s for a reply.
            defaults={"startup_timeout_sec": 120, "tool_timeout_sec": 300},
            forwards="env_vars",
            format=TOML,
            skills=_in("home", ".agents", "skills"),
        ),
        Host(
            "gemini",
            "Gemini CLI",
            _in("home", ".gemini", "settings.json"),
            _NEW_SESSION + ", in folders that you trust",
            project=_in("project", ".gemini", "settings.json"),
            reference="${DINOX_API_KEY}",
            skills=_in("home", ".gemini", "skills"),
            accepts=frozenset({COMMENT}),
        ),
        Host(
            "windsurf",
            "Windsurf",
            _in("home", ".codeium", "windsurf", "mcp_config.json"),
            "press Refresh in Windsurf's MCP settings",
            skills=_in("home", ".codeium", "windsurf", "skills"),
        ),
        Host(
            "zed",
            "Zed",
            _zed,
            "Zed starts the server at once; Agent Panel, Settings shows a green dot",
            keys=("context_servers",),
            entry=_with(source="custom"),
            accepts=_LENIENT,
        ),
        Host(
            "copilot",
            "GitHub Copilot CLI",
            lambda machine: machine.folder("COPILOT_HOME", ".copilot") / "mcp-config.json",
            _NEW_SESSION,
            entry=lambda launch: {"type": "local"} | _plain(launch) | {"tools": ["*"]},
            skills=lambda machine: machine.folder("COPILOT_HOME", ".copilot") / "skills",
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
            skills=lambda machine: machine.config / "opencode" / "skills",
            accepts=_LENIENT,
        ),
        Host(
            "kiro",
            "Kiro",
            _in("home", ".kiro", "settings", "mcp.json"),
            "Kiro starts the server at once; its MCP panel lists it",
            project=_in("project", ".kiro", "settings", "mcp.json"),
            reference="${DINOX_API_KEY}",
            programs=("kiro", "kiro-cli"),
        ),
        Host(
            "lm-studio",
            "LM Studio",
            _in("home", ".lmstudio", "mcp.json"),
            "switch the server on in LM Studio's Program tab",
            programs=("lms",),
        ),
    )
}


def find(name: str) -> Host:
    """Return the host of a name."""
    if name not in HOSTS:
        raise SettingsError(f"{name!r:.80} is not a host that can be set up; choose from {', '.join(HOSTS)}")
    return HOSTS[name]
