"""The encoder says what the published model says: checked against a plain numpy forward pass of the same weights."""

from __future__ import annotations

import math

import numpy as np
import pytest
from tokenizers import Tokenizer

from services.llm_gateway.encoder import DIMENSIONS, HEADS, LAYERS, Encoder, _weights, converted, weights_folder

TEXTS = [
    "I forgot my password",
    "How do I reset my password?",
    "I would like my money back for the last order",
    "Can I get a refund?",
    "port 22 of instance i-0042 does not answer although the security group allows it, and it worked yesterday",
]


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    return Encoder(tmp_path_factory.mktemp("encoder"))


def reference(texts):
    """BERT in float32, sentence by sentence."""
    weights = _weights()
    tokenizer = Tokenizer.from_file(str(weights_folder() / "tokenizer.json"))
    tokenizer.no_padding()
    return np.stack([_forward(weights, tokenizer.encode(text).ids) for text in texts])


def _norm(x, weights, name):
    x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-12)
    return x * weights[f"{name}.weight"] + weights[f"{name}.bias"]


def _linear(x, weights, name):
    return x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]


def _forward(weights, ids):
    x = weights["embeddings.word_embeddings.weight"][ids] + weights["embeddings.token_type_embeddings.weight"][0]
    x = _norm(x + weights["embeddings.position_embeddings.weight"][: len(ids)], weights, "embeddings.LayerNorm")
    for number in range(LAYERS):
        name = f"encoder.layer.{number}"
        q, k, v = (
            _linear(x, weights, f"{name}.attention.self.{part}").reshape(len(ids), HEADS, -1).swapaxes(0, 1)
            for part in ("query", "key", "value")
        )
        scores = np.exp(q @ k.swapaxes(1, 2) / math.sqrt(q.shape[-1]))
        attended = (scores / scores.sum(-1, keepdims=True) @ v).swapaxes(0, 1).reshape(len(ids), -1)
        x = _norm(
            x + _linear(attended, weights, f"{name}.attention.output.dense"),
            weights,
            f"{name}.attention.output.LayerNorm",
        )
        inner = _linear(x, weights, f"{name}.intermediate.dense")
        inner = inner * 0.5 * (1 + np.vectorize(math.erf)(inner / math.sqrt(2)))
        x = _norm(x + _linear(inner, weights, f"{name}.output.dense"), weights, f"{name}.output.LayerNorm")
    mean = x.mean(0)
    return mean / np.linalg.norm(mean)


def test_int8_is_close_to_the_published_weights(encoder):
    cosines = (encoder.embed(TEXTS) * reference(TEXTS)).sum(axis=1)
    assert cosines.min() > 0.99


def test_vectors_are_unit_and_padding_changes_nothing(encoder):
    together = encoder.embed([*TEXTS, ""])
    assert together.shape == (len(TEXTS) + 1, DIMENSIONS)
    assert together.dtype == np.float32
    assert np.allclose(np.linalg.norm(together, axis=1), 1, atol=1e-5)
    alone = np.concatenate([encoder.embed([text]) for text in TEXTS])
    assert (together[: len(TEXTS)] * alone).sum(axis=1).min() > 0.99


@pytest.mark.parametrize(("text", "near", "far"), [(0, 1, 2), (2, 3, 0), (0, 1, 4)])
def test_like_means_near(encoder, text, near, far):
    vectors = encoder.embed(TEXTS)
    similarity = vectors @ vectors.T
    assert similarity[text, near] > 0.5
    assert similarity[text, near] > similarity[text, far] + 0.2


def test_a_long_text_is_cut_not_refused(encoder):
    assert encoder.embed(["word " * 5_000]).shape == (1, DIMENSIONS)


def test_conversion_happens_once(tmp_path):
    first = converted(tmp_path)
    made = (first / "model.bin").stat().st_mtime_ns
    assert converted(tmp_path) == first
    assert (first / "model.bin").stat().st_mtime_ns == made
    assert [path.name for path in tmp_path.iterdir()] == [first.name]
