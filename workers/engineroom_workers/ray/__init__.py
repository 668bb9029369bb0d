"""The Ray Serve door: replicas with an engine each, behind Serve's proxies. `serve run engineroom_workers.ray:app`.

Importing it does not import Ray.
"""

from .application import app

__all__ = ["app"]
