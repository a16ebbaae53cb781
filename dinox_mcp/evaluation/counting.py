"""How well objects are counted: the mean errors of FSC-147's protocol."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class CountErrors:
    """Errors of counts: mean absolute error, root of the mean square, mean with sign, and the share without error."""

    counts: int
    mae: float
    rmse: float
    bias: float
    exact: float


def count_errors(labelled: Mapping[tuple[int, int], int], found: Mapping[tuple[int, int], int]) -> CountErrors | None:
    """Compare counts by image and category; what is not in `found` counts 0. None if nothing is labelled."""
    if not labelled:
        return None
    errors = np.array([found.get(pair, 0) - number for pair, number in labelled.items()], float)
    return CountErrors(
        counts=len(errors),
        mae=float(np.abs(errors).mean()),
        rmse=float(np.sqrt((errors**2).mean())),
        bias=float(errors.mean()),
        exact=float((errors == 0).mean()),
    )
