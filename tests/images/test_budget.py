"""Decoded pixels have a budget over all calls."""

import gc
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context

import pytest

from dinox_mcp.errors import BusyError
from dinox_mcp.images import decode
from dinox_mcp.images.budget import LARGE, PixelBudget
from dinox_mcp.images.picture import Picture
from tests.images.samples import encode, field


class Pixels:
    """What a budget counts: anything that can be collected."""


def test_no_more_is_decoded_at_once_than_there_is_room_for() -> None:
    budget, now, most = PixelBudget(small=100), 0, 0
    lock = threading.Lock()

    def decode_one(_: int) -> None:
        nonlocal now, most
        with budget.decoding(40):
            with lock:
                now += 1
                most = max(most, now)
            time.sleep(0.01)
            with lock:
                now -= 1

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(decode_one, range(12)))
    assert most == 2


def elsewhere(budget: PixelBudget, size: int) -> bool:
    """Try to decode in another thread."""

    def attempt() -> bool:
        try:
            with budget.decoding(size):
                return True
        except BusyError as error:
            assert str(error) == "too many large images are being decoded at once; try again in a while"  # noqa: PT017
            return False

    with ThreadPoolExecutor(1) as pool:
        return pool.submit(attempt).result()


def test_who_waits_too_long_is_told_to_try_again() -> None:
    budget = PixelBudget(small=100, patience_s=0.02)
    with budget.decoding(80):
        assert not elsewhere(budget, 40)
        assert elsewhere(budget, 20)
    assert elsewhere(budget, 100)


@pytest.mark.slow
def test_an_image_counts_as_long_as_it_lives() -> None:
    budget, pixels = PixelBudget(small=100, patience_s=0.02), Pixels()
    with budget.decoding(30) as keep_image:
        keep_image(pixels, 80)
    assert not elsewhere(budget, 40)
    assert elsewhere(budget, 20)
    del pixels
    gc.collect()
    assert elsewhere(budget, 100)


def test_no_other_image_is_decoded_in_the_memory_that_one_keeps() -> None:
    budget, pixels = PixelBudget(small=100, patience_s=0.2), Pixels()
    with ThreadPoolExecutor(1) as pool:
        with budget.decoding(80) as keep_image:
            other = pool.submit(elsewhere, budget, 80)  # waits
            time.sleep(0.02)
            keep_image(pixels, 80)
        assert not other.result()
    assert pixels


def test_a_picture_larger_than_the_budget_is_decoded_alone() -> None:
    budget = PixelBudget(large=2 * LARGE, patience_s=0.02)
    with budget.decoding(9 * LARGE):
        assert not elsewhere(budget, LARGE + 1)


def test_large_pictures_do_not_hold_up_ordinary_ones() -> None:
    budget = PixelBudget(patience_s=0.02)
    with budget.decoding(9 * LARGE):
        assert elsewhere(budget, LARGE)


def test_a_call_that_holds_an_image_does_not_wait_for_itself() -> None:
    budget, pixels = PixelBudget(small=100, patience_s=0.02), Pixels()
    keep(budget, pixels, 100)
    with budget.decoding(100):
        assert pixels


def test_of_calls_that_hold_images_one_at_a_time_goes_beyond_the_budget() -> None:
    budget, contexts = PixelBudget(small=100, patience_s=0.02), [copy_context(), copy_context()]
    held = [Pixels(), Pixels()]
    for context, pixels in zip(contexts, held, strict=True):
        context.run(keep, budget, pixels, 50)

    def decode_more(during: Callable[[], None]) -> None:
        with budget.decoding(60):
            during()

    def wait_in_vain() -> None:
        with pytest.raises(BusyError):
            contexts[1].run(decode_more, lambda: None)

    contexts[0].run(decode_more, wait_in_vain)
    contexts[1].run(decode_more, lambda: None)
    assert all(held)


def test_another_call_in_the_same_thread_waits() -> None:
    budget, pixels = PixelBudget(small=100, patience_s=0.02), Pixels()
    copy_context().run(keep, budget, pixels, 100)
    with pytest.raises(BusyError), budget.decoding(100):
        pass
    assert pixels


def keep(budget: PixelBudget, pixels: Pixels, size: int) -> None:
    with budget.decoding(size) as keep_image:
        keep_image(pixels, size)


def test_pictures_are_decoded_within_the_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    budget, held = PixelBudget(small=64 * 48 * 8, patience_s=0.02), Pixels()
    monkeypatch.setattr(decode, "pixel_budget", budget)
    picture = Picture.from_bytes(encode(field()))
    assert picture.rgb().size == (64, 48)
    threading.Thread(target=keep, args=(budget, held, 64 * 48 * 8)).start()
    time.sleep(0.01)
    with pytest.raises(BusyError):
        picture.rgb()
