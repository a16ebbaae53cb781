"""Uploaded images: kept for a while, bounded in number and bytes, and separate for each tenant."""

from dinox_mcp.errors import NotFoundError
from dinox_mcp.store import uris
from dinox_mcp.store.kept import Kept, PerTenant
from dinox_mcp.store.results import new_result_id
from dinox_mcp.store.shared import UPLOADED_S, SharedStore

KEPT = 50
"""Uploaded images of one tenant."""
KEPT_OF_ALL = 500
"""Uploaded images of all tenants together."""


class Uploads:
    """Keeps the bytes of uploaded images and PDFs."""

    def __init__(self, max_bytes: int, keep_s: float = UPLOADED_S, shared: SharedStore | None = None) -> None:
        memory: PerTenant[bytes] = PerTenant(max_bytes, KEPT, KEPT_OF_ALL, keep_s)
        self._images: Kept[bytes] = Kept("upload", memory, shared, bytes, bytes)

    async def put(self, data: bytes, tenant: str = "") -> str:
        """Keep an image, and give its URI; older ones are removed if there are too many.

        Raises:
            SettingsError: the folder of the shared store cannot be written.
            UnreachableError: the shared store does not answer.
        """
        image_id = new_result_id()
        await self._images.put(tenant, image_id, data)
        return uris.UPLOAD.replace("{image_id}", image_id)

    async def get(self, uri: str, tenant: str = "") -> bytes:
        """Fetch an image by its URI.

        Raises:
            NotFoundError: it never existed, belongs to another tenant, or was removed.
        """
        image_id = uri.strip()[len(uris.UPLOADS) :].strip("/")
        data = await self._images.get(tenant, image_id)
        if data is None:
            raise NotFoundError(
                f"there is no uploaded image {image_id[:40]!r} (each is kept for {UPLOADED_S // 60} minutes, for "
                "the caller who sent it); send it again by POST /images, and use the URI of the answer"
            )
        return data
