from __future__ import annotations

import json

import pytest

from services.llm_gateway.recording import Recorder, Replay
from tandem.errors import InvalidSettings, Misshapen, Refused
from tandem.model_pools import Pool
from tests.unit.llm_gateway.served import SHAPE, call, chat_over, read, served

NOWHERE = Pool(model="tiny", replicas=("http://127.0.0.1:9/v1",), vllm=False)


@pytest.mark.asyncio
async def test_a_recorded_run_is_replayed_without_a_model(tmp_path):
    file = tmp_path / "runs" / "one.jsonl"
    asked = [call("one"), call("two", grant="g"), call("one", more={"temperature": 0})]
    async with served(options={"recorder": Recorder(file)}) as (chat, [replica]):
        recorded = [await chat.complete(each) for each in asked]
        replica.text = "another"
        recorded.append(await chat.complete(call("one")))
        _, streamed, _ = await read(chat, call("streamed"))
    async with chat_over({"small": NOWHERE}, replay=Replay(file)) as chat:
        again = [await chat.complete(each) for each in [*asked, call("one"), call("one")]]
        events, text, last = await read(chat, call("streamed"))
    assert [each.text for each in again] == ["hello", "hello", "hello", "another", "another"]
    assert [(each.cost, each.model) for each in again[:4]] == [(each.cost, each.model) for each in recorded]
    assert text == streamed == last.text
    assert json.loads(events.split(b"\n\n")[0][6:])["choices"][0]["delta"]["content"] == streamed


@pytest.mark.asyncio
async def test_an_answer_of_the_wrong_shape_is_recorded_with_what_it_cost(tmp_path):
    file, asked = tmp_path / "run.jsonl", call("one", grant="g", more={"response_format": SHAPE})
    paid, told = [], []
    async with served(text="[]", options={"recorder": Recorder(file)}) as (chat, _):
        with pytest.raises(Misshapen) as error:
            await chat.complete(asked)
        paid.append(error.value.paid)
        with pytest.raises(Misshapen):
            await read(chat, call("streamed", more={"response_format": SHAPE}))
    async with chat_over({"small": NOWHERE}, replay=Replay(file)) as chat:
        for again in (chat.complete(asked), read(chat, call("streamed", more={"response_format": SHAPE}))):
            with pytest.raises(Misshapen) as error:
                await again
            told.append(error.value.paid)
    assert paid == [(1, 15, told[0][2])]
    assert told == [*paid, *paid]


@pytest.mark.parametrize(
    "other",
    [
        call("another"),
        call("one", system="Be long."),
        call("one", more={"temperature": 0.1}),
        call("one", more={"response_format": SHAPE}),
        call("one", more={"seed": 4}),
    ],
)
@pytest.mark.asyncio
async def test_what_was_not_recorded_is_a_clear_error(tmp_path, other):
    file = tmp_path / "run.jsonl"
    async with served(options={"recorder": Recorder(file)}) as (chat, _):
        await chat.complete(call("one"))
    async with chat_over({"small": NOWHERE}, replay=Replay(file)) as chat:
        with pytest.raises(Refused, match="TANDEM_LLM_RECORD"):
            await chat.complete(other)


@pytest.mark.parametrize("text", ["not json", '{"key": "k"}'])
def test_a_file_that_is_no_record_is_refused(tmp_path, text):
    file = tmp_path / "run.jsonl"
    file.write_text(text)
    with pytest.raises(InvalidSettings, match="TANDEM_LLM_REPLAY"):
        Replay(file)


@pytest.mark.asyncio
async def test_deterministic_answers_are_remembered_for_their_tenant_alone():
    costs = []
    async with served(options={"cache": 2}) as (chat, [replica]):
        for tenant, text, more in [
            ("a", "one", {"temperature": 0}),
            ("a", "one", {"temperature": 0}),  # remembered
            ("b", "one", {"temperature": 0}),
            ("a", "one", {"temperature": 0.7}),
            ("a", "one", {"temperature": 0.7}),
            ("a", "two", {"temperature": 0}),  # the first is forgotten
            ("a", "one", {"temperature": 0}),
        ]:
            costs.append((await chat.complete(call(text, tenant=tenant, more=more))).cost.tokens)
    assert len(replica.seen) == 6
    assert costs == [15, 0, 15, 15, 15, 15, 15]  # what is remembered is free
