"""The body of a notification, read back as its receivers do."""

import json
import subprocess
import sys
from dataclasses import replace
from datetime import timedelta

import pytest
from cloudevents.core.bindings.http import HTTPMessage, from_structured_event

from kotatsu_operator.features.notices.notices import Notice
from kotatsu_operator.features.notices.post import message
from kotatsu_operator.features.notices.receivers import Format
from tests.operator.core.values import t

NOTICE = Notice("u1/WindowCold/1", "WindowCold", "window <pitch> & co", t("10:00"), warning=True)
VOICE = ("demo", "voice")
NOW = NOTICE.at + timedelta(seconds=2)


def test_a_cloudevent_has_a_stable_id_a_type_and_the_pool_as_its_source():
    headers, body = message(Format.CLOUDEVENTS, VOICE, NOTICE, NOW)
    assert headers["content-type"] == "application/cloudevents+json"
    event = from_structured_event(HTTPMessage(dict(headers), body))
    assert event.get_id() == "u1/WindowCold/1"
    assert event.get_type() == "dev.kotatsu.warmpool.WindowCold"
    assert event.get_source() == "/apis/kotatsu.dev/v1beta1/namespaces/demo/warmpools/voice"
    assert (event.get_subject(), event.get_time()) == ("demo/voice", t("10:00"))
    assert event.get_data() == {
        "namespace": "demo",
        "name": "voice",
        "reason": "WindowCold",
        "message": "window <pitch> & co",
        "severity": "warning",
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


@pytest.mark.slow
def test_the_operator_loads_no_library_of_cloudevents_before_it_makes_one():
    code = "import sys, kotatsu_operator.__main__; print('cloudevents' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
