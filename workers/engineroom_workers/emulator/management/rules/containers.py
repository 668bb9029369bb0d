"""The container's settings of a template, an endpoint or a pod."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any, Final

from ..problems import RequestProblem

DEFAULT_DISK_GB: Final = 20
"""A guess: the OpenAPI file names no default."""
FIELDS: Final = ("image", "args", "disk", "ports", "env", "registry")


def complete_container(given: Mapping[str, Any]) -> dict[str, Any]:
    """All settings of a container, of which a client gave some."""
    defaults = {"image": "", "args": "", "disk": DEFAULT_DISK_GB, "ports": [], "env": {}, "registry": None}
    return {name: given.get(name, defaults[name]) for name in FIELDS}


def check_container(container: Mapping[str, Any]) -> None:
    """Refuse an image without a name, and what no process could be started with."""
    if not container["image"]:
        raise RequestProblem(400, "image: it is empty")
    texts = [container["args"], *container["env"], *container["env"].values()]
    if any("\0" in text for text in texts) or any("=" in name or not name for name in container["env"]):
        raise RequestProblem(400, "env: a name is empty or has a `=`, or there is a NUL")
    try:
        shlex.split(container["args"])
    except ValueError as error:
        raise RequestProblem(400, f"args: {error}") from None


def with_template(given: Mapping[str, Any], template: Mapping[str, Any] | None) -> dict[str, Any]:
    """What a client gave, over the settings of a template; the variables of both, where the client's win."""
    if template is None:
        return dict(given)
    merged = {name: template[name] for name in FIELDS}
    merged["env"] = {**template["env"], **given.get("env", {})}
    return {**merged, **{name: value for name, value in given.items() if name != "env"}}
