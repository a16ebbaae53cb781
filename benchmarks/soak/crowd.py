"""Twelve callers at once with the worst pictures that are allowed."""

import re
import sys
import time
from collections import Counter
from dataclasses import dataclass, field

import anyio

from benchmarks.soak import samples
from benchmarks.soak.calls import Call, Json
from benchmarks.soak.run import Answer, ask
from benchmarks.soak.servers import CROWD, Memory, Serving, memory_mib, seconds_to_rest

DEADLINE_S = 300.0
TIMEOUT_S = 120.0
"""The server's own default for one detection."""
GOAL_MB = 1500
_MB = 1024 * 1024 / 1e6


@dataclass
class Round:
    """Twelve calls at once: what came of them, and the most memory that the server had meanwhile."""

    name: str
    counts: Counter[str] = field(default_factory=Counter)
    peak_mb: float = 0.0
    seconds: float = 0.0
    said: Counter[str] = field(default_factory=Counter)


@dataclass
class Crowd:
    """All rounds, and what the server held before and after."""

    rounds: list[Round]
    before_mb: float
    after_mb: float


async def crowd(server: Serving) -> Crowd:
    """Show each of the worst pictures to the server twelve times at once, then all of them together."""
    pictures = {name: samples.data_uri(data) for name, data in samples.worst().items()}
    before = memory_mib(server.pid) * _MB
    rounds = [await _round(server, name, [uri] * CROWD) for name, uri in pictures.items()]
    rounds.append(await _round(server, "all of them", (list(pictures.values()) * CROWD)[:CROWD]))
    await seconds_to_rest(server.pid)
    return Crowd(rounds, before, memory_mib(server.pid) * _MB)


async def _round(server: Serving, name: str, images: list[str]) -> Round:
    done = Round(name)
    started = time.perf_counter()
    with Memory(server.pid, lambda: 0, every_s=0.02).watching() as memory:
        async with anyio.create_task_group() as group:
            for number, image in enumerate(images):
                group.start_soon(_caller, server, number, image, done)
    done.seconds = time.perf_counter() - started
    done.peak_mb = memory.peak() * _MB
    told = ", ".join(f"{number} {what}" for what, number in done.counts.items())
    print(
        f"{server.transport}: {name}: {told}, {done.peak_mb:.0f} MB, {done.seconds:.0f} s {dict(done.said)}",
        file=sys.stderr,
        flush=True,
    )
    await seconds_to_rest(server.pid, 10)
    return done


async def _caller(server: Serving, number: int, image: str, done: Round) -> None:
    name, arguments = _TOOLS[number % len(_TOOLS)]
    answer: Answer | None = None
    async with server.line(number) as line:
        with anyio.move_on_after(DEADLINE_S):
            answer = await ask(line, Call("hostile", "tool", name, {"image": image, **arguments}))
    if answer is None:
        done.counts["hung"] += 1
    elif answer.lost:
        done.counts["lost"] += 1
    else:
        done.counts["busy" if answer.busy else "refused" if answer.error else "answered"] += 1
    if answer and answer.error:
        done.said[re.sub(r"data:\S+", "data:…", answer.text)[:160]] += 1


_TOOLS: list[tuple[str, Json]] = [
    ("detect_objects", {"prompts": ["person"], "model": "embedded"}),
    ("visualize", {}),
    ("detect_objects", {"prompts": ["washer"]}),
    ("zoom", {"bbox": [0, 0, 3, 3]}),
    ("detect_objects", {"prompts": ["text", "QR code"]}),
    ("count_objects", {"prompts": ["person"], "model": "embedded"}),
    ("visualize", {"objects": [{"bbox": [1, 1, 3, 3]}]}),
    ("detect_prompt_free", {}),
]
