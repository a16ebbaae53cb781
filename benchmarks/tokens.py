"""How many tokens do the tool list and the replies take?"""

import json
from pathlib import Path

from benchmarks.bench import Bench
from benchmarks.cloud import LABELS, crowd
from benchmarks.contenders import Ours
from benchmarks.harness import Json, Server, text_of
from benchmarks.tables import Table
from tests.hosts.environments import NODE_MODULES
from tests.hosts.tokens import count_tokens

SAMPLE = Path(__file__).parents[1] / "examples" / "sample.png"
GOAL_TEXT = 64
GOAL_DATA = 120
GOAL_CLOUD = 3600
GOAL_EMBEDDED = 2700
GOAL_RATIO = 1.15
RESULT_ID = "h4f7xf47s3mas5ad"
"""An id as results have them; those of different ids differ by some tokens."""


def measure(bench: Bench) -> Table:
    """Ask every contender for the same crowd on a 12-megapixel photo, whose coordinates have four digits."""
    table = Table("Tokens of the tool list and of replies (tokens)", ["ours", "vendor"])
    bench.cloud.configure(scene=crowd, model_time=0.0)
    with Ours(bench.cloud.url) as ours:
        ours.initialize()
        with_key = declared(ours)
        reply = ours.detect(bench.photo, LABELS)
    number = len(reply["structuredContent"]["objects"])
    data = len(compact(reply["structuredContent"]))
    texts = [len(text_of(reply))]
    vendors = ""
    if bench.vendor:
        bench.vendor.cloud.configure(scene=crowd, model_time=0.0)
        with bench.vendor.start() as vendor:
            vendor.initialize()
            vendors = declared(vendor)
            texts.append(len(text_of(vendor.detect(bench.photo, LABELS))))
    if (NODE_MODULES / "js-tiktoken").exists():
        _add_tokens(table, with_key, vendors)
    else:
        table.remarks.append("Tokens are left out: `make test-hosts` installs the tokenizer.")
    per_object = [length / number for length in texts]
    table.add(
        "characters of text an object",
        *(f"{length:.1f}" for length in per_object),
        goal=f"at most {GOAL_TEXT}",
        met=per_object[0] <= GOAL_TEXT,
    )
    table.add(
        "characters of structured content an object",
        f"{data / number:.1f}",
        goal=f"at most {GOAL_DATA}",
        met=data / number <= GOAL_DATA,
    )
    table.remarks.append(
        f"Replies of {number} objects, all of the reply divided by its objects. Structured content as compact JSON. "
        "The vendor's has no scores, no numbers and no structured content. Tokens are those of o200k."
    )
    return table


def _add_tokens(table: Table, with_key: str, vendors: str) -> None:
    with Ours(DINOX_MCP_BACKEND="embedded") as ours:
        ours.initialize()
        without_key = declared(ours)
        reply = ours.call("detect_objects", image=str(SAMPLE), prompts=["text"])
    own_id = reply["structuredContent"]["result_id"]
    replies = [one.replace(own_id, RESULT_ID) for one in (text_of(reply), compact(reply["structuredContent"]))]
    cloud, embedded, theirs, text, data = count_tokens([with_key, without_key, vendors, *replies])
    table.add(
        "tokens of the tool list, with a key",
        str(cloud),
        *([str(theirs)] if vendors else []),
        goal=f"at most {GOAL_CLOUD}",
        met=cloud <= GOAL_CLOUD,
    )
    table.add(
        "tokens of the tool list, without a key",
        str(embedded),
        goal=f"at most {GOAL_EMBEDDED}",
        met=embedded <= GOAL_EMBEDDED,
    )
    table.add("tokens of a reply of 24 texts: text", str(text))
    table.add(
        "tokens of a reply of 24 texts: structured content",
        str(data),
        goal=f"at most {GOAL_RATIO:g} x text (now {data / text:.2f})",
        met=data <= GOAL_RATIO * text,
    )


def declared(server: Server) -> str:
    """Write the tools as hosts declare them to their model."""
    tools = server.ask("tools/list")["tools"]
    return compact(
        [{"name": one["name"], "description": one["description"], "parameters": one["inputSchema"]} for one in tools]
    )


def compact(value: Json | list[Json]) -> str:
    """Write JSON without spaces."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)
