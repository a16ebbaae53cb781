import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest

from dinox_mcp.backends import local
from dinox_mcp.backends.local.families import FAMILIES, find
from dinox_mcp.backends.local.models.base import ImageModel, Interrupted, check, interruptible
from dinox_mcp.errors import UnsupportedError
from tests.backends.local.tiny_checkpoints import BUILDERS


def test_names_the_families_when_there_is_none_for_a_model() -> None:
    with pytest.raises(UnsupportedError, match="'yolo'; choose one of d_fine, grounding-dino, mm-grounding-dino"):
        find("yolo")


def test_only_the_families_import_torch() -> None:
    """Everything beside them imports it where it is used at the earliest, so that another runtime can use the rest."""
    folder = Path(local.__file__).parent
    modules = [path.relative_to(folder).with_suffix("") for path in sorted(folder.rglob("*.py"))]
    others = [".".join(path.parts) for path in modules if path.parts[0] != "models" or path.name == "base"]
    assert {"process", "models.base", "checkpoints.hub", "runtime.worker"} <= {*others}
    imports = "; ".join(f"import {local.__name__}.{name}" for name in others if not name.endswith("__init__"))
    code = f"import sys; {imports}; sys.exit(' '.join(sys.modules.keys() & {{'torch', 'transformers'}}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)  # noqa: S603 - ours
    assert done.stderr.strip() == ""


def test_nothing_is_cancelled_outside_a_call() -> None:
    check()
    with interruptible(Event()):
        check()
    check()


def test_a_call_that_was_cancelled_before_it_ran_does_not_start() -> None:
    event = Event()
    event.set()
    with pytest.raises(Interrupted), interruptible(event):
        pytest.fail("ran")
    check()


def test_cancelling_one_thread_leaves_another_alone() -> None:
    cancelled, done = Event(), []

    def work() -> None:
        with interruptible(Event()):
            check()
            done.append("other")

    with pytest.raises(Interrupted), interruptible(cancelled):  # noqa: PT012 - what happens inside is the point
        cancelled.set()
        other = Thread(target=work)
        other.start()
        other.join()
        check()
    assert done == ["other"]


def test_every_family_can_be_imported() -> None:
    for family in FAMILIES.values():
        assert issubclass(family.load_torch_class(), ImageModel)
        assert not family.follower or issubclass(family.load_torch_class(follows=True), ImageModel)


@pytest.mark.parametrize("family", sorted(BUILDERS.keys() - {"d_fine"}))
def test_labels_of_which_only_the_beginning_is_read_are_known(family: str, adapter_of: Callable[[str], Any]) -> None:
    assert adapter_of(family).overlong(["dog", "dog " * 300, "a cat", "red car " * 200]) == [1, 3]


@pytest.mark.parametrize(("family", "words"), [("owlv2", 14), ("grounding-dino", 253)])
def test_a_label_may_fill_the_window(family: str, words: int, adapter_of: Callable[[str], Any]) -> None:
    """Of OWL's 16 tokens one is at each end; of Grounding DINO's 256, and a full stop."""
    assert adapter_of(family).overlong(["dog " * words, "dog " * (words + 1)]) == [1]
