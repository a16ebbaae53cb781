"""Which arguments are images and prompts, and which files --out names."""

from pathlib import Path

import pytest

from dinox_mcp.cli.detect import absolute, parse_example, split_arguments
from dinox_mcp.cli.detections import output_paths
from dinox_mcp.detect.visual_prompts import VisualPrompt
from dinox_mcp.errors import SettingsError


@pytest.mark.parametrize(
    ("words", "pictures", "prompts"),
    [
        (["one.png", "person", "red car"], ["one.png"], ["person", "red car"]),
        (["*.png"], ["blank.png", "broken.png", "one.png", "two.png"], []),
        (["https://example.com/x?y=1", "dog"], ["https://example.com/x?y=1"], ["dog"]),
        (["missing.jpg", "dog"], ["missing.jpg"], ["dog"]),
        (["red/blue car"], [], ["red/blue car"]),
        (["what?"], [], ["what?"]),
        (["report.pdf", "a.pdf#page=2&dpi=72", "dog"], ["report.pdf", "a.pdf#page=2&dpi=72"], ["dog"]),
        (["./photo#page=2", "photo#page=2"], ["./photo#page=2"], ["photo#page=2"]),
        (["clipboard", "person"], ["clipboard"], ["person"]),
        (["one.png", "clipboard"], ["one.png"], ["clipboard"]),
        (["latest:~/Pictures", "person"], ["latest:~/Pictures"], ["person"]),
        (["~nobody/x", "x" * 5000], [], ["~nobody/x", "x" * 5000]),
        (["photo[1].jpg", "photo[2].jpg"], ["photo[1].jpg", "photo[2].jpg"], []),
        (["photo", "person"], [], ["photo", "person"]),
        (["./photo", "./person"], ["./photo"], ["./person"]),
        (["shelf [2024]/*.png", "box"], ["shelf [2024]/a.png", "shelf [2024]/b.png"], ["box"]),
        (["shelf*/[ab].png"], ["shelf [2024]/a.png", "shelf [2024]/b.png"], []),
        (["C:\\Users\\me\\photo", "d:/me/cat.jpg", "dog"], ["C:\\Users\\me\\photo", "d:/me/cat.jpg"], ["dog"]),
        (["\\\\wsl.localhost\\Ubuntu\\me\\cat"], ["\\\\wsl.localhost\\Ubuntu\\me\\cat"], []),
    ],
)
def test_words_are_pictures_or_prompts(words: list[str], pictures: list[str], prompts: list[str]) -> None:
    for name in ("photo[1].jpg", "photo1.jpg", "photo"):
        Path(name).touch()
    Path("shelf [2024]").mkdir()
    for name in "ab":
        Path(f"shelf [2024]/{name}.png").touch()
    assert split_arguments(words) == (pictures, prompts)


@pytest.mark.parametrize(
    ("pictures", "names"),
    [
        (["a/photo.jpg", "b/photo.jpg"], ["photo-annotated.jpg", "photo-2-annotated.jpg"]),
        (["a/photo.jpg", "b/PHOTO.jpg"], ["photo-annotated.jpg", "PHOTO-2-annotated.jpg"]),
        (["a.pdf", "a.pdf#page=2", "clipboard"], [f"{name}-annotated.jpg" for name in ("a", "a-page-2", "clipboard")]),
        (["b-2.jpg", "b.jpg", "d/b.jpg"], ["b-2-annotated.jpg", "b-annotated.jpg", "b-3-annotated.jpg"]),
        (["a.jpg", "out/a-annotated.jpg"], ["a-2-annotated.jpg", "a-annotated-annotated.jpg"]),
    ],
)
def test_annotated_pictures_overwrite_neither_each_other_nor_a_source(pictures: list[str], names: list[str]) -> None:
    Path("out").mkdir()
    Path("out/a-annotated.jpg").touch()
    assert output_paths("out", pictures) == [Path("out", name) for name in names]


def test_a_path_of_windows_is_left_as_it_is() -> None:
    assert absolute("C:\\Users\\me\\cat.jpg") == "C:\\Users\\me\\cat.jpg"
    assert absolute("one.png") == str(Path("one.png").resolve())


def test_a_link_to_a_source_is_not_overwritten() -> None:
    Path("link.png").symlink_to("one.png")
    with pytest.raises(SettingsError, match="the image itself"):
        output_paths("link.png", ["one.png"])


def test_a_folder_with_a_dot_ends_with_a_slash() -> None:
    assert output_paths("run.2/", ["a.png"]) == [Path("run.2/a-annotated.jpg")]


@pytest.mark.parametrize(
    ("word", "pointer"),
    [
        ("1,2,3,4", VisualPrompt(bbox=(1, 2, 3, 4))),
        ("bolt=1.5,2", VisualPrompt(point=(1.5, 2), label="bolt")),
        ("1,2,3,4@https://x.org/a.png", VisualPrompt(bbox=(1, 2, 3, 4), image="https://x.org/a.png")),
        ("my-bolt", VisualPrompt(saved="my-bolt")),
        ("bolt=my-bolt", VisualPrompt(saved="my-bolt", label="bolt")),
    ],
)
def test_examples_are_written_short(word: str, pointer: VisualPrompt) -> None:
    assert parse_example(word) == pointer


def test_sources_that_are_no_plain_path_keep_what_they_say(tmp_path: Path) -> None:
    assert absolute("clipboard") == "clipboard"
    assert absolute("latest:shots") == f"latest:{tmp_path / 'shots'}"
    assert absolute("a.pdf#page=2") == f"{tmp_path / 'a.pdf'}#page=2"
