"""Annotated images of a finished run."""

import io
from pathlib import Path

import pytest
from PIL import Image

from dinox_mcp.batch.annotated import Annotated, annotate
from dinox_mcp.detector import Detector
from dinox_mcp.errors import InputError, SettingsError
from dinox_mcp.settings import Settings
from dinox_mcp.types.detection import DetectionRequest, Detections
from tests.batch.containers import table, tar
from tests.fakes import DOG, FakeBackend, png

pytestmark = pytest.mark.anyio


class Dogs(FakeBackend):
    """Finds a dog in images wider than 100 pixels."""

    async def detect(self, image, request: DetectionRequest, call) -> Detections:  # type: ignore[no-untyped-def]  # noqa: ANN001
        found = await super().detect(image, request, call)
        return found.model_copy(update={"objects": (DOG,) if image.width > 100 else ()})


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Two images with a dog, one without, and a file that is not an image."""
    folder = tmp_path.resolve() / "photos"
    (folder / "sub").mkdir(parents=True)
    for name, width in (("a.png", 110), ("sub/b.png", 120), ("c.png", 100)):
        (folder / name).write_bytes(png(width))
    (folder / "broken.jpg").write_text("not an image")
    return folder


async def drawn(source: Path, **options: bool) -> Annotated:
    """Run a batch, and draw what it has found."""
    run = source.parent / "run"
    async with Detector(Settings(backend="fake"), [Dogs()]) as detector:
        await detector.batch(str(source), run, "dog", shard_size=2)
        return await annotate(detector, run, **options)


def names(annotated: Annotated) -> list[str]:
    files = [path.relative_to(annotated.folder).as_posix() for path in annotated.folder.rglob("*.jpg")]
    return sorted(files)


async def test_images_with_objects_are_drawn_at_full_size(photos: Path) -> None:
    annotated = await drawn(photos)
    assert names(annotated) == ["a.png.jpg", "sub/b.png.jpg"]
    with Image.open(annotated.folder / "sub/b.png.jpg") as image:
        assert image.size[0] == 120
        assert len(image.getcolors(maxcolors=100_000)) > 10, "something is drawn on the white image"
    assert (annotated.written, annotated.kept, annotated.notes) == (2, 0, ())


async def test_images_of_tars_and_tables_are_drawn(tmp_path: Path) -> None:
    (tmp_path / "s.tar").write_bytes(tar({"7.png": png(110)}))
    (tmp_path / "t.parquet").write_bytes(table({"image": [png(110)]}))
    assert names(await drawn(tmp_path / "*.[tp]*")) == ["s/7.png.jpg", "t/row-0.jpg"]


async def test_what_is_there_stays(photos: Path) -> None:
    annotated = await drawn(photos)
    (annotated.folder / "a.png.jpg").write_bytes(b"mine")
    (annotated.folder / "sub/b.png.jpg").unlink()
    again = await drawn(photos)
    assert (again.written, again.kept) == (1, 1)
    assert (annotated.folder / "a.png.jpg").read_bytes() == b"mine"
    assert (await drawn(photos, overwrite=True)).written == 2
    assert Image.open(io.BytesIO((annotated.folder / "a.png.jpg").read_bytes())).format == "JPEG"


async def test_progress_counts_each_image(photos: Path) -> None:
    heard: list[float] = []

    async def hear(share: float, _message: str) -> None:
        heard.append(share)

    run = photos.parent / "run"
    async with Detector(Settings(backend="fake"), [Dogs()]) as detector:
        await detector.batch(str(photos), run, "dog")
        await annotate(detector, run, progress=hear)
    assert heard == [0.25, 0.5, 1.0]


async def test_an_image_that_was_changed_is_not_drawn(photos: Path) -> None:
    await drawn(photos)
    (photos / "a.png").write_bytes(png(111))
    annotated = await drawn(photos, overwrite=True)
    assert annotated.written == 1
    assert annotated.notes == (f"{photos}/a.png was changed since it was detected in; it is not drawn",)


async def test_a_folder_that_cannot_be_written_is_one_line(photos: Path) -> None:
    (photos.parent / "run").mkdir()
    (photos.parent / "run/annotated").write_text("a file")
    with pytest.raises(SettingsError, match=r"^cannot write .*; check the folder, and whether the disk is full$"):
        await drawn(photos)


async def test_a_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    async with Detector(Settings(backend="fake"), [Dogs()]) as detector:
        with pytest.raises(InputError, match="there is no run in "):
            await annotate(detector, tmp_path)
