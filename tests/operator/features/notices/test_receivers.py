"""Receivers: which file is accepted or rejected with a sentence, and what a receiver gets."""

import json
from dataclasses import replace
from datetime import timedelta

import pytest
from rows import each

from kotatsu_operator.features.notices.notices import NOTICE_REASONS, Notice
from kotatsu_operator.features.notices.receivers import (
    Format,
    ReceiversError,
    message,
    parse_receivers,
)
from tests.operator.core.values import t

SECRET = "T000B000XXXX"
URL = f"https://hooks.example.com/services/{SECRET}"
GOOD = {"name": "chat", "url": URL}


def read(*receivers):
    return parse_receivers(json.dumps({"receivers": receivers}).encode())


def test_a_receiver_needs_a_name_and_a_url_and_gets_all_events_as_cloudevents():
    (receiver,) = read(GOOD)
    assert (receiver.url, receiver.format) == (URL, Format.CLOUDEVENTS)
    assert receiver.events == frozenset(NOTICE_REASONS)
    assert receiver.wants("demo", "WindowCold")


def test_a_receiver_can_be_told_less():
    raw = b"""
receivers:
  - name: chat
    url: https://hooks.example.com/services/x
    format: slack
    events: [WindowCold, BudgetExhausted]
    namespaces: [demo]
    headers: {Authorization: Bearer x}
"""
    (receiver,) = parse_receivers(raw)
    assert receiver.format is Format.SLACK
    assert receiver.wants("demo", "WindowCold")
    assert not receiver.wants("demo", "WindowReady")
    assert not receiver.wants("other", "WindowCold")
    assert read() == []


@each(
    "raw, sentence",
    [
        (b"receivers: }", "it is not YAML in line 1"),
        (b"\xff\xfe", "it is not YAML in UTF-8"),
        (b"[" * 60_000, "it is not YAML"),
        (b"- a", "the file: is not an object with fields"),
        (b"x" * 70_000, "it is larger than 64 KiB"),
        (b"receivers: 5", "receivers: Input should be a valid list"),
        (b"receivers: &a [*a]", "receivers[0]: is not an object with fields"),
    ],
)
def test_a_file_that_cannot_be_read_has_a_sentence(raw, sentence):
    with pytest.raises(ReceiversError) as raised:
        parse_receivers(raw)
    assert sentence in str(raised.value)


@each(
    "change, sentence",
    [
        ({"name": "Team Chat"}, ".name: String should match pattern '^[a-z0-9]("),
        ({"name": None}, ".name: Input should be a valid string"),
        ({"url": SECRET}, ".url: is not an http or https address; write it like https://"),
        ({"url": f"ftp://x/{SECRET}"}, ".url: is not an http or https address"),
        ({"url": f"https://x:99999/{SECRET}"}, ".url: is not an http or https address"),
        ({"url": f"https://[x/{SECRET}"}, ".url: is not an http or https address"),
        ({"url": f"https://ann:{SECRET}@x"}, ".url: has a user name or password; use headers"),
        ({"url": f"https://x/{SECRET}\n"}, ".url: is not an http or https address"),
        ({"url": f"https://x/{'y' * 2048}"}, ".url: String should have at most 2048 characters"),
        ({"url": 5}, ".url: Input should be a valid string"),
        ({"format": "teams"}, ".format: Input should be 'cloudevents' or 'slack'"),
        ({"format": ["slack"]}, ".format: Input should be 'cloudevents' or 'slack'"),
        ({"events": ["Warming"]}, ".events[0]: is not one of WindowReady, "),
        ({"events": "WindowCold"}, ".events: Input should be a valid frozenset"),
        ({"namespaces": [5]}, ".namespaces[0]: Input should be a valid string"),
        ({"headers": {"Host": SECRET}}, ".headers: Host is set by the operator; remove it"),
        (
            {"headers": {"A b": SECRET}},
            ".headers: String should match pattern '^[A-Za-z0-9-]{1,64}$'",
        ),
        (
            {"headers": {"A": f"{SECRET}\r\nB: c"}},
            ".headers.A: String should match pattern '^[ -~]*$'",
        ),
        ({"headers": {"A": 5}}, ".headers.A: Input should be a valid string"),
        ({"headers": [SECRET]}, ".headers: Input should be a valid dictionary"),
        ({"secret": SECRET}, ": has an unknown field"),
    ],
)
def test_a_wrong_receiver_is_named_and_no_secret_is_repeated(change, sentence):
    with pytest.raises(ReceiversError) as raised:
        read(GOOD, {**GOOD, "name": "other", **change})
    assert f"receivers[1]{sentence}" in str(raised.value)
    assert SECRET not in str(raised.value)


def test_two_receivers_have_two_names_and_there_are_16_at_most():
    with pytest.raises(ReceiversError, match=r"receivers: chat is the name of more than one"):
        read(GOOD, GOOD)
    with pytest.raises(ReceiversError, match="at most 16"):
        read(*({**GOOD, "name": f"r{n}"} for n in range(17)))
    with pytest.raises(ReceiversError, match=r"headers: Dictionary should have at most 16"):
        read({**GOOD, "headers": {f"X-{n}": "y" for n in range(17)}})


def test_a_receiver_that_is_logged_shows_no_secret():
    (receiver,) = read({**GOOD, "headers": {"Authorization": SECRET}})
    assert SECRET not in repr(receiver)


# --- what a receiver gets ---

NOTICE = Notice("u1/WindowCold/1", "WindowCold", "window <pitch> & co", t("10:00"), warning=True)
VOICE = ("demo", "voice")
NOW = NOTICE.at + timedelta(seconds=2)


def test_a_cloudevent_has_a_stable_id_a_type_and_the_pool_as_its_source():
    headers, body = message(Format.CLOUDEVENTS, VOICE, NOTICE, NOW)
    assert headers == {"Content-Type": "application/cloudevents+json"}
    assert json.loads(body) == {
        "specversion": "1.0",
        "id": "u1/WindowCold/1",
        "source": "/apis/kotatsu.dev/v1beta1/namespaces/demo/warmpools/voice",
        "type": "dev.kotatsu.warmpool.WindowCold",
        "subject": "demo/voice",
        "time": "2026-11-25T10:00:00Z",
        "datacontenttype": "application/json",
        "data": {
            "namespace": "demo",
            "name": "voice",
            "reason": "WindowCold",
            "message": "window <pitch> & co",
            "severity": "warning",
        },
    }


def test_slack_gets_one_line_in_which_nothing_is_a_link_or_a_mention():
    notice = replace(NOTICE, message="<!channel> & <http://x>")
    headers, body = message(Format.SLACK, VOICE, notice, NOW)
    assert headers["Content-Type"].startswith("application/json")
    assert json.loads(body) == {
        "text": ":warning: *demo/voice* WindowCold: &lt;!channel&gt; &amp; &lt;http://x&gt;"
    }


def test_a_message_that_comes_late_says_how_old_it_is():
    _, body = message(Format.SLACK, VOICE, NOTICE, NOTICE.at + timedelta(minutes=47))
    assert json.loads(body)["text"].endswith("window &lt;pitch&gt; &amp; co (47m ago)")
