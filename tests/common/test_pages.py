from kotatsu_common.pages import page_headers


def test_pictures_come_only_from_where_the_page_says() -> None:
    policy = page_headers(("https://pictures.example",))["Content-Security-Policy"]
    assert "img-src 'self' https://pictures.example;" in policy


def test_a_page_runs_no_script_but_its_own_and_is_framed_by_nobody() -> None:
    policy = page_headers()["Content-Security-Policy"]
    assert "script-src 'self'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
