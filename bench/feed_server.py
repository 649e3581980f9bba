"""The feed as its image runs it, but the token says who calls: `user7` is the user 7."""

import httpx

from kotatsu_common.identity import Identity, token_of
from kotatsu_common.identity_client import IdentityClient
from kotatsu_common.server import serve
from kotatsu_common.settings import load
from kotatsu_feed.app import create_app
from kotatsu_feed.settings import FeedSettings


class ByNumber(IdentityClient):
    """Believes every token."""

    async def verify(self, authorization: str | None) -> Identity:
        """The user whose number the token has."""
        login = token_of(authorization) or "user1"
        number = int(login.removeprefix("user"))
        return Identity(number, login, f"https://avatars.example/{number}.svg")


if __name__ == "__main__":
    settings = load(FeedSettings)
    http = httpx.AsyncClient()
    app = create_app(settings, http=http, identity=ByNumber(http, "http://127.0.0.1:1"))
    serve(app, settings)
