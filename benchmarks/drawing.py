"""How long does it take to draw 100 boxes on a 12-megapixel photo?"""

import base64

from benchmarks.bench import Bench
from benchmarks.cloud import LABELS, crowd
from benchmarks.contenders import Ours
from benchmarks.harness import Json, median_s
from benchmarks.tables import Table

GOAL_S = 0.6


def measure(bench: Bench) -> Table:
    """Draw the same crowd on the same photo with every contender."""
    rounds = bench.times(7, 3)
    bench.cloud.configure(scene=crowd, model_time=0.0)
    with Ours(bench.cloud.url) as server:
        server.initialize()
        found = server.detect(bench.photo, LABELS)["structuredContent"]
        things, uri = found["objects"], f"dinox://results/{found['result_id']}"
        shown = server.call("visualize", result=found["result_id"])
        preview = median_s(lambda: server.call("visualize", result=found["result_id"]), rounds)
        jpeg = median_s(lambda: server.ask("resources/read", {"uri": f"{uri}/annotated.jpg"}), rounds)
        png = median_s(lambda: server.ask("resources/read", {"uri": f"{uri}/annotated.png"}), rounds)
    vendors: list[str] = []
    size = ""
    if bench.vendor:
        with bench.vendor.start() as vendor:
            vendor.initialize()
            vendor.draw(bench.photo, things)
            vendors.append(f"{median_s(lambda: vendor.draw(bench.photo, things), rounds):.2f} s")
        written = max(path.stat().st_size for path in bench.vendor.folder.glob("*.png"))
        size = (
            f" The vendor's server writes the full size as PNG ({written / 1e6:.0f} MB) and answers its path; how "
            "long it seeks a palette for it depends on the colors."
        )

    table = Table(f"Drawing {len(things)} boxes on a 12-megapixel photo (drawing)", ["ours", "vendor"])
    table.add("`visualize` to the reply", f"{preview:.2f} s", *vendors, goal=f"under {GOAL_S} s", met=preview < GOAL_S)
    table.add("the full size as JPEG, a resource", f"{jpeg:.2f} s")
    table.add("the full size as PNG, a resource", f"{png:.2f} s")
    table.remarks.append(
        f"Medians of {rounds} after a first. Our reply carries a picture for the model "
        f"({_picture_bytes(shown) / 1000:.0f} KB).{size}"
    )
    return table


def _picture_bytes(shown: Json) -> int:
    return sum(len(base64.b64decode(block["data"])) for block in shown["content"] if block["type"] == "image")
