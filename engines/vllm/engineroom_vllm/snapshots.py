"""The flag snapshots: which one fits the vLLM that is installed, and which of its flags are the user's."""

from __future__ import annotations

import functools
import logging
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from engineroom.models import LIBRARY_VARIABLES
from engineroom.settings import (
    FlagsAside,
    FlagTable,
    Variables,
    doubted,
    dropped,
    of_other_versions,
    refused,
    version_numbers,
)

from .worker_vllm import DROPPED, KEY, RENAMED

logger = logging.getLogger(__name__)

FOLDER = Path(__file__).with_name("flags")

_CORS = "the door answers browsers itself, for every method and header; CORS_ORIGINS says for whom"
_CLIENTS = "the door asks clients for keys (API_KEYS); a proxy in front of it can ask for certificates"
_GRPC = "the worker's clients speak HTTP; remove it"
_CONFIG = "set ENGINEROOM_CONFIG to a file of settings, or VLLM_CONFIG_FILE to one of vLLM's own options"

ASIDE = FlagsAside(
    "vLLM's flags that the worker gives",
    {
        **dict.fromkeys(("ALLOWED_ORIGINS", "API_KEY", "HF_TOKEN", "HOST", "LOG_LEVEL", "MODEL", "PORT")),
        **dict.fromkeys(("SERVED_MODEL_NAME", "SSL_CERTFILE", "SSL_KEYFILE")),
        **refused("", _CORS, ("ALLOWED_HEADERS", "ALLOWED_METHODS", "ALLOW_CREDENTIALS")),
        **refused("", _CLIENTS, ("SSL_CA_CERTS", "SSL_CERT_REQS")),
        **refused("", "the door negotiates TLS 1.2 and 1.3", ("SSL_CIPHERS",)),
        **refused("", "the worker listens at HOST and PORT, and vLLM on a socket of the worker's", ("UDS",)),
        **doubted("", _CONFIG, ("CONFIG",)),
        **doubted("", _GRPC, ("GRPC", "GRPC_PORT")),
        **doubted("", "the door serves at /v1, and a proxy in front of it can add a prefix", ("ROOT_PATH",)),
        **dropped({"ENABLE_SSL_REFRESH": "the door reads a certificate again when its file changes"}),
        **dropped(dict.fromkeys(("DISABLE_FASTAPI_DOCS", "ENABLE_OFFLINE_DOCS"), "vLLM's pages are not served")),
    },
)
"""Flags that are not settings: this worker gives them, or they are about a socket that no client sees."""

DEFAULTS: Mapping[str, str] = MappingProxyType({"gpu_memory_utilization": "0.95", "disable_uvicorn_access_log": "true"})
"""Flags that are given unless the user sets them. Nothing else runs on the worker's GPU, and so worker-vllm takes more
of it than vLLM's own default; the door has an access log of its own."""


class VersionSnapshot(NamedTuple):
    """What is known of one version.

    all_flags: every flag of its parser; table: those that are settings; others: those of other versions;
    environment: the variables that it reads.
    """

    all_flags: FlagTable
    table: FlagTable
    others: FlagsAside
    environment: Variables


@functools.cache
def load(version: str | None) -> VersionSnapshot:
    """The snapshot of that version, else of the nearest one before it, else of the oldest there is.

    Without a version the newest. That a version has no snapshot of its own is logged.
    """
    all_flags = FlagTable.nearest(FOLDER, version)
    if version is not None and version_numbers(all_flags.version)[:2] != version_numbers(version)[:2]:
        logger.warning(
            "vLLM %s has no snapshot of its flags here; settings are checked against those of %s",
            version,
            all_flags.version,
        )
    table = all_flags.without(ASIDE, engine="vLLM").with_defaults(DEFAULTS)
    settings = {flag.variable for flag in all_flags.flags} | DROPPED.keys() | RENAMED.keys() | {KEY}
    variables = {*all_flags.environ, *LIBRARY_VARIABLES} - settings
    others = of_other_versions(all_flags, FOLDER)
    return VersionSnapshot(all_flags, table, others, Variables("vLLM's environment", tuple(sorted(variables))))


def versions() -> list[str]:
    """The versions that have a snapshot, oldest first."""
    return sorted((path.stem for path in FOLDER.glob("*.json")), key=version_numbers)
