"""Embeddings of the emulated T-Rex: the colours of the examples, signed, so that only its own are taken."""

import base64
import binascii
import hashlib
import json

Colours = list[list[float]]


class EmbeddingError(ValueError):
    """What was sent is not an embedding that this service made."""


def embedding_of(colours: Colours) -> str:
    """Make an embedding, as base64."""
    rounded = [[round(part, 1) for part in colour] for colour in colours]
    return base64.b64encode(json.dumps({"colours": rounded, "seal": _seal(rounded)}).encode()).decode()


def colours_of(embedding: str) -> Colours:
    """Read an embedding.

    Raises:
        EmbeddingError: it is not one that this service made.
    """
    try:
        content = json.loads(base64.b64decode(embedding, validate=True))
        colours: Colours = content["colours"]
        sealed = content["seal"] == _seal(colours)
    except (binascii.Error, ValueError, KeyError, TypeError):
        raise EmbeddingError("not an embedding") from None
    if not sealed:
        raise EmbeddingError("not made by this service")
    return colours


def _seal(colours: Colours) -> str:
    return hashlib.sha256(f"T-Rex-2.0 {json.dumps(colours)}".encode()).hexdigest()[:16]
