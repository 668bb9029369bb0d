"""Download a GGUF file from the hub: `python -m engineroom_llamacpp.fetch org/name [file or quantisation]`.

The last line it prints is the path of the file. A process of its own, so that it can be stopped at any time.
"""

from __future__ import annotations

import os
import re
import sys

from engineroom.installation import how_to_install
from engineroom.models import explain

from .models import ModelError, pick_name


def main() -> int:
    repository = sys.argv[1]
    wanted = sys.argv[2] if len(sys.argv) > 2 else ""
    try:
        from huggingface_hub import HfApi, hf_hub_download
    except ImportError:
        remedy = how_to_install("engineroom[hub]")
        print(f"huggingface_hub is not installed: {remedy}, or give MODEL_NAME a local file")
        return 1
    try:
        files = HfApi().list_repo_files(repository)
        chosen = pick_name(files, repository, wanted)
        stem = re.sub(r"-00001(-of-\d{5}\.gguf)$", "", chosen)
        parts = [
            name for name in files if stem != chosen and re.fullmatch(re.escape(stem) + r"-\d{5}-of-\d{5}\.gguf", name)
        ]
        paths = [hf_hub_download(repository, name) for name in sorted(parts) or [chosen]]
    except (ModelError, OSError, ValueError) as error:
        reason = explain(repository, f"{type(error).__name__}: {error}", os.environ.get("HF_TOKEN"))
        print(reason or f"{repository} could not be fetched: {' '.join(str(error).split())}")
        return 1
    print(paths[0])
    return 0


if __name__ == "__main__":
    sys.exit(main())
