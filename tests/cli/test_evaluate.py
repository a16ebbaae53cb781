"""`dinox-mcp evaluate` as a person or a program runs it, on two QR codes, a blank and a broken image."""

import json
from pathlib import Path

import pytest

from dinox_mcp.cli import evaluate
from tests.cli.conftest import run

IMAGES = ("one.png", "two.png", "blank.png")


@pytest.fixture(autouse=True)
def annotations() -> Path:
    """A code is labelled in two images, where it is in one of them; `broken.png` is not labelled."""
    path = Path("instances.json")
    data = {
        "images": [{"id": number, "file_name": name} for number, name in enumerate(IMAGES)],
        "categories": [{"id": 1, "name": "QR_code"}, {"id": 2, "name": "unicorn"}],
        "annotations": [
            {"image_id": 0, "category_id": 1, "bbox": [28, 28, 144, 144]},
            {"image_id": 1, "category_id": 1, "bbox": [0, 0, 30, 30]},
        ],
    }
    path.write_text(json.dumps(data))
    return path


@pytest.mark.slow
def test_boxes_are_measured_and_printed_as_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = run(capsys, "evaluate", "coco", "--annotations", ".", "--by-category")
    lines = out.splitlines()
    assert status == 0
    assert lines[0] == "3 of 3 images, each searched for all categories"
    assert lines[2] == "Boxes, COCO, best 100 of each image and category"
    assert lines[5].split()[0::2][:2] == ["AP", "50.5"], "one of two codes: 51 of 101 recalls"
    assert any(line.split()[:3] == ["QR_code", "2", "2"] for line in lines)
    assert "3 of 3 images to detect in: free, by embedded" in err
    assert "note: the backend does not know 1 of 2 prompts, which count as not found: unicorn" in err


@pytest.mark.slow
def test_json_is_the_report(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = run(capsys, "evaluate", "coco", "--annotations", "instances.json", "--limit", "1", "--json")
    report = json.loads(out)
    assert status == 0
    assert report["total"] == 1
    assert report["precision"][0]["figures"]["AP50"] == pytest.approx(1)
    assert report["unknown"] == ["unicorn"]


def test_counts_are_measured(capsys: pytest.CaptureFixture[str]) -> None:
    Path("counts.json").write_text(json.dumps({"one.png": {"QR code": 1}, "blank.png": {"QR code": 2}}))
    status, out, _ = run(capsys, "evaluate", "count", "--annotations", "counts.json")
    assert status == 0
    assert "each searched for only the categories labelled in it" in out
    assert "all         2  1.00  1.41  -1.00   50.0" in out


@pytest.mark.slow
def test_a_run_is_kept_and_continued(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ("evaluate", "coco", "--annotations", ".", "--out", "runs/first")
    first, second = run(capsys, *arguments), run(capsys, *arguments)
    assert (first[0], second[0]) == (0, 0)
    assert "images to detect in" in first[2]
    assert "images to detect in" not in second[2]
    assert sorted(path.name for path in Path("runs/first").iterdir() if path.suffix) == [
        "detections.json",
        "journal.jsonl",
        "report.json",
    ]


@pytest.mark.slow
def test_a_page_and_thresholds_are_written_where_they_are_wanted(
    capsys: pytest.CaptureFixture[str], annotations: Path
) -> None:
    data = json.loads(annotations.read_text())
    for number in range(10, 13):
        data["images"].append({"id": number, "file_name": f"{number}.png"})
        Path(f"{number}.png").write_bytes(Path("blank.png").read_bytes())
    data["categories"] = data["categories"][:1]
    annotations.write_text(json.dumps(data))
    files = ("--html", "out/page.html", "--tune", "out/thresholds.toml")
    status, _, err = run(capsys, "evaluate", "coco", "--annotations", ".", *files)
    assert status == 0
    assert "Evaluation of instances.json" in Path("out/page.html").read_text()
    assert '"QR code" = ' in Path("out/thresholds.toml").read_text()
    assert "to use them, set DINOX_MCP_MIN_SCORES=out/thresholds.toml" in err


@pytest.mark.slow
def test_a_folder_of_data_sets_is_a_row_for_each(capsys: pytest.CaptureFixture[str], annotations: Path) -> None:
    data = json.loads(annotations.read_text())
    data["categories"] = data["categories"][:1]
    for name in ("Parcels", "Labels"):
        folder = Path("sets", name, "valid")
        folder.mkdir(parents=True)
        for image in IMAGES:
            (folder / image).write_bytes(Path(image).read_bytes())
        (folder / "_annotations.coco.json").write_text(json.dumps(data))
    status, out, _ = run(capsys, "evaluate", "odinw", "--annotations", "sets", "--html", "page.html")
    assert status == 0
    assert out.splitlines()[0] == "2 of 2 data sets"
    assert [line.split()[-1] for line in out.splitlines() if line.startswith(("Labels", "Parcels", "mean"))] == [
        "30.3"
    ] * 3
    assert Path("page.html").exists()


@pytest.mark.slow
def test_a_broken_image_is_named_and_left_out(capsys: pytest.CaptureFixture[str], annotations: Path) -> None:
    data = json.loads(annotations.read_text())
    data["images"].append({"id": 9, "file_name": "broken.png"})
    annotations.write_text(json.dumps(data))
    status, out, err = run(capsys, "evaluate", "coco", "--annotations", ".")
    assert status == 1
    assert out.splitlines()[0].startswith("3 of 4 images")
    assert "broken.png" in err
    assert "the figures are of the 3 images that are answered" in err


def test_ctrl_c_says_how_to_go_on(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    async def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(evaluate, "_evaluate", interrupted)
    status, out, err = run(capsys, "evaluate", "coco", "--annotations", ".", "--out", "run")
    assert (status, out) == (130, "")
    assert "what is done is kept: the same command again continues" in err


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["voc", "--annotations", "."], 2, "invalid choice: 'voc'"),
        (["coco"], 2, "--annotations"),
        (["coco", "--annotations", "nowhere.json"], 1, "nowhere.json' cannot be read"),
        (["lvis", "--annotations", "."], 1, "is not in LVIS's format"),
        (["coco", "--annotations", "one.png"], 1, "one.png' is not JSON"),
        (["coco", "--annotations", ".", "--limit", "0"], 2, "is not a whole number from 1"),
        (["coco", "--annotations", ".", "--out", "one.png"], 2, "the run cannot be kept in"),
        (["coco", "--annotations", ".", "--html", "page.txt"], 2, "'page.txt' is not a page; name it .html"),
        (["coco", "--annotations", ".", "--html", "one.png/page.html"], 2, "page.html cannot be written (File exists)"),
        (["coco", "--annotations", ".", "--tune", "."], 2, ". cannot be written (it is a folder); choose another path"),
        (["coco", "--annotations", ".", "--iou", "masks"], 2, "invalid choice: 'masks'"),
        (["coco", "--annotations", ".", "--iou", "keypoints"], 1, "has keypoints; use --iou bbox"),
        (["lvis", "--annotations", ".", "--iou", "keypoints"], 2, "--iou keypoints is for coco, not lvis"),
        (["count", "--annotations", ".", "--iou", "segm"], 2, "count compares numbers; leave it out"),
        (["odinw", "--annotations", ".", "--tune", "t.toml"], 2, "--tune is for one data set, not odinw"),
        (["odinw", "--annotations", ".", "--by-category"], 2, "--by-category is for one data set, not odinw"),
        (["odinw", "--annotations", "nowhere"], 1, "'nowhere' is not a folder"),
        (["coco", "--annotations", ".", "--tune", "t.toml"], 1, "--tune needs 5 images or more, not 3"),
    ],
)
def test_a_mistake_is_one_line(
    capsys: pytest.CaptureFixture[str], arguments: list[str], status: int, message: str
) -> None:
    got, out, err = run(capsys, "evaluate", *arguments)
    assert (got, out) == (status, "")
    assert message in err
    assert len(err.splitlines()) == 1
