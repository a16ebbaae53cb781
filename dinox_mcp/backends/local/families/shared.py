"""What the families share: how a picture is prepared, what a text window does to labels, how memory is counted."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from dinox_mcp.backends.local.families.base import Prepared
from dinox_mcp.backends.local.preprocess import Preprocessor

if TYPE_CHECKING:
    from PIL import Image


def tokenizer_in(folder: Path) -> Any:  # noqa: ANN401 - of transformers
    """Load the tokenizer of a checkpoint, which is JSON and runs no code."""
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)


def nbytes(tensors: Iterable[torch.Tensor]) -> int:
    """Count the memory that tensors keep, in bytes: all of their storage, of which they may show a part."""
    return sum(tensor.untyped_storage().nbytes() for tensor in tensors)


def stacked(batch: Iterable[Prepared], device: torch.device) -> torch.Tensor:
    """Put pictures of one size into one tensor (pictures, 3, height, width) on a device."""
    return torch.stack([torch.from_numpy(picture.pixels) for picture in batch]).to(device)


class AdapterBase:
    """A model that has a preprocessor, and a text window of so many tokens for each label."""

    reuses_text = False

    def __init__(
        self,
        family: str,
        tokenizer: Any,  # noqa: ANN401 - of transformers
        preprocess: Preprocessor,
        window: int,
    ) -> None:
        self.family = family
        self._tokenizer = tokenizer
        self._preprocess = preprocess
        self._window = window

    def prepare(self, image: "Image.Image") -> Prepared:
        """Resize and normalise an RGB picture."""
        return Prepared(self._preprocess(image), image.size)

    def chunks(self, labels: Sequence[str]) -> list[list[int]]:
        """Ask for all labels at once: each has a text window of its own."""
        return [list(range(len(labels)))]

    def overlong(self, labels: Sequence[str]) -> list[int]:
        """Name the labels, by their index, of which a text window holds only the beginning."""
        rows = self._tokenizer(list(labels), truncation=False)["input_ids"]
        return [index for index, row in enumerate(rows) if len(row) > self._window]
