"""A model from the Hugging Face Hub into a cache folder, and its refusals in words that a person can act on."""

from __future__ import annotations

import re
from pathlib import Path

from ..errors import EngineroomError

_OTHER_FORMATS = ("*.bin", "*.pt", "*.pth", "*.msgpack", "*.h5", "*.ot", "*.onnx", "onnx/*", "original/*")
"""What a repository holds beside its safetensors: the same weights once more."""

_CONNECTION = (
    r"LocalEntryNotFoundError|OfflineModeIsEnabled|while HF_HUB_OFFLINE is enabled|outgoing traffic has been disabled|"
    r"Connect(?:ion)?Error|ConnectTimeout|couldn't connect to|MaxRetryError|NameResolutionError"
)


class HubError(EngineroomError):
    """A model cannot be had; the text says why and what to do."""


def explain(model: str, told: str, token: str | None) -> str | None:
    """What a refusal means, or None where the text is not a known one.

    Args:
        model: the repository that was asked for.
        told: the client's exception with its class's name, or the end of its traceback.
        token: the token that it was asked with, if any.
    """
    if re.search(r"GatedRepoError|Cannot access gated repo|Access to model .* is restricted", told):
        who = "the account of HF_TOKEN" if token else "your account"
        then = "" if token else ", and set HF_TOKEN, which is not set now"
        return f"{model} is gated: ask for access on its page with {who}{then}"
    if re.search(r"RevisionNotFoundError|not a valid git identifier", told):
        return f"{model} has no such branch, tag or commit: check MODEL_REVISION"
    if re.search(r"RepositoryNotFoundError|401 Client Error|HFValidationError", told):
        seen = "or the account of HF_TOKEN may not see it" if token else "or it is private and HF_TOKEN is not set"
        return f"the hub knows no repository {model}, {seen}: check MODEL_NAME"
    if re.search(r"No space left on device", told):
        return f"the disk is too small for {model}"
    if re.search(_CONNECTION, told):
        return f"{model} is not in a local cache, and the hub cannot be reached"
    return None


def download(model: str, revision: str | None, cache: Path, token: str | None = None) -> Path:
    """Download a repository with progress, going on where an earlier try stopped; the snapshot's folder.

    Args:
        model: `org/name`; with `:QUANT` behind it only the GGUF files with that in their names.
        revision: a branch, tag or commit; `main` by default.
        cache: a cache folder as the hub's own client keeps it.

    Raises:
        HubError: with the reason.
    """
    from huggingface_hub import HfApi, snapshot_download

    repository, _, quantisation = model.partition(":")
    try:
        names = HfApi(token=token).list_repo_files(repository, revision=revision)
        wanted = [name for name in names if name.endswith(".gguf") and quantisation.lower() in name.lower()]
        if quantisation and not wanted:
            raise HubError(f"{repository} has no GGUF file with {quantisation!r} in its name")
        doubled = any(name.endswith(".safetensors") for name in names)
        return Path(
            snapshot_download(
                repository,
                revision=revision,
                cache_dir=cache,
                token=token,
                allow_patterns=wanted if quantisation else None,
                ignore_patterns=list(_OTHER_FORMATS) if doubled else None,
            )
        )
    except HubError:
        raise
    except Exception as error:  # The client has no common base class of its own.
        told = f"{type(error).__name__}: {error} {error.__cause__!r}"
        raise HubError(explain(repository, told, token) or f"cannot download {repository}: {error}") from error
