"""Detectors with object queries: Grounding DINO with its variants (MM-Grounding-DINO, LLMDet), and OmDet-Turbo.

In Grounding DINO image and text attend to each other in every layer, so that only the backbone's features can be kept
for the next request. Text has a window of 256 tokens, and what a box scores follows the evaluations that these models
are published with (`convert_grounding_to_cls_scores` and `tokens_positive` in mmdetection): a label or a phrase of a
caption the mean probability of its own tokens, and a sentence that describes one object the probability of its best
token.

OmDet-Turbo is fast: its labels have embeddings of their own, and a task sentence sums them up. As in the reference, a
box may answer to several labels: the best pairs of box and label are given, as many as there are boxes.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import torch

from dinox_mcp.backends.local.models.base import Prepared, RawDetection, TorchDetectionModel
from dinox_mcp.backends.local.models.shared import (
    MapFeatures,
    TensorFeatures,
    corners,
    of_image,
    ranked,
    speed_up,
    stacked,
)
from dinox_mcp.errors import InputError, UnsupportedError

if TYPE_CHECKING:
    from dinox_mcp.backends.local.models.base import Rows

_LEAST_SIDE = 33  # an image thinner than this after resizing has fewer patches than the model wants candidates


@dataclass(frozen=True, slots=True)
class BackboneFeatures(TensorFeatures):
    """One image: its feature maps (1, channels, height, width), its (height, width) as resized, and its own size."""

    maps: tuple[torch.Tensor, ...]
    resized: tuple[int, int]
    size: tuple[int, int]


class GroundingDino(TorchDetectionModel):
    """A Grounding DINO, MM-Grounding-DINO or LLMDet model."""

    architectures: ClassVar = {
        "grounding-dino": "GroundingDinoForObjectDetection",
        "mm-grounding-dino": "MMGroundingDinoForObjectDetection",
    }

    def __init__(self, model: Any, folder: Path, dtype: torch.dtype | None = None) -> None:  # noqa: ANN401
        super().__init__(speed_up(model), folder, dtype, least=_LEAST_SIDE)
        self._window = model.config.max_text_len
        tokenizer = self._tokenizer
        self._special = {*tokenizer.all_special_ids} - {tokenizer.unk_token_id}
        self._stop: int = tokenizer.convert_tokens_to_ids(".")
        self._separators = self._special | {self._stop, tokenizer.convert_tokens_to_ids("?")} - {tokenizer.unk_token_id}
        self._backbone = Remembering(model.model.backbone.conv_encoder)
        model.model.backbone.conv_encoder = self._backbone
        for projection in model.model.input_proj_vision:  # where boxes lie is computed in the precision of its output
            projection.register_forward_hook(lambda _layer, _inputs, maps: maps.float())

    @torch.inference_mode()
    def encode(self, batch: Sequence[Prepared]) -> list[BackboneFeatures]:
        """Compute the features of images of one size, all at once."""
        pixels = stacked(batch, self._model.device)
        with self._computing():
            features = self._backbone.compute(pixels)
        height, width = pixels.shape[-2:]
        return [
            BackboneFeatures(of_image(row, features), (height, width), image.size) for row, image in enumerate(batch)
        ]

    def chunks(self, labels: Sequence[str]) -> list[list[int]]:
        """Fill text windows with labels, in their order.

        Raises:
            InputError: a label is of separators only, so that nothing is left to find.
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
        """Return the indices of the labels of which a text window holds only the beginning."""
        return [index for index, tokens in enumerate(self._tokens(labels)) if len(tokens) > self._window - 3]

    @torch.inference_mode()
    def find(
        self,
        features: BackboneFeatures,
        labels: Sequence[str],
        embeddings: "Rows | None",  # noqa: ARG002 - this family has none
        min_score: float,
        *,
        masks: bool = False,  # noqa: ARG002 - nor these
    ) -> list[RawDetection]:
        """Find the best label of each candidate, among labels that fit one text window."""
        ids, spans = self._sentence(labels)
        tokens, boxes = self._candidates(features, ids)
        scores = torch.stack([tokens[:, span].mean(-1) for span in spans], dim=-1)
        best, label = scores.max(dim=-1)
        return ranked(best, label, boxes, features.size, min_score)

    @torch.inference_mode()
    def find_described(self, features: BackboneFeatures, sentence: str, min_score: float) -> list[RawDetection]:
        """Find what a sentence describes: each candidate scores as the best of the sentence's tokens does."""
        ids, (span,) = self._sentence([sentence])
        tokens, boxes = self._candidates(features, ids)
        best = tokens[:, span].amax(-1)
        return ranked(best, torch.zeros_like(best, dtype=torch.long), boxes, features.size, min_score)

    def fits(self, caption: str) -> bool:
        """Return whether the text window holds all of a caption."""
        return len(self._caption(caption)[0]) <= self._window

    @torch.inference_mode()
    def ground(
        self, features: BackboneFeatures, caption: str, spans: Sequence[tuple[int, int]], min_score: float
    ) -> list[RawDetection]:
        """Find phrases of a caption: each candidate scores as the tokens of each phrase do on average."""
        ids, offsets = self._caption(caption)
        tokens, boxes = self._candidates(features, ids)
        words = [
            [index for index, (first, last) in offsets.items() if first < end and last > start] for start, end in spans
        ]
        scores = torch.stack(
            [tokens[:, word].mean(-1) if word else tokens.new_zeros(len(tokens)) for word in words], -1
        )
        pairs = torch.arange(scores.numel(), device=scores.device)
        box, phrase = pairs // len(spans), pairs % len(spans)
        return ranked(scores.flatten(), phrase, boxes[box], features.size, min_score)

    def _candidates(self, features: BackboneFeatures, ids: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the candidates' probabilities of each token (n, tokens) and their boxes (n, 4) by corners."""
        device = self._model.device
        pixels = torch.zeros(1, device=device).expand(1, 3, *features.resized)  # only its shape is used
        text = torch.tensor([ids], device=device)
        with self._computing(), self._backbone.remember(features.maps):
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
                "name the object with letters"
            )
        return [row[: self._window - 3] for row in rows]

    def _tokens(self, labels: Sequence[str]) -> list[list[int]]:
        """Read labels as tokens, without those that would end a label early."""
        lower = [label.lower() for label in labels]
        rows: list[list[int]] = self._tokenizer(lower, add_special_tokens=False)["input_ids"]
        return [[token for token in row if token not in self._separators] for row in rows]

    def _caption(self, caption: str) -> tuple[list[int], dict[int, tuple[int, int]]]:
        """Return the tokens of a caption, and for those of its words the (start, end) in `caption.lower()`.

        Full stops stay in it, as in the captions that these models were trained with.
        """
        read = self._tokenizer(caption.lower(), add_special_tokens=False, return_offsets_mapping=True)
        pairs = zip(read["input_ids"], read["offset_mapping"], strict=True)
        kept = [(token, letters) for token, letters in pairs if token not in self._special]
        ids = [self._tokenizer.cls_token_id, *(token for token, _ in kept)]
        ids += [self._tokenizer.sep_token_id] if ids[-1] == self._stop else [self._stop, self._tokenizer.sep_token_id]
        words = enumerate(kept, start=1)
        return ids, {index: letters for index, (token, letters) in words if token not in self._separators}


class Remembering(torch.nn.Module):
    """Wraps a backbone; inside `remember` it returns earlier feature maps instead of computing them."""

    def __init__(self, stock: torch.nn.Module) -> None:
        super().__init__()
        self.stock = stock
        self._features: Sequence[torch.Tensor] | None = None

    def compute(self, pixels: torch.Tensor) -> list[torch.Tensor]:
        """Compute feature maps of images (n, 3, height, width)."""
        mask = torch.ones((len(pixels), *pixels.shape[-2:]), dtype=torch.long, device=pixels.device)
        return [feature for feature, _ in self.stock(pixels, mask)]

    @contextmanager
    def remember(self, features: Sequence[torch.Tensor]) -> Iterator[None]:
        """Return these feature maps of one image in the block."""
        self._features = features
        try:
            yield
        finally:
            self._features = None

    def forward(self, pixels: torch.Tensor, mask: torch.Tensor) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """Return feature maps with the mask of their real pixels, as the stock backbone does."""
        if self._features is None:
            computed: list[tuple[torch.Tensor, torch.Tensor]] = self.stock(pixels, mask)
            return computed
        return [(feature, feature.new_ones((1, *feature.shape[-2:]), dtype=torch.bool)) for feature in self._features]


class OmDet(TorchDetectionModel):
    """An OmDet-Turbo model."""

    architectures: ClassVar = {"omdet-turbo": "OmDetTurboForObjectDetection"}
    reuses_text = True

    def __init__(self, model: Any, folder: Path, dtype: torch.dtype | None = None) -> None:  # noqa: ANN401
        super().__init__(speed_up(model), folder, dtype)
        # The stock method is cached per class, which would keep an unloaded model in memory.
        anchors = type(model.decoder).generate_anchors
        model.decoder.generate_anchors = partial(getattr(anchors, "__wrapped__", anchors), model.decoder)

    @classmethod
    def architecture(cls, config: Mapping[str, Any]) -> type[Any]:
        """Return the transformers class of a checkpoint.

        Raises:
            UnsupportedError: its backbone is one of timm's, as in the published checkpoint, and timm is not installed.
        """
        backbone = config.get("backbone_config")
        timm = backbone.get("model_type") == "timm_backbone" if backbone else config.get("use_timm_backbone", True)
        if timm and not (find_spec("timm") and find_spec("torchvision")):
            raise UnsupportedError(
                "this OmDet-Turbo model has a backbone of the package timm; pip install timm (it brings torchvision), "
                "or choose another model"
            )
        return super().architecture(config)

    @torch.inference_mode()
    def encode(self, batch: Sequence[Prepared]) -> list[MapFeatures]:
        """Compute the features of images, all at once."""
        pixels = stacked(batch, self._model.device)
        with self._computing():
            maps = self._model.encoder(self._model.vision_backbone(pixels)).extracted_states
        return [MapFeatures(of_image(row, maps), image.size) for row, image in enumerate(batch)]

    @torch.inference_mode()
    def embed(self, labels: Sequence[str]) -> "Rows":
        """Embed labels, one row each; what is beyond the text window of 77 tokens is cut off."""
        with self._computing():
            rows: torch.Tensor = self._model.language_backbone(self._tokens(labels)["input_ids"], encode_type="class")
        return rows.float().cpu().numpy()

    @torch.inference_mode()
    def find(
        self,
        features: MapFeatures,
        labels: Sequence[str],
        embeddings: "Rows | None",
        min_score: float,
        *,
        masks: bool = False,  # noqa: ARG002 - this family has none
    ) -> list[RawDetection]:
        """Find the best pairs of box and label."""
        assert embeddings is not None, "labels are embedded first"  # noqa: S101 - the seam, for the type checker
        classes = torch.from_numpy(embeddings).to(self._model.device)
        task = self._tokens([f"Detect {', '.join(labels)}."])
        with self._computing():
            sentence, mask = self._model.language_backbone(
                task["input_ids"], mask=task["attention_mask"], encode_type="task"
            )
        # The decoder takes the precision of its boxes from the feature maps.
        maps = [level.float() for level in features.maps]
        outputs = self._model.decoder(maps, classes[:, None], sentence.float(), mask)
        scores = outputs.decoder_classes[-1][0].float().sigmoid()
        boxes = corners(outputs.decoder_coords[-1][0].float())
        best = torch.sort(scores.flatten(), descending=True, stable=True).indices[: len(boxes)]
        box, label = best // len(labels), best % len(labels)
        return ranked(scores[box, label], label, boxes[box], features.size, min_score)

    def _tokens(self, texts: Sequence[str]) -> Mapping[str, torch.Tensor]:
        # A text model that reads from left to right does not mind how much padding follows.
        tokens: Mapping[str, torch.Tensor] = self._tokenizer(
            list(texts), padding="longest", truncation=True, max_length=self._window, return_tensors="pt"
        ).to(self._model.device)
        return tokens
