"""Uploaded images: kept for a while, bounded in number and bytes, and separate for each tenant."""

from dinox_mcp.errors import NotFoundError
from dinox_mcp.store import uris
from dinox_mcp.store.results import PerTenant, new_result_id

KEPT_S = 600
"""Seconds that an uploaded image is kept."""
KEPT = 50
"""Uploaded images of one tenant."""
KEPT_OF_ALL = 500
"""Uploaded images of all tenants together."""


class Uploads:
    """Keeps the bytes of uploaded images and PDFs."""

    def __init__(self, max_bytes: int, keep_s: float = KEPT_S) -> None:
        self._images: PerTenant[bytes] = PerTenant(max_bytes, KEPT, KEPT_OF_ALL, keep_s)

    def put(self, data: bytes, tenant: str = "") -> str:
        """Keep an image, and give its URI; older ones are removed if there are too many."""
        image_id = new_result_id()
        self._images.put(tenant, image_id, data, len(data))
        return uris.UPLOAD.replace("{image_id}", image_id)

    def get(self, uri: str, tenant: str = "") -> bytes:
        """Fetch an image by its URI.

        Raises:
            NotFoundError: it never existed, belongs to another tenant, or was removed.
        """
        image_id = uri.strip()[len(uris.UPLOADS) :].strip("/")
        data = self._images.get(tenant, image_id)
        if data is None:
            raise NotFoundError(
                f"there is no uploaded image {image_id[:40]!r} (each is kept for {KEPT_S // 60} minutes, for "
                "the caller who sent it); send it again by POST /images, and use the URI of the answer"
            )
        return data
