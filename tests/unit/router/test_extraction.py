from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.router.extraction import Extractor
from services.router.language import UNKNOWN, detect_language
from tandem.packs.model import Slot
from tests.unit.router.desk import SENT_AT, pack

EXTRACTOR = Extractor(pack())


def values(text, extractor=EXTRACTOR):
    return {value.slot: value.value for value in extractor.extract(text, SENT_AT).values}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("it is O-1234", {"order_id": "O-1234"}),
        ("order o-1234!", {"order_id": "o-1234"}),
        ("订单O-1234有问题", {"order_id": "O-1234"}),
        ("XO-1234", {}),
        ("O-12345", {}),
        ("the code is 246810", {"code": "246810"}),
        ("Ann@Example.com, 246810", {"account_email": "ann@example.com", "code": "246810"}),
        ("邮箱是 li@example.com，验证码246810", {"account_email": "li@example.com", "code": "246810"}),
        ("port 443 is closed", {"port": 443}),
        ("443", {"port": 443}),
        ("I have 3 parcels", {"integer": 3}),
        ("an XL please", {"size": "large"}),
        ("我要小号", {"size": "small"}),
        ("my nickname is Bo, thanks", {"nickname": "Bo"}),
        ("see https://example.com/a?b=1.", {"url": "https://example.com/a?b=1"}),
        ("from 203.0.113.7 and not 1.2.3", {"ip": "203.0.113.7"}),
        ("2001:db8::1", {"ip": "2001:db8::1"}),
        ("999.1.1.1", {}),
        ("call +49 30 901820 today", {"phone": "+4930901820", "date": "2026-01-05"}),
        ("手机13812345678", {"phone": "13812345678"}),
        ("I paid $1,234.50", {"amount": 1234.5}),
        ("付了20元", {"amount": 20}),
        ("tomorrow at 3:30 pm", {"date": "2026-01-06", "time": "15:30"}),
        ("on 12 January", {"date": "2026-01-12"}),
        ("明天下午三点半", {"date": "2026-01-06", "time": "15:30"}),
        ("下周一", {"date": "2026-01-12"}),
        ("yes please", {"yes_no": True}),
        ("不用了", {"yes_no": False}),
        ("the second one", {"ordinal": 2}),
    ],
)
def test_values(text, expected):
    assert values(text) == expected


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("the code is 246810", "the code is [code]"),
        ("111111 222222 333333 444444 555555 666666 777777", " ".join(["[code]"] * 7)),
        ("my card 4111 1111 1111 1111 was charged", "my card [card_number] was charged"),
        ("card 4111 1111 1111 1112", "card 4111 1111 1111 1112"),
        ("my password is hunter2 and it fails", "my password is [password] and it fails"),
        ('the password: "s3 cret"', 'the password: "[password]"'),
        ("my password is wrong", "my password is wrong"),
        ("密码是abc123，登不上", "密码是[password]，登不上"),
        ("密码：abc123", "密码：[password]"),
        ("passport number X1234567", "passport number [id_number]"),
        ("身份证 11010519491231002X", "身份证 [id_number]"),
        ("SSN 123-45-6789", "SSN [id_number]"),
        ("write to ann@example.com", "write to ann@example.com"),
        ("call 1-800 or +49 30 901820", "call 1-800 or [phone]"),
        ("O-1234 and 203.0.113.7", "O-1234 and 203.0.113.7"),
    ],
)
def test_masking(text, masked):
    found = EXTRACTOR.extract(text, SENT_AT)
    assert found.masked == masked
    assert all("[" in value.text for value in found.values if value.sensitive)


def test_an_address_is_masked_unless_a_slot_asks_for_it():
    found = Extractor(pack(slots={})).extract("write to ann@example.com", SENT_AT)
    assert found.masked == "write to [email]"
    assert found.values[0].value == "ann@example.com"


def test_two_slots_of_one_type_need_their_label():
    slots = {name: Slot(name=name, type="integer", label={"en": name}) for name in ("low", "high")}
    extractor = Extractor(pack(slots=slots))
    assert values("low 5, high 9", extractor) == {"low": 5, "high": 9}
    assert values("5", extractor) == {"integer": 5}


def test_ids_are_called_by_their_slot_in_what_is_compared():
    found = EXTRACTOR.extract("where is O-1234", SENT_AT)
    assert found.rest == "where is"
    assert found.gist == "where is  order number"


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("where is my parcel", "en"),
        ("我的包裹在哪里", "zh"),
        ("no", "en"),
        ("wo ist mein Paket und wie lange", "de"),
        ("こんにちは", "ja"),
        ("refund", "en"),
        ("443", UNKNOWN),
        ("", UNKNOWN),
    ],
)
def test_language(text, language):
    assert detect_language(text, "en") == language


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=300), st.integers(-(10**20), 10**20))
def test_any_text_can_be_read(text, sent_at):
    found = EXTRACTOR.extract(text, sent_at)
    assert len(found.values) <= 40
    assert all(0 <= value.start <= value.end <= len(text) for value in found.sensitive)


@settings(max_examples=40, deadline=None)
@given(st.text(alphabet="ab ,.你好", max_size=30), st.text(alphabet="ab ,.你好", max_size=30))
def test_a_code_never_stays_in_clear(before, after):
    assert "246810" not in EXTRACTOR.extract(f"{before} 246810 {after}", SENT_AT).masked


CITIES = {"Oslo": ["oslo"], "Rome": ["rome"], "3rd": ["3"]}
TRIP = pack().model_copy(
    update={
        "slots": {
            "origin": Slot(name="origin", type="choice", choices=CITIES, cues=["from …", "… to"], only_cued=True),
            "goal": Slot(name="goal", type="choice", choices=CITIES, cues=["to …"], only_cued=True),
            "meal": Slot(name="meal", type="choice", choices={"fish": ["fish"], "two": ["2"]}),
            "guests": Slot(name="guests", type="integer", cues=["… people", "party of …"]),
            "nights": Slot(name="nights", type="integer", cues=["… nights"]),
            "name": Slot(name="name", free_text=True, choices={"Kim": ["kim"]}, only_cued=True, cues=["i'm …"]),
        }
    }
)


@pytest.mark.parametrize(
    ("text", "sure", "doubtful"),
    [
        ("from Oslo to Rome", {("origin", "Oslo"), ("goal", "Rome")}, {("origin", "Rome"), ("goal", "Oslo")}),
        ("Rome, please", set(), {("origin", "Rome"), ("goal", "Rome")}),
        ("to the Rome of my dreams", {("goal", "Rome")}, {("origin", "Rome")}),
        (
            "fish for 12 people, 3 nights",
            {("meal", "fish"), ("guests", 12), ("nights", 3)},
            {("origin", "3rd"), ("goal", "3rd")},
        ),
        ("a party of 4", {("guests", 4)}, set()),
        ("2", {("integer", 2)}, {("meal", "two")}),
        ("Hi, I'm Kim", {("name", "Kim")}, set()),
        ("I met Kim", set(), {("name", "Kim")}),
        ("my name is Bo", {("name", "Bo")}, set()),
    ],
)
def test_a_value_of_several_slots_is_the_one_of_whose_cue_stands_beside_it(text, sure, doubtful):
    found = Extractor(TRIP).extract(text, SENT_AT).values
    assert {(value.slot, value.value) for value in found if value.confidence >= 0.5} == sure
    assert {(value.slot, value.value) for value in found if value.confidence < 0.5} == doubtful
