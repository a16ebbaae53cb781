# ruff: noqa: ANN401 - adapters with what only their family can do
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import transformers as hf
from transformers.image_transforms import center_to_corners_format
from transformers.models.owlvit.modeling_owlvit import box_iou, generalized_box_iou

from dinox_mcp.backends.local.models.base import ExampleQuery, Interrupted
from dinox_mcp.backends.local.models.owl_torch import Owl
from dinox_mcp.types.detection import Example
from tests.backends.local.parity import LABELS, as_expected, ask, assert_same, cancelled, load_model
from tests.backends.local.pictures import picture


@pytest.fixture(scope="module", params=("owlvit", "owlv2"))
def family(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture(scope="module", params=("adapter_of", "graph_of"))
def adapter(request: pytest.FixtureRequest, family: str) -> Any:
    return request.getfixturevalue(request.param)(family)


@pytest.fixture(scope="module")
def reference(family: str, checkpoint: Callable[[str], Path], stock: Callable[[str], Any]) -> tuple[Any, Any]:
    return hf.AutoProcessor.from_pretrained(checkpoint(family)), stock(family)


@pytest.mark.parametrize(
    ("size", "count", "threshold"), [((75, 311), 8, 0.0), ((1000, 17), 1, 0.0), ((200, 120), 8, 0.5)]
)
def test_equals_the_documented_call(
    reference: tuple[Any, Any], adapter: Any, size: tuple[int, int], count: int, threshold: float
) -> None:
    (processor, model), image, labels = reference, picture(*size), list(LABELS[:count])
    text = processor.tokenizer(labels, padding="max_length", truncation=True, return_tensors="pt")
    pixels = torch.from_numpy(adapter.prepare(image).pixels)[None]
    with torch.inference_mode():
        outputs = model(**text, pixel_values=pixels)
    (expected,) = processor.post_process_grounded_object_detection(
        outputs, threshold=threshold, target_sizes=[image.size[::-1]]
    )
    assert_same(ask(adapter, image, labels, threshold), expected, pixels=1e-3, score=1e-6)


def test_finds_the_same_in_a_batch_as_alone(adapter: Any) -> None:
    images = [picture(200, 120), picture(90, 160, seed=1)]
    states = adapter.encode([adapter.prepare(image) for image in images])
    for image, state in zip(images, states, strict=True):
        found = adapter.find(state, LABELS, adapter.embed(LABELS), 0.0)
        assert_same(found, as_expected(ask(adapter, image, LABELS)), pixels=1e-3, score=1e-6)


def test_a_label_has_one_embedding_in_any_company(adapter: Any) -> None:
    alone = np.concatenate([adapter.embed([label]) for label in LABELS])
    many = adapter.embed([*LABELS] * 20)[-len(LABELS) :]
    np.testing.assert_allclose(alone, many, atol=1e-6)


def test_labels_beyond_the_text_window_are_read_to_its_end(adapter: Any) -> None:
    long = "person " * 60
    assert np.array_equal(adapter.embed([long]), adapter.embed([long + "dog"]))


def test_all_labels_fit_one_request(adapter: Any) -> None:
    assert adapter.chunks(["dog"] * 1200) == [list(range(1200))]


def test_is_deterministic(adapter: Any) -> None:
    assert ask(adapter, picture(200, 120), LABELS) == ask(adapter, picture(200, 120), LABELS)


def test_a_state_knows_its_size(adapter: Any) -> None:
    pair = [adapter.prepare(picture(200, 120)) for _ in range(2)]
    patches, width = 36, 32
    assert [state.nbytes for state in adapter.encode(pair)] == [patches * (width + 1 + 1 + 4 + 1) * 4] * 2


@pytest.mark.parametrize("work", ["encode", "embed"])
def test_stops_when_its_call_is_cancelled(adapter: Any, work: str) -> None:
    prepared = adapter.prepare(picture(200, 120))
    with cancelled(), pytest.raises(Interrupted):
        adapter.encode([prepared]) if work == "encode" else adapter.embed(["dog"])
    assert ask(adapter, picture(200, 120), ["dog"])


@pytest.mark.parametrize("kind", ["owlvit", "owlv2"])
def test_half_precision_stays_close(
    kind: str, checkpoint: Callable[[str], Path], adapter_of: Callable[[str], Any]
) -> None:
    half = Owl(load_model(checkpoint(kind)), checkpoint(kind), torch.bfloat16)
    best, exact = (ask(one, picture(200, 120), LABELS)[0] for one in (half, adapter_of(kind)))
    assert best.score == pytest.approx(exact.score, abs=0.05)


@pytest.fixture
def patches(reference: tuple[Any, Any], adapter: Any) -> Any:
    """A picture as transformers sees it: its state for us, and its patches, boxes and class embeddings for it."""
    _, model = reference
    prepared = adapter.prepare(picture(200, 120))
    with torch.inference_mode():
        grid, _ = model.image_embedder(torch.from_numpy(prepared.pixels)[None])
        features = grid.flatten(1, 2)
        return SimpleNamespace(
            state=adapter.encode([prepared])[0],
            grid=grid,
            features=features,
            boxes=center_to_corners_format(model.box_predictor(features, grid))[0],
            classes=model.class_predictor(features)[1][0],
            things=model.objectness_predictor(features)[0] if adapter.family == "owlv2" else None,
        )


def test_finds_like_an_example_as_transformers_scores_it(
    reference: tuple[Any, Any], adapter: Any, patches: Any
) -> None:
    processor, model = reference
    bbox = tuple((patches.boxes[7] * _frame(adapter)).tolist())
    (row,) = adapter.read_examples(patches.state, [Example(bbox=bbox)]).rows
    with torch.inference_mode():
        logits, _ = model.class_predictor(patches.features, torch.from_numpy(row)[None, None])
        boxes = model.box_predictor(patches.features, patches.grid)
    outputs = SimpleNamespace(logits=logits, pred_boxes=boxes)
    (expected,) = processor.post_process_grounded_object_detection(outputs, threshold=0.0, target_sizes=[(120, 200)])
    found = adapter.find_like(patches.state, like([row]), 0.0)
    assert_same(found, expected, pixels=1e-3, score=1e-6)
    some = adapter.find_like(patches.state, like([row]), found[4].score)
    assert some == found[:5]


@pytest.mark.parametrize("bbox", [(0, 0, 200, 120), (20, 30, 90, 80), (150, 5, 199, 40), (3, 3, 30, 119)])
def test_an_example_is_the_patch_that_the_authors_choose(adapter: Any, patches: Any, bbox: tuple[float, ...]) -> None:
    overlaps, _ = box_iou(torch.tensor([bbox]) / _frame(adapter), patches.boxes)
    near = (overlaps[0] >= 0.8 * overlaps.max()).nonzero()[:, 0]
    if adapter.family == "owlv2":
        chosen = near[patches.things[near].argmax()]
    else:
        chosen = near[(patches.classes[near] @ patches.classes.mean(0)).argmin()]
    looks = adapter.read_examples(patches.state, [Example(bbox=bbox)])
    np.testing.assert_allclose(looks.rows[0], _unit(patches.classes[chosen]), atol=1e-5)
    assert looks.fits[0] == pytest.approx(float(overlaps[0, chosen]), abs=1e-5)


def test_the_complete_image_as_an_example_is_what_transformers_takes(
    reference: tuple[Any, Any], adapter: Any, patches: Any
) -> None:
    if adapter.family == "owlv2":
        pytest.skip("transformers takes the most likely thing in the picture, wherever it is")
    with torch.inference_mode():
        query, _, _ = reference[1].embed_image_query(patches.features, patches.grid)
    looks = adapter.read_examples(patches.state, [Example(bbox=(0, 0, 200, 120))])
    np.testing.assert_allclose(looks.rows, _unit(query[0]), atol=1e-5)


def test_an_example_beside_all_boxes_is_the_nearest_one(adapter: Any, patches: Any) -> None:
    small = replace(patches.state, boxes=patches.state.boxes * 0.3)
    corners = center_to_corners_format(torch.from_numpy(small.boxes)) * _frame(adapter)
    example = torch.tensor([190.0, 110.0, 199.0, 119.0])
    nearest = generalized_box_iou(example[None], corners)[0].argmax()
    looks = adapter.read_examples(small, [Example(bbox=tuple(example.tolist()))])
    assert looks.fits == (0.0,)
    assert np.array_equal(looks.rows[0], small.classes[nearest])


@pytest.mark.parametrize("point", [(100, 60), (199, 119)])
def test_a_point_is_the_likeliest_thing_around_it(adapter: Any, patches: Any, point: tuple[float, float]) -> None:
    boxes = patches.boxes * _frame(adapter)
    centre, size = (boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]
    away = (torch.tensor(point) - centre).abs()
    in_the_middle, inside = ((away <= size * part).all(-1) for part in (0.25, 0.5))
    near = next(some for some in (in_the_middle, inside) if some.any()).nonzero()[:, 0]
    likely = torch.from_numpy(patches.state.things)[near]
    (row,) = adapter.read_examples(patches.state, [Example(point=point)]).rows
    assert np.array_equal(row, patches.state.classes[near[likely.argmax()]])


def test_a_point_in_no_box_is_the_nearest_one(adapter: Any, patches: Any) -> None:
    tiny = replace(patches.state, boxes=np.hstack((patches.state.boxes[:, :2], np.full((36, 2), 1e-6, np.float32))))
    centres = tiny.boxes[:, :2] * np.array(tiny.frame)
    nearest = np.linalg.norm(centres - [77.7, 33.3], axis=-1).argmin()
    (row,) = adapter.read_examples(tiny, [Example(point=(77.7, 33.3))]).rows
    assert np.array_equal(row, tiny.classes[nearest])


def test_of_several_examples_the_most_alike_counts(adapter: Any, patches: Any) -> None:
    one, other = (patches.state.classes[index] for index in (3, 30))
    both = {item.bbox: item.score for item in adapter.find_like(patches.state, like([one, other]), 0.0)}
    for rows in ([one], [other]):
        for item in adapter.find_like(patches.state, like(rows), 0.0):
            assert both[item.bbox] >= item.score - 1e-6


def test_each_label_has_its_own_examples(adapter: Any, patches: Any) -> None:
    rows = np.stack([patches.state.classes[3], patches.state.classes[30]])
    found = adapter.find_like(patches.state, ExampleQuery(("cup", "plate"), rows, (0, 1), (False, False)), 0.0)
    assert len(found) == 36
    assert {item.label for item in found} == {0, 1}
    texts = adapter.find(patches.state, ["cup", "plate"], rows, 0.0)
    assert found == texts


@pytest.mark.parametrize("owner", [0, None], ids=["its own label", "all labels"])
def test_what_resembles_a_negative_example_more_is_left_out(adapter: Any, patches: Any, owner: int | None) -> None:
    meant, not_meant = patches.state.classes[3], patches.state.classes[30]
    wanted = ExampleQuery(("cup",), np.stack([meant, not_meant]), (0, owner), (False, True))
    found = {item.bbox: item.score for item in adapter.find_like(patches.state, wanted, 0.0)}
    rivals = {item.bbox: item.score for item in adapter.find_like(patches.state, like([not_meant]), 0.0)}
    everything = {item.bbox: item.score for item in adapter.find_like(patches.state, like([meant]), 0.0)}
    left = {bbox: score for bbox, score in everything.items() if score > rivals[bbox]}
    assert found == pytest.approx(left, abs=1e-6)
    assert 0 < len(found) < 36


def test_a_negative_example_of_another_label_does_not_matter(adapter: Any, patches: Any) -> None:
    rows = np.stack([patches.state.classes[index] for index in (3, 30, 17)])
    wanted = ExampleQuery(("cup", "plate"), rows, (0, 1, 1), (False, False, True))
    cups = {item.bbox for item in adapter.find_like(patches.state, wanted, 0.0) if item.label == 0}
    alone = {item.bbox: item.score for item in adapter.find_like(patches.state, like([rows[0]]), 0.0)}
    plates = {item.bbox: item.score for item in adapter.find_like(patches.state, like([rows[1]]), 0.0)}
    assert cups >= {bbox for bbox in alone if alone[bbox] > plates[bbox]}


def like(rows: list[Any]) -> ExampleQuery:
    return ExampleQuery(("cup",), np.stack(rows), (0,) * len(rows), (False,) * len(rows))


def _frame(adapter: Any) -> torch.Tensor:
    return torch.tensor([200.0, 200.0] * 2 if adapter.family == "owlv2" else [200.0, 120.0] * 2)


def _unit(rows: torch.Tensor) -> torch.Tensor:
    return rows / torch.linalg.norm(rows, dim=-1, keepdim=True)
