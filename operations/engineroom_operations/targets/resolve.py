"""From what a person typed to a target: an address, an endpoint of RunPod by its id or name, a model of one's own."""

from __future__ import annotations

import re
from typing import NamedTuple

import click

from engineroom.models import reference
from engineroom.runpod_account import (
    DeploymentAddress,
    DeploymentLookupError,
    RunPodAccount,
    deployment_addresses,
)
from engineroom.settings import Environment

from .address import is_address, parse
from .connection import TargetError
from .target import RemoteTarget, with_key

_NAME = re.compile(r"^[\w.-]+$")
"""What the names and ids of deployments look like, and no repository's does."""


class ModelToServe(NamedTuple):
    """A model that is to be served here. name: as `engineroom serve` takes it."""

    name: str


async def resolve(text: str, env: Environment, given_key: str = "") -> RemoteTarget | ModelToServe:
    """The target that is meant.

    Args:
        text: a URL, `host:port`, the id or the name of a deployment at RunPod, a path, `org/name`, the address of a
            model at a hub. A name is looked up at RunPod only where RUNPOD_API_KEY is set.
        env: the settings in force.

    Raises:
        click.UsageError: it is an address, but not a whole one.
        TargetError: it can only be a deployment's name, and RunPod cannot be asked, or has several of that name.
        SettingsError: RUNPOD_API_URL or RUNPOD_PROXY_URL is no URL.
    """
    model = reference.parse(text, env)
    if model.path is not None or model.name != text:
        return ModelToServe(text)
    if is_address(text):
        try:
            return with_key(parse(text), env, given_key)
        except ValueError as error:
            raise click.UsageError(str(error)) from error
    if not _NAME.match(text) or not env.get("RUNPOD_API_KEY"):
        return ModelToServe(text)
    deployment = await _deployment(text, RunPodAccount.load(env))
    return ModelToServe(text) if deployment is None else _target_of(deployment, env, given_key)


async def _deployment(name: str, account: RunPodAccount) -> DeploymentAddress | None:
    """The deployment of that name or id; None where the account has none. Raises TargetError as `resolve` does."""
    import aiohttp

    try:
        async with aiohttp.ClientSession(trust_env=True) as session:
            result = (await deployment_addresses(account, session, [name]))[name]
    except DeploymentLookupError as error:
        raise TargetError(
            f"{name} is no path and no URL, and its name cannot be looked up at RunPod: {error}"
        ) from error
    if isinstance(result, DeploymentAddress):
        return result
    if "several deployments" in str(result):
        raise TargetError(str(result))
    return None


def _target_of(deployment: DeploymentAddress, env: Environment, given_key: str) -> RemoteTarget:
    address = parse(deployment.url)._replace(kind=deployment.kind, runpod_id=deployment.id)
    name = deployment.name if deployment.name == deployment.id else f"{deployment.name} ({deployment.id})"
    own = deployment.own_key if deployment.kind == "pod" else ""
    target = with_key(address, env, given_key or own, name)
    return target if given_key or not own else target.with_source("the pod's API_KEYS")
