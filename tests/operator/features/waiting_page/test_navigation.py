"""Which requests get the waiting page: browsers that navigate, and nobody else."""

import time

from rows import each

from kotatsu_operator.features.waiting_page.navigation import Asked, AskedFor, asked, language_of

NAVIGATION = {
    "Sec-Fetch-Mode": "navigate",
    "Sec-Fetch-Dest": "document",
    "Accept": "text/html,application/xhtml+xml,*/*;q=0.8",
}


def head(method="GET", **headers):
    lines = [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([f"{method} /a HTTP/1.1", "Host: web", *lines, "", ""]).encode()


def of(method="GET", **headers):
    return asked(head(method, **headers)).what


def navigation(**other):
    return NAVIGATION | {name.replace("_", "-"): value for name, value in other.items()}


def test_a_navigation_is_a_get_for_a_document():
    assert of(**NAVIGATION) is AskedFor.PAGE


BROWSERS = {
    "Chrome and Edge": "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,"
    "image/webp,image/apng,*/*;q=0.8,application/signed-exchange;v=b3;q=0.7",
    "Firefox 132": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
    "Firefox 128": "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,"
    "image/png,image/svg+xml,*/*;q=0.8",
    "Safari": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
}
"""What browsers accept when they navigate."""


@each("accept", BROWSERS)
def test_without_tls_browsers_send_no_sec_fetch_and_these_two_tell(accept):
    assert of(Accept=accept, Upgrade_Insecure_Requests="1") is AskedFor.PAGE


CLIENTS = {
    "curl, wget, requests, undici": "*/*",
    "HttpURLConnection of Java": "text/html, image/gif, image/jpeg, *; q=.2, */*; q=.2",
    "HttpURLConnection of Java 22": "*/*",
    "axios": "application/json, text/plain, */*",
    "httr of R": "application/json, text/xml, application/xml, */*",
    "jQuery.load": "text/html, */*; q=0.01",
    "htmx": "text/html, */*",
    "Turbo": "text/html, application/xhtml+xml",
    "kubectl": "application/json;as=Table;v=v1;g=meta.k8s.io,application/json",
    "Prometheus": "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3,"
    "*/*;q=0.1",
    "curl -H": "text/html",
}
"""What others accept: clients of APIs, and scripts of pages."""


@each("accept", CLIENTS)
def test_what_an_api_client_or_a_script_accepts_makes_it_no_browser(accept):
    assert of(Accept=accept) is AskedFor.APP


@each("accept", [
    "text/html;q=0", "text/html; q=0.000, */*", "text/html;level=1;q=0", "text/html;q=.5",
    "text/html;q=2", "application/text/html", "*/*", "",
])  # fmt: skip
def test_a_document_that_is_not_accepted_is_not_sent(accept):
    assert of(Accept=accept, Upgrade_Insecure_Requests="1") is AskedFor.APP


@each("accept", ["TEXT/HTML", "image/png, text/html ;q=0.1", "text/html;level=1;Q=1.000"])
def test_an_accept_is_read_as_its_standard_says(accept):
    assert of(Accept=accept, Upgrade_Insecure_Requests="1") is AskedFor.PAGE


@each("cookies, since", [
    ("kotatsu-waking=1790000000", 1790000000), ("a=b; kotatsu-waking=17; c=d", 17),
    ("a=b;kotatsu-waking=17", 17), ("kotatsu-waking=17; kotatsu-waking=18", 17),
    ("not-kotatsu-waking=17", None), ("kotatsu-waking=", None), ("kotatsu-waking=-1", None),
    ("kotatsu-waking=1e9", None), ("kotatsu-waking=1234567890123", None),
    ("a=" + "b" * 4000 + "; kotatsu-waking=17", 17),
])  # fmt: skip
def test_the_cookie_says_since_when_a_browser_waits(cookies, since):
    assert asked(head(**NAVIGATION, Cookie=cookies)).since == since
    assert asked(head("HEAD", Kotatsu_Waking="ask", Cookie=cookies)).since == since


@each("headers", [
    {},
    {"Accept": "*/*"},
    {"Accept": "application/json"},
    navigation(**{"Sec-Fetch-Mode": "cors"}),
    navigation(**{"Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image"}),
    navigation(**{"Sec-Fetch-Dest": "iframe"}),
    navigation(Sec_Purpose="prefetch;prerender"),
    navigation(Content_Length="4"),
    navigation(Transfer_Encoding="chunked"),
    navigation(Connection="Upgrade", Upgrade="websocket"),
])  # fmt: skip
def test_an_api_client_a_subresource_a_body_or_an_upgrade_never_gets_the_page(headers):
    assert of(**headers) is AskedFor.APP


@each("method", ["POST", "HEAD", "PUT", "OPTIONS"])
def test_only_a_get_is_a_navigation(method):
    assert of(method, **NAVIGATION) is AskedFor.APP


def test_a_head_that_servers_read_differently_is_left_to_the_app():
    folded = head(**NAVIGATION).replace(b"Host: web", b"Host: web\r\n folded")
    assert asked(folded) == Asked(AskedFor.APP)


def test_the_page_asks_by_head_with_its_own_header():
    assert of("HEAD", Kotatsu_Waking="ask") is AskedFor.PROGRESS
    assert of("GET", Kotatsu_Waking="ask") is AskedFor.APP


@each("accept, language", [
    ("", "en"), ("ja", "ja"), ("ja-JP,ja;q=0.9,en;q=0.8", "ja"), ("en-GB,ja;q=0.9", "en"),
    ("en;q=0.5,ja;q=0.9", "ja"), ("fr,ja;q=0.1", "ja"), ("fr", "en"), ("ja;q=0", "en"),
    ("ja;q=nonsense,en", "en"), ("javanese", "en"), (",;,;q=1,", "en"),
])  # fmt: skip
def test_the_page_is_in_the_language_that_is_asked_for(accept, language):
    assert language_of(accept) == language


def test_a_hostile_header_costs_no_time():
    page = asked(head(**navigation(Accept_Language="ja;q=0.9," * 6000)))
    assert page == Asked(AskedFor.PAGE, "ja")
    began = time.process_time()
    asked(head(**navigation(Cookie="kotatsu-waking=;" * 4000)))
    asked(head(**navigation(Anything=f"a{' ' * 60_000}b")))
    assert time.process_time() - began < 0.1
