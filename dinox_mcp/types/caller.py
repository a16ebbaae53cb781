"""Callers: whose key pays, and whose results may be read."""

import hashlib
from dataclasses import dataclass
from typing import Self

from pydantic import SecretStr


@dataclass(frozen=True, slots=True)
class Caller:
    """A caller; callers of different `tenant` see nothing of each other."""

    tenant: str = ""
    api_key: SecretStr | None = None

    @classmethod
    def with_key(cls, api_key: str) -> Self:
        """Make a caller who brings a DINO-X key; the tenant is a digest of it, so that no store keeps the key."""
        digest = hashlib.sha256(b"dinox-mcp tenant\0" + api_key.encode()).hexdigest()
        return cls(tenant=digest[:32], api_key=SecretStr(api_key))


OWNER = Caller()
"""Whoever runs the program, with the key of its settings."""
