from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from services.llm_gateway.app import build_gateway, pools_of
from services.llm_gateway.settings import LlmGatewaySettings
from tandem.errors import InvalidSettings, Unavailable
from tandem.model_pools import Pool, Pools, Tenant, load_pools
from tandem.rpc.ports import ChatRequest

README = Path(__file__).parents[2] / "services" / "llm_gateway" / "README.md"
ONE = {"model": "m", "replicas": ["http://r/v1"]}


def test_the_readmes_example_is_one(tmp_path):
    [text] = re.findall(r"```yaml\n(.*?)```", README.read_text(), re.DOTALL)
    file = tmp_path / "pools.yaml"
    file.write_text(text)
    pools = load_pools(file)
    assert pools.chain("small") == ("small", "large", "provider")
    assert (pools.first(), pools.first("embeddings"), pools.first("rerank")) == ("small", "vectors", None)
    assert pools.tenant("acme").weight == 3
    assert pools.tenant("another") == Tenant()
    told = {name for pool in yaml.safe_load(text)["pools"].values() for name in pool}
    assert told | {"hedge_s"} == set(Pool.model_fields)


@pytest.mark.parametrize(
    ("found", "told"),
    [
        ({}, "pools"),
        ({"pools": {}}, "pools"),
        ({"pools": {"a": {"model": "m"}}}, "pools.a.replicas"),
        ({"pools": {"a": ONE | {"replica": 1}}}, "pools.a.replica"),
        ({"pools": {"a": ONE}, "default": "b"}, "there is no pool 'b'"),
        ({"pools": {"a": ONE | {"next": "b"}}}, "pools.a.next: there is no pool 'b'"),
        ({"pools": {"a": ONE | {"next": "b"}, "b": ONE | {"next": "a"}}}, "does not end"),
        ({"pools": {"a": ONE | {"next": "b"}, "b": ONE | {"kind": "rerank"}}}, "another kind"),
        ({"pools": {"a": ONE | {"reserve": 1}}}, "pools.a.reserve"),
    ],
)
def test_what_is_wrong_with_a_file_is_told(tmp_path, found, told):
    file = tmp_path / "pools.yaml"
    file.write_text(yaml.safe_dump(found))
    with pytest.raises(InvalidSettings, match="TANDEM_LLM_POOLS") as error:
        load_pools(file)
    assert told in str(error.value)


def test_an_address_holds_no_secret_and_none_is_repeated(tmp_path):
    base = "http://me:hunter2@r/v1"
    file = tmp_path / "pools.yaml"
    file.write_text(yaml.safe_dump({"pools": {"a": ONE | {"replicas": [base]}}}))
    with pytest.raises(InvalidSettings, match="api_key_env") as of_file:
        load_pools(file)
    with pytest.raises(InvalidSettings, match=r"TANDEM_LLM_BASE_URL.*api_key_env") as of_variable:
        pools_of(LlmGatewaySettings(llm_base_url=base, llm_model="m"))
    assert "hunter2" not in f"{of_file.value}{of_variable.value}"


@pytest.mark.parametrize("text", [None, "a: [", "- 1"])
def test_a_file_that_cannot_be_read_is_told(tmp_path, text):
    file = tmp_path / "pools.yaml"
    if text is not None:
        file.write_text(text)
    with pytest.raises(InvalidSettings, match=re.escape(str(file))):
        load_pools(file)


def test_one_endpoint_is_a_pool_of_one():
    settings = LlmGatewaySettings(llm_base_url="http://r/v1", llm_model="m", llm_micros_in=3, llm_concurrency=7)
    pools = pools_of(settings)
    assert isinstance(pools, Pools)
    pool = pools.pools[pools.first() or ""]
    assert (pool.model, pool.replicas, pool.price.tokens_in, pool.concurrency) == ("m", ("http://r/v1",), 3, 7)
    assert not pool.vllm


def test_an_endpoint_needs_a_model_and_nobody_records_a_replay(tmp_path):
    with pytest.raises(InvalidSettings, match="TANDEM_LLM_MODEL"):
        pools_of(LlmGatewaySettings(llm_base_url="http://r/v1"))
    file = tmp_path / "run.jsonl"
    file.write_text("")
    with pytest.raises(InvalidSettings, match="TANDEM_LLM_RECORD"):
        build_gateway(LlmGatewaySettings(llm_record=file, llm_replay=file))


@pytest.mark.asyncio
async def test_without_any_there_is_no_chat():
    gateway = build_gateway(LlmGatewaySettings())
    with pytest.raises(Unavailable, match="TANDEM_LLM_POOLS"):
        await gateway.chat(ChatRequest(tenant="t", system="", messages=(("user", "?"),)))
    assert gateway.pools() == {}
    await gateway.close()
