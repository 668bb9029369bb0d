"""What `serve run engineroom_workers.ray:app` and the YAML of a RayService name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ray.serve import Application


def app(args: Mapping[str, Any]) -> Application:
    """Build the application, as Serve asks for it where `import_path` names a function.

    Settings are read here, so that a mistake ends the deployment at once, and again on each replica, whose own
    environment counts: its runtime environment, `.env` in its working directory, its configuration file.

    Args:
        args: the application's `args`: settings by name, in capitals or not, that go before all others on replicas.

    Raises:
        SettingsError: with every problem of the settings.
        PluginError: there is no such engine here.
    """
    from engineroom import plugins
    from engineroom.settings import Environment

    from ..extras import need
    from .deployment import deployment
    from .options import DOORS, RayOptions

    need("ray", "ray", "starlette")
    settings = {name.upper().replace("-", "_"): value for name, value in args.items()}
    given = dict(Environment.of(settings))
    # Here nobody knows where the proxies listen: a door that may be open to a network is checked as one that is.
    env = Environment.load().with_arguments({**given, "HOST": "0.0.0.0"}, "the application's args")
    setup = plugins.set_up(env, RayOptions.load, door=DOORS)
    setup.log_notes()
    setup.door.log_of_no_effect(Environment.load().with_arguments(given, "the application's args"))
    return deployment(setup, {**given, "HOST": "0.0.0.0"})
