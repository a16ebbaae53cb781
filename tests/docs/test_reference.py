"""Pages that are generated are what the server and the settings say today."""

import pytest

from docs.reference import HERE, pages


@pytest.fixture(scope="module")
def written() -> dict[str, str]:
    return pages()


@pytest.mark.parametrize("name", ["tools.md", "settings.md", "api.md"])
def test_a_generated_page_is_as_its_source(name: str, written: dict[str, str]) -> None:
    assert (HERE / name).read_text() == written[name], "run python -m docs.reference"
