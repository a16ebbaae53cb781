"""The tokens of labels as CLIP's text models read them, without transformers."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from dinox_mcp.backends.local.models import vocabularies

if TYPE_CHECKING:
    from tokenizers import Tokenizer

Ids = npt.NDArray[np.int64]

_BEGIN, _END = "<|startoftext|>", "<|endoftext|>"
_WORDS = r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"


class ClipTokenizer:
    """Turns labels into tokens of one length.

    Args:
        folder: The folder of the checkpoint, with `tokenizer.json`, or `vocab.json` and `merges.txt`.
        window: The most tokens of a label.

    Raises:
        BackendError: The vocabulary is missing or damaged.
    """

    def __init__(self, folder: Path, window: int) -> None:
        self._window = window
        with vocabularies.checked(folder):
            self._tokenizer = _load(folder)

    def __call__(self, labels: Sequence[str]) -> tuple[Ids, Ids]:
        """Return the ids and the mask, both (labels, tokens); the last token of each label is its end.

        A text model that reads from left to right does not mind how much padding follows.
        """
        rows = [self._cut(row) for row in self._rows(labels)]
        longest = max(map(len, rows))
        ids = np.zeros((len(rows), longest), np.int64)
        mask = np.zeros_like(ids)
        for index, row in enumerate(rows):
            ids[index, : len(row)] = row
            mask[index, : len(row)] = 1
        return ids, mask

    def overlong(self, labels: Sequence[str]) -> list[int]:
        """Return the indices of the labels that have more tokens than the window."""
        return [index for index, row in enumerate(self._rows(labels)) if len(row) > self._window]

    def _rows(self, labels: Sequence[str]) -> list[list[int]]:
        return [encoding.ids for encoding in self._tokenizer.encode_batch(list(labels))]

    def _cut(self, row: list[int]) -> list[int]:
        return row if len(row) <= self._window else [*row[: self._window - 1], row[-1]]


def _load(folder: Path) -> "Tokenizer":
    from tokenizers import processors

    tokenizer = vocabularies.load(folder, _of_vocabulary)
    # Set in any case, as transformers does: the model reads a label at its end token, which some files do not add.
    end, begin = ((token, vocabularies.id_of(tokenizer, token)) for token in (_END, _BEGIN))
    tokenizer.post_processor = processors.RobertaProcessing(end, begin, trim_offsets=False, add_prefix_space=False)
    return tokenizer


def _of_vocabulary(folder: Path) -> "Tokenizer":
    """Make the tokenizer that transformers makes of the older files (`CLIPTokenizer`)."""
    from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers

    vocabulary: dict[str, Any] = json.loads((folder / "vocab.json").read_text("utf-8"))
    lines = (folder / "merges.txt").read_text("utf-8").splitlines()
    pairs = [line.split(" ") for line in lines if line and not line.startswith("#version")]
    merges = [(first, second) for first, second in pairs]
    tokenizer = Tokenizer(
        models.BPE(vocabulary, merges, end_of_word_suffix="</w>", unk_token=_END, continuing_subword_prefix="")
    )
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_WORDS), behavior="removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    tokenizer.add_special_tokens([_BEGIN, _END])
    return tokenizer
