from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers.models.grounding_dino.configuration_grounding_dino import GroundingDinoConfig
from transformers.models.grounding_dino.modeling_grounding_dino import (
    GroundingDinoBiMultiHeadAttention,
    MultiScaleDeformableAttention,
)

from dinox_mcp.backends.local.models import shared
from dinox_mcp.backends.local.models.shared import BagAttention, TextSideAttention, attend_faster, speed_up
from dinox_mcp.backends.local.models.shared import _attend as attend
from tests.backends.local.parity import load_model

SHAPES = [[(7, 11), (4, 6), (2, 3), (1, 2)], [(20, 20), (10, 10), (5, 5)], [(1, 50)]]


@pytest.mark.parametrize(
    ("shapes", "spread", "batch"),
    [*((shapes, 1.5, 1) for shapes in SHAPES), (SHAPES[0], 0.5, 1), (SHAPES[0], 40.0, 1), (SHAPES[0], 1.5, 3)],
)
def test_bags_equal_grid_samples(shapes: list[tuple[int, int]], spread: float, batch: int) -> None:
    generator = torch.Generator().manual_seed(0)
    pixels, queries, heads, points, width = sum(h * w for h, w in shapes), 33, 4, 4, 8
    value = torch.randn((batch, pixels, heads, width), generator=generator)
    at = (torch.rand((batch, queries, heads, len(shapes), points, 2), generator=generator) - 0.5) * spread + 0.5
    weights = torch.rand(at.shape[:-1], generator=generator)
    question = (value, torch.tensor(shapes), shapes, torch.tensor([0]), at, weights, 64)
    torch.testing.assert_close(BagAttention()(*question), MultiScaleDeformableAttention()(*question), atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("patches", "tokens", "padded", "batch"),
    [(300, 5, False, 1), (40, 60, False, 1), (3, 1, False, 1), (300, 5, True, 1), (40, 60, True, 2)],
)
def test_text_side_equals_image_side(patches: int, tokens: int, padded: bool, batch: int) -> None:
    torch.manual_seed(0)
    config = GroundingDinoConfig(d_model=32, encoder_ffn_dim=128, encoder_attention_heads=8)
    stock = GroundingDinoBiMultiHeadAttention(config).eval()
    question: dict[str, Any] = {
        "vision_features": torch.randn(batch, patches, 32) * 3,
        "text_features": torch.randn(batch, tokens, 32) * 3,
    }
    if padded:
        question["vision_attention_mask"] = (torch.arange(patches) >= max(1, patches - 2)).expand(batch, -1)
        question["text_attention_mask"] = (torch.arange(tokens) >= max(1, tokens - 2)).expand(batch, -1)
    with torch.inference_mode():
        (vision, _), (text, _) = TextSideAttention(stock)(**question)
        (stock_vision, _), (stock_text, _) = stock(**question)
    torch.testing.assert_close(vision, stock_vision, atol=1e-5, rtol=0)
    torch.testing.assert_close(text, stock_text, atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("family", "bags", "fusions"), [("grounding-dino", 4, 2), ("mm-grounding-dino", 4, 2), ("omdet-turbo", 2, 0)]
)
def test_replaces_every_layer_that_it_knows(
    checkpoint: Callable[[str], Path], family: str, bags: int, fusions: int
) -> None:
    modules = list(speed_up(load_model(checkpoint(family))).modules())
    assert sum(isinstance(module, BagAttention) for module in modules) == bags
    assert sum(isinstance(module, TextSideAttention) for module in modules) == fusions


class OtherMultiScaleDeformableAttention(torch.nn.Module):
    """As of a release that computes something else."""

    def forward(self, value: torch.Tensor, *_rest: object) -> torch.Tensor:
        return value.mean(1).flatten(1)[:, None].expand(-1, 7, -1)


class NewMultiScaleDeformableAttention(torch.nn.Module):
    """As of a release that is called otherwise."""

    def forward(self, *, value: torch.Tensor) -> torch.Tensor:
        return value


@pytest.mark.parametrize("kind", [OtherMultiScaleDeformableAttention, NewMultiScaleDeformableAttention])
def test_leaves_a_layer_that_computes_otherwise(kind: type[torch.nn.Module], caplog: pytest.LogCaptureFixture) -> None:
    model = torch.nn.ModuleDict({"attn": kind(), "linear": torch.nn.Linear(2, 2)})
    assert isinstance(speed_up(model)["attn"], kind)
    assert "is not replaced" in caplog.text


def test_leaves_models_on_other_devices() -> None:
    model = torch.nn.ModuleDict({"attn": MultiScaleDeformableAttention(), "linear": torch.nn.Linear(2, 2)})
    assert isinstance(speed_up(model.to("meta"))["attn"], MultiScaleDeformableAttention)


@pytest.mark.parametrize("tokens", [1, 512, 700])
@pytest.mark.parametrize("scaling", [None, 0.3])
def test_attention_in_chunks_equals_attention(tokens: int, scaling: float | None) -> None:
    torch.manual_seed(0)
    query, key, value = torch.randn(3, 2, 3, tokens, 8)
    chunked, _ = attend(torch.nn.Identity(), query, key, value, None, scaling=scaling, dropout=0.0)
    whole = torch.nn.functional.scaled_dot_product_attention(query, key, value, scale=scaling)
    torch.testing.assert_close(chunked, whole.transpose(1, 2), atol=1e-5, rtol=0)


@pytest.mark.parametrize(("faster", "used"), [(True, "dinox_chunked"), (False, "sdpa")])
def test_a_tower_attends_as_before_in_the_faster_way(
    checkpoint: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch, faster: bool, used: str
) -> None:
    monkeypatch.setattr(shared, "_chunks_are_faster", lambda: faster)
    tower = load_model(checkpoint("owlv2")).owlv2.vision_model
    pixels = torch.randn(2, 3, 96, 96, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        stock = tower(pixels).last_hidden_state
        attend_faster(tower)
        chunked = tower(pixels).last_hidden_state
    assert tower.config._attn_implementation == used
    torch.testing.assert_close(chunked, stock, atol=1e-5, rtol=0)
