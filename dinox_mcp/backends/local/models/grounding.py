"""Grounding DINO and its variants: MM-Grounding-DINO and LLMDet.

Image and text attend to each other in every layer, so that only the features of the image can be kept for the next
request. Text has a window of 256 tokens, and what a box scores follows the evaluations that these models are published
with (`convert_grounding_to_cls_scores` and `tokens_positive` in mmdetection): a label or a phrase of a caption the mean
probability of its own tokens, and a sentence that describes one object the probability of its best token.
"""

from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dinox_mcp.backends.local.checkpoints.graph import Architecture, Graph
from dinox_mcp.backends.local.models.base import AnyFeatures, DetectionModel, ImageFeatures, Prepared, RawDetection
from dinox_mcp.backends.local.models.candidates import Floats, corners, ranked, sigmoid
from dinox_mcp.backends.local.models.texts import PhraseTokenizer, attending

_LEAST_SIDE = 33  # an image thinner than this after resizing has fewer patches than the model wants candidates


class GroundingDinoModel(DetectionModel):
    """A Grounding DINO, MM-Grounding-DINO or LLMDet model in any runtime.

    Args:
        family: The `model_type` of the checkpoint.
        folder: The folder of the checkpoint.
        window: How many tokens of a text the model reads.
    """

    def __init__(self, family: str, folder: Path, *, window: int) -> None:
        super().__init__(family, folder, least=_LEAST_SIDE)
        self._text = PhraseTokenizer(folder, window)

    def chunks(self, labels: Sequence[str]) -> list[list[int]]:
        """Fill text windows with labels, in their order.

        Raises:
            InputError: a label is of separators only, so that nothing is left to find.
        """
        return self._text.windows(labels)

    def overlong(self, labels: Sequence[str]) -> list[int]:
        """Return the indices of the labels of which a text window holds only the beginning."""
        return self._text.overlong(labels)

    def find(
        self,
        features: AnyFeatures,
        labels: Sequence[str],
        embeddings: Floats | None,  # noqa: ARG002 - this family has none
        min_score: float,
        *,
        masks: bool = False,  # noqa: ARG002 - nor these
    ) -> list[RawDetection]:
        """Find the best label of each candidate, among labels that fit one text window."""
        ids, spans = self._text.sentence(labels)
        tokens, boxes = self._candidates(features, ids)
        scores = np.stack([tokens[:, span].mean(axis=-1) for span in spans], axis=-1)
        return ranked(scores.max(axis=-1), scores.argmax(axis=-1), boxes, features.size, min_score)

    def find_described(self, features: AnyFeatures, sentence: str, min_score: float) -> list[RawDetection]:
        """Find what a sentence describes: each candidate scores as the best of the sentence's tokens does."""
        ids, (span,) = self._text.sentence([sentence])
        tokens, boxes = self._candidates(features, ids)
        best = tokens[:, span].max(axis=-1)
        return ranked(best, np.zeros(len(best), np.intp), boxes, features.size, min_score)

    def fits(self, caption: str) -> bool:
        """Return whether the text window holds all of a caption."""
        return self._text.fits(caption)

    def ground(
        self, features: AnyFeatures, caption: str, spans: Sequence[tuple[int, int]], min_score: float
    ) -> list[RawDetection]:
        """Find phrases of a caption: each candidate scores as the tokens of each phrase do on average."""
        ids, offsets = self._text.caption(caption)
        tokens, boxes = self._candidates(features, ids)
        words = [
            [index for index, (first, last) in offsets.items() if first < end and last > start] for start, end in spans
        ]
        scores = np.stack(
            [tokens[:, word].mean(-1) if word else np.zeros(len(tokens), np.float32) for word in words], -1
        )
        box, phrase = np.divmod(np.arange(scores.size), len(spans))
        return ranked(scores.ravel(), phrase, boxes[box], features.size, min_score)

    def _candidates(self, features: AnyFeatures, ids: Sequence[int]) -> tuple[Floats, Floats]:
        """Return the probability of each token (n, tokens), and boxes (n, 4) by corners, in fractions of the image."""
        logits, boxes = self._compute(features, ids)
        return sigmoid(logits), corners(boxes)

    @abstractmethod
    def _compute(self, features: AnyFeatures, ids: Sequence[int]) -> tuple[Floats, Floats]:
        """Compute candidates: a logit of each token (n, tokens), and boxes (n, 4) by centre and size, from 0 to 1."""


class GroundingDinoGraph(GroundingDinoModel):
    """A Grounding DINO or similar model in ONNX Runtime, on the CPU, in float32; arguments are those of `Graph`."""

    def __init__(self, architecture: Architecture, folder: Path, *, threads: int) -> None:
        super().__init__(architecture.model_type, folder, window=architecture.config[""]["max_text_len"])
        self._image_graph = Graph(architecture, "image", folder, threads=threads)
        self._text_graph = Graph(architecture, "text", folder, threads=threads)

    def encode(self, batch: Sequence[Prepared]) -> list[ImageFeatures]:
        """Compute the features of images, one after the other."""
        return [ImageFeatures(tuple(self._image_graph(pixels=image.pixels[None])), image.size) for image in batch]

    def _compute(self, features: ImageFeatures, ids: Sequence[int]) -> tuple[Floats, Floats]:
        blocks, places = attending(ids)
        maps = {f"map{number}": one for number, one in enumerate(features.arrays, start=1)}
        tokens = np.array([ids], np.int64)
        logits, boxes = self._text_graph(ids=tokens, places=places[None], blocks=blocks, **maps)
        return logits, boxes
