"""Captions, categories and texts of regions by Florence-2 (Xiao et al., arXiv:2311.06242).

The features of the image are shared by all regions and tasks. A region is given to the model as four of its thousand
position tokens. The model gives no score, and none is made up.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch

from dinox_mcp.backends.local.models.base import DescribingModel, Prepared
from dinox_mcp.backends.local.models.shared import TensorFeatures, stacked, tokenizer_in
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


@dataclass(frozen=True, slots=True)
class TokenFeatures(TensorFeatures):
    """One image as a sentence of features (1, tokens, width), and its own size in pixels."""

    tokens: torch.Tensor
    size: tuple[int, int]


class Florence2(DescribingModel):
    """A Florence-2 model, prompted with regions. A few at once read the weights once; the longest answer delays all."""

    architectures: ClassVar = {"florence2": "Florence2ForConditionalGeneration"}

    def __init__(self, model: Any, folder: Path, dtype: torch.dtype | None = None) -> None:  # noqa: ANN401
        super().__init__(model, folder, dtype)
        self._tokenizer = tokenizer_in(folder)

    @torch.inference_mode()
    def encode(self, batch: Sequence[Prepared]) -> list[TokenFeatures]:
        """Compute the features of images, all at once."""
        pixels = stacked(batch, self._model.device)
        with self._computing():
            features = self._model.get_image_features(pixels).pooler_output
        return [TokenFeatures(features[row : row + 1].clone(), image.size) for row, image in enumerate(batch)]

    @torch.inference_mode()
    def describe(self, features: TokenFeatures, boxes: Sequence[Box], output: Output) -> list[str | None]:
        """Answer in words for each region; None where the model says nothing.

        Words are searched as the checkpoint's generation_config.json says: the published ones keep three beams.
        """
        prompts = [PROMPTS[output].format(region=region(box, features.size)) for box in boxes]
        inputs, mask = self._inputs(prompts, features.tokens)
        with self._computing():
            read = self._model.get_encoder()(inputs_embeds=inputs, attention_mask=mask)
            tokens = self._model.generate(
                encoder_outputs=read, attention_mask=mask, do_sample=False, max_new_tokens=LONGEST[output]
            )
        return [_words(text) for text in self._tokenizer.batch_decode(tokens, skip_special_tokens=True)]

    def _inputs(self, prompts: Sequence[str], features: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Put the image before each prompt, as the processor of transformers does; give embeddings and mask."""
        begin, end = self._tokenizer.bos_token, self._tokenizer.eos_token
        read = self._tokenizer(
            [f"{begin}{prompt}{end}" for prompt in prompts],
            add_special_tokens=False,
            padding=True,
            padding_side="right",
            return_tensors="pt",
        ).to(features.device)
        words = self._model.get_input_embeddings()(read["input_ids"])
        images = features.to(words.dtype).expand(len(prompts), -1, -1)
        seen = read["attention_mask"].new_ones(images.shape[:2])
        return torch.cat((images, words), dim=1), torch.cat((seen, read["attention_mask"]), dim=1)


def region(box: Box, size: tuple[int, int]) -> str:
    """Write a box in an image of `size` (width, height) as the model's position tokens: a thousand bins an axis."""
    bins = (
        min(max(int(value / (side / _BINS)), 0), _BINS - 1) for value, side in zip(box, (*size, *size), strict=True)
    )
    return "".join(f"<loc_{index}>" for index in bins)


def _words(text: str) -> str | None:
    """Leave out the region, which the model repeats after its answer."""
    return " ".join(_POSITION.sub(" ", text).split()) or None
