"""The clients that are libraries, each run as a script in its own environment: clients/job.py says what it is given."""

import base64
import json
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.hosts.environments import HERE, NODE_MODULES, node, plain_environment, python_of
from tests.hosts.model.conversation import Call, Declaration, Seen
from tests.hosts.report import Report, Target


@dataclass(frozen=True)
class Library:
    """A library: the command of its script, and what the job says to it alone."""

    command: Callable[[], list[str]]
    job: dict[str, Any]

    def ask(self, home: Path, target: Target, script: Sequence[Call]) -> Report:
        """Let the library work through a script; raises where it ends badly."""
        report = self.run(home, target, script)
        return Report(
            version=report["version"],
            tools=[Declaration(tool["name"], tool["json"]) for tool in report["tools"]],
            answers=[
                Seen(answer["text"], [base64.b64decode(picture) for picture in answer["pictures"]])
                for answer in report["answers"]
            ],
        )

    def run(self, home: Path, target: Target, script: Sequence[Call], **more: object) -> dict[str, Any]:
        """Give the whole report of the script."""
        job = {"server": target, "calls": [(call.tool, call.arguments) for call in script], **self.job, **more}
        done = subprocess.run(  # noqa: S603 - the client under test
            self.command(),
            cwd=home,
            env=plain_environment(home),
            input=json.dumps(job),
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        if done.returncode:
            raise AssertionError(f"the client ended with {done.returncode}: {done.stderr[-4000:]}")
        report: dict[str, Any] = json.loads(done.stdout)
        return report


def _typescript(package: str, **more: object) -> Library:
    script = str(HERE / "clients" / "run_typescript.mjs")
    return Library(lambda: [node(), script], {"package": package, "node_modules": str(NODE_MODULES), **more})


def _python(client: str) -> Library:
    script = str(HERE / "clients" / f"run_{client}.py")
    return Library(lambda: [str(python_of(client)), script], {})


LIBRARIES = {
    "TypeScript SDK 1": _typescript("@modelcontextprotocol/sdk"),
    "TypeScript client 2": _typescript("@modelcontextprotocol/client"),
    "TypeScript client 2, protocol of 2026": _typescript("@modelcontextprotocol/client", modern=True),
    "langchain-mcp-adapters": _python("langchain"),
    "openai-agents": _python("openai_agents"),
    "pydantic-ai": _python("pydantic_ai"),
}
