"""Texts as the tokens that models read, without transformers: labels for CLIP, phrases for Grounding DINO.

Grounding DINO reads a row of phrases, each ended by a full stop. The tokens of a phrase attend to each other only, and
their positions are counted from its beginning, so that a phrase means the same whatever stands beside it.
"""

import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from dinox_mcp.errors import BackendError, InputError

if TYPE_CHECKING:
    from tokenizers import Encoding, Tokenizer

Ids = npt.NDArray[np.int64]

_LABEL_BEGIN, _LABEL_END = "<|startoftext|>", "<|endoftext|>"
_LABEL_WORDS = r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
_BEGIN, _END, _UNKNOWN = "[CLS]", "[SEP]", "[UNK]"
_SPECIAL = (_BEGIN, _END, "[PAD]", "[MASK]")
_DELIMITERS = (101, 102, 1012, 1029)
"""[CLS], [SEP], the full stop and the question mark: the models have their numbers in code, not in a file."""


class ClipTokenizer:
    """Turns labels into the tokens of CLIP's text models.

    Args:
        folder: The folder of the checkpoint, with `tokenizer.json`, or `vocab.json` and `merges.txt`.
        window: The most tokens of a label.

    Raises:
        BackendError: The vocabulary is missing or damaged.
    """

    def __init__(self, folder: Path, window: int) -> None:
        from tokenizers import processors

        self._tokenizer, (begin, end) = _load(folder, _of_merges, (_LABEL_BEGIN, _LABEL_END))
        # Set in any case, as transformers does: the model reads a label at its end token, which some files do not add.
        self._tokenizer.post_processor = processors.RobertaProcessing(
            (_LABEL_END, end), (_LABEL_BEGIN, begin), trim_offsets=False, add_prefix_space=False
        )
        self._tokenizer.enable_truncation(window)
        self._tokenizer.enable_padding()

    def __call__(self, labels: Sequence[str]) -> tuple[Ids, Ids]:
        """Return the ids and the mask, both (labels, tokens); the last token of each label is its end.

        A text model that reads from left to right does not mind how much padding follows.
        """
        rows = self._tokenizer.encode_batch(list(labels))
        return np.array([row.ids for row in rows], np.int64), np.array([row.attention_mask for row in rows], np.int64)

    def overlong(self, labels: Sequence[str]) -> list[int]:
        """Return the indices of the labels that have more tokens than the window."""
        return [index for index, row in enumerate(self._tokenizer.encode_batch(list(labels))) if row.overflowing]


def _of_merges(folder: Path) -> "Tokenizer":
    """Make the tokenizer that transformers makes of the older files (`CLIPTokenizer`)."""
    from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers

    vocabulary: dict[str, int] = json.loads((folder / "vocab.json").read_text("utf-8"))
    lines = (folder / "merges.txt").read_text("utf-8").split("\n")
    pairs = [line.split() for line in lines if line.strip() and not line.startswith("#version")]
    merges = [(first, second) for first, second in pairs]
    options = {"end_of_word_suffix": "</w>", "unk_token": _LABEL_END, "continuing_subword_prefix": ""}
    tokenizer = Tokenizer(models.BPE(vocabulary, merges, **options))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_LABEL_WORDS), behavior="removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    tokenizer.add_special_tokens([_LABEL_BEGIN, _LABEL_END])
    return tokenizer


class PhraseTokenizer:
    """Turns labels and captions into the tokens of Grounding DINO.

    Args:
        folder: The folder of the checkpoint, with `tokenizer.json` or `vocab.txt`.
        window: The most tokens of a text.

    Raises:
        BackendError: The vocabulary is missing or damaged.
    """

    def __init__(self, folder: Path, window: int) -> None:
        self._window = window
        self._tokenizer, (self._begin, self._end, self._stop) = _load(folder, _of_words, (_BEGIN, _END, "."))
        unknown = self._tokenizer.token_to_id(_UNKNOWN)
        self._special = {self._tokenizer.token_to_id(token) for token in _SPECIAL} - {unknown}
        self._separators = (self._special | {self._stop, self._tokenizer.token_to_id("?")}) - {unknown}

    def windows(self, labels: Sequence[str]) -> list[list[int]]:
        """Fill texts with labels, by their index, in their order.

        Raises:
            InputError: A label is of separators only, so that nothing is left to find.
        """
        windows: list[list[int]] = []
        free = 0
        for index, tokens in enumerate(self._phrases(labels)):
            if not windows or len(tokens) + 1 > free:
                windows.append([])
                free = self._window - 2
            windows[-1].append(index)
            free -= len(tokens) + 1
        return windows

    def overlong(self, labels: Sequence[str]) -> list[int]:
        """Return the indices of the labels of which a text holds only the beginning."""
        return [index for index, tokens in enumerate(self._tokens(labels)) if len(tokens) > self._window - 3]

    def fits(self, caption: str) -> bool:
        """Return whether a text holds all of a caption."""
        return len(self.caption(caption)[0]) <= self._window

    def sentence(self, labels: Sequence[str]) -> tuple[list[int], list[slice]]:
        """Write "[CLS] label . label . [SEP]" as tokens, and return which are whose."""
        ids = [self._begin]
        spans = []
        for tokens in self._phrases(labels):
            spans.append(slice(len(ids), len(ids) + len(tokens)))
            ids += [*tokens, self._stop]
        return [*ids, self._end], spans

    def caption(self, caption: str) -> tuple[list[int], dict[int, tuple[int, int]]]:
        """Return the tokens of a caption, and for those of its words the (start, end) in `caption.lower()`.

        Full stops stay in it, as in the captions that these models were trained with.
        """
        (read,) = self._read([caption.lower()])
        pairs = zip(read.ids, read.offsets, strict=True)
        kept = [(token, letters) for token, letters in pairs if token not in self._special]
        ids = [self._begin, *(token for token, _ in kept)]
        ids += [self._end] if ids[-1] == self._stop else [self._stop, self._end]
        words = enumerate(kept, start=1)
        return ids, {index: letters for index, (token, letters) in words if token not in self._separators}

    def _phrases(self, labels: Sequence[str]) -> list[list[int]]:
        """Read each label as one phrase, and cut what no text holds."""
        rows = self._tokens(labels)
        if silent := [label for label, row in zip(labels, rows, strict=True) if not row]:
            raise InputError(
                f"the label {silent[0][:40]!r} says nothing to the model, which reads . and ? as the end of a label; "
                "name the object with letters"
            )
        return [row[: self._window - 3] for row in rows]

    def _tokens(self, labels: Iterable[str]) -> list[list[int]]:
        """Read labels as tokens, without those that would end a label early."""
        rows = self._read([label.lower() for label in labels])
        return [[token for token in row.ids if token not in self._separators] for row in rows]

    def _read(self, texts: list[str]) -> "list[Encoding]":
        return self._tokenizer.encode_batch(texts, add_special_tokens=False)


def attending(ids: Sequence[int]) -> tuple[npt.NDArray[np.float32], Ids]:
    """Return which tokens of a text attend to which, and the position of each in its phrase.

    Returns:
        1 or 0 (tokens, tokens), and positions (tokens,). A delimiter belongs to the phrase before it; the first and
        the last token of the text attend to themselves alone.
    """
    last = len(ids) - 1
    ends = np.flatnonzero(np.isin(ids, _DELIMITERS))
    index = np.arange(len(ids))
    following = np.searchsorted(ends, index)  # the delimiter at or after each token
    end = np.append(ends, last + 1)[following]
    begin = np.append(-1, ends)[following] + 1
    alone = (end == 0) | (end >= last)
    together = (end[:, None] == end[None]) & ~alone
    np.fill_diagonal(together, val=True)
    return together.astype(np.float32), np.where(alone, 0, index - begin)


def _of_words(folder: Path) -> "Tokenizer":
    """Make the tokenizer that transformers makes of the older files (`BertTokenizer`)."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

    lines = (folder / "vocab.txt").read_text("utf-8").splitlines()
    described = folder / "tokenizer_config.json"
    lower = json.loads(described.read_text("utf-8")).get("do_lower_case", True) if described.is_file() else True
    vocabulary = {word.strip(): number for number, word in enumerate(lines)}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token=_UNKNOWN))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=lower)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.add_special_tokens([token for token in (_UNKNOWN, *_SPECIAL) if token in vocabulary])
    return tokenizer


def _load(
    folder: Path, of_older_files: Callable[[Path], "Tokenizer"], required: Sequence[str]
) -> tuple["Tokenizer", list[int]]:
    """Load the tokenizer of a checkpoint, which neither cuts nor pads, and the numbers of tokens that it must have."""
    from tokenizers import Tokenizer

    try:
        complete = folder / "tokenizer.json"
        tokenizer = Tokenizer.from_file(str(complete)) if complete.is_file() else of_older_files(folder)
        numbers = [_number(tokenizer, token) for token in required]
    except Exception as error:  # the library raises Exception itself
        line = " ".join(str(error).split())[:200]
        raise BackendError(
            f"the vocabulary in {folder} does not load ({line}); get it anew with dinox-mcp pull"
        ) from error
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer, numbers


def _number(tokenizer: "Tokenizer", token: str) -> int:
    number = tokenizer.token_to_id(token)
    if number is None:
        raise ValueError(f"it has no {token}")
    return number
