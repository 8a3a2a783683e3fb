from __future__ import annotations

import stat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tandem.channels import SIGNATURE, Channels, load_channels, sign, signed, verify, write_channels
from tandem.errors import InvalidSettings, Refused

KEY = "a key of sixteen characters or more"
HEADERS = (("ce_id", b"1"), ("ce_type", b"t"), ("traceparent", b"00-x"))
BODY = b'{"a": 1}'


def replaced(headers, name, value):
    return tuple((n, value if n == name else v) for n, v in headers)


def test_a_signed_record_verifies_in_any_order_and_with_other_headers():
    headers = signed(HEADERS, BODY, KEY)
    verify(headers, BODY, KEY)
    verify(tuple(reversed(headers)), BODY, KEY)
    verify((*headers, ("x-forwarded", None)), BODY, KEY)


@pytest.mark.parametrize(
    ("headers", "body", "key", "reason"),
    [
        (HEADERS, BODY, KEY, "unsigned"),
        (signed(HEADERS, BODY, KEY), BODY + b" ", KEY, "bad-signature"),
        (signed(HEADERS, BODY, KEY), BODY, KEY + "x", "bad-signature"),
        (replaced(signed(HEADERS, BODY, KEY), "ce_id", b"2"), BODY, KEY, "bad-signature"),
        (replaced(signed(HEADERS, BODY, KEY), SIGNATURE, b"\xff\x00"), BODY, KEY, "bad-signature"),
        (replaced(signed(HEADERS, BODY, KEY), SIGNATURE, None), BODY, KEY, "unsigned"),
        (replaced(signed(HEADERS, BODY, KEY), "ce_id", None), BODY, KEY, "bad-header"),
        (replaced(signed(HEADERS, BODY, KEY), "ce_id", b"1\nce_type=u"), BODY, KEY, "bad-header"),
        ((*signed(HEADERS, BODY, KEY), ("ce_id", b"1")), BODY, KEY, "bad-header"),
        ((*signed(HEADERS, BODY, KEY), ("ce_extra", b"1")), BODY, KEY, "bad-signature"),
    ],
)
def test_what_is_not_signed_rightly_is_refused(headers, body, key, reason):
    with pytest.raises(Refused) as caught:
        verify(headers, body, key)
    assert caught.value.reason == reason


values = st.binary(max_size=20).filter(lambda value: b"\n" not in value)
bags = st.dictionaries(st.sampled_from(["ce_a", "ce_b", "ce_ab"]), values, max_size=3)


@given(bags, st.binary(max_size=20), bags, st.binary(max_size=20))
def test_two_different_records_have_different_signatures(headers, body, other_headers, other_body):
    same = headers == other_headers and body == other_body
    assert (sign(headers.items(), body, KEY) == sign(other_headers.items(), other_body, KEY)) == same


def test_a_written_file_is_private_and_reads_back(tmp_path):
    path = tmp_path / "home" / "channels.yaml"
    written = write_channels(path, ["webhook", "cli"], {"acme": "cloud_support"})
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    channels = load_channels(path)
    assert channels == written
    assert channels.pack_of("acme") == "cloud_support"
    assert channels.key("webhook") != channels.key("cli")
    assert channels.key("webhook") not in repr(channels)


def test_a_channel_speaks_for_its_tenants_only(tmp_path):
    channels = write_channels(tmp_path / "c.yaml", ["webhook"], {"acme": "p"})
    headers = signed(HEADERS, BODY, channels.key("webhook"))
    channels.verify("webhook", "acme", headers, BODY)
    for channel, tenant, reason in (("webhook", "other", "tenant-not-allowed"), ("sms", "acme", "unknown-channel")):
        with pytest.raises(Refused) as caught:
            channels.verify(channel, tenant, headers, BODY)
        assert caught.value.reason == reason
    with pytest.raises(Refused, match="unknown-tenant"):
        Channels().pack_of("acme")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (None, "tandem up"),
        ("channels: [", "YAML"),
        ("channels: {a: {key: short, tenants: []}}", "channels.a.key"),
        ("chanels: {}", "chanels"),
        ("- a", "not a valid"),
    ],
)
def test_a_broken_file_says_what_is_wrong_and_no_key(tmp_path, text, complaint):
    path = tmp_path / "channels.yaml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(InvalidSettings, match=complaint) as caught:
        load_channels(path)
    assert "short" not in str(caught.value)
