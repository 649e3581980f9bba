"""Which requests get the waiting page: browsers that navigate, and nobody else."""

import pytest

from kotatsu_operator.activator.http.navigation import Ask, Asked, asked, language_of

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
    assert of(**NAVIGATION) is Ask.PAGE


def test_without_tls_browsers_send_no_sec_fetch_and_accept_tells():
    assert of(Accept="text/html,*/*;q=0.8") is Ask.PAGE


@pytest.mark.parametrize(
    "headers",
    [
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
    ],
)
def test_an_api_client_a_subresource_a_body_or_an_upgrade_never_gets_the_page(headers):
    assert of(**headers) is Ask.APP


@pytest.mark.parametrize("method", ["POST", "HEAD", "PUT", "OPTIONS"])
def test_only_a_get_is_a_navigation(method):
    assert of(method, **NAVIGATION) is Ask.APP


def test_a_head_that_servers_read_differently_is_left_to_the_app():
    folded = head(**NAVIGATION).replace(b"Host: web", b"Host: web\r\n folded")
    assert asked(folded) == Asked(Ask.APP)


def test_the_page_asks_by_head_with_its_own_header():
    assert of("HEAD", Kotatsu_Waking="ask") is Ask.PROGRESS
    assert of("GET", Kotatsu_Waking="ask") is Ask.APP


@pytest.mark.parametrize(
    ("accept", "language"),
    [
        ("", "en"),
        ("ja", "ja"),
        ("ja-JP,ja;q=0.9,en;q=0.8", "ja"),
        ("en-GB,ja;q=0.9", "en"),
        ("en;q=0.5,ja;q=0.9", "ja"),
        ("fr,ja;q=0.1", "ja"),
        ("fr", "en"),
        ("ja;q=0", "en"),
        ("ja;q=nonsense,en", "en"),
        ("javanese", "en"),
        (",;,;q=1,", "en"),
    ],
)
def test_the_page_is_in_the_language_that_is_asked_for(accept, language):
    assert language_of(accept) == language


def test_a_hostile_header_costs_no_time():
    page = asked(head(**navigation(Accept_Language="ja;q=0.9," * 6000)))
    assert page == Asked(Ask.PAGE, "ja")
