"""The pet's page as feed serves it; tests/pages looks at it in a browser."""

import httpx
import pytest

from kotatsu_feed.page import WEB, page_config
from kotatsu_feed.settings import FeedSettings


async def test_the_page_needs_no_login_and_runs_only_its_own_scripts(
    feed: httpx.AsyncClient,
) -> None:
    answer = await feed.get("/", headers={"Authorization": ""})
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/html")
    policy = answer.headers["content-security-policy"]
    assert "script-src 'self'" in policy
    assert "unsafe" not in policy


@pytest.mark.parametrize("name", sorted(path.name for path in WEB.iterdir()))
async def test_every_file_of_the_page_is_served_and_names_nothing_outside(
    name: str, feed: httpx.AsyncClient
) -> None:
    answer = await feed.get(f"/pet/{name}")
    assert answer.status_code == 200
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "//" not in answer.text.replace("http://www.w3.org/2000/svg", "").replace("// ", "")


async def test_a_file_that_is_not_there_is_404_in_words(feed: httpx.AsyncClient) -> None:
    answer = await feed.get("/pet/../settings.py")
    assert answer.status_code == 404


def test_the_login_leads_to_github_with_the_least_it_can_ask_for() -> None:
    config = page_config(FeedSettings(github_client_id="abc"))
    assert config.login_url == (
        "https://github.com/login/oauth/authorize?client_id=abc&scope=read%3Auser"
    )


def test_an_installation_without_a_login_offers_none() -> None:
    config = page_config(FeedSettings())
    assert (config.login_url, config.demo_token) == ("", "")
