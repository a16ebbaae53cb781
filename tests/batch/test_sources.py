"""Which images a folder, a pattern or a list stands for."""

import os
from pathlib import Path

import pytest

from dinox_mcp.batch import sources
from dinox_mcp.batch.sources import canonical, list_images
from dinox_mcp.errors import DinoxError, ForbiddenError, ImageError, InputError
from dinox_mcp.settings import Settings
from tests.fakes import png

STDIO = Settings()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with images at three depths, a hidden one, and other files."""
    root = tmp_path.resolve() / "photos"
    for name in ("b.png", "a.JPG", "2025/c.jpg", "2025/may/d.webp", ".thumbnails/e.png", "2026/.f.png"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(png())
    for name in ("film.mp4", "notes.txt"):
        (root / name).write_text("not an image")
    return root


def names(folder: Path, *patterns: str, settings: Settings = STDIO, most: int = 100) -> list[str]:
    listed = list_images([canonical(str(folder / pattern)) for pattern in patterns], settings, most)
    return [Path(entry.source).relative_to(folder).as_posix() for entry in listed.entries]


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("", ["2025/c.jpg", "2025/may/d.webp", "a.JPG", "b.png"]),
        ("*", ["a.JPG", "b.png"]),
        ("*.jpg", ["a.JPG"]),
        ("**/*.jpg", ["2025/c.jpg", "a.JPG"]),
        ("2025/**", ["2025/c.jpg", "2025/may/d.webp"]),
        ("20[0-9]5/*", ["2025/c.jpg"]),
        ("**/may/?.webp", ["2025/may/d.webp"]),
        (".thumbnails/*", [".thumbnails/e.png"]),
        ("**/.f.*", ["2026/.f.png"]),
        ("b.png", ["b.png"]),
    ],
)
def test_a_folder_or_pattern_stands_for_images_in_a_fixed_order(folder: Path, pattern: str, found: list[str]) -> None:
    assert names(folder, pattern) == found


def test_a_list_holds_each_image_once_and_in_its_order(folder: Path) -> None:
    assert names(folder, "b.png", "*", "2025") == ["b.png", "a.JPG", "2025/c.jpg", "2025/may/d.webp"]


def test_a_file_whose_name_looks_like_a_pattern_is_that_file(folder: Path) -> None:
    (folder / "scan[1].png").write_bytes(png())
    assert names(folder, "scan[1].png") == ["scan[1].png"]


def test_a_changed_file_has_another_stamp(folder: Path) -> None:
    before = list_images([str(folder / "b.png")], STDIO, 1).entries
    (folder / "b.png").write_bytes(png(50, 50))
    assert list_images([str(folder / "b.png")], STDIO, 1).entries != before


def test_urls_and_results_stay_as_they_are() -> None:
    given = ["https://example.com/a.jpg", "dinox://results/abc", "https://example.com/a.pdf#page=2&dpi=72"]
    assert [entry.source for entry in list_images([canonical(one) for one in given], STDIO, 5).entries] == given


def test_a_page_of_a_pdf_is_an_image_of_its_own(folder: Path) -> None:
    pages = [f"{folder / 'a.pdf'}#page={number}&dpi=150" for number in (1, 2)]
    given = [canonical(f"{folder}/a.pdf#page={number}") for number in (1, 2)]
    assert [entry.source for entry in list_images(given, STDIO, 5).entries] == pages
    assert [entry.source for entry in list_images(given[:1], STDIO, 5).entries] == pages[:1]


@pytest.mark.parametrize("source", ["clipboard", "latest:~/Pictures"])
def test_what_is_another_image_later_is_refused(source: str) -> None:
    with pytest.raises(InputError, match="may be another image when the job continues; pass paths"):
        canonical(source)


def test_one_missing_file_of_several_is_left_to_loading(folder: Path) -> None:
    assert names(folder, "gone.png", "b.png") == ["gone.png", "b.png"]


@pytest.mark.parametrize(
    ("pattern", "error", "message"),
    [
        ("gone.png", ImageError, "there is no file"),
        ("*.gif", InputError, r"no image in .* that matches '\*.gif'"),
        ("notes.*", InputError, r"\(1 other files: .txt\); name another folder"),
        ("*/../../*", InputError, "has .. after a wildcard"),
    ],
)
def test_nothing_to_search_is_an_error_that_says_why(
    folder: Path, pattern: str, error: type[DinoxError], message: str
) -> None:
    with pytest.raises(error, match=message):
        list_images([f"{folder}/{pattern}"], STDIO, 100)


@pytest.mark.parametrize("name", ["a" * 300, "*" * 300 + "/x.png"])
def test_a_name_that_the_system_refuses_is_an_error_and_not_a_crash(folder: Path, name: str) -> None:
    with pytest.raises(DinoxError, match=r"cannot be read \(File name too long\); pass another|no image in"):
        names(folder, name)
    listed = list_images([canonical(f"{folder}/{name}"), f"{folder}/b.png"], STDIO, 10)
    assert [Path(entry.source).name for entry in listed.entries] == [Path(name).name, "b.png"]


def test_a_folder_that_may_not_be_searched_is_an_error(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_path: Path) -> bool:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "is_dir", refuse)  # what Python 3.11 does below a folder of somebody else
    with pytest.raises(ImageError, match=r"2025' cannot be read \(Permission denied\); pass another path"):
        names(folder, "2025")


def test_a_data_uri_is_refused() -> None:
    with pytest.raises(InputError, match="cannot be kept with a job; pass paths"):
        canonical("data:image/png;base64,AAAA")


def test_more_images_than_a_job_may_have_are_refused(folder: Path) -> None:
    with pytest.raises(InputError, match="more than 3 images"):
        names(folder, "", most=3)


def test_a_folder_of_very_many_files_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "MAX_SEEN", 5)
    with pytest.raises(InputError, match="more than 5 files and folders; name a smaller folder"):
        names(folder, "")


def test_a_pattern_of_many_wildcards_takes_no_time(folder: Path) -> None:
    (folder / ("a" * 200 + ".png")).write_bytes(png())
    with pytest.raises(InputError, match="no image"):
        names(folder, "/".join(["**"] * 50) + "/" + "*a" * 60 + "*b")


def test_links_to_folders_are_not_followed(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "x.png").write_bytes(png())
    (folder / "link").symlink_to(tmp_path / "secret")
    (folder / "round").symlink_to(folder)
    assert "link/x.png" not in names(folder, "")


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="everything may be read")
def test_a_folder_that_may_not_be_read_is_a_note(folder: Path) -> None:
    (folder / "2025").chmod(0)
    listed = list_images([str(folder)], STDIO, 10)
    (folder / "2025").chmod(0o700)
    assert "2025' cannot be read and is left out" in listed.notes[0]


def test_over_http_no_folder_is_listed_unless_it_is_allowed(folder: Path) -> None:
    with pytest.raises(ForbiddenError, match="files are not readable over HTTP"):
        names(folder, "", settings=Settings(transport="http"))
    allowed = Settings(transport="http", allowed_folders=(folder,))
    assert len(names(folder, "", settings=allowed)) == 4
    for outside in (folder.parent, folder / ".." / "*.png"):
        with pytest.raises(ForbiddenError, match="outside the folders that may be read"):
            list_images([canonical(str(outside))], allowed, 10)
