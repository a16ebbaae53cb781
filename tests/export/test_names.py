import pytest

from dinox_mcp.export.names import image_name, label_part, stems


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("/photos/shelf 3.jpg", "shelf 3.jpg"),
        ("https://example.com/a/b%20c.png?token=secret#top", "b c.png"),
        ("https://example.com/..%2F..%2Fetc%2Fpasswd", "passwd"),
        ("C:\\photos\\cat.jpg", "cat.jpg"),
        ("data:image/png;base64,AAAA", "image"),
        ("../../etc/passwd", "passwd"),
        ("/photos/.hidden.jpg", "hidden.jpg"),
        ("/photos/..", "image"),
        ("", "image"),
        ("/photos/a:b*c?.jpg", "a-b-c-.jpg"),
        ("/photos/line\nbreak\u202egpj.jpg", "line-break-gpj.jpg"),
        ("/photos/caf\udce9.jpg", "caf-.jpg"),
        ("/photos/出口.jpg", "出口.jpg"),
    ],
)
def test_an_image_is_named_as_its_file_without_folders_and_without_harm(source: str, name: str) -> None:
    assert image_name(source) == name


def test_a_long_name_is_cut_within_no_letter() -> None:
    name = image_name(f"/photos/{'出' * 100}.jpg")
    assert name == f"{'出' * 40}.jpg"


def test_images_of_one_name_are_numbered_apart_on_disks_that_ignore_case_too() -> None:
    assert stems(["/a/cat.jpg", "/b/Cat.png", "/c/dog.jpg", "/d/cat.jpg"]) == ["cat", "Cat-2", "dog", "cat-3"]


def test_no_image_takes_a_reserved_name() -> None:
    assert stems(["/a/classes.jpg", "/a/CON.png", "/a/class.jpg"]) == ["classes-2", "CON-2", "class"]


@pytest.mark.parametrize(
    ("label", "part"),
    [("red car", "red_car"), ('"EXIT"', "EXIT"), ("../..", "object"), ("a-b", "a_b"), ("出口", "出口")],
)
def test_a_label_is_a_part_of_a_name(label: str, part: str) -> None:
    assert label_part(label) == part
