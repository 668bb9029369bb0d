"""Whether a distribution is for this version of the core."""

from __future__ import annotations

import re
from importlib.metadata import EntryPoint

from .. import __version__
from ..errors import PluginError
from ..installation import how_to_install


def check_version(point: EntryPoint) -> None:
    """Refuse a distribution that pins another version of the core: pip only warns of it, and not always.

    Raises:
        PluginError: it does.
    """
    for requirement in (point.dist.requires if point.dist else None) or ():
        pin = re.match(r"engineroom==([\w.]+)", requirement)
        if pin and point.dist and pin[1] != __version__:
            again = how_to_install(point.dist.name, "--force-reinstall")
            raise PluginError(
                f"{point.dist.name} {point.dist.version} is for engineroom {pin[1]}, and {__version__} is installed; "
                f"to install the one that fits: {again}"
            )
