"""The Hugging Face Hub: what a repository has, and the hub's errors in words that a person can act on."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping

from ..errors import EngineroomError

_USUAL_ENDPOINT = "https://huggingface.co"
_LIST_S = 15
"""How long a repository's list may take in all, a Python's start on a busy machine included."""

_OFFLINE = r"OfflineModeIsEnabled|while HF_HUB_OFFLINE is enabled|outgoing traffic has been disabled"
_CONNECTION = (
    r"LocalEntryNotFoundError|Connect(?:ion)?Error|(?:Connect|Read|Pool)Timeout|couldn't connect to|MaxRetryError|"
    r"NameResolutionError|RemoteProtocolError|ProxyError"
)

_NO_REPOSITORY = (
    r"RepositoryNotFoundError|401 Client Error|HFValidationError|"
    r"is not a local folder and is not a valid model identifier"
)


_REFUSAL = r"(429 Client Error|5\d\d Server Error)[^\n(]*"


class HubError(EngineroomError):
    """A model cannot be downloaded; the text says why, and what to do about it.

    Attributes:
        temporary: whether another try may succeed without anybody doing anything.
    """

    def __init__(self, reason: str, *, temporary: bool = False) -> None:
        super().__init__(reason)
        self.temporary = temporary


def is_temporary(error_text: str) -> bool:
    """Whether an error of the hub or its client may pass by itself."""
    if re.search(_OFFLINE, error_text):
        return False
    return bool(re.search(f"{_CONNECTION}|{_REFUSAL}|No space left on device", error_text))


def explain(model: str, error_text: str, token: str | None) -> str | None:
    """What an error of the hub or its client means, or None for an unknown one.

    Args:
        model: the repository that was asked for.
        error_text: the client's exception with the name of its class, or the end of its traceback.
        token: the token that the request had, if any.
    """
    if re.search(r"GatedRepoError|Cannot access gated repo|Access to model .* is restricted", error_text):
        if token:
            return f"{model} is gated: ask for access on its page with the account of HF_TOKEN"
        return f"{model} is gated: ask for access on its page with your account, and set HF_TOKEN"
    if re.search(r"RevisionNotFoundError|not a valid git identifier", error_text):
        return f"{model} has no such branch, tag or commit: check MODEL_REVISION"
    if re.search(_NO_REPOSITORY, error_text):
        or_private = (
            "or the account of HF_TOKEN has no access to it" if token else "or it is private and HF_TOKEN is not set"
        )
        return f"the hub has no repository {model}, {or_private}: check MODEL_NAME"
    if re.search(r"No space left on device", error_text):
        return f"the disk is too small for {model}"
    if re.search(_OFFLINE, error_text):
        return f"{model} is not on this machine, and HF_HUB_OFFLINE is set, so the hub is not asked for it"
    if re.search(_CONNECTION, error_text):
        return (
            f"{model} is not on this machine, and the hub {hub_endpoint()} cannot be reached: check the network, or "
            "use a model that is on this machine (`engineroom models` lists them)"
        )
    refusal = re.search(_REFUSAL, error_text)
    if refusal is not None:
        return f"the hub {hub_endpoint()} cannot deliver {model} now ({refusal[0].strip()}): try again later"
    return None


def hub_endpoint() -> str:
    """The hub's address: HF_ENDPOINT's, or the public one."""
    return os.environ.get("HF_ENDPOINT") or _USUAL_ENDPOINT


def hub_token() -> str | None:
    """The token that the environment has for the hub."""
    return os.environ.get("HF_TOKEN") or os.environ.get("HUGGING_FACE_HUB_TOKEN")


def client_environ(environ: Mapping[str, str]) -> dict[str, str]:
    """`environ` for a process that is the hub's client: without bars, which are for a terminal that it does not have,
    and without telemetry, for which it would wait three seconds where the hub cannot be reached."""
    return {**environ, "HF_HUB_DISABLE_PROGRESS_BARS": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}


def repository_files(repository: str, revision: str | None, environ: Mapping[str, str]) -> dict[str, int]:
    """The files of a repository and their sizes in bytes; blocks for a second, or five where nobody answers.

    Args:
        environ: the hub client's environment.

    Raises:
        HubError: the hub cannot be reached, or does not let us see the repository.
    """
    command = [sys.executable, "-m", "engineroom.models.fetch", repository, "--list"]
    if revision:
        command += ["--revision", revision]
    try:
        done = subprocess.run(
            command, env=client_environ(environ), capture_output=True, text=True, timeout=_LIST_S, check=False
        )
        answer = json.loads(done.stdout.splitlines()[-1])
    except (subprocess.TimeoutExpired, ValueError, IndexError):
        raise HubError(explain(repository, "ConnectTimeout", hub_token()) or repository) from None
    if "error" in answer:
        raise HubError(answer["error"])
    return {name: size for name, (size, _) in answer["files"].items()}
