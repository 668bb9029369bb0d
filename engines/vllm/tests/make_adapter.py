"""Make a LoRA adapter of rank 8 for a model, large enough that its answers differ: `make_adapter.py MODEL FOLDER`.

Runs in vLLM's Python.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

RANK = 8


def main(model: Path, folder: Path) -> None:
    import torch
    from safetensors.torch import save_file

    config = json.loads((model / "config.json").read_text())
    hidden, generator = config["hidden_size"], torch.Generator().manual_seed(0)
    tensors = {}
    for layer in range(config["num_hidden_layers"]):
        name = f"base_model.model.model.layers.{layer}.self_attn.q_proj"
        tensors[f"{name}.lora_A.weight"] = torch.randn(RANK, hidden, generator=generator)
        tensors[f"{name}.lora_B.weight"] = torch.randn(hidden, RANK, generator=generator)
    folder.mkdir(parents=True, exist_ok=True)
    save_file(tensors, folder / "adapter_model.safetensors")
    peft = {"peft_type": "LORA", "r": RANK, "lora_alpha": RANK, "target_modules": ["q_proj"], "task_type": "CAUSAL_LM"}
    (folder / "adapter_config.json").write_text(json.dumps(peft))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
