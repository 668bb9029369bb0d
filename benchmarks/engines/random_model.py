"""Makes a Llama of random weights, for a GPU on a machine without a hub: it says nonsense, at a real model's pace.

`random_model.py FOLDER TOKENIZER HIDDEN LAYERS HEADS KV_HEADS INTERMEDIATE` in a Python that has transformers.
TOKENIZER is the folder of a model whose tokeniser and chat template it takes, as .build/SmolLM2-135M-Instruct is. The
model of transformers-cuda.md is `1024 28 16 8 3072`.
"""

from __future__ import annotations

import sys
from pathlib import Path


def main(folder: Path, tokenizer: Path, sizes: list[int]) -> None:
    import torch
    import transformers

    hidden, layers, heads, kv_heads, intermediate = sizes
    transformers.AutoTokenizer.from_pretrained(tokenizer).save_pretrained(folder)
    config = transformers.LlamaConfig(
        vocab_size=49152,
        hidden_size=hidden,
        intermediate_size=intermediate,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=kv_heads,
        max_position_embeddings=8192,
        bos_token_id=1,
        eos_token_id=2,
        tie_word_embeddings=False,
    )
    torch.manual_seed(0)
    transformers.LlamaForCausalLM(config).to(torch.bfloat16).save_pretrained(folder)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), [int(size) for size in sys.argv[3:]])
