"""What the Python clients share: the job on stdin, the report on stdout. Only the standard library: no client has more.

The job is {"server": {"command", "args", "env"} or {"url"}, "calls": [[tool, arguments], ...]}; the report is
{"version", "tools": [{"name", "json"}], "answers": [{"text", "pictures"}]} with what a model would be sent.
"""

import asyncio
import json
import sys
from collections.abc import Callable, Coroutine
from importlib.metadata import version
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))
from tests.hosts.model.conversation import Seen, fill

Json = dict[str, Any]
__all__ = ["Json", "Seen", "fill", "run"]


def run(package: str, client: Callable[[Json], Coroutine[Any, Any, tuple[list[Json], list[Seen]]]]) -> None:
    """Do the job with a client, which gives the tools as sent and the answers as seen."""
    tools, answers = asyncio.run(client(json.load(sys.stdin)))
    report = {
        "version": version(package),
        "tools": [
            {"name": tool["name"], "json": json.dumps(tool, ensure_ascii=False, separators=(",", ":"))}
            for tool in tools
        ],
        "answers": [{"text": seen.text, "pictures": seen.encoded()} for seen in answers],
    }
    sys.stdout.write(json.dumps(report))
