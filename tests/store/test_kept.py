"""Items are kept within limits of number and bytes, each for its tenant, and uploaded images for a while."""

import pytest

from dinox_mcp.errors import NotFoundError
from dinox_mcp.store.kept import UPLOADS, PerTenant, Uploads

pytestmark = pytest.mark.anyio


def test_all_callers_together_are_bounded_in_number_and_bytes() -> None:
    shelf: PerTenant[str] = PerTenant(max_bytes=100, kept_of_all=3)
    assert shelf.put("a", "1", "a1", 10) == []
    assert shelf.put("b", "1", "b1", 20) == []
    assert shelf.put("b", "2", "b2", 20) == []
    assert shelf.put("c", "1", "c1", 10) == ["b1"], "too many: the oldest of the caller that has most"
    assert shelf.put("c", "2", "c2", 90) == ["c1", "b2"], "too many, and too many bytes: never the newest"
    assert (shelf.get("a", "1"), shelf.get("b", "2"), shelf.get("c", "2")) == ("a1", None, "c2")


async def test_an_upload_is_found_by_its_uri() -> None:
    uploads = Uploads(max_bytes=100)
    uri = await uploads.put(b"image", "alice")
    assert uri.startswith("dinox://images/")
    assert await uploads.get(f" {uri}/ ", "alice") == b"image"


@pytest.mark.parametrize("uri", ["dinox://images/", "dinox://images/abc", "dinox://images/" + "x" * 5000])
async def test_an_unknown_uri_is_explained(uri: str) -> None:
    with pytest.raises(
        NotFoundError, match=r"there is no uploaded image '.*kept for 10 minutes.*; send it again"
    ) as error:
        await Uploads(max_bytes=100).get(uri)
    assert len(str(error.value)) < 300


async def test_callers_do_not_read_each_other() -> None:
    uploads = Uploads(max_bytes=100)
    uri = await uploads.put(b"image", "alice")
    with pytest.raises(NotFoundError):
        await uploads.get(uri, "bob")


async def test_an_upload_expires() -> None:
    uploads = Uploads(max_bytes=100, keep_s=0)
    uri = await uploads.put(b"image")
    with pytest.raises(NotFoundError):
        await uploads.get(uri)


async def test_whoever_keeps_most_bytes_makes_room() -> None:
    uploads = Uploads(max_bytes=100)
    large = [await uploads.put(b"x" * 40, "alice") for _ in range(2)]
    small = await uploads.put(b"x" * 30, "bob")
    assert await uploads.get(small, "bob")
    assert await uploads.get(large[1], "alice")
    with pytest.raises(NotFoundError):
        await uploads.get(large[0], "alice")


async def test_a_caller_keeps_a_number_of_them() -> None:
    uploads = Uploads(max_bytes=10_000)
    uris = [await uploads.put(b"x") for _ in range(UPLOADS + 1)]
    assert [await uploads.get(uri) for uri in uris[1:]] == [b"x"] * UPLOADS
    with pytest.raises(NotFoundError):
        await uploads.get(uris[0])
