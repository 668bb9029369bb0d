"""A model's shape out of its `config.json`, as transformers writes it.

The fields are those of transformers' configuration classes; a model of several parts (text and images) has the text's
in `text_config` or a field of a similar name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .architecture import Architecture, CacheLayers, merged
from .errors import ModelReadingError

_TEXT_PARTS = ("text_config", "llm_config", "language_config", "thinker_config", "language_model_config")
_WINDOW_WORDS = ("sliding", "window", "local", "chunked", "swa")
_STATE = frozenset({"linear_attention", "mamba", "mamba2", "M", "recurrent", "conv", "linear", "short_conv"})
_NOTHING = frozenset({"mlp", "moe", "-", "E", "ffn", "feed_forward"})
"""How configurations call the kinds of layers. What is none of these counts as attention over the whole context."""

_BYTES = {"float32": 4, "float16": 2, "bfloat16": 2}

_WINDOW_PERIODS = {"gemma2": 2, "gemma3": 6, "gemma3_text": 6}
"""Models of which every layer but the last of a period has a window, though not every configuration says so."""


_LISTS_OF_KINDS = ("layer_types", "layers_block_type", "block_types", "hybrid_override_pattern")


class _ConfigFields:
    """Fields of a configuration under any of their names."""

    def __init__(self, values: Mapping[str, Any], where: str) -> None:
        self.values = values
        self.where = where

    def number(self, *names: str, default: int | None = None) -> int:
        value = self.first(*names)
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return int(value)
        if default is None:
            raise ModelReadingError(f"{self.where} has no {names[0]}: it describes no language model that we know")
        return default

    def first(self, *names: str) -> Any:
        return next((self.values[name] for name in names if self.values.get(name) is not None), None)


def text_part(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """The part of a configuration that describes the language model."""
    for part in _TEXT_PARTS:
        inner = config.get(part)
        if isinstance(inner, Mapping) and inner:
            return {**{key: config[key] for key in ("dtype", "torch_dtype") if key in config}, **text_part(inner)}
    return config


def read(config: Mapping[str, Any], where: str = "config.json") -> Architecture:
    """A model's shape.

    Raises:
        ModelReadingError: it lacks a field without which nothing can be said, e.g. for a model that makes images.
    """
    text = text_part(config)
    fields = _ConfigFields(text, where)
    listed = fields.first(*_LISTS_OF_KINDS)
    layers = fields.number(
        "num_hidden_layers", "n_layer", "num_layers", "n_layers", default=len(listed) if listed else None
    )
    hidden = fields.number("hidden_size", "n_embd", "d_model", "dim")
    heads = fields.number("num_attention_heads", "n_head", "n_heads", "num_heads", default=1) or 1
    experts, expert_width, dense_width, expert_layers = _experts(fields, layers, hidden)
    active = fields.number("num_experts_per_tok", "num_experts_per_token", "moe_topk", "moe_k", default=1)
    active = min(active, experts) if experts else 0
    vocabulary = fields.number("vocab_size", default=0)
    expert_parameters = 3 * hidden * expert_width * experts * expert_layers
    caches = _caches(fields, layers, hidden, heads)
    parameters = (
        _embedding_parameters(text, vocabulary, hidden)
        + layers * _attention_parameters(fields, hidden, heads)
        + 3 * hidden * dense_width * (layers - expert_layers)
        + expert_parameters
    )
    names = config.get("architectures") or [text.get("model_type") or config.get("model_type") or "unknown"]
    return Architecture(
        name=str(names[0]),
        layers=layers,
        hidden=hidden,
        vocabulary=vocabulary,
        context_tokens=_context(fields),
        attention_heads=heads,
        step_width=max(dense_width, expert_width * active),
        caches=caches,
        parameters=parameters,
        experts=experts,
        active_experts=active,
        expert_parameters=expert_parameters,
        compute_bytes=_compute_bytes(text),
        sees="vision_config" in config or "visual" in config,
    )


def _context(fields: _ConfigFields) -> int:
    """The longest context: what positions there are, which older configurations with scaled ones state before."""
    limit = fields.number("max_position_embeddings", "n_positions", "max_seq_len", "seq_length", default=0)
    scaling = fields.first("rope_scaling", "rope_parameters") or {}
    kind = str(scaling.get("rope_type") or scaling.get("type") or "") if isinstance(scaling, Mapping) else ""
    if kind in ("yarn", "linear", "dynamic") and scaling.get("factor"):
        original = int(scaling.get("original_max_position_embeddings") or 0)
        # What transformers writes today counts the scaling already.
        return max(limit, int((original or limit) * float(scaling["factor"])))
    return limit


def _compute_bytes(text: Mapping[str, Any]) -> int:
    """Engines compute a model that is stored in 32 bits with 16."""
    name = str(text.get("dtype") or text.get("torch_dtype") or "bfloat16").removeprefix("torch.")
    return min(_BYTES.get(name, 2), 2)


def _experts(fields: _ConfigFields, layers: int, hidden: int) -> tuple[int, int, int, int]:
    """Experts, the width of one, the width of a dense layer, and how many layers have experts."""
    dense = fields.first("intermediate_size", "ffn_hidden_size", "n_inner", "ffn_dim")
    if isinstance(dense, Sequence) and not isinstance(dense, str):
        dense = max(dense)
    dense_width = int(dense) if dense else 4 * hidden
    count = fields.number("num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts", default=0)
    if count <= 1:
        return 0, 0, dense_width, 0
    width = fields.first("moe_intermediate_size", "expert_intermediate_size", "moe_ffn_hidden_size")
    if isinstance(width, Sequence) and not isinstance(width, str):
        width = max(width)
    first_dense = fields.number("first_k_dense_replace", "num_dense_layers", "moe_layer_start_index", default=0)
    step = fields.number("interleave_moe_layer_step", "decoder_sparse_step", "moe_layer_freq", default=1)
    return count, int(width or dense_width), dense_width, max(1, (layers - first_dense) // max(1, step))


def _attention_parameters(fields: _ConfigFields, hidden: int, heads: int) -> int:
    head = fields.number("head_dim", default=hidden // heads)
    kv_heads = fields.number("num_key_value_heads", default=heads) or heads
    if fields.first("kv_lora_rank"):
        return 2 * hidden * heads * head
    return hidden * head * (2 * heads + 2 * kv_heads)


def _embedding_parameters(text: Mapping[str, Any], vocabulary: int, hidden: int) -> int:
    return vocabulary * hidden * (1 if text.get("tie_word_embeddings") else 2)


def _caches(fields: _ConfigFields, layers: int, hidden: int, heads: int) -> tuple[CacheLayers, ...]:
    if fields.first("kv_lora_rank"):
        return _latent(fields, layers)
    own = fields.first("per_layer_config")
    each: list[CacheLayers] = []
    for number, kinds in enumerate(_kinds(fields, layers)):
        layer_fields = fields
        overrides = (own.get(f"{number:02}") or own.get(str(number))) if isinstance(own, Mapping) else None
        if isinstance(overrides, Mapping):
            layer_fields = _ConfigFields({**fields.values, **overrides}, fields.where)
        each += [_layer(layer_fields, kind, hidden, heads) for kind in kinds]
    return merged(each)


def _layer(fields: _ConfigFields, kind: str, hidden: int, heads: int) -> CacheLayers:
    if kind == "state":
        return _state(fields, hidden)
    rate = _compression(fields, kind)
    if rate:
        # DeepSeek V4 keeps one vector for so many tokens, keys and values in one, for all heads.
        return CacheLayers("latent", 1, 1, fields.number("head_dim") // rate)
    return _attention(fields, hidden, heads, kind)


def _compression(fields: _ConfigFields, kind: str) -> int:
    """For how many tokens a kind of layer keeps one vector; 0 where each has its own."""
    rates = fields.first("compress_rates")
    rate = rates.get(kind) if isinstance(rates, Mapping) else None
    return int(rate) if isinstance(rate, (int, float)) else 0


def _latent(fields: _ConfigFields, layers: int) -> tuple[CacheLayers, ...]:
    """Multi-head latent attention: one vector for all heads, so that every GPU holds all of it."""
    kept = fields.number("kv_lora_rank") + fields.number("qk_rope_head_dim", default=0)
    linear = fields.first("linear_attn_config")
    if isinstance(linear, Mapping) and linear.get("full_attn_layers"):
        full_layers = len(linear["full_attn_layers"])
        heads = int(linear.get("num_heads", 1))
        head = int(linear.get("head_dim", 128))
        conv = int(linear.get("short_conv_kernel_size", 4)) - 1
        state = CacheLayers("state", layers - full_layers, heads, head * head * 2 + 3 * head * conv)
        return (CacheLayers("latent", full_layers, 1, kept), state)
    caches = [CacheLayers("latent", layers, 1, kept)]
    index = fields.number("index_head_dim", default=0)
    if index:
        # The index that picks tokens (DeepSeek V3.2): 8 bits for a number, and a scale of 4 bytes for 128 of them.
        caches.append(CacheLayers("latent", layers, 1, index, bytes_per_value=1 + 4 / 128))
    return tuple(caches)


def _attention(fields: _ConfigFields, hidden: int, heads: int, kind: str) -> CacheLayers:
    """One layer of attention. Gemma 4's layers over the whole context are wider than those with a window."""
    kv_heads = fields.number("num_key_value_heads", "multi_query_group_num", "n_head_kv", "num_kv_heads", default=0)
    if fields.first("multi_query") is True and not fields.first("num_key_value_heads"):
        kv_heads = 1
    head = fields.number("head_dim", "attention_head_dim", "kv_channels", default=hidden // heads)
    value = fields.number("v_head_dim", default=head)
    if kind == "full":
        kv_heads = fields.number("num_global_key_value_heads", default=kv_heads)
        wide = fields.number("global_head_dim", default=0)
        head = wide or head
        value = wide or value
        return CacheLayers("full", 1, kv_heads or heads, head + value)
    kv_heads = fields.number("swa_num_key_value_heads", default=kv_heads)
    head = fields.number("swa_head_dim", default=head)
    value = fields.number("swa_v_head_dim", default=value)
    return CacheLayers("window", 1, kv_heads or heads, head + value, window_tokens=_window(fields))


def _window(fields: _ConfigFields) -> int:
    return fields.number("sliding_window", "attention_chunk_size", "sliding_window_size", "window_size", default=0)


def _kinds(fields: _ConfigFields, layers: int) -> list[tuple[str, ...]]:
    """What each layer keeps: `full`, `window`, `state`, a kind that is compressed; two of them, or nothing."""
    listed = fields.first(*_LISTS_OF_KINDS)
    if isinstance(listed, (str, Sequence)) and listed:
        # RecurrentGemma's list is a pattern that is repeated.
        entries = list(listed) * (layers // len(listed) + 1)
        kinds = [_kinds_of(str(entry), fields) for entry in entries[:layers]]
    else:
        kinds = _kinds_by_rule(fields, layers)
    # The last layers may read the cache of those before them (Gemma 3n).
    shared = fields.number("num_kv_shared_layers", default=0)
    return kinds[: layers - shared] if shared else kinds


def _kinds_of(name: str, fields: _ConfigFields) -> tuple[str, ...]:
    if name in _STATE:
        return ("state",)
    if name in _NOTHING:
        return ()
    if _compression(fields, name):
        return (name, "window") if _window(fields) else (name,)
    attention = "window" if any(word in name for word in _WINDOW_WORDS) and _window(fields) else "full"
    return (attention, "state") if "hybrid" in name else (attention,)


def _kinds_by_rule(fields: _ConfigFields, layers: int) -> list[tuple[str, ...]]:
    model = str(fields.first("model_type") or "")
    if model in ("mamba", "mamba2", "falcon_mamba"):
        return [("state",)] * layers
    if model == "falcon_h1":
        return [("full", "state")] * layers
    if fields.first("attn_layer_period"):
        period = fields.number("attn_layer_period")
        offset = fields.number("attn_layer_offset", default=0)
        return [("full",) if layer % period == offset else ("state",) for layer in range(layers)]
    attention_layers = fields.first("attn_layer_indices", "full_attn_idxs", "hybrid_layer_ids")
    if isinstance(attention_layers, Sequence):
        attention = ("full", "state") if model == "zamba2" else ("full",)
        return [attention if layer in attention_layers else ("state",) for layer in range(layers)]
    kept = fields.first("attn_type_list")
    if isinstance(kept, Sequence):
        return [("full",) if each else ("state",) for each in kept[:layers]]
    interval = fields.number("full_attention_interval", default=0)
    if interval:
        return [("state",) if (layer + 1) % interval else ("full",) for layer in range(layers)]
    if not _window(fields) or fields.first("use_sliding_window") is False:
        return [("full",)] * layers
    rope_free = fields.first("no_rope_layers")
    if isinstance(rope_free, Sequence) and fields.first("attention_chunk_size"):
        # Llama 4: where there are positions (1) attention stays within chunks.
        return [("window",) if each else ("full",) for each in rope_free[:layers]]
    usual = _WINDOW_PERIODS.get(model, 0)
    pattern = fields.number("sliding_window_pattern", "_sliding_window_pattern", default=usual)
    if pattern > 1:
        return [("window",) if (layer + 1) % pattern else ("full",) for layer in range(layers)]
    first = fields.number("max_window_layers", default=0)
    return [("full",) if layer < first else ("window",) for layer in range(layers)]


def _state(fields: _ConfigFields, hidden: int) -> CacheLayers:
    """One layer whose state does not grow, by the names that its fields have in each family."""
    if fields.first("linear_num_value_heads"):
        # Gated DeltaNet (Qwen3-Next, Qwen3.5): a matrix for each head, and the last inputs of a convolution.
        values = fields.number("linear_num_value_heads")
        keys = fields.number("linear_num_key_heads", default=values)
        key_size = fields.number("linear_key_head_dim", default=128)
        value_size = fields.number("linear_value_head_dim", default=128)
        inputs = (2 * keys * key_size + values * value_size) * (fields.number("linear_conv_kernel_dim", default=4) - 1)
        return CacheLayers("state", 1, values, value_size * key_size + inputs // values)
    kernel = fields.number("mamba_d_conv", "conv_kernel", "conv_kernel_size", "conv_L_cache", "d_conv", default=4)
    if fields.first("conv_L_cache"):
        return CacheLayers("state", 1, 1, hidden * (kernel - 1))
    size = fields.number("mamba_d_state", "ssm_state_size", "state_size", "d_state", default=128)
    heads = fields.number("mamba_n_heads", "mamba_num_heads", "n_mamba_heads", default=0)
    if not heads and fields.first("model_type") == "mamba2":
        heads = fields.number("num_heads", default=0)
    if heads:
        head = fields.number("mamba_d_head", "mamba_head_dim", "mamba_headdim", "head_dim", default=64)
        groups = fields.number("mamba_n_groups", "n_groups", "mamba_ngroups", default=1)
        inputs = (heads * head + 2 * groups * size) * (kernel - 1)
        return CacheLayers("state", 1, heads, head * size + inputs // heads)
    if fields.first("attn_type_list"):
        # Linear attention (MiniMax): a matrix in 32 bits for each head.
        head = fields.number("head_dim", default=128)
        return CacheLayers("state", 1, fields.number("num_attention_heads"), head * head, bytes_per_value=4)
    inner = fields.number("mamba_d_inner", default=0)
    if not inner and "mamba" in str(fields.first("model_type")):
        inner = fields.number("intermediate_size", default=0)
    inner = inner or fields.number("mamba_expand", "expand", default=2) * hidden
    return CacheLayers("state", 1, inner, size + kernel - 1)
