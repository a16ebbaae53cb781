"""Masks that follow things from frame to frame; the family of models is imported when it is used."""

from importlib import import_module
from typing import TYPE_CHECKING, cast

from dinox_mcp.backends.local.presets import variable
from dinox_mcp.errors import UnsupportedError

if TYPE_CHECKING:
    from dinox_mcp.backends.local.following.base import Follower
    from dinox_mcp.backends.local.model import Family

FAMILIES = {"sam2_video": "sam2"}
"""The module of each `model_type` in a checkpoint's configuration."""


def family_of(model_type: str) -> "Family[Follower]":
    """Import the family of a checkpoint.

    Raises:
        UnsupportedError: there is none for this `model_type`.
    """
    if module := FAMILIES.get(model_type):
        return cast("Family[Follower]", import_module(f"{__name__}.{module}"))
    raise UnsupportedError(
        f"models of type {model_type!r} remember nothing from frame to frame, so that they give no masks of a video; "
        f"choose one of type {' or '.join(FAMILIES)}, such as sam2.1-tiny, for {variable('masks')}"
    )
