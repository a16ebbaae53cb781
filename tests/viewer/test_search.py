"""A search through many images on the page: the sheet of the best, and the list of all that hold objects."""

from pathlib import Path

import pytest

from tests.fakes import DOG
from tests.viewer.conftest import Show
from tests.viewer.scenes import photo


@pytest.mark.parametrize("size", [(1100, 800), (390, 760)])
def test_a_chat_shows_what_search_images_answers(show: Show, tmp_path: Path, size: tuple[int, int]) -> None:
    for name in ("a.jpg", "b.jpg"):
        (tmp_path / name).write_bytes(photo(seed=ord(name[0])))
    (tmp_path / "broken.jpg").write_bytes(b"no image")
    with show([DOG], ask=("search_images", {"images": str(tmp_path), "prompts": ["dog"]}), size=size) as seen:
        seen.until("document.getElementById('sheet').width > 600")
        assert seen.text("#title") == "Objects in 2 of 3 images"
        first, second = seen.frame.locator("#found li").all_inner_texts()
        assert {first.split("\n")[1], second.split("\n")[1]} == {"a.jpg 1 dog", "b.jpg 1 dog"}
        assert "2 dog" in seen.text("#search-facts")
        assert "1 image without an answer" in seen.text("#search-facts")
