"""What the models that are asked about boxes share: a preprocessor, a precision, and how to be stopped."""

from typing import TYPE_CHECKING, Any

import torch

from dinox_mcp.backends.local.describing.base import watch
from dinox_mcp.backends.local.families.base import Prepared
from dinox_mcp.backends.local.families.precision import Precision
from dinox_mcp.backends.local.preprocess import Preprocessor

if TYPE_CHECKING:
    from PIL import Image


class ViewerBase:
    """A model in float32 that computes in `dtype`, and that checks between its layers that it is still wanted."""

    reuses_text = False

    def __init__(
        self,
        model: Any,  # noqa: ANN401 - of transformers
        preprocess: Preprocessor,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self._precision = Precision.of(model, dtype)
        self._model = model
        self._preprocess = preprocess
        watch(model)

    def prepare(self, image: "Image.Image") -> Prepared:
        """Resize and normalise an RGB picture."""
        return Prepared(self._preprocess(image), image.size)
