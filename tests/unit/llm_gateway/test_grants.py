from __future__ import annotations

import asyncio

import pytest

from tandem.contracts.ticket import Cost
from tandem.errors import Exhausted, Unavailable
from tandem.model_pools import Price
from tests.unit.llm_gateway.served import SHAPE, call, read, served

ONE = Cost(calls=1)


@pytest.mark.asyncio
async def test_the_same_call_under_one_grant_is_made_once():
    async with served() as (chat, [replica]):
        first = await chat.complete(call(grant="g", limit=ONE))
        again = await chat.complete(call(grant="g", limit=ONE))
        _, text, last = await read(chat, call(grant="g", limit=ONE))
    assert first == again == last
    assert text == "hello"
    assert len(replica.seen) == 1


@pytest.mark.asyncio
async def test_redelivered_at_once_it_waits_for_the_first():
    async with served(delay_s=0.05) as (chat, [replica]):
        answers = await asyncio.gather(*(chat.complete(call(grant="g", limit=ONE)) for _ in range(20)))
    assert {answer.text for answer in answers} == {"hello"}
    assert len(replica.seen) == 1


@pytest.mark.asyncio
async def test_when_the_first_caller_goes_away_the_next_makes_the_call():
    async with served() as (chat, [replica]):
        replica.does.append("hang")
        first = asyncio.create_task(chat.complete(call(grant="g", limit=ONE)))
        await replica.started.wait()
        second = asyncio.create_task(chat.complete(call(grant="g", limit=ONE)))
        await asyncio.sleep(0)
        first.cancel()
        assert (await second).text == "hello"


@pytest.mark.asyncio
async def test_a_call_that_failed_may_be_made_again():
    async with served() as (chat, [replica]):
        replica.does.append("fail")
        with pytest.raises(Unavailable):
            await chat.complete(call(grant="g", limit=ONE))
        assert (await chat.complete(call(grant="g", limit=ONE))).text == "hello"


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.asyncio
async def test_a_wrong_answer_is_paid_too(stream):
    limit = Cost(calls=2)
    asked = call(grant="g", limit=limit, more={"response_format": SHAPE})
    async with served(text='{"n": 1}') as (chat, [replica]):
        replica.does.append("shape")
        with pytest.raises(Unavailable, match="shape"):
            await (read(chat, asked) if stream else chat.complete(asked))
        assert chat.spent(asked) == Cost(calls=1, tokens=15)
        await chat.complete(call(grant="g", limit=limit, more={"response_format": SHAPE}))
        with pytest.raises(Exhausted):
            await chat.complete(call("third", grant="g", limit=limit))


@pytest.mark.parametrize(
    "limit", [Cost(calls=2), Cost(tokens=70), Cost(micros=60), Cost(calls=10, tokens=1_000, micros=50)]
)
@pytest.mark.asyncio
async def test_all_calls_under_a_grant_stay_within_its_limit(limit):
    async with served(delay_s=0.01, pool={"price": Price(tokens_in=1_000, tokens_out=1_000)}) as (chat, [replica]):
        asked = [chat.complete(call(f"question {n}", grant="g", limit=limit)) for n in range(10)]
        found = await asyncio.gather(*asked, return_exceptions=True)
    made = [each for each in found if not isinstance(each, BaseException)]
    refused = [each for each in found if isinstance(each, Exhausted)]
    spent = sum((each.cost for each in made), Cost())
    assert len(made) == len(replica.seen) > 0
    assert {each.reason for each in refused} == {"grant_spent"}
    assert len(made) + len(refused) == 10
    assert all(
        not most or value <= most for value, most in zip(vars(spent).values(), vars(limit).values(), strict=True)
    )


@pytest.mark.parametrize(
    ("more", "least"),
    [
        ({}, 16 + 24),
        ({"n": 3}, 48 + 24),
        ({"max_completion_tokens": 100}, 100 + 24),
        ({"tools": [{"type": "function", "function": {"name": "x" * 300}}]}, 16 + 24 + 200 + 100),
        ({"messages": [{"role": "assistant", "tool_calls": [{"function": {"arguments": "x" * 300}}]}]}, 16 + 16 + 100),
    ],
)
def test_what_is_set_aside_counts_all_that_a_prompt_has(more, least):
    size = call("", system="", more=more).size
    assert least <= size <= least + 50


@pytest.mark.asyncio
async def test_an_answer_without_a_length_gets_what_its_grant_leaves():
    """And is the same call when it comes again."""
    async with served() as (chat, [replica]):
        for _ in range(2):
            await chat.complete(call(grant="g", limit=Cost(tokens=500), more={"max_tokens": None}))
        await chat.complete(call("hullo", grant="g", limit=Cost(tokens=500), more={"max_tokens": None}))
        await chat.complete(call("one without a limit", more={"max_tokens": None}))
        await chat.complete(call("hallo", grant="h", limit=Cost(tokens=500), more={"max_tokens": None, "n": 2}))
    first, second, free, two = (body["max_tokens"] for _, body in replica.seen)
    assert 400 < second == first - 15 < 500  # the first took fifteen
    assert free is None
    assert two == first // 2


@pytest.mark.asyncio
async def test_200_tickets_at_once_overspend_nothing():
    """Each ticket has room for two calls, is redelivered, asks for a third, and meets a replica that fails now and then."""
    limit = Cost(calls=2, tokens=100)

    async def ticket(chat, number):
        questions = [f"{number}: first", f"{number}: second", f"{number}: first", f"{number}: third"]
        asked = [
            chat.complete(call(text, grant=f"g{number}", limit=limit, ticket=str(number), within=20))
            for text in questions
        ]
        for found in await asyncio.gather(*asked, return_exceptions=True):
            assert isinstance(found, Unavailable) or found.text == "hello"
        return chat.spent(call(grant=f"g{number}"))

    async with served(2, pool={"queue": 2_000, "concurrency": 16}) as (chat, made):
        for replica in made:
            replica.does.extend(["answer", "answer", "busy"] * 30)
        spent = await asyncio.gather(*(ticket(chat, number) for number in range(200)))
        answered = sum(len(replica.seen) for replica in made) - 60
    assert [each for each in spent if not each.within(limit)] == []
    assert sum(each.calls for each in spent) == answered <= 400
    assert min(each.calls for each in spent) > 0
