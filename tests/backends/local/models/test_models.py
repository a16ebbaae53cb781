import subprocess
import sys
from threading import Event, Thread

import pytest

from dinox_mcp.backends.local.models import FAMILIES, family_of
from dinox_mcp.backends.local.models.base import Interrupted, check, interruptible
from dinox_mcp.errors import UnsupportedError


def test_names_the_families_when_there_is_none_for_a_model() -> None:
    with pytest.raises(UnsupportedError, match="'yolo'; choose one of grounding-dino, mm-grounding-dino, omdet-turbo"):
        family_of("yolo")


def test_the_seam_imports_no_torch() -> None:
    code = "import sys, dinox_mcp.backends.local.models.base; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0  # noqa: S603 - our own code


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


@pytest.mark.parametrize("name", sorted(FAMILIES))
def test_every_family_can_be_imported(name: str) -> None:
    pytest.importorskip("torch")
    pytest.importorskip("transformers")
    assert callable(family_of(name).adapt)
