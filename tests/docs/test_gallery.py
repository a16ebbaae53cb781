"""What the gallery shows is what the server finds today."""

from pathlib import Path

import pytest

from examples.gallery import __main__ as gallery
from examples.gallery.cases import CASES, Case
from examples.gallery.pages import UNPLAYED, Unplayed

pytestmark = pytest.mark.anyio

PAGES = [gallery.ROOT / "docs" / "gallery.md", gallery.ROOT / "README.md"]
QUICK = [case for case in CASES if case.name in {"coins", "pallet", "shelf", "screen"}]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pictures = tmp_path_factory.mktemp("pictures")
    gallery.prepare(pictures, film=False)
    return pictures


@pytest.mark.parametrize("case", QUICK, ids=lambda case: case.name)
async def test_a_case_is_answered_as_the_pages_say(case: Case, folder: Path) -> None:
    (played,) = await gallery.play((case,), folder)
    for page in PAGES:
        text = page.read_text()
        assert all(call in text for call in played.calls), "run python -m examples.gallery"
        assert played.said in text


def test_a_picture_of_each_case_is_there_and_small() -> None:
    sizes = {case.name: (gallery.PICTURES / f"{case.name}.jpg").stat().st_size for case in CASES}
    assert max(sizes.values()) < 150_000


@pytest.mark.parametrize("case", UNPLAYED, ids=lambda case: case.title)
def test_what_needs_a_key_names_a_program_and_shows_no_picture(case: Unplayed) -> None:
    section = PAGES[0].read_text().partition(f"### {case.title}")[2].partition("###")[0]
    assert case.program in section
    assert (gallery.ROOT / case.program.split()[1]).is_file()
    assert "![" not in section
