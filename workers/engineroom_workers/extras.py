"""Libraries that only one door needs, and what to install where they are missing."""

from __future__ import annotations

from engineroom.errors import PluginError


def need(extra: str, *modules: str) -> None:
    """Check, without importing them, that the libraries of an extra are there.

    Raises:
        PluginError: naming those that are missing, and the extra.
    """
    from importlib.util import find_spec

    missing = [module for module in modules if find_spec(module) is None]
    if missing:
        raise PluginError(
            f"not installed: {', '.join(missing)}; `pip install 'engineroom-workers[{extra}]'` installs what this "
            "command needs (in a clone: `make env-dev`)"
        )
