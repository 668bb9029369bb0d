"""Libraries that only one door needs, and what to install if they are missing."""

from __future__ import annotations

from engineroom.errors import PluginError
from engineroom.installation import how_to_install


def need(extra: str, *modules: str) -> None:
    """Check that the modules of an extra are installed, without importing them.

    Args:
        extra: the extra of `engineroom-workers` that installs them.

    Raises:
        PluginError: some are missing; the text names them and the extra.
    """
    from importlib.util import find_spec

    missing = [module for module in modules if find_spec(module) is None]
    if missing:
        raise PluginError(
            f"not installed: {', '.join(missing)}, which this command needs; to install: "
            f"{how_to_install(f'engineroom-workers[{extra}]')}"
        )
