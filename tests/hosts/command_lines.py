"""The command-line hosts, each configured in an empty home, asked one thing, its model played on loopback."""

import json
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tests.hosts.environments import NODE_MODULES, node, plain_environment, version
from tests.hosts.model.anthropic import Anthropic
from tests.hosts.model.conversation import Call, Dialect
from tests.hosts.model.gemini import Gemini
from tests.hosts.model.responses import Responses
from tests.hosts.model.server import Model, serve
from tests.hosts.report import Report, Target

QUESTION = "Follow the script."


@dataclass(frozen=True)
class Host:
    """A host: its npm package, its model's API, and how it is configured and started."""

    package: str
    dialect: Callable[[], Dialect]
    prepare: Callable[[Path, str, Target], tuple[list[str], dict[str, str]]]

    def ask(self, home: Path, target: Target, script: Sequence[Call]) -> Report:
        """Let the host work through a script; raises where it ends badly."""
        model, said = self.run(home, target, script)
        if not model.requests:
            raise AssertionError(f"{self.package} declared none of our tools: {said}")
        return Report(version(self.package), model.tools, model.answers)

    def run(self, home: Path, target: Target, script: Sequence[Call], **environment: str) -> tuple[Model, str]:
        """Give the model that the host spoke to, and what the host said; `environment` is the host's own."""
        node()
        with serve(self.dialect(), script) as model:
            command, own = self.prepare(home, model.url, target)
            done = subprocess.run(  # noqa: S603 - the host under test
                command,
                cwd=home,
                env=plain_environment(home) | own | environment,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=300,
                check=False,
            )
        said = f"{done.stdout[-3000:]}{done.stderr[-3000:]}"
        if done.returncode:
            raise AssertionError(f"{self.package} ended with {done.returncode}: {said}")
        return model, said


def _claude_code(home: Path, model_url: str, target: Target) -> tuple[list[str], dict[str, str]]:
    server = {"type": "http", **target} if "url" in target else {"type": "stdio", **target}
    configuration = home / "mcp.json"
    configuration.write_text(json.dumps({"mcpServers": {"dinox": server}}))
    program = NODE_MODULES / "@anthropic-ai" / "claude-code" / "bin" / "claude.exe"
    command = [str(program), "-p", QUESTION, "--mcp-config", str(configuration), "--strict-mcp-config"]
    environment = {
        "ANTHROPIC_BASE_URL": model_url,
        "ANTHROPIC_API_KEY": "loopback",
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        "ENABLE_TOOL_SEARCH": "false",
        "MCP_TIMEOUT": "120000",
    }
    return [*command, "--allowedTools", "mcp__dinox", "--output-format", "json"], environment


def _codex(home: Path, model_url: str, target: Target) -> tuple[list[str], dict[str, str]]:
    folder = home / ".codex"
    folder.mkdir()
    server = {name: value for name, value in target.items() if name != "env"}
    lines = [
        'model = "loopback"',
        'model_provider = "loopback"',
        "[model_providers.loopback]",
        'name = "loopback"',
        f'base_url = "{model_url}/v1"',
        'wire_api = "responses"',
        "[mcp_servers.dinox]",
        *(f"{name} = {json.dumps(value)}" for name, value in server.items()),
        "required = true",
        "startup_timeout_sec = 120",
        "tool_timeout_sec = 120",
    ]
    if "env" in target:
        lines += [
            "[mcp_servers.dinox.env]",
            *(f"{name} = {json.dumps(value)}" for name, value in target["env"].items()),
        ]
    (folder / "config.toml").write_text("\n".join(lines) + "\n")
    program = NODE_MODULES / "@openai" / "codex" / "bin" / "codex.js"
    command = [node(), str(program), "exec", "--skip-git-repo-check", "--dangerously-bypass-approvals-and-sandbox"]
    return [*command, "--json", QUESTION], {"CODEX_HOME": str(folder)}


def _gemini(home: Path, model_url: str, target: Target) -> tuple[list[str], dict[str, str]]:
    folder = home / ".gemini"
    folder.mkdir()
    server = {"httpUrl": target["url"]} if "url" in target else target
    settings = {
        "security": {"auth": {"selectedType": "gemini-api-key"}, "folderTrust": {"enabled": False}},
        "general": {"enableAutoUpdate": False, "disableAutoUpdate": True},
        "privacy": {"usageStatisticsEnabled": False},
        "mcpServers": {"dinox": {**server, "trust": True, "timeout": 120_000}},
    }
    (folder / "settings.json").write_text(json.dumps(settings))
    program = NODE_MODULES / "@google" / "gemini-cli" / "bundle" / "gemini.js"
    command = [node(), str(program), "-p", QUESTION, "--yolo", "--skip-trust", "--output-format", "json"]
    environment = {"GEMINI_API_KEY": "loopback", "GOOGLE_GEMINI_BASE_URL": model_url, "GEMINI_CLI_HOME": str(home)}
    return [*command, "-m", "gemini-2.5-pro"], environment


def _opencode(home: Path, model_url: str, target: Target) -> tuple[list[str], dict[str, str]]:
    if "url" in target:
        server = {"type": "remote", **target}
    else:
        server = {"type": "local", "command": [target["command"], *target["args"]], "environment": target["env"]}
    model = {"name": "loopback", "tool_call": True, "modalities": {"input": ["text", "image"], "output": ["text"]}}
    settings = {
        "autoupdate": False,
        "share": "disabled",
        "provider": {
            "anthropic": {
                "options": {"baseURL": f"{model_url}/v1", "apiKey": "loopback"},
                "models": {"loopback": model},
            }
        },
        "mcp": {"dinox": {**server, "enabled": True, "timeout": 120_000}},
    }
    (home / "opencode.json").write_text(json.dumps(settings))
    command = [str(NODE_MODULES / ".bin" / "opencode"), "run", "--model", "anthropic/loopback", QUESTION]
    return command, {"OPENCODE_DISABLE_MODELS_FETCH": "1"}


HOSTS = {
    "Claude Code": Host("@anthropic-ai/claude-code", partial(Anthropic, "mcp__dinox__"), _claude_code),
    "Codex CLI": Host("@openai/codex", Responses, _codex),
    "Gemini CLI": Host("@google/gemini-cli", Gemini, _gemini),
    "opencode": Host("opencode-ai", partial(Anthropic, "dinox_"), _opencode),
}
