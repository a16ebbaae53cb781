import base64
from pathlib import Path

import pytest
from mcp.types import PromptReference, ResourceTemplateReference, TextContent

from dinox_mcp.backends.base import Capabilities
from tests.fakes import FakeBackend, png
from tests.server.conftest import Connect

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("name", "arguments", "words"),
    [
        ("count_objects", {"image": "a.jpg", "what": "boxes"}, ["boxes", "a.jpg", "count_objects", "visualize"]),
        ("describe_scene", {"image": "a.jpg"}, ["a.jpg", "detect_prompt_free"]),
        ("compare_pictures", {"before": "a.jpg", "after": "b.jpg"}, ["a.jpg", "b.jpg", "compare_images"]),
        ("compare_pictures", {"before": "a", "after": "b", "what": "cars"}, ["prompts for cars"]),
        ("check_safety", {"image": "a.jpg"}, ["hard hat", "detect_objects"]),
        ("check_safety", {"image": "a.jpg", "items": "rope, ladder"}, ["rope, ladder"]),
    ],
)
async def test_a_recipe_uses_the_tools(
    connect: Connect, name: str, arguments: dict[str, str], words: list[str]
) -> None:
    async with connect() as client:
        prompt = await client.get_prompt(name, arguments)
    content = prompt.messages[0].content
    assert isinstance(content, TextContent)
    assert all(word in content.text for word in words)


async def test_every_recipe_has_a_title_and_a_description(connect: Connect) -> None:
    async with connect() as client:
        prompts = (await client.list_prompts()).prompts
    assert {prompt.name for prompt in prompts} == {
        "count_objects",
        "describe_scene",
        "compare_pictures",
        "check_safety",
    }
    assert all(prompt.title and prompt.description for prompt in prompts)


async def test_labels_are_completed_from_the_vocabulary_and_recent_results(
    connect: Connect, backend: FakeBackend, tmp_path: Path
) -> None:
    backend.able = Capabilities(labels=("door", "window"))
    (tmp_path / "photo.png").write_bytes(png())
    reference = PromptReference(name="count_objects")
    async with connect() as client:
        await client.call_tool("detect_prompt_free", {"image": str(tmp_path / "photo.png")})
        one = await client.complete(reference, {"name": "what", "value": "do"})
        list_of = await client.complete(reference, {"name": "what", "value": "cat, w"})
    assert one.completion.values == ["door", "dog"]
    assert list_of.completion.values == ["cat, window"]


async def test_result_ids_are_completed(connect: Connect, tmp_path: Path) -> None:
    (tmp_path / "photo.png").write_bytes(png())
    template = ResourceTemplateReference(uri="dinox://results/{result_id}")
    async with connect() as client:
        reply = await client.call_tool("detect_prompt_free", {"image": str(tmp_path / "photo.png")})
        result_id = (reply.structured_content or {})["result_id"]
        ids = await client.complete(template, {"name": "result_id", "value": result_id[:3]})
        images = await client.complete(PromptReference(name="describe_scene"), {"name": "image", "value": "dinox"})
        crop = ResourceTemplateReference(uri="dinox://results/{result_id}/objects/{number}/crop.jpg")
        numbers = await client.complete(crop, {"name": "number", "value": ""}, {"result_id": result_id})
        nothing = await client.complete(template, {"name": "result_id", "value": "-"})
    assert ids.completion.values == [result_id]
    assert images.completion.values == [f"dinox://results/{result_id}"]
    assert numbers.completion.values == ["1", "2"]
    assert nothing.completion.values == []


async def test_over_http_no_ids_of_others_are_completed(connect: Connect) -> None:
    template = ResourceTemplateReference(uri="dinox://results/{result_id}")
    data_uri = f"data:image/png;base64,{base64.b64encode(png()).decode()}"
    async with connect(transport="http") as client:
        reply = await client.call_tool("detect_prompt_free", {"image": data_uri})
        assert not reply.is_error
        ids = await client.complete(template, {"name": "result_id", "value": ""})
    assert ids.completion.values == []


async def test_the_instructions_say_what_to_do_with_a_pasted_picture(connect: Connect) -> None:
    async with connect() as client:
        local = client.instructions or ""
    async with connect(transport="http") as client:
        remote = client.instructions or ""
    assert "pasted" in local
    assert "reads no local files" not in local
    assert "reads no local files" in remote
