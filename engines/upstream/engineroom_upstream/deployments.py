"""Servers that are deployments in a RunPod account: their addresses are looked up by name, again and again."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence

import aiohttp

from engineroom.errors import SettingsError
from engineroom.runpod_account import (
    DeploymentAddress,
    DeploymentLookupError,
    RunPodAccount,
    deployment_addresses,
)

from .server import UpstreamServer

logger = logging.getLogger(__name__)

INTERVAL_S = 15.0
"""Seconds between two looks. Two requests each time: an eighth of the 60 a minute that RunPod's API allows."""


class FollowedDeployments:
    """The servers of the deployments that are named, wherever they are now. `close()` it.

    Endpoints are never checked: a check is a request, and would start a worker that has to be paid for.

    Args:
        servers: the list to keep up to date; servers of others in it are left alone.
        key: what pods are to get, unless it is empty: then it is their own.
        checked: whether pods are checked before they are used.
        renamed: names that clients may use -> the name by which the servers know the model.

    reasons: names that have no server now -> why.
    """

    def __init__(
        self,
        account: RunPodAccount,
        names: Sequence[str],
        servers: list[UpstreamServer],
        key: str,
        *,
        checked: bool,
        renamed: Mapping[str, str],
    ) -> None:
        self._account = account
        self._names = tuple(dict.fromkeys(names))
        self._servers = servers
        self._key = key
        self._checked = checked
        self._renamed = renamed
        self._current: dict[str, tuple[DeploymentAddress, UpstreamServer]] = {}
        self._leaving: list[UpstreamServer] = []
        self._session = aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar())
        self.reasons: dict[str, DeploymentLookupError] = {}

    @property
    def hopeless(self) -> bool:
        """Whether no name has a server, and none will get one by itself."""
        return not self._current and all(name in self.reasons and self.reasons[name].lasting for name in self._names)

    async def follow(self) -> None:
        """Look again and again, until it is cancelled."""
        while True:
            await asyncio.sleep(INTERVAL_S)
            await self.look()

    async def look(self) -> None:
        """Look up all names. A server whose address has changed is replaced; what cannot be learnt stays as it is."""
        try:
            addresses = await deployment_addresses(self._account, self._session, self._names)
        except (DeploymentLookupError, SettingsError) as error:
            failure = error if isinstance(error, DeploymentLookupError) else DeploymentLookupError(str(error))
            for name in self._names:
                self._note(name, failure)
            return
        for name, address in addresses.items():
            if isinstance(address, DeploymentAddress):
                self._take(name, address)
            else:
                self._drop(name)
                self._note(name, address)
        await self._close_idle()

    async def close(self) -> None:
        """Close what is not in the list of servers any more; those in it belong to its owner."""
        for server in self._leaving:
            await server.close()
        await self._session.close()

    def _take(self, name: str, address: DeploymentAddress) -> None:
        self.reasons.pop(name, None)
        current = self._current.get(name)
        if current is not None and current[0] == address:
            return
        self._drop(name)
        is_pod = address.kind == "pod"
        key = self._key or address.own_key
        pod_headers = {"Authorization": f"Bearer {key}"} if key else {}
        server = UpstreamServer(
            address.url,
            pod_headers if is_pod else self._account.headers,
            checked=self._checked and is_pod,
            renamed=self._renamed,
            assumed=address.models,
        )
        self._current[name] = (address, server)
        self._servers.append(server)
        logger.info("%s is the %s %s at %s", name, address.kind, address.id, address.url)

    def _drop(self, name: str) -> None:
        """Send no new request to the server of a name; those that run may end."""
        current = self._current.pop(name, None)
        if current is not None:
            self._servers.remove(current[1])
            self._leaving.append(current[1])

    def _note(self, name: str, reason: DeploymentLookupError) -> None:
        if str(self.reasons.get(name, "")) != str(reason):
            logger.warning("UPSTREAM_RUNPOD: %s", reason)
        self.reasons[name] = reason

    async def _close_idle(self) -> None:
        for server in [server for server in self._leaving if not server.running]:
            self._leaving.remove(server)
            await server.close()
