"""Captions, categories and texts of regions by Florence-2 (Xiao et al., arXiv:2311.06242).

The look at the picture is shared by all regions and tasks. A region is told to the model by four of its thousand
position tokens. The model gives no score, and none is made up.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from dinox_mcp.backends.local.checkpoints.preprocess import Preprocessor
from dinox_mcp.backends.local.models.base import Prepared
from dinox_mcp.backends.local.models.interfaces import Describer
from dinox_mcp.backends.local.models.shared import ViewerBase, nbytes, stacked, tokenizer_in
from dinox_mcp.types.boxes import Box
from dinox_mcp.types.detection import Output

PROMPTS: dict[Output, str] = {
    "caption": "What does the region {region} describe?",
    "category": "What is the region {region}?",
    "text": "What text is in the region {region}?",
}
"""The tasks REGION_TO_DESCRIPTION, REGION_TO_CATEGORY and REGION_TO_OCR, in the words of its training."""
LONGEST: dict[Output, int] = {"caption": 128, "category": 32, "text": 256}
"""Tokens; what is longer is cut."""
_BINS = 1000
_POSITION = re.compile(r"<loc_\d+>")


def architecture(_config: Mapping[str, Any]) -> type[Any]:
    """Name the transformers class of a checkpoint."""
    from transformers import Florence2ForConditionalGeneration

    return Florence2ForConditionalGeneration


def adapt(
    model: Any,  # noqa: ANN401 - a model of its `architecture`
    folder: Path,
    dtype: torch.dtype = torch.float32,
) -> Describer:
    """Wrap a loaded model."""
    return Florence2(model, tokenizer_in(folder), Preprocessor.from_folder(folder), dtype)


@dataclass(frozen=True, slots=True)
class TokenState:
    """One picture as a sentence of features (1, tokens, width), and its own size in pixels."""

    features: torch.Tensor
    size: tuple[int, int]

    @property
    def nbytes(self) -> int:
        """Memory that it takes, in bytes."""
        return nbytes((self.features,))


class Florence2(ViewerBase):
    """A Florence-2 model, asked about regions."""

    def __init__(
        self,
        model: Any,  # noqa: ANN401 - of transformers
        tokenizer: Any,  # noqa: ANN401 - of transformers
        preprocess: Preprocessor,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__(model, preprocess, dtype)
        self._tokenizer = tokenizer

    @property
    def at_once(self) -> int:
        """A few: each token reads all weights once, for however many regions; but the longest makes the others wait."""
        return 4 if self._precision.device.type == "cpu" else 16

    @torch.inference_mode()
    def encode(self, batch: Sequence[Prepared]) -> list[TokenState]:
        """Look at pictures, all at once."""
        pixels = stacked(batch, self._precision.device)
        with self._precision.running():
            features = self._model.get_image_features(pixels).pooler_output
        return [TokenState(features[row : row + 1].clone(), picture.size) for row, picture in enumerate(batch)]

    @torch.inference_mode()
    def describe(self, state: TokenState, boxes: Sequence[Box], output: Output) -> list[str | None]:
        """Answer in words for each region; None where the model says nothing.

        Words are searched as the checkpoint's generation_config.json says: the published ones keep three beams.
        """
        prompts = [PROMPTS[output].format(region=region(box, state.size)) for box in boxes]
        inputs, mask = self._inputs(prompts, state.features)
        with self._precision.running():
            read = self._model.get_encoder()(inputs_embeds=inputs, attention_mask=mask)
            tokens = self._model.generate(
                encoder_outputs=read, attention_mask=mask, do_sample=False, max_new_tokens=LONGEST[output]
            )
        return [_words(text) for text in self._tokenizer.batch_decode(tokens, skip_special_tokens=True)]

    def _inputs(self, prompts: Sequence[str], features: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Put the picture before each prompt, as the processor of transformers does; give embeddings and mask."""
        begin, end = self._tokenizer.bos_token, self._tokenizer.eos_token
        read = self._tokenizer(
            [f"{begin}{prompt}{end}" for prompt in prompts],
            add_special_tokens=False,
            padding=True,
            padding_side="right",
            return_tensors="pt",
        ).to(features.device)
        words = self._model.get_input_embeddings()(read["input_ids"])
        pictures = features.to(words.dtype).expand(len(prompts), -1, -1)
        seen = read["attention_mask"].new_ones(pictures.shape[:2])
        return torch.cat((pictures, words), dim=1), torch.cat((seen, read["attention_mask"]), dim=1)


def region(box: Box, size: tuple[int, int]) -> str:
    """Write a box in a picture of `size` (width, height) as the model's position tokens: a thousand bins an axis."""
    places = (
        min(max(int(value / (side / _BINS)), 0), _BINS - 1) for value, side in zip(box, (*size, *size), strict=True)
    )
    return "".join(f"<loc_{place}>" for place in places)


def _words(text: str) -> str | None:
    """Leave out the region, which the model repeats after its answer."""
    return " ".join(_POSITION.sub(" ", text).split()) or None
