"""Grounding DINO and its kin (MM-Grounding-DINO, LLMDet): picture and text look at each other in every layer.

Only the backbone's features can be kept for the next question. Labels share a text window of 256 tokens, and each is
scored over its own tokens: the mean of their probabilities, as in the evaluations that these models are published with.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch

from dinox_mcp.backends.local.families.base import Adapter, Found, Prepared, watch
from dinox_mcp.backends.local.families.boxes import corners, ranked
from dinox_mcp.backends.local.families.precision import Precision
from dinox_mcp.backends.local.families.text import overlong
from dinox_mcp.backends.local.preprocess import Preprocessor
from dinox_mcp.backends.local.speed import speed_up
from dinox_mcp.errors import InputError

if TYPE_CHECKING:
    from PIL import Image

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
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    return GroundingDino(model, tokenizer, Preprocessor.from_folder(folder, least=_LEAST_SIDE), dtype)


@dataclass(frozen=True, slots=True)
class BackboneState:
    """One picture: its feature maps (1, channels, height, width), its (height, width) as seen, and its own size."""

    features: tuple[torch.Tensor, ...]
    seen: tuple[int, int]
    size: tuple[int, int]

    @property
    def nbytes(self) -> int:
        """Memory that it takes, in bytes."""
        return sum(part.untyped_storage().nbytes() for part in self.features)


class GroundingDino:
    """A Grounding DINO, MM-Grounding-DINO or LLMDet model."""

    reuses_text = False
    masks = False

    def __init__(
        self,
        model: Any,  # noqa: ANN401 - of transformers
        tokenizer: Any,  # noqa: ANN401 - of transformers
        preprocess: Preprocessor,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.family: str = model.config.model_type
        self._precision = Precision.of(model, dtype)
        self._model = speed_up(model)
        self._tokenizer = tokenizer
        self._preprocess = preprocess
        self._window: int = model.config.max_text_len
        phrase_ends = {*tokenizer.all_special_ids, *tokenizer.convert_tokens_to_ids([".", "?"])}
        self._separators = phrase_ends - {tokenizer.unk_token_id}
        self._backbone = Remembering(model.model.backbone.conv_encoder)
        model.model.backbone.conv_encoder = self._backbone
        for projection in model.model.input_proj_vision:  # where boxes lie is computed in the precision of its output
            projection.register_forward_hook(lambda _layer, _inputs, maps: maps.float())
        watch(model)

    def prepare(self, image: "Image.Image") -> Prepared:
        """Resize and normalise an RGB picture."""
        return Prepared(self._preprocess(image), image.size)

    @torch.inference_mode()
    def encode(self, batch: Sequence[Prepared]) -> list[BackboneState]:
        """Look at pictures of one size, all at once."""
        pixels = torch.stack([torch.from_numpy(picture.pixels) for picture in batch]).to(self._precision.device)
        with self._precision.running():
            features = self._backbone.look(pixels)
        height, width = pixels.shape[-2:]
        return [
            BackboneState(tuple(level[row : row + 1].clone() for level in features), (height, width), picture.size)
            for row, picture in enumerate(batch)
        ]

    def embed(self, labels: Sequence[str]) -> torch.Tensor:
        """Refuse: text is read together with the picture."""
        raise NotImplementedError(f"{self.family} reads labels together with the picture, {len(labels)} of them too")

    def chunks(self, labels: Sequence[str]) -> list[list[int]]:
        """Fill text windows with labels, in their order.

        Raises:
            InputError: a label is of separators only, so that nothing is left to look for.
        """
        windows: list[list[int]] = []
        room = 0
        for index, tokens in enumerate(self._tokens(labels)):
            if not windows or len(tokens) + 1 > room:
                windows.append([])
                room = self._window - 2
            windows[-1].append(index)
            room -= len(tokens) + 1
        return windows

    def overlong(self, labels: Sequence[str]) -> list[int]:
        """Name the labels of which a text window holds only the beginning."""
        return overlong(self._tokenizer, labels, self._window - 1)  # a full stop must fit as well

    @torch.inference_mode()
    def find(
        self,
        state: BackboneState,
        labels: Sequence[str],
        embeddings: torch.Tensor | None,  # noqa: ARG002 - this family has none
        min_score: float,
    ) -> list[Found]:
        """Find the best label of each candidate, among labels that fit one text window."""
        ids, spans = self._sentence(labels)
        device = self._precision.device
        pixels = torch.zeros(1, device=device).expand(1, 3, *state.seen)  # only its shape is looked at
        text = torch.tensor([ids], device=device)
        with self._precision.running(), self._backbone.remember(state.features):
            outputs = self._model(pixel_values=pixels, input_ids=text, attention_mask=torch.ones_like(text))
        probabilities = outputs.logits[0].float().sigmoid()
        scores = torch.stack([probabilities[:, span].mean(-1) for span in spans], dim=-1)
        best, label = scores.max(dim=-1)
        return ranked(best, label, corners(outputs.pred_boxes[0].float()), state.size, min_score)

    def _sentence(self, labels: Sequence[str]) -> tuple[list[int], list[slice]]:
        """Write "[CLS] label . label . [SEP]" as tokens; say which are whose."""
        stop = self._tokenizer.convert_tokens_to_ids(".")
        ids = [self._tokenizer.cls_token_id]
        spans = []
        for tokens in self._tokens(labels):
            spans.append(slice(len(ids), len(ids) + len(tokens)))
            ids += [*tokens, stop]
        return [*ids, self._tokenizer.sep_token_id], spans

    def _tokens(self, labels: Sequence[str]) -> list[list[int]]:
        """Read each label as one phrase: what would end it early is left out, what no window holds is cut."""
        lower = [label.lower() for label in labels]
        rows = cast("list[list[int]]", self._tokenizer(lower, add_special_tokens=False)["input_ids"])
        kept = [[token for token in row if token not in self._separators] for row in rows]
        if silent := [label for label, row in zip(labels, kept, strict=True) if not row]:
            raise InputError(
                f"the label {silent[0][:40]!r} says nothing to the model, which reads . and ? as the end of a label; "
                "name the thing in words"
            )
        return [row[: self._window - 3] for row in kept]


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
