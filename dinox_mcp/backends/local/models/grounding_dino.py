"""Grounding DINO and its kin (MM-Grounding-DINO, LLMDet): picture and text look at each other in every layer.

Only the backbone's features can be kept for the next question. Text has a window of 256 tokens, and what a box scores
follows the evaluations that these models are published with (`convert_grounding_to_cls_scores` and `tokens_positive`
in mmdetection): a label or a phrase of a caption the mean probability of its own tokens, and a sentence that describes
a thing as a whole the probability of its best token.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from dinox_mcp.backends.local.checkpoints.preprocess import Preprocessor
from dinox_mcp.backends.local.models.base import Adapter, Found, Prepared, watch
from dinox_mcp.backends.local.models.fast_layers import speed_up
from dinox_mcp.backends.local.models.shared import (
    AdapterBase,
    Precision,
    corners,
    nbytes,
    ranked,
    stacked,
    tokenizer_in,
)
from dinox_mcp.errors import InputError

_LEAST_SIDE = 33  # a picture thinner than this after resizing has fewer patches than the model wants candidates


def architecture(config: Mapping[str, Any]) -> type[Any]:
    """Name the transformers class of a checkpoint."""
    from transformers import GroundingDinoForObjectDetection, MMGroundingDinoForObjectDetection

    multi = config["model_type"] == "mm-grounding-dino"
    return MMGroundingDinoForObjectDetection if multi else GroundingDinoForObjectDetection


def adapt(
    model: Any,  # noqa: ANN401 - a model of its `architecture`
    folder: Path,
    dtype: torch.dtype = torch.float32,
) -> Adapter:
    """Wrap a loaded model."""
    return GroundingDino(model, tokenizer_in(folder), Preprocessor.from_folder(folder, least=_LEAST_SIDE), dtype)


@dataclass(frozen=True, slots=True)
class BackboneState:
    """One picture: its feature maps (1, channels, height, width), its (height, width) as seen, and its own size."""

    features: tuple[torch.Tensor, ...]
    seen: tuple[int, int]
    size: tuple[int, int]

    @property
    def nbytes(self) -> int:
        """Memory that it takes, in bytes."""
        return nbytes(self.features)


class GroundingDino(AdapterBase):
    """A Grounding DINO, MM-Grounding-DINO or LLMDet model."""

    def __init__(
        self,
        model: Any,  # noqa: ANN401 - of transformers
        tokenizer: Any,  # noqa: ANN401 - of transformers
        preprocess: Preprocessor,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__(model.config.model_type, tokenizer, preprocess, model.config.max_text_len)
        self._precision = Precision.of(model, dtype)
        self._model = speed_up(model)
        self._special = {*tokenizer.all_special_ids} - {tokenizer.unk_token_id}
        self._stop: int = tokenizer.convert_tokens_to_ids(".")
        self._separators = self._special | {self._stop, tokenizer.convert_tokens_to_ids("?")} - {tokenizer.unk_token_id}
        self._backbone = Remembering(model.model.backbone.conv_encoder)
        model.model.backbone.conv_encoder = self._backbone
        for projection in model.model.input_proj_vision:  # where boxes lie is computed in the precision of its output
            projection.register_forward_hook(lambda _layer, _inputs, maps: maps.float())
        watch(model)

    @torch.inference_mode()
    def encode(self, batch: Sequence[Prepared]) -> list[BackboneState]:
        """Look at pictures of one size, all at once."""
        pixels = stacked(batch, self._precision.device)
        with self._precision.running():
            features = self._backbone.look(pixels)
        height, width = pixels.shape[-2:]
        return [
            BackboneState(tuple(level[row : row + 1].clone() for level in features), (height, width), picture.size)
            for row, picture in enumerate(batch)
        ]

    def chunks(self, labels: Sequence[str]) -> list[list[int]]:
        """Fill text windows with labels, in their order.

        Raises:
            InputError: a label is of separators only, so that nothing is left to look for.
        """
        windows: list[list[int]] = []
        room = 0
        for index, tokens in enumerate(self._phrases(labels)):
            if not windows or len(tokens) + 1 > room:
                windows.append([])
                room = self._window - 2
            windows[-1].append(index)
            room -= len(tokens) + 1
        return windows

    def overlong(self, labels: Sequence[str]) -> list[int]:
        """Name the labels of which a text window holds only the beginning."""
        return [index for index, tokens in enumerate(self._tokens(labels)) if len(tokens) > self._window - 3]

    @torch.inference_mode()
    def find(
        self,
        state: BackboneState,
        labels: Sequence[str],
        embeddings: torch.Tensor | None,  # noqa: ARG002 - this family has none
        min_score: float,
        *,
        masks: bool = False,  # noqa: ARG002 - nor these
    ) -> list[Found]:
        """Find the best label of each candidate, among labels that fit one text window."""
        ids, spans = self._sentence(labels)
        tokens, boxes = self._look_for(state, ids)
        scores = torch.stack([tokens[:, span].mean(-1) for span in spans], dim=-1)
        best, label = scores.max(dim=-1)
        return ranked(best, label, boxes, state.size, min_score)

    @torch.inference_mode()
    def find_described(self, state: BackboneState, sentence: str, min_score: float) -> list[Found]:
        """Find what a sentence describes: each candidate scores as the best of the sentence's tokens does."""
        ids, (span,) = self._sentence([sentence])
        tokens, boxes = self._look_for(state, ids)
        best = tokens[:, span].amax(-1)
        return ranked(best, torch.zeros_like(best, dtype=torch.long), boxes, state.size, min_score)

    def fits(self, caption: str) -> bool:
        """Tell whether the text window holds all of a caption."""
        return len(self._caption(caption)[0]) <= self._window

    @torch.inference_mode()
    def ground(
        self, state: BackboneState, caption: str, places: Sequence[tuple[int, int]], min_score: float
    ) -> list[Found]:
        """Find phrases of a caption: each candidate scores as the tokens of each phrase do on average."""
        ids, offsets = self._caption(caption)
        tokens, boxes = self._look_for(state, ids)
        spans = [
            [place for place, (first, last) in offsets.items() if first < end and last > start] for start, end in places
        ]
        scores = torch.stack(
            [tokens[:, span].mean(-1) if span else tokens.new_zeros(len(tokens)) for span in spans], -1
        )
        pairs = torch.arange(scores.numel(), device=scores.device)
        box, phrase = pairs // len(places), pairs % len(places)
        return ranked(scores.flatten(), phrase, boxes[box], state.size, min_score)

    def _look_for(self, state: BackboneState, ids: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor]:
        """Give the candidates' probabilities of each token (n, tokens) and their boxes (n, 4) by corners."""
        device = self._precision.device
        pixels = torch.zeros(1, device=device).expand(1, 3, *state.seen)  # only its shape is looked at
        text = torch.tensor([ids], device=device)
        with self._precision.running(), self._backbone.remember(state.features):
            outputs = self._model(pixel_values=pixels, input_ids=text, attention_mask=torch.ones_like(text))
        return outputs.logits[0].float().sigmoid(), corners(outputs.pred_boxes[0].float())

    def _sentence(self, labels: Sequence[str]) -> tuple[list[int], list[slice]]:
        """Write "[CLS] label . label . [SEP]" as tokens; say which are whose."""
        ids = [self._tokenizer.cls_token_id]
        spans = []
        for tokens in self._phrases(labels):
            spans.append(slice(len(ids), len(ids) + len(tokens)))
            ids += [*tokens, self._stop]
        return [*ids, self._tokenizer.sep_token_id], spans

    def _phrases(self, labels: Sequence[str]) -> list[list[int]]:
        """Read each label as one phrase, and cut what no window holds."""
        rows = self._tokens(labels)
        if silent := [label for label, row in zip(labels, rows, strict=True) if not row]:
            raise InputError(
                f"the label {silent[0][:40]!r} says nothing to the model, which reads . and ? as the end of a label; "
                "name the thing in words"
            )
        return [row[: self._window - 3] for row in rows]

    def _tokens(self, labels: Sequence[str]) -> list[list[int]]:
        """Read labels as tokens, without those that would end a label early."""
        lower = [label.lower() for label in labels]
        rows: list[list[int]] = self._tokenizer(lower, add_special_tokens=False)["input_ids"]
        return [[token for token in row if token not in self._separators] for row in rows]

    def _caption(self, caption: str) -> tuple[list[int], dict[int, tuple[int, int]]]:
        """Write a caption as tokens; tell at which letters of `caption.lower()` the tokens of its words begin and end.

        Full stops stay in it, as in the captions that these models were trained with.
        """
        read = self._tokenizer(caption.lower(), add_special_tokens=False, return_offsets_mapping=True)
        pairs = zip(read["input_ids"], read["offset_mapping"], strict=True)
        kept = [(token, letters) for token, letters in pairs if token not in self._special]
        ids = [self._tokenizer.cls_token_id, *(token for token, _ in kept)]
        ids += [self._tokenizer.sep_token_id] if ids[-1] == self._stop else [self._stop, self._tokenizer.sep_token_id]
        words = enumerate(kept, start=1)
        return ids, {place: letters for place, (token, letters) in words if token not in self._separators}


class Remembering(torch.nn.Module):
    """Stands before a backbone and gives back what it saw earlier, while it is told to."""

    def __init__(self, stock: torch.nn.Module) -> None:
        super().__init__()
        self.stock = stock
        self._features: Sequence[torch.Tensor] | None = None

    def look(self, pixels: torch.Tensor) -> list[torch.Tensor]:
        """Compute feature maps of pictures (n, 3, height, width)."""
        mask = torch.ones((len(pixels), *pixels.shape[-2:]), dtype=torch.long, device=pixels.device)
        return [feature for feature, _ in self.stock(pixels, mask)]

    @contextmanager
    def remember(self, features: Sequence[torch.Tensor]) -> Iterator[None]:
        """Answer with these feature maps of one picture instead of looking."""
        self._features = features
        try:
            yield
        finally:
            self._features = None

    def forward(self, pixels: torch.Tensor, mask: torch.Tensor) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """Give feature maps with the mask of their real pixels, as the stock backbone does."""
        if self._features is None:
            seen: list[tuple[torch.Tensor, torch.Tensor]] = self.stock(pixels, mask)
            return seen
        return [(feature, feature.new_ones((1, *feature.shape[-2:]), dtype=torch.bool)) for feature in self._features]
