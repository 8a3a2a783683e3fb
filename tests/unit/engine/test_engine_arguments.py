from __future__ import annotations

import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tandem.cli import build
from tandem.engine.arguments import pool_of, serve_arguments, serve_environment
from tandem.engine.launch import check
from tandem.errors import InvalidSettings
from tandem.model_pools import Pool, Pools

REPLICAS = ("http://r/v1",)


def pool(**fields):
    return Pool(**{"model": "org/model", "replicas": REPLICAS, **fields})


def flags(**fields):
    return " ".join(serve_arguments(pool(**fields), "127.0.0.1", 8_001))


def test_what_every_chat_pool_gets():
    assert flags() == (
        "org/model --served-model-name org/model --max-num-queued-reqs 64 --enable-prompt-tokens-details "
        "--tool-strict-level parameter --host 127.0.0.1 --port 8001"
    )


@pytest.mark.parametrize(
    ("engine", "said"),
    [
        ({"max-model-len": 8192}, "--max-model-len 8192"),
        ({"max_model_len": 8192}, "--max-model-len 8192"),
        ({"enforce-eager": True}, "--enforce-eager"),
        ({"enable-prefix-caching": False}, "--no-enable-prefix-caching"),
        ({"allowed-origins": ["a", "b"]}, "--allowed-origins a b"),
        ({"speculative-config": {"num_speculative_tokens": 3}}, '--speculative-config {"num_speculative_tokens": 3}'),
        ({"max-num-queued-reqs": 8}, "--max-num-queued-reqs 8"),
        ({"model": "/weights"}, "/weights --served-model-name org/model"),
        ({"port": 9}, "--port 8001"),
        ({"tokenizer": None}, "--host"),
    ],
)
def test_the_pools_own_flags(engine, said):
    found = flags(engine=engine)
    assert said in found
    assert found.count("--max-num-queued-reqs") == found.count("--port") == 1
    assert "--tokenizer" not in found


@pytest.mark.parametrize("kind", ["embeddings", "rerank"])
def test_pools_that_write_nothing_pool(kind):
    assert "--runner pooling" in flags(kind=kind)


def test_with_adapters_the_gateway_may_load_them():
    adapted = pool(adapters={"polite": "/adapters/polite"})
    assert "--enable-lora" in serve_arguments(adapted, "127.0.0.1", 1)
    assert serve_environment(adapted, {})["VLLM_ALLOW_RUNTIME_LORA_UPDATING"] == "1"
    assert "VLLM_ALLOW_RUNTIME_LORA_UPDATING" not in serve_environment(pool(), {})


def test_the_key_is_in_no_argument():
    keyed = pool(api_key_env="POOL_KEY")
    assert serve_environment(keyed, {"POOL_KEY": "secret"})["VLLM_API_KEY"] == "secret"
    assert "VLLM_API_KEY" not in serve_environment(keyed, {})
    assert "secret" not in " ".join(serve_arguments(keyed, "127.0.0.1", 1))


def test_pools_that_cannot_be_served():
    pools = Pools(pools={"ours": pool(), "theirs": pool(vllm=False)})
    assert pool_of(pools, "ours").model == "org/model"
    with pytest.raises(InvalidSettings, match="there are ours, theirs"):
        pool_of(pools, "mine")
    with pytest.raises(InvalidSettings, match="someone else"):
        pool_of(pools, "theirs")


def test_a_python_without_vllm_is_told_what_to_do():
    with pytest.raises(InvalidSettings, match=r"pip install 'tandem\[vllm\]'.*--python"):
        check(Path(sys.executable), ["org/model"], {})


def test_a_python_that_is_none(tmp_path):
    with pytest.raises(InvalidSettings, match="cannot be run"):
        check(tmp_path / "python", [], {})


def test_the_command_needs_the_file_of_pools(tmp_path):
    app = build("model")
    done = CliRunner().invoke(app, ["model", "serve", "small"], env={"TANDEM_LLM_POOLS": None})
    assert done.exit_code == 2
    assert "--pools" in done.output
    missing = CliRunner().invoke(app, ["model", "serve", "small", "--pools", str(tmp_path / "none.yaml")])
    assert isinstance(missing.exception, InvalidSettings)
