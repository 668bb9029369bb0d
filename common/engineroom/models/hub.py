"""Downloads from the Hugging Face Hub, and its errors in words that a person can act on."""

from __future__ import annotations

import re
from pathlib import Path

from ..errors import EngineroomError

_OTHER_FORMATS = ("*.bin", "*.pt", "*.pth", "*.msgpack", "*.h5", "*.ot", "*.onnx", "onnx/*", "original/*")
"""The same weights once more, which repositories have beside their safetensors."""

_CONNECTION = (
    r"LocalEntryNotFoundError|OfflineModeIsEnabled|while HF_HUB_OFFLINE is enabled|outgoing traffic has been disabled|"
    r"Connect(?:ion)?Error|ConnectTimeout|couldn't connect to|MaxRetryError|NameResolutionError"
)

_NO_REPOSITORY = (
    r"RepositoryNotFoundError|401 Client Error|HFValidationError|"
    r"is not a local folder and is not a valid model identifier"
)


class HubError(EngineroomError):
    """A model cannot be downloaded; the text says why, and what to do about it."""


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
        return f"{model} is gated: ask for access on its page with your account, and set HF_TOKEN, which is not set now"
    if re.search(r"RevisionNotFoundError|not a valid git identifier", error_text):
        return f"{model} has no such branch, tag or commit: check MODEL_REVISION"
    if re.search(_NO_REPOSITORY, error_text):
        or_private = (
            "or the account of HF_TOKEN may not see it" if token else "or it is private and HF_TOKEN is not set"
        )
        return f"the hub knows no repository {model}, {or_private}: check MODEL_NAME"
    if re.search(r"No space left on device", error_text):
        return f"the disk is too small for {model}"
    if re.search(_CONNECTION, error_text):
        return f"{model} is not in a local cache, and the hub cannot be reached"
    return None


def download(model: str, revision: str | None, cache: Path, token: str | None = None) -> Path:
    """Download a repository and show the progress. It goes on where an earlier try stopped.

    Args:
        model: `org/name`; with `:QUANT` appended, only the GGUF files that have QUANT in their names.
        revision: a branch, tag or commit; `main` by default.
        cache: a cache folder in the layout of the hub's own client.

    Returns:
        The folder of the snapshot.

    Raises:
        HubError: the text has the reason.
    """
    from huggingface_hub import HfApi, snapshot_download

    repository, _, quantisation = model.partition(":")
    try:
        names = HfApi(token=token).list_repo_files(repository, revision=revision)
        allow_patterns = None
        if quantisation:
            allow_patterns = [name for name in names if name.endswith(".gguf") and quantisation.lower() in name.lower()]
            if not allow_patterns:
                raise HubError(f"{repository} has no GGUF file with {quantisation!r} in its name")
        has_safetensors = any(name.endswith(".safetensors") for name in names)
        return Path(
            snapshot_download(
                repository,
                revision=revision,
                cache_dir=cache,
                token=token,
                allow_patterns=allow_patterns,
                ignore_patterns=list(_OTHER_FORMATS) if has_safetensors else None,
            )
        )
    except HubError:
        raise
    except Exception as error:  # The client has no common base class of its own.
        error_text = f"{type(error).__name__}: {error} {error.__cause__!r}"
        reason = explain(repository, error_text, token) or f"cannot download {repository}: {error}"
        raise HubError(reason) from error
