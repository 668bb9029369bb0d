"""Download a repository, run as a script by an engine's own Python, which has the hub's client and not this package.

    python fetch.py REPOSITORY [--revision REVISION] [--cache FOLDER] [--one-format]

The last line that it prints is the folder, or else the reason why there is none. Both this and an engine that asks for
the same files a little later hold the hub's own file locks.
"""

from __future__ import annotations

import argparse
import sys
from fnmatch import fnmatch
from typing import Any

_WEIGHTS = ("*.safetensors", "*.bin", "*.pt")
_BESIDE = ("*.json", "*.jinja", "*.model", "*.py", "*.tiktoken", "*.txt")


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("repository")
    parser.add_argument("--revision")
    parser.add_argument("--cache")
    parser.add_argument("--one-format", action="store_true", help="weights of one format, and the small files beside")
    options = parser.parse_args()
    try:
        print(download(options.repository, options.revision, options.cache, one_format=options.one_format))
    except Exception as error:  # The client has no common base class of its own.
        print(f"{type(error).__name__}: {' '.join(str(error).split())}")
        return 1
    return 0


def download(repository: str, revision: str | None, cache: str | None, *, one_format: bool) -> str:
    """The folder with the files; with `one_format`, of the weights only those of the first format that there is."""
    from huggingface_hub import snapshot_download

    wanted: dict[str, Any] = {"revision": revision} if revision else {}
    if cache:
        wanted["cache_dir"] = cache
    if one_format:
        from huggingface_hub import list_repo_files

        files = list_repo_files(repository, revision=revision)
        weights = [pattern for pattern in _WEIGHTS if any(fnmatch(name, pattern) for name in files)][:1]
        wanted["allow_patterns"] = [*weights, *_BESIDE]
        wanted["ignore_patterns"] = ["original/**/*"]
    return str(snapshot_download(repository, **wanted))


if __name__ == "__main__":
    # The modules beside this file are not for this Python, and must not stand for libraries of the same name.
    del sys.path[0]
    sys.exit(main())
