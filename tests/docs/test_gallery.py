"""What the gallery shows is what the server finds today."""

import re
from pathlib import Path

import pytest

from examples.gallery import __main__ as gallery
from examples.gallery.cases import CASES, Case
from examples.gallery.pages import OPENING, UNPLAYED, Unplayed

_NUMBER = re.compile(r"\d+(?:\.\d+)?")
pytestmark = [pytest.mark.anyio, pytest.mark.slow]

PAGE = gallery.ROOT / "docs" / "gallery.md"
README = gallery.ROOT / "README.md"
# Played again in the tests, but for the film and the warehouse, which are slow.
QUICK = [case for case in CASES if case.name in {"people", "coins", "pallet", "shelf", "screen"}]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pictures = tmp_path_factory.mktemp("pictures")
    gallery.prepare(pictures, film=False)
    return pictures


def section(page: Path, title: str) -> str:
    return page.read_text().partition(f"# {title}\n")[2].partition("\n#")[0]


def numbers(text: str) -> list[float]:
    return [float(number) for number in _NUMBER.findall(text)]


@pytest.mark.parametrize("case", QUICK, ids=lambda case: case.name)
async def test_a_case_is_answered_as_the_pages_say(case: Case, folder: Path) -> None:
    (played,) = await gallery.play((case,), folder)
    shown = section(PAGE, case.title)
    calls = shown.partition("```text\n")[2].partition("\n```")[0]
    said = next(line for line in shown.splitlines() if _NUMBER.sub("", line) == _NUMBER.sub("", played.said))
    assert _NUMBER.sub("", calls) == _NUMBER.sub("", "\n".join(played.calls)), "run python -m examples.gallery"
    assert numbers(calls + said) == pytest.approx(numbers("\n".join(played.calls) + played.said), abs=2)


def test_the_readme_opens_with_people_in_a_photograph() -> None:
    pictures = re.findall(r"!\[.*?\]\((.*?)\)", README.read_text())
    assert OPENING == "people"
    assert pictures[0] == f"docs/gallery/{OPENING}.jpg"


def test_a_picture_of_each_case_is_there_and_small() -> None:
    sizes = {case.name: (gallery.PICTURES / f"{case.name}.jpg").stat().st_size for case in CASES}
    assert max(sizes.values()) < 150_000


@pytest.mark.parametrize("case", UNPLAYED, ids=lambda case: case.title)
def test_what_needs_a_key_names_a_program_and_shows_no_picture(case: Unplayed) -> None:
    section = PAGE.read_text().partition(f"### {case.title}")[2].partition("###")[0]
    assert case.program in section
    assert (gallery.ROOT / case.program.split()[1]).is_file()
    assert "![" not in section
