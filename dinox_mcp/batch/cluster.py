"""Ray, started on this machine or joined where it runs; it reports nothing to anybody and serves no dashboard."""

import os
from typing import Any

from dinox_mcp.errors import SettingsError
from dinox_mcp.types.extras import extras_command

_NO_REPORTS = {"RAY_USAGE_STATS_ENABLED": "0"}
"""Ray reports its use to its makers unless this is set before it starts."""


def import_ray() -> Any:  # noqa: ANN401 - Ray's module, which has no types here
    """Import Ray, with its reports turned off.

    Raises:
        SettingsError: the extra `ray` is not installed.
    """
    os.environ.update(_NO_REPORTS)
    try:
        import ray
    except ImportError:
        raise SettingsError(f"Ray is not installed; {extras_command(['ray'])}") from None
    return ray


def join(namespace: str | None = None, *, log_to_driver: bool = True) -> Any:  # noqa: ANN401 - Ray's module, which has no types here
    """Join the cluster that RAY_ADDRESS or `ray start` names; where there is none, start Ray on this machine. Blocks.

    Args:
        namespace: that of the names of actors.
        log_to_driver: whether what workers print is printed here too.

    Returns:
        The module `ray`, connected.

    Raises:
        SettingsError: the extra `ray` is not installed, or the cluster cannot be reached.
    """
    ray = import_ray()
    if not ray.is_initialized():
        address = os.environ.get("RAY_ADDRESS", "").strip() or None
        try:
            # On an existing cluster, these options may not be given.
            local = {} if address else {"include_dashboard": False}
            ray.init(address=address, namespace=namespace, log_to_driver=log_to_driver, logging_level="error", **local)
        except (ConnectionError, RuntimeError, ValueError) as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise SettingsError(
                f"no Ray answers at RAY_ADDRESS={address} ({reason}); correct it, set RAY_AUTH_MODE=token if "
                "the cluster has a token, or leave it out to start Ray here"
            ) from None
    return ray
