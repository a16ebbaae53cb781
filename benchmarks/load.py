"""Do 64 calls of 8 keys at once stay apart, and does memory stay level over 5,000 calls?"""

import asyncio
import base64
import json
import random
import re
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import islice
from statistics import mean

import httpx2

from benchmarks.bench import Bench
from benchmarks.cloud import Cloud
from benchmarks.contenders import OURS
from benchmarks.harness import BenchmarkError, Json, Server, rss_mib
from benchmarks.pictures import different, encode
from benchmarks.tables import Table

KEYS = 8
CALLS_OF_A_KEY = 8
LEVEL = 0.05
"""Part by which the memory of the last quarter of the long run may be above that of the second."""
_SAMPLES = 20

_TENANTS = 100  # of the long run: at 10 requests a second for each key, fewer would mostly wait
_AT_ONCE = 16
_PICTURES = 200
_KNOWN = 10


def measure(bench: Bench) -> Table:
    """Serve over HTTP and ask from many sides."""
    return asyncio.run(_measure(bench))


async def _measure(bench: Bench) -> Table:
    table = Table("Load: many keys at once, and memory (load)", ["ours"])
    uris = [_data_uri(encode(image)) for image in islice(different((640, 480)), _PICTURES)]
    async with _serving(bench.cloud) as (_, client):
        await _tenants(table, bench.cloud, client, uris)
    async with _serving(bench.cloud) as (pid, client):
        await _long_run(table, bench, pid, client, uris)
    return table


@dataclass
class Client:
    """Speaks MCP to a server over HTTP, each request on its own, with any key."""

    http: httpx2.AsyncClient
    url: str

    async def ask(self, key: str, method: str, params: Json) -> tuple[Json, str]:
        """Send a request and give the answer, decoded and raw."""
        body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        headers = {"Accept": "application/json, text/event-stream", "X-DINOX-API-Key": key}
        response = await self.http.post(self.url, json=body, headers=headers)
        messages = [json.loads(line[5:]) for line in response.text.splitlines() if line.startswith("data:")]
        for message in messages:
            if message.get("id") == 1:
                return message, response.text
        raise BenchmarkError(f"HTTP {response.status_code}: {response.text[:500]}")

    async def detect(self, key: str, image: str, label: str) -> tuple[Json, str]:
        """Find things of a label; give the tool's result, decoded, and the raw answer."""
        arguments = {"image": image, "prompts": [label]}
        message, raw = await self.ask(key, "tools/call", {"name": "detect_objects", "arguments": arguments})
        result = message.get("result")
        if result is None or result.get("isError"):
            raise BenchmarkError(f"the call failed: {raw[:500]}")
        return result["structuredContent"], raw

    async def can_read(self, key: str, uri: str) -> bool:
        """Tell whether a result is readable with a key."""
        message, _ = await self.ask(key, "resources/read", {"uri": uri})
        return "result" in message


@asynccontextmanager
async def _serving(cloud: Cloud) -> AsyncIterator[tuple[int, Client]]:
    command = [*OURS, "serve", "--transport", "http", "--port", "0", "--backend", "dinox"]
    with Server(command, {"DINOX_API_BASE_URL": cloud.url}) as server:
        while not (where := re.search(r"http://\S+", server.errors())):
            if server.popen.poll() is not None or server.seconds() > 30:
                raise BenchmarkError(f"the server does not start: {server.errors()}")
            await asyncio.sleep(0.02)
        async with httpx2.AsyncClient(timeout=60, trust_env=False) as http:
            yield server.popen.pid, Client(http, where.group())


async def _tenants(table: Table, cloud: Cloud, client: Client, uris: Sequence[str]) -> None:
    """Ask 64 questions at once, one of them the same for all keys, and try to read each result with another key."""
    keys = [f"secret-of-tenant-{number}" for number in range(KEYS)]
    cloud.configure(keys=set(keys), model_time=0.4)
    questions = [
        (key, uris[0], "common thing")
        if turn == 0
        else (key, uris[turn + CALLS_OF_A_KEY * number], f"{key[-1]} {turn}")
        for turn in range(CALLS_OF_A_KEY)
        for number, key in enumerate(keys)
    ]
    started = time.perf_counter()
    replies = await asyncio.gather(*(client.detect(*question) for question in questions), return_exceptions=True)
    took = time.perf_counter() - started

    failures = [reply for reply in replies if isinstance(reply, BaseException)]
    wrong = leaked = foreign = own = 0
    for (key, _, label), reply in zip(questions, replies, strict=True):
        if isinstance(reply, BaseException):
            continue
        data, raw = reply
        wrong += {found["label"] for found in data["objects"]} != {label}
        leaked += any(other in raw for other in keys)
        stranger = keys[(keys.index(key) + 1) % KEYS]
        foreign += await client.can_read(stranger, f"dinox://results/{data['result_id']}")
        own += await client.can_read(key, f"dinox://results/{data['result_id']}")
    books = [cloud.stats(key) for key in keys]
    paid = {one.paid for one in books}
    busiest = max(one.busiest_second() for one in books)

    total = len(questions)
    table.add(f"of {total} calls at once of {KEYS} keys: failed", str(len(failures)), goal="0", met=not failures)
    table.add("answered with another's result", str(wrong), goal="0", met=not wrong)
    table.add("replies that show any key", str(leaked), goal="0", met=not leaked)
    table.add("results read with another key", str(foreign), goal="0", met=not foreign)
    table.add("results read with their own key", str(own), goal=str(total), met=own == total)
    table.add(
        "tasks paid by each key", ", ".join(map(str, paid)), goal=f"{CALLS_OF_A_KEY}", met=paid == {CALLS_OF_A_KEY}
    )
    table.add("busiest second of a key, requests", str(busiest), goal="at most 10", met=busiest <= 10)
    table.add("time until all were answered", f"{took:.1f} s")
    for failure in failures[:3]:
        table.remarks.append(f"Failed: {failure}")


async def _long_run(table: Table, bench: Bench, pid: int, client: Client, uris: Sequence[str]) -> None:
    """Ask again and again, half of it what was asked before, and watch the memory."""
    calls = bench.times(5000, 600)
    step = calls // _SAMPLES
    keys = [f"tenant-{number}" for number in range(_TENANTS)]
    bench.cloud.configure(keys=set(keys), model_time=0.0)
    chance = random.Random(3)
    questions = iter(
        [
            (chance.choice(keys[:5]), uris[chance.randrange(_KNOWN)], "known thing")
            if chance.random() < 0.5
            else (keys[number % _TENANTS], uris[chance.randrange(_PICTURES)], f"thing {number}")
            for number in range(calls)
        ]
    )
    curve = [rss_mib(pid)]
    cached = done = 0
    started = time.perf_counter()

    async def ask() -> None:
        nonlocal cached, done
        for question in questions:
            data, _ = await client.detect(*question)
            cached += data.get("cached", False)
            done += 1
            if done % step == 0:
                curve.append(rss_mib(pid))

    await asyncio.gather(*(ask() for _ in range(_AT_ONCE)))
    took = time.perf_counter() - started
    second, last = mean(curve[_SAMPLES // 4 : _SAMPLES // 2]), mean(curve[-_SAMPLES // 4 :])
    growth = last / second - 1
    table.add(
        f"memory (RSS) in the 2nd and 4th quarter of {calls:,} calls",
        f"{second:.0f}, {last:.0f} MiB",
        goal=f"level ({growth:+.1%})",
        met=None if bench.quick else growth <= LEVEL,  # a short run does not fill the store
    )
    table.add(f"calls a second, {_AT_ONCE} at once", f"{calls / took:.0f}")
    table.remarks.append(
        f"Memory in MiB at the start and after every {step} of {calls:,} calls ({cached:,} answered from memory): "
        f"{', '.join(f'{mib:.0f}' for mib in curve)}. Up to 500 results are kept with their pictures, and "
        "answers for an hour, within 64 MiB: that is what still grows."
    )


def _data_uri(data: bytes) -> str:
    return f"data:image/jpeg;base64,{base64.b64encode(data).decode()}"
