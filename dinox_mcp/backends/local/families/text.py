"""What text windows do to labels."""

from collections.abc import Sequence
from typing import Any


def overlong(tokenizer: Any, labels: Sequence[str], window: int) -> list[int]:  # noqa: ANN401 - of transformers
    """Find the labels, by their index, of which a window of so many tokens holds only the beginning."""
    rows = tokenizer(list(labels), truncation=False)["input_ids"]
    return [index for index, row in enumerate(rows) if len(row) > window]
