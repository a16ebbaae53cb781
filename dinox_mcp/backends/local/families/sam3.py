"""SAM 3: one noun phrase a question, answered with boxes and masks.

The look at the picture is shared by all questions about it. Example boxes need torchvision and are left out.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from dinox_mcp.backends.local.families.base import Adapter, Found, Prepared, check, watch
from dinox_mcp.backends.local.families.boxes import rank, ranked
from dinox_mcp.backends.local.families.precision import Precision
from dinox_mcp.backends.local.families.text import overlong
from dinox_mcp.backends.local.preprocess import Preprocessor
from dinox_mcp.errors import UnsupportedError
from dinox_mcp.masks import encode
from dinox_mcp.prompts import MAX_PROMPTS
from dinox_mcp.schema import Mask

if TYPE_CHECKING:
    from PIL import Image


def architecture(_config: Mapping[str, Any]) -> type[Any]:
    """Name the transformers class of a checkpoint."""
    # The name that transformers exports is a placeholder where torchvision is missing; the model itself is not.
    from transformers.models.sam3.modeling_sam3 import Sam3Model

    return Sam3Model


def adapt(
    model: Any,  # noqa: ANN401 - a model of its `architecture`
    folder: Path,
    dtype: torch.dtype = torch.float32,
) -> Adapter:
    """Wrap a loaded model."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    return Sam3(model, tokenizer, Preprocessor.from_folder(folder), dtype)


@dataclass(frozen=True, slots=True)
class PyramidState:
    """One picture: feature maps (1, channels, height, width), where the coarsest one's patches lie, its own size."""

    features: tuple[torch.Tensor, ...]
    position: torch.Tensor
    size: tuple[int, int]

    @property
    def nbytes(self) -> int:
        """Memory that it takes, in bytes."""
        return sum(part.untyped_storage().nbytes() for part in (*self.features, self.position))


class Sam3:
    """A SAM 3 model, asked by text."""

    family = "sam3"
    reuses_text = False
    masks = True

    def __init__(
        self,
        model: Any,  # noqa: ANN401 - of transformers
        tokenizer: Any,  # noqa: ANN401 - of transformers
        preprocess: Preprocessor,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self._precision = Precision.of(model, dtype)
        self._model = model
        self._tokenizer = tokenizer
        self._preprocess = preprocess
        self._window: int = model.config.text_config.max_position_embeddings
        watch(model)

    def prepare(self, image: "Image.Image") -> Prepared:
        """Resize and normalise an RGB picture."""
        return Prepared(self._preprocess(image), image.size)

    @torch.inference_mode()
    def encode(self, batch: Sequence[Prepared]) -> list[PyramidState]:
        """Look at pictures, all at once."""
        pixels = torch.stack([torch.from_numpy(picture.pixels) for picture in batch]).to(self._precision.device)
        with self._precision.running():
            seen = self._model.get_vision_features(pixels)
        *maps, _ = seen.fpn_hidden_states  # nothing reads the last
        position = seen.fpn_position_encoding[-2]
        return [
            PyramidState(
                tuple(level[row : row + 1].clone() for level in maps),
                position[row % len(position)][None].clone(),
                picture.size,
            )
            for row, picture in enumerate(batch)
        ]

    def embed(self, labels: Sequence[str]) -> torch.Tensor:
        """Refuse: text is read together with the picture."""
        raise NotImplementedError(f"sam3 reads labels together with the picture, {len(labels)} of them too")

    def chunks(self, labels: Sequence[str]) -> list[list[int]]:
        """Ask for one label at a time.

        Raises:
            UnsupportedError: there are more than a caller may name, so they are a vocabulary.
        """
        if len(labels) > MAX_PROMPTS:
            raise UnsupportedError(
                f"sam3 looks for one label at a time, not for everything ({len(labels)} labels); name some, "
                "or choose DINOX_MCP_MODEL=balanced"
            )
        return [[index] for index in range(len(labels))]

    def overlong(self, labels: Sequence[str]) -> list[int]:
        """Name the labels of which a text window holds only the beginning."""
        return overlong(self._tokenizer, labels, self._window)

    @torch.inference_mode()
    def find(
        self,
        state: PyramidState,
        labels: Sequence[str],
        embeddings: torch.Tensor | None,  # noqa: ARG002 - this family has none
        min_score: float,
    ) -> list[Found]:
        """Find labels one after the other, each with the mask of each thing found."""
        found = [item for index, label in enumerate(labels) for item in self._find(state, index, label, min_score)]
        return sorted(found, key=lambda item: -item.score)

    def _find(self, state: PyramidState, index: int, label: str, min_score: float) -> list[Found]:
        from transformers.models.sam3.modeling_sam3 import Sam3VisionEncoderOutput

        text = self._tokenizer(
            [label], padding="max_length", truncation=True, max_length=self._window, return_tensors="pt"
        ).to(self._precision.device)
        # The model leaves out the last map of each list.
        seen = Sam3VisionEncoderOutput(
            fpn_hidden_states=(*state.features, state.position),
            fpn_position_encoding=(state.position, state.position),
        )
        with self._precision.running():
            outputs = self._model(
                vision_embeds=seen, input_ids=text["input_ids"], attention_mask=text["attention_mask"]
            )
        scores = (outputs.pred_logits.float().sigmoid() * outputs.presence_logits.float().sigmoid())[0]
        masks = outputs.pred_masks[0][rank(scores, min_score)]
        labels = torch.full_like(scores, index, dtype=torch.long)
        found = ranked(scores, labels, outputs.pred_boxes[0], state.size, min_score)
        return [
            Found(item.label, item.score, item.bbox, self._mask(mask, state.size))
            for item, mask in zip(found, masks, strict=True)
        ]

    def _mask(self, logits: torch.Tensor, size: tuple[int, int]) -> Mask:
        """Enlarge one mask to the picture and encode it; all at once would take gigabytes for a large photo."""
        check()
        shares = logits.float().sigmoid()[None, None]
        large = torch.nn.functional.interpolate(shares, size=size[::-1], mode="bilinear", align_corners=False)
        return encode((large[0, 0] > 0.5).cpu().numpy())  # noqa: PLR2004 - as likely as not
