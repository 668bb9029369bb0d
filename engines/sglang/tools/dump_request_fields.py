"""Print the fields that SGLang's own request models declare, as JSON: engineroom_sglang/request_fields.json.

Runs in SGLang's Python: `python engines/sglang/tools/dump_request_fields.py > …/request_fields.json`.
"""

from __future__ import annotations

import json
import sys


def main() -> int:
    out, sys.stdout = sys.stdout, sys.stderr
    from sglang.srt.entrypoints.openai import protocol

    models = {
        "/v1/chat/completions": protocol.ChatCompletionRequest,
        "/v1/completions": protocol.CompletionRequest,
        "/v1/embeddings": protocol.EmbeddingRequest,
        "/v1/rerank": protocol.V1RerankReqInput,
    }
    print(json.dumps({path: sorted(model.model_fields) for path, model in models.items()}, indent=2), file=out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
