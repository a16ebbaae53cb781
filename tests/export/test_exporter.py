from pathlib import Path

import anyio
import pytest

from dinox_mcp.detector import Detector
from tests.export.conftest import OBJECTS, result_of


@pytest.mark.anyio
async def test_exports_at_once_into_a_folder_number_its_classes_alike(tmp_path: Path) -> None:
    (tmp_path / "classes.txt").write_text("known\n")
    labels = [f"label{number}" for number in range(8)]
    async with Detector() as detector, anyio.create_task_group() as group:
        for label in labels:
            found = OBJECTS[2].model_copy(update={"label": label})
            group.start_soon(detector.export, result_of(found, source=f"{label}.jpg"), "yolo", tmp_path)
    classes = (tmp_path / "classes.txt").read_text().splitlines()
    numbers = [int((tmp_path / f"{label}.txt").read_text().split()[0]) for label in labels]
    assert [classes[number] for number in numbers] == labels
