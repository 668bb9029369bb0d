"""Make LoRA adapters whose answers differ from the model's: `make_adapter.py MODEL FOLDER[:RANK[:SEED]]...`.

Runs in vLLM's Python.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

RANK = 8


def main(model: Path, wanted: list[str]) -> None:
    import torch
    from safetensors.torch import save_file

    config = json.loads((model / "config.json").read_text())
    hidden = config["hidden_size"]
    for each in wanted:
        place, rank, seed = [*each.split(":"), str(RANK), "0"][:3]
        generator = torch.Generator().manual_seed(int(seed))
        tensors = {}
        for layer in range(config["num_hidden_layers"]):
            name = f"base_model.model.model.layers.{layer}.self_attn.q_proj"
            tensors[f"{name}.lora_A.weight"] = torch.randn(int(rank), hidden, generator=generator)
            tensors[f"{name}.lora_B.weight"] = torch.randn(hidden, int(rank), generator=generator)
        folder = Path(place)
        folder.mkdir(parents=True, exist_ok=True)
        save_file(tensors, folder / "adapter_model.safetensors")
        peft = {"peft_type": "LORA", "r": int(rank), "lora_alpha": int(rank), "target_modules": ["q_proj"]}
        (folder / "adapter_config.json").write_text(json.dumps({**peft, "task_type": "CAUSAL_LM"}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
