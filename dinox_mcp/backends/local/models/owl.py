"""OWL-ViT and OWLv2: every patch of an image is a box with an embedding, and a label is a point in the same space.

The image and a query meet in one matrix product, so that an image is encoded once and searched in
milliseconds. A query is the embedding of a label, or of an example: that of the patch of the example, in this or
another image.

Which patch that is, OWL-ViT's authors choose so (`embed_image_query` in scenic's `owl_vit/notebooks/inference.py`, and
appendix A1.7 of arXiv:2205.06230): of the patches whose boxes overlap the example about as well as the best one does,
only one was trained to be the thing, and the others to be background; it is the one least like the mean patch. OWLv2
knows better: its objectness head says which patch is a thing, and its authors advise to use that (scenic issue 989).
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from dinox_mcp.backends.local.checkpoints.graph import CPU, Architecture, Graph
from dinox_mcp.backends.local.models.base import DetectionModel, ExampleQuery, ExampleRows, Prepared, RawDetection
from dinox_mcp.backends.local.models.candidates import Floats, Indices, corners, ranked, sigmoid
from dinox_mcp.backends.local.models.texts import ClipTokenizer
from dinox_mcp.types.boxes import intersections
from dinox_mcp.types.detection import Example

_ABOUT_AS_WELL = 0.8
"""Boxes that overlap an example at least this much as well as the best one does may be it."""
_BATCH = 16
"""Labels to embed at once by a graph, so that a cancelled request stops soon."""
_MIDDLE = 0.5
"""Whoever points at a thing points at this part of its width and height, around its centre."""


@dataclass(frozen=True, slots=True)
class OwlFeatures:
    """One image, per patch: a normalised class embedding, what shifts and scales its scores, and its box.

    `boxes` are (centre x, centre y, width, height) as fractions of `frame`: the (width, height) of the model's input,
    in pixels of the original image. `things` is greater for patches that are more likely a thing.
    """

    frame: tuple[int, int]
    classes: Floats
    shift: Floats
    scale: Floats
    boxes: Floats
    things: Floats

    @property
    def nbytes(self) -> int:
        """Memory that they take, in bytes."""
        return sum(one.nbytes for one in (self.classes, self.shift, self.scale, self.boxes, self.things))


class OwlModel(DetectionModel):
    """An OWL-ViT or OWLv2 model in any runtime. Labels are read as they are written, without a template around them.

    Args:
        family: The `model_type` of the checkpoint.
        folder: The folder of the checkpoint.
        window: How many tokens of a label the model reads.
        width: The length of an embedding.
    """

    reuses_text = True

    def __init__(self, family: str, folder: Path, *, window: int, width: int) -> None:
        super().__init__(family, folder, square=family == "owlv2")
        self.example_size = width
        self._text = ClipTokenizer(folder, window)

    def overlong(self, labels: Sequence[str]) -> list[int]:
        """Return the indices of the labels of which the text window holds only the beginning."""
        return self._text.overlong(labels)

    def find(
        self,
        features: OwlFeatures,
        labels: Sequence[str],  # noqa: ARG002 - their embeddings say all
        embeddings: Floats | None,
        min_score: float,
        *,
        masks: bool = False,  # noqa: ARG002 - this family has none
    ) -> list[RawDetection]:
        """Find the best label of each patch."""
        assert embeddings is not None, "labels are embedded first"  # noqa: S101 - the seam, for the type checker
        return _best_labels(_logits(features, embeddings), features, min_score)

    def read_examples(self, features: OwlFeatures, examples: Sequence[Example]) -> ExampleRows:
        """Return the class embedding of the patch of each example."""
        boxes = corners(features.boxes) * np.array(features.frame * 2, np.float32)
        chosen = [
            _patch_of(example.bbox, boxes, features.things)
            if example.bbox
            else (_patch_at(example.point or (0, 0), boxes, features.things), 1.0)
            for example in examples
        ]
        return ExampleRows(features.classes[[patch for patch, _ in chosen]], tuple(fit for _, fit in chosen))

    def find_like(
        self,
        features: OwlFeatures,
        query: ExampleQuery,
        min_score: float,
        *,
        masks: bool = False,  # noqa: ARG002 - this family has none
    ) -> list[RawDetection]:
        """Find patches like the examples.

        Of several examples of a label the one that a patch is most like counts, as `get_scores` of the authors'
        notebook does for several queries. A patch that is as much like a negative example is left out. Scores are those
        of the model, as for labels; `post_process_image_guided_detection` of transformers stretches them so that the
        best box of every image scores 1, which says nothing about whether it is one.
        """
        logits = _logits(features, query.rows)
        scores = np.full((len(logits), len(query.labels)), -np.inf, np.float32)
        for label in range(len(query.labels)):
            speaking_for, against = query.of(label)
            scores[:, label] = logits[:, speaking_for].max(axis=-1)
            if against:
                scores[logits[:, against].max(axis=-1) >= scores[:, label], label] = -np.inf
        return _best_labels(scores, features, min_score)

    def _features(self, batch: Sequence[Prepared], *parts: Floats) -> list[OwlFeatures]:
        """Split what was computed of several images, copied so that each one's memory can be freed alone."""
        return [
            OwlFeatures((max(image.size),) * 2 if self._preprocess.square else image.size, *(one.copy() for one in of))
            for image, *of in zip(batch, *parts, strict=True)
        ]


class OwlGraph(OwlModel):
    """An OWL-ViT or OWLv2 model in ONNX Runtime; arguments are those of `Graph`.

    Labels are always embedded on the CPU and in float32.
    """

    def __init__(
        self, architecture: Architecture, folder: Path, *, threads: int, int8: bool = False, provider: str = CPU
    ) -> None:
        window = next(dims[0] for name, dims in architecture.text.items() if "position_embedding" in name)
        super().__init__(
            architecture.model_type, folder, window=window, width=architecture.image["class_head.dense0.weight"][0] or 0
        )
        with ThreadPoolExecutor(1) as pool:
            text_graph = pool.submit(Graph, architecture, "text", folder, threads=threads, fold=False)
            self._image_graph = Graph(
                architecture, "image", folder, threads=threads, int8=int8, provider=provider, fold=provider != CPU
            )
            self._text_graph = text_graph.result()

    def encode(self, batch: Sequence[Prepared]) -> list[OwlFeatures]:
        """Compute the features of images, all at once."""
        return self._features(batch, *self._image_graph(pixels=np.stack([image.pixels for image in batch])))

    def embed(self, labels: Sequence[str]) -> Floats:
        """Embed labels, one normalised row each; what is beyond the text window of 16 tokens is cut off."""
        rows = []
        for start in range(0, len(labels), _BATCH):
            ids, mask = self._text(labels[start : start + _BATCH])
            rows += self._text_graph(ids=ids, mask=mask)
        return np.concatenate(rows)


def _logits(features: OwlFeatures, queries: Floats) -> Floats:
    """Score each patch against each query (n, width)."""
    lengths = np.linalg.norm(queries, axis=-1, keepdims=True) + 1e-6
    logits: Floats = (features.classes @ (queries / lengths).T + features.shift) * features.scale
    return logits


def _best_labels(logits: Floats, features: OwlFeatures, min_score: float) -> list[RawDetection]:
    """List the best label of each patch that scores high enough; -inf is a label that a patch cannot have."""
    best: Floats = logits.max(axis=-1)
    scores = np.where(best > -np.inf, sigmoid(best), np.float32(-1))
    labels: Indices = logits.argmax(axis=-1)
    return ranked(scores, labels, corners(features.boxes), features.frame, min_score)


def _patch_of(bbox: Sequence[float], boxes: Floats, things: Floats) -> tuple[int, float]:
    """Choose the patch that an example's box is of, and return how well their boxes agree."""
    plain, generalised = _overlaps(np.array(bbox, np.float32), boxes)
    best = float(plain.max())
    if best <= 0:
        return int(generalised.argmax()), 0.0
    patch = _most(things, plain >= _ABOUT_AS_WELL * best)
    return patch, float(plain[patch])


def _overlaps(box: Floats, boxes: Floats) -> tuple[Floats, Floats]:
    """Return how much a box (4,) overlaps others (n, 4), all given by corners.

    The second measure, generalised intersection over union (arXiv:1902.09630), is highest for the nearest of the
    boxes that do not overlap it at all.
    """
    shared = intersections(box, boxes)
    hull = (np.maximum(box[2:], boxes[:, 2:]) - np.minimum(box[:2], boxes[:, :2])).clip(min=0).prod(-1)
    union = (box[2:] - box[:2]).prod() + (boxes[:, 2:] - boxes[:, :2]).prod(-1) - shared
    plain = shared / union
    return plain, plain - (hull - union) / hull


def _patch_at(point: Sequence[float], boxes: Floats, things: Floats) -> int:
    """Choose the patch at a point: a thing that has it in its middle, or else in its box, or else the nearest one."""
    centre, half = (boxes[:, :2] + boxes[:, 2:]) / 2, (boxes[:, 2:] - boxes[:, :2]) / 2
    away = np.abs(np.array(point, np.float32) - centre)
    for part in (_MIDDLE, 1.0):
        around = (away <= half * part).all(axis=-1)
        if around.any():
            return _most(things, around)
    return int(np.linalg.norm(away, axis=-1).argmin())


def _most(values: Floats, among: npt.ArrayLike) -> int:
    return int(np.where(np.asarray(among), values, -np.inf).argmax())
