"""Download a model while vLLM is still importing: `fetch.py REPOSITORY REVISION CACHE`; "" for a default.

Runs in vLLM's Python, which has huggingface_hub. It takes the files that vLLM will ask for a quarter of a minute
later and finds then; both hold the hub's own file locks. What fails here vLLM meets again and explains.
"""

from __future__ import annotations

import sys
from fnmatch import fnmatch

_WEIGHTS = ("*.safetensors", "*.bin", "*.pt")
_BESIDE = ["*.json", "*.jinja", "*.model", "*.py", "*.tiktoken", "*.txt"]


def main(repository: str, revision: str | None, cache: str | None) -> int:
    from huggingface_hub import list_repo_files, snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

    try:
        files = list_repo_files(repository, revision=revision)
        weights = [pattern for pattern in _WEIGHTS if any(fnmatch(name, pattern) for name in files)][:1]
        patterns = weights + _BESIDE
        folder = snapshot_download(
            repository, revision=revision, cache_dir=cache, allow_patterns=patterns, ignore_patterns=["original/**/*"]
        )
    except (HfHubHTTPError, OfflineModeIsEnabled, OSError) as error:
        print(f"{repository}: {str(error).splitlines()[0]}")
        return 1
    print(f"{repository}: downloaded to {folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2] or None, sys.argv[3] or None))
