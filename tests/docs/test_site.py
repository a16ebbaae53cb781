"""The site has all pages, and every link on it leads somewhere."""

import re
from pathlib import Path

import pytest

from docs import site

WRITTEN_FOR_THE_SITE = sorted(site.ROOT.glob("docs/*.md"))
SEEN_ELSEWHERE = [site.ROOT / "examples/gallery/photos/README.md", *site.ROOT.glob(".github/**/*.md")]


def anchors(page: Path) -> set[str]:
    """Name the headings of a page as links do."""
    headings = re.findall(
        r"^#+ (.+)$", re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL), re.MULTILINE
    )
    return {re.sub(r"\s+", "-", re.sub(r"[^\w\s-]", "", heading.lower()).strip()) for heading in headings}


@pytest.mark.parametrize("page", WRITTEN_FOR_THE_SITE, ids=lambda page: page.stem)
def test_a_page_is_in_the_navigation(page: Path) -> None:
    assert page in site.listed()


@pytest.mark.parametrize("page", [*site.listed(), *SEEN_ELSEWHERE], ids=lambda page: str(page.relative_to(site.ROOT)))
def test_links_of_a_page_lead_to_files_and_headings(page: Path) -> None:
    assert [str(file) for file in site.linked(page) if not file.exists()] == []
    for target, anchor in re.findall(r"\]\(([^)#\s:]*)#([^)\s]+)\)", page.read_text()):
        assert anchor in anchors((page.parent / target) if target else page), f"{target}#{anchor}"


def test_the_site_is_laid_out_as_the_repository(tmp_path: Path) -> None:
    site.stage(tmp_path / "site")
    assert (tmp_path / "site" / "docs" / "gallery" / "coins.jpg").is_file()
    assert (tmp_path / "site" / "examples" / "plugin" / "color_backend.py").is_file()
    assert not (tmp_path / "site" / "dinox_mcp").is_dir()


def test_language_models_get_a_list_of_all_pages(tmp_path: Path) -> None:
    site.stage(tmp_path / "site")
    lines = (tmp_path / "site" / "llms.txt").read_text().splitlines()
    assert lines[0] == "# dinox-mcp"
    assert lines[2].startswith("> Eyes for AI assistants")
    entries = [line for line in lines if line.startswith("- ")]
    assert len(entries) == len(site.listed())
    assert "- [Getting started](docs/getting-started/): You need an assistant" in "\n".join(entries)
    assert all(re.fullmatch(r"- \[.+\]\(\S*/\): \S.*", entry) for entry in entries)


def test_what_is_not_on_the_site_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(site, "linked", lambda _: [site.ROOT / "docs" / "missing.md"])
    with pytest.raises(SystemExit, match=r"links to docs/missing\.md"):
        site.stage(tmp_path)
