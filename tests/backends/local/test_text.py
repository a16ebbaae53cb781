from collections.abc import Callable
from pathlib import Path

import pytest

from tests.backends.local.parity import load_adapter
from tests.backends.local.tiny_checkpoints import BUILDERS


@pytest.mark.parametrize("family", sorted(BUILDERS))
def test_labels_of_which_only_the_beginning_is_read_are_known(family: str, checkpoint: Callable[[str], Path]) -> None:
    adapter = load_adapter(checkpoint(family))
    assert adapter.overlong(["dog", "dog " * 300, "a cat", "red car " * 200]) == [1, 3]


def test_a_label_that_just_fits_is_whole(checkpoint: Callable[[str], Path]) -> None:
    adapter = load_adapter(checkpoint("owlv2"))  # 16 tokens, with one at each end
    assert adapter.overlong(["dog " * 14, "dog " * 15]) == [1]


def test_a_label_may_fill_the_window_of_grounding_dino_with_its_full_stop(checkpoint: Callable[[str], Path]) -> None:
    adapter = load_adapter(checkpoint("grounding-dino"))  # 256 tokens: a start, 253 words, a full stop, an end
    assert adapter.overlong(["dog " * 253, "dog " * 254]) == [1]
