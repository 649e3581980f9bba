"""The waiting page: one document, bound to its own style and script, that nobody caches."""

import base64
import hashlib
import re

from rows import each

from kotatsu_operator.features.waiting_page.page import Progress, Stage, page, progress_answer

STARTS = Progress(Stage.IMAGE, 3, 11.7)


def parts(response):
    """Status line, headers and body of a response."""
    head, _, body = response.partition(b"\r\n\r\n")
    status, *lines = head.decode().split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines)
    assert int(headers["Content-Length"]) == len(body)
    return status, headers, body.decode()


def test_it_is_a_503_that_no_cache_and_no_crawler_keeps():
    status, headers, _ = parts(page(STARTS, 17, "en"))
    assert status == "HTTP/1.1 503 Service Unavailable"
    assert headers["Cache-Control"] == "no-store"
    assert headers["Retry-After"] == "5"
    assert headers["X-Robots-Tag"] == "noindex"


def test_its_policy_admits_its_own_style_and_script_and_nothing_else():
    _, headers, body = parts(page(STARTS, 17, "en"))
    policy = headers["Content-Security-Policy"]
    for kind in ("style", "script"):
        [text] = re.findall(f"<{kind}>(.*?)</{kind}>", body, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none'")
    assert "http" not in body.replace("http-equiv", "")


@each("language, said", [("en", "about 12 seconds"), ("ja", "いつもは12秒ほど")])
def test_it_says_what_is_known_in_each_language(language, said):
    _, headers, body = parts(page(STARTS, 17, language))
    assert f'<html lang="{language}">' in body
    assert headers["Content-Language"] == language
    assert said in body


def test_before_the_first_wake_it_promises_no_seconds():
    assert "It usually" not in parts(page(Progress(Stage.NODE, 0), 17, "en"))[2]


def test_without_scripts_it_loads_again_until_it_has_taken_too_long():
    again = 'http-equiv="refresh" content="5"'
    assert again in parts(page(STARTS, 17, "en"))[2]
    over = parts(page(Progress(Stage.START, 0, is_over=True), 0, "en"))[2]
    assert again not in over
    assert "The app has not started yet." in over


def test_the_answer_to_a_question_is_a_header():
    status, headers, body = parts(progress_answer(STARTS, 17))
    assert (status, headers["Kotatsu-Waking"], body) == ("HTTP/1.1 200 OK", "image", "")
    over = Progress(Stage.START, 0, is_over=True)
    assert parts(progress_answer(over, 0))[1]["Kotatsu-Waking"] == "over"


def test_the_browser_keeps_since_when_it_waits_in_a_cookie_that_scripts_do_not_see():
    cookie = "kotatsu-waking=17; Max-Age=120; HttpOnly; SameSite=Lax"
    for answer in (page(STARTS, 17, "en"), progress_answer(STARTS, 17)):
        assert parts(answer)[1]["Set-Cookie"] == cookie
