"""A template's settings, as they are created and changed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..problems import RequestProblem, no_such
from .containers import FIELDS, complete_container


def created_template(given: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a new template, of which a client gave some."""
    return {
        "name": given["name"],
        **complete_container(given),
        "mounts": given.get("mounts", {}),
        "serverless": given.get("serverless", False),
        "public": given.get("public", False),
        "category": given.get("category", "NVIDIA"),
        "startSsh": given.get("startSsh", True),
        "startJupyter": given.get("startJupyter", True),
        "allowedCudaVersions": given.get("allowedCudaVersions", []),
    }


def updated_template(old: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """A template's settings after a change: what the body leaves out stays, and `mounts: {}` changes nothing."""
    return {**old, **{name: value for name, value in given.items() if name != "mounts" or value}}


def template_for(
    templates: Mapping[str, Mapping[str, Any]], template_id: str | None, serverless: bool
) -> Mapping[str, Any] | None:
    """The template that a body names, if it names one.

    Raises:
        RequestProblem: it does not exist, or is for the other kind.
    """
    if template_id is None:
        return None
    template = templates.get(template_id)
    if template is None:
        raise no_such("template", template_id)
    if template["serverless"] != serverless:
        kind = "a serverless template" if serverless else "a template for pods"
        raise RequestProblem(422, "the template does not fit", [f"templateId: {template_id} is not {kind}"])
    return {name: template[name] for name in (*FIELDS, "mounts", "allowedCudaVersions", "startSsh", "startJupyter")}
