"""What texts cost a model."""

import json
import subprocess
from collections.abc import Sequence

from tests.hosts.environments import HERE, NODE_MODULES, node


def count_tokens(texts: Sequence[str]) -> list[int]:
    """Count tokens as o200k, the vocabulary of recent OpenAI models; others' differ by some percent."""
    done = subprocess.run(  # noqa: S603 - our own script
        [node(), str(HERE / "clients" / "count_tokens.mjs"), str(NODE_MODULES)],
        input=json.dumps(list(texts)),
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    counts: list[int] = json.loads(done.stdout)
    return counts
