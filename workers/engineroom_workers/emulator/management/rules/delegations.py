"""Delegations of repositories at Amazon's registry."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from ..problems import RequestProblem

_ARN: Final = re.compile(r"arn:aws[\w-]*:ecr:(?P<region>[\w-]+):(?P<account>\d+):repository/(?P<repository>[^:]+)")


def created_delegation(given: Mapping[str, Any]) -> dict[str, Any]:
    """A new delegation of a repository, which its ARN names.

    Raises:
        RequestProblem: it is no such ARN.
    """
    arn = _ARN.fullmatch(given["resource"])
    if arn is None:
        raise RequestProblem(400, "resource: it is no ARN of an ECR repository")
    return {
        "name": given.get("name"),
        "delegatorUserId": "emulated",
        "awsUser": arn["account"],
        "repository": arn["repository"],
        "tag": "latest",
        "awsRegion": arn["region"],
        "dockerRegistryUri": f"{arn['account']}.dkr.ecr.{arn['region']}.amazonaws.com",
    }
