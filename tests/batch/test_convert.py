"""A finished run as COCO, YOLO, JSON Lines and one Parquet file."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import anyio
import duckdb
import numpy as np
import pyarrow.parquet as pq
import pytest
from pycocotools import mask as rle
from pycocotools.coco import COCO

from dinox_mcp.batch.convert import FORMS, OUTPUTS, Form, convert
from dinox_mcp.batch.outputs import check_free
from dinox_mcp.detector import Detector
from dinox_mcp.errors import BusyError, InputError
from dinox_mcp.settings import Settings
from dinox_mcp.store.jobs import held_run
from dinox_mcp.types import masks
from dinox_mcp.types.detection import Detection, Keypoint
from dinox_mcp.types.keypoints import BODY
from tests.batch.containers import tar
from tests.fakes import CAT, DOG, FakeBackend, png

MASK = masks.encode(np.pad(np.ones((40, 50), dtype=bool), ((20, 40), (10, 40))))
MASKED = DOG.model_copy(update={"mask": MASK})
POSED = Detection(
    label="person",
    bbox=(0, 0, 50, 50),
    keypoints=tuple(Keypoint(name=name, x=at, y=at, visibility=2) for at, name in enumerate(BODY)),
)


def batch(source: Path, run: Path, answer: Sequence[Detection] = (DOG, CAT)) -> Path:
    """Run a batch in which each image has these objects; give the folder of the run."""

    async def work() -> None:
        async with Detector(Settings(backend="fake"), [FakeBackend(answer=answer)]) as detector:
            await detector.batch(str(source), run, "dog", shard_size=2)

    anyio.run(work)
    return run


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two images, one of them in a folder below, and a file that is not an image."""
    folder = tmp_path_factory.mktemp("convert").resolve() / "photos"
    (folder / "sub").mkdir(parents=True)
    for name in ("a.png", "sub/b.png"):
        (folder / name).write_bytes(png())
    (folder / "broken.jpg").write_text("not an image")
    return folder


@pytest.fixture(scope="module")
def finished_once(photos: Path) -> Path:
    return batch(photos, photos.parent / "run")


@pytest.fixture
def run(finished_once: Path, tmp_path: Path) -> Path:
    """A finished run of these images, each with a dog and a cat, for one test to write into."""
    return Path(shutil.copytree(finished_once, tmp_path / "run"))


def lines(path: Path) -> list[str]:
    return path.read_text().splitlines()


def test_coco_has_the_answered_images_and_all_objects(run: Path) -> None:
    converted = convert(run, "coco")
    data = json.loads(converted.path.read_text())
    assert [(one["id"], one["file_name"], one["width"]) for one in data["images"]] == [
        (1, "a.png", 100),
        (2, "sub/b.png", 100),
    ]
    assert [(one["id"], one["image_id"], one["category_id"]) for one in data["annotations"]] == [
        (1, 1, 1),
        (2, 1, 2),
        (3, 2, 1),
        (4, 2, 2),
    ]
    assert [(one["id"], one["name"]) for one in data["categories"]] == [(1, "dog"), (2, "cat")]
    assert (data["annotations"][0]["bbox"], data["annotations"][0]["score"]) == ([10, 20, 50, 60], 0.9)
    assert (converted.images, converted.objects) == (2, 4)
    assert converted.notes == ("1 image without an answer left out",)


def test_pycocotools_reads_masks_and_poses(photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = batch(photos, tmp_path / "run", [MASKED, POSED, POSED.model_copy(update={"keypoints": ()})])
    coco = COCO(str(convert(run, "coco").path))
    capsys.readouterr()
    posed, bare, masked = coco.loadAnns(coco.getAnnIds(imgIds=2))
    assert masked["area"] == 40 * 50
    assert rle.area(coco.annToRLE(masked)) == 40 * 50
    assert (posed["num_keypoints"], bare["num_keypoints"]) == (17, 0)
    assert coco.loadCats([1])[0]["keypoints"] == list(BODY)


def test_yolo_has_a_file_of_labels_for_each_image(run: Path) -> None:
    folder = convert(run, "yolo").path
    assert lines(folder / "classes.txt") == ["dog", "cat"]
    assert lines(folder / "labels/sub/b.txt") == [
        "0 0.350000 0.500000 0.500000 0.600000",
        "1 0.825000 0.250000 0.250000 0.300000",
    ]
    assert sorted(path.name for path in (folder / "labels").rglob("*.txt")) == ["a.txt", "b.txt"]


def test_yolo_has_polygons_only_where_all_objects_have_masks(photos: Path, tmp_path: Path) -> None:
    folder = convert(batch(photos, tmp_path / "run", [MASKED]), "yolo").path
    assert len(lines(folder / "labels/a.txt")[0].split()) == 9
    mixed = convert(batch(photos, tmp_path / "mixed", [MASKED, CAT]), "yolo")
    assert [len(line.split()) for line in lines(mixed.path / "labels/a.txt")] == [5, 5]
    assert "2 objects without a mask: all are written as boxes, as YOLO reads no mixture" in mixed.notes


def test_yolo_numbers_labels_of_one_name(photos: Path, tmp_path: Path) -> None:
    source = Path(shutil.copytree(photos, tmp_path / "photos"))
    (source / "a.jpg").write_bytes(png())
    converted = convert(batch(source, tmp_path / "run"), "yolo")
    assert sorted(path.name for path in (converted.path / "labels").glob("*.txt")) == ["a-2.txt", "a.txt"]
    assert "1 label file numbered, as in a-2.txt" in converted.notes[-1]


def test_an_image_without_objects_is_in_each_format(photos: Path, tmp_path: Path) -> None:
    run = batch(photos, tmp_path / "run", [])
    assert len(json.loads(convert(run, "coco").path.read_text())["images"]) == 2
    assert lines(convert(run, "yolo").path / "labels/a.txt") == []
    assert len(lines(convert(run, "jsonl").path)) == 3


def test_json_lines_have_all_that_is_known(photos: Path, tmp_path: Path) -> None:
    run = batch(photos, tmp_path / "run", [MASKED])
    found, broken, _ = map(json.loads, lines(convert(run, "jsonl").path))
    assert found["source"] == str(photos / "a.png")
    assert found["objects"][0]["mask"]["counts"] == MASK.counts
    assert "caption" not in found["objects"][0]
    assert broken["code"] == "image_unreadable"


def test_one_parquet_file_has_the_rows_of_all_parts(run: Path) -> None:
    converted = convert(run, "parquet")
    assert pq.read_table(converted.path).equals(pq.read_table(run / "parts"))
    labels = duckdb.sql(f"SELECT unnest(objects).label AS label, count(*) FROM '{converted.path}' GROUP BY label")  # noqa: S608 - a path of the test
    assert sorted(labels.fetchall()) == [("cat", 2), ("dog", 2)]


def test_images_of_a_tar_are_named_as_it_unpacks(tmp_path: Path) -> None:
    source = tmp_path / "s-0.tar"
    source.write_bytes(tar({"x/7.png": png()}))
    run = batch(source, tmp_path / "run")
    assert json.loads(convert(run, "coco").path.read_text())["images"][0]["file_name"] == "s-0/x/7.png"
    assert (convert(run, "yolo").path / "labels/s-0/x/7.txt").exists()


@pytest.mark.parametrize("form", FORMS)
def test_nothing_is_replaced_unless_it_is_allowed(run: Path, form: Form) -> None:
    first = convert(run, form)
    with pytest.raises(InputError, match=rf"^{OUTPUTS[form]} would be overwritten in .*; allow it by --overwrite$"):
        convert(run, form)
    with pytest.raises(InputError):
        check_free(run, [OUTPUTS[form]])
    assert convert(run, form, overwrite=True) == first


def test_a_folder_of_labels_is_not_replaced_where_a_user_put_images_into_it(run: Path) -> None:
    converted = convert(run, "yolo")
    image = converted.path / "images" / "a.png"
    image.parent.mkdir()
    image.write_bytes(png())
    with pytest.raises(InputError, match=r"yolo has files that are not of this run \(images\); move them elsewhere"):
        convert(run, "yolo", overwrite=True)
    assert image.exists()


@pytest.mark.parametrize("form", FORMS)
def test_what_is_stopped_leaves_nothing(run: Path, form: Form) -> None:
    before = sorted(run.iterdir())

    def stop(_share: float, _message: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        convert(run, form, report=stop)
    assert sorted(run.iterdir()) == before


def test_what_a_killed_call_left_is_removed(run: Path) -> None:
    (run / ".yolo.0123abcd.tmp" / "labels").mkdir(parents=True)
    (run / ".coco.json.0123abcd.tmp").write_text("{")
    convert(run, "yolo")
    convert(run, "coco")
    assert not list(run.glob(".*.tmp"))


def test_a_run_that_another_call_works_on_is_refused(run: Path) -> None:
    with held_run(run), pytest.raises(BusyError, match="another call works on the run"):
        convert(run, "coco")


@pytest.mark.parametrize("form", FORMS)
def test_a_run_that_is_not_finished_is_refused(run: Path, form: Form) -> None:
    (run / "parts/part-00001.parquet").unlink()
    with pytest.raises(InputError, match="is not finished; run the same command again"):
        convert(run, form)


def test_a_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no run in "):
        convert(tmp_path, "coco")


@pytest.mark.parametrize("form", FORMS)
def test_a_damaged_part_is_one_line(run: Path, form: Form) -> None:
    part = run / "parts/part-00000.parquet"
    data = bytearray(part.read_bytes())
    data[4:400] = bytes(396)
    part.write_bytes(data)
    with pytest.raises(InputError, match=r"part-00000.parquet is damaged \(.*\); delete it, and run the same command"):
        convert(run, form)
