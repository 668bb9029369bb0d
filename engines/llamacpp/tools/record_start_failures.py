"""Record why llama.cpp fails to start: `record_start_failures.py [NAME]...`, into tests/start_failures.

Runs in a Python that has xllamacpp and the small model, as `make env-dev` makes it.
"""

from __future__ import annotations

import importlib.metadata
import shutil
import struct
import sys
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
sys.path += [str(ROOT / "tools"), str(ROOT / "tests" / "support")]

import gguf_lora  # noqa: E402
import start_failures  # noqa: E402

from engineroom_llamacpp.models import packaged  # noqa: E402

_STRING = 8
_FAR_TOO_MANY = "4000000"


def _string(text: str) -> bytes:
    return struct.pack("<Q", len(text)) + text.encode()


def _changed(place: Path, old: bytes, new: bytes, name: str = "changed.gguf") -> Path:
    """The small model with the first `old` replaced by as many bytes."""
    assert len(old) == len(new)
    data = packaged().read_bytes()
    assert old in data, old
    file = place / name
    file.write_bytes(data.replace(old, new, 1))
    return file


def _with_value(place: Path, key: str, value: str) -> Path:
    """The small model with another text of the same length for one of its strings."""
    data = packaged().read_bytes()
    at = data.index(_string(key)) + len(_string(key)) + 4
    (length,) = struct.unpack_from("<Q", data, at)
    assert length == len(value), data[at + 8 : at + 8 + length]
    file = place / "changed.gguf"
    file.write_bytes(data[: at + 8] + value.encode() + data[at + 8 + length :])
    return file


def _model(place: Path) -> str:
    """The small model, under a path that is not this machine's."""
    file = place / "small.gguf"
    file.symlink_to(packaged())
    return str(file)


def truncated(place: Path) -> Mapping[str, str]:
    file = place / "truncated.gguf"
    file.write_bytes(packaged().read_bytes()[:50_000_000])
    return {"MODEL_NAME": str(file)}


def truncated_head(place: Path) -> Mapping[str, str]:
    file = place / "truncated.gguf"
    file.write_bytes(packaged().read_bytes()[:1_000_000])
    return {"MODEL_NAME": str(file)}


def newer_format(place: Path) -> Mapping[str, str]:
    return {"MODEL_NAME": str(_changed(place, b"GGUF\x03\0\0\0", b"GGUF\x09\0\0\0"))}


def unknown_architecture(place: Path) -> Mapping[str, str]:
    return {"MODEL_NAME": str(_with_value(place, "general.architecture", "zorka"))}


def unknown_pre_tokenizer(place: Path) -> Mapping[str, str]:
    return {"MODEL_NAME": str(_with_value(place, "tokenizer.ggml.pre", "zorkzo"))}


def missing_hyperparameter(place: Path) -> Mapping[str, str]:
    return {"MODEL_NAME": str(_changed(place, b"llama.block_count", b"llama.black_count"))}


def missing_tensor(place: Path) -> Mapping[str, str]:
    return {"MODEL_NAME": str(_changed(place, b"blk.3.attn_q.weight", b"blk.3.attn_x.weight"))}


def bad_tensor_type(place: Path) -> Mapping[str, str]:
    data = packaged().read_bytes()
    at = data.index(_string("blk.3.attn_q.weight")) + len(_string("blk.3.attn_q.weight"))
    (dimensions,) = struct.unpack_from("<I", data, at)
    at += 4 + 8 * dimensions
    file = place / "changed.gguf"
    file.write_bytes(data[:at] + struct.pack("<I", 250) + data[at + 4 :])
    return {"MODEL_NAME": str(file)}


def wrong_shape(place: Path) -> Mapping[str, str]:
    data = packaged().read_bytes()
    at = data.index(_string("llama.embedding_length")) + len(_string("llama.embedding_length")) + 4
    file = place / "changed.gguf"
    file.write_bytes(data[:at] + struct.pack("<I", 512) + data[at + 4 :])
    return {"MODEL_NAME": str(file)}


def missing_shard(place: Path) -> Mapping[str, str]:
    file = place / "split-00001-of-00002.gguf"
    data = packaged().read_bytes()
    # Two more entries say that the file is the first of two; the tensors stay where they are.
    (entries,) = struct.unpack_from("<Q", data, 16)
    more = _string("split.count") + struct.pack("<IH", 2, 2) + _string("split.no") + struct.pack("<IH", 2, 0)
    more += _string("split.tensors.count") + struct.pack("<Ii", 5, 10_000)
    more += _string("filler") + struct.pack("<I", _STRING)
    filler = -(len(more) + 8) % 32
    more += struct.pack("<Q", filler) + b"x" * filler
    file.write_bytes(data[:16] + struct.pack("<Q", entries + 4) + more + data[24:])
    return {"MODEL_NAME": str(file)}


def lora_as_model(place: Path) -> Mapping[str, str]:
    """As a model that an earlier check would refuse: without its `general.type`."""
    file = gguf_lora.write(place / "adapter.gguf")
    file.write_bytes(file.read_bytes().replace(b"general.type", b"general.tipe", 1))
    return {"MODEL_NAME": str(file)}


def lora_of_another_architecture(place: Path) -> Mapping[str, str]:
    file = gguf_lora.write(place / "adapter.gguf")
    file.write_bytes(file.read_bytes().replace(_string("llama"), _string("qwen2"), 1))
    return {"MODEL_NAME": _model(place), "LORA": str(file)}


def lora_of_another_model(place: Path) -> Mapping[str, str]:
    file = gguf_lora.write(place / "adapter.gguf")
    file.write_bytes(
        file.read_bytes().replace(b"blk.0.attn_q", b"blk.77.attn_", 1).replace(b"blk.0.attn_q", b"blk.77.attn_", 1)
    )
    return {"MODEL_NAME": _model(place), "LORA": str(file)}


def lora_of_another_size(place: Path) -> Mapping[str, str]:
    file = gguf_lora.write(place / "adapter.gguf")
    file.write_bytes(file.read_bytes().replace(struct.pack("<QQ", 576, 1), struct.pack("<QQ", 288, 2), 1))
    return {"MODEL_NAME": _model(place), "LORA": str(file)}


def lora_that_is_a_model(place: Path) -> Mapping[str, str]:
    model = _model(place)
    return {"MODEL_NAME": model, "LORA": model}


def lora_that_is_no_gguf(place: Path) -> Mapping[str, str]:
    file = place / "adapter.safetensors"
    file.write_bytes(b"\x10\0\0\0\0\0\0\0{}" + bytes(100))
    return {"MODEL_NAME": _model(place), "LORA": str(file)}


def context_beyond_memory(place: Path) -> Mapping[str, str]:
    return {"MODEL_NAME": _model(place), "CTX_SIZE": "20000000", "FIT": "off"}


def context_beyond_memory_with_fit(place: Path) -> Mapping[str, str]:
    return {"MODEL_NAME": _model(place), "CTX_SIZE": "20000000"}


def batch_beyond_memory(place: Path) -> Mapping[str, str]:
    size = "20000000"
    return {
        "MODEL_NAME": _model(place),
        "CTX_SIZE": size,
        "BATCH_SIZE": size,
        "UBATCH_SIZE": size,
        "CACHE_TYPE_K": "q4_0",
    }


def quantised_cache_without_flash_attention(place: Path) -> Mapping[str, str]:
    return {"MODEL_NAME": _model(place), "CTX_SIZE": "512", "CACHE_TYPE_V": "q4_0", "FLASH_ATTN": "off"}


def cache_type_that_does_not_divide(place: Path) -> Mapping[str, str]:
    return {"MODEL_NAME": _model(place), "CTX_SIZE": "512", "CACHE_TYPE_K": "q4_k"}


def mmproj_that_is_a_model(place: Path) -> Mapping[str, str]:
    model = _model(place)
    return {"MODEL_NAME": model, "CTX_SIZE": "512", "MMPROJ": model}


def mmproj_that_is_no_gguf(place: Path) -> Mapping[str, str]:
    file = place / "mmproj.gguf"
    file.write_bytes(b"no projector" * 100)
    return {"MODEL_NAME": _model(place), "CTX_SIZE": "512", "MMPROJ": str(file)}


def template_with_an_error(place: Path) -> Mapping[str, str]:
    file = place / "template.jinja"
    file.write_text("{% for message in messages %}{{ message.content }")
    return {"MODEL_NAME": _model(place), "CTX_SIZE": "512", "CHAT_TEMPLATE_FILE": str(file)}


def template_that_is_not_text(place: Path) -> Mapping[str, str]:
    file = place / "template.jinja"
    file.write_bytes(b"\xff\xfe\0\x80" * 20)
    return {"MODEL_NAME": _model(place), "CTX_SIZE": "512", "CHAT_TEMPLATE_FILE": str(file)}


def unknown_template_name(place: Path) -> Mapping[str, str]:
    return {"MODEL_NAME": _model(place), "CTX_SIZE": "512", "CHAT_TEMPLATE": "no-such-template", "JINJA": "false"}


def template_without_jinja(place: Path) -> Mapping[str, str]:
    return {"MODEL_NAME": _model(place), "CTX_SIZE": "512", "CHAT_TEMPLATE": "{{ custom }}", "JINJA": "false"}


def reranking_without_a_rank_head(place: Path) -> Mapping[str, str]:
    return {"MODEL_NAME": _model(place), "CTX_SIZE": "512", "RERANKING": "true"}


def embedding_batch(place: Path) -> Mapping[str, str]:
    return {
        "MODEL_NAME": _model(place),
        "CTX_SIZE": "4096",
        "EMBEDDINGS": "true",
        "POOLING": "mean",
        "BATCH_SIZE": "2048",
        "UBATCH_SIZE": "512",
    }


def more_layers_than_devices(place: Path) -> Mapping[str, str]:
    return {"MODEL_NAME": _model(place), "CTX_SIZE": "512", "N_GPU_LAYERS": "99", "MAIN_GPU": "7", "SPLIT_MODE": "none"}


def bad_template_arguments(place: Path) -> Mapping[str, str]:
    return {"MODEL_NAME": _model(place), "CTX_SIZE": "512", "CHAT_TEMPLATE_KWARGS": "{enable_thinking: true}"}


def bad_tensor_split(place: Path) -> Mapping[str, str]:
    return {"MODEL_NAME": _model(place), "CTX_SIZE": "512", "TENSOR_SPLIT": "half,half"}


def bad_layers(place: Path) -> Mapping[str, str]:
    return {"MODEL_NAME": _model(place), "CTX_SIZE": "512", "N_GPU_LAYERS": "many"}


def bad_lora_scale(place: Path) -> Mapping[str, str]:
    file = gguf_lora.write(place / "adapter.gguf")
    return {"MODEL_NAME": _model(place), "CTX_SIZE": "512", "LORA_SCALED": f"{file}:much"}


def missing_scaled_lora(place: Path) -> Mapping[str, str]:
    return {"MODEL_NAME": _model(place), "CTX_SIZE": "512", "LORA_SCALED": f"{place}/none.gguf:0.5"}


def unreadable(place: Path) -> Mapping[str, str]:
    """A file that can be opened and cannot be read: a folder's name inside would be refused by the settings."""
    file = place / "unreadable.gguf"
    shutil.copy(packaged(), file)
    return {"MODEL_NAME": str(file), "CTX_SIZE": "512"}


def library_without_xllamacpp(place: Path) -> Mapping[str, str]:
    return {"MODEL_NAME": _model(place), "LLAMACPP_PYTHON": "/usr/bin/python3"}


def missing_python(place: Path) -> Mapping[str, str]:
    return {"MODEL_NAME": _model(place), "LLAMACPP_PYTHON": f"{place}/python"}


def batch_of_zero(place: Path) -> Mapping[str, str]:
    return {"MODEL_NAME": _model(place), "CTX_SIZE": "512", "BATCH_SIZE": "0"}


def more_slots_than_allowed(place: Path) -> Mapping[str, str]:
    return {"MODEL_NAME": _model(place), "CTX_SIZE": "4096", "PARALLEL": "300"}


def rope_scale_of_zero(place: Path) -> Mapping[str, str]:
    return {"MODEL_NAME": _model(place), "CTX_SIZE": "512", "ROPE_SCALE": "0"}


def media_path_missing(place: Path) -> Mapping[str, str]:
    return {"MODEL_NAME": _model(place), "CTX_SIZE": "512", "MEDIA_PATH": f"{place}/none"}


ATTEMPTS = start_failures.preparations(globals())

if __name__ == "__main__":
    version = f"xllamacpp {importlib.metadata.version('xllamacpp')}"
    sys.exit(start_failures.main("llamacpp", version, ATTEMPTS, Path(__file__).parents[1] / "tests" / "start_failures"))
