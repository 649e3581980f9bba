"""A stand-in for Gemini that writes as fast as people speak, for the topic `talk`."""

import os

import uvicorn
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route

import topic  # noqa: F401  (where the tests' kits are)

# isort: split
from voice.gemini_contract import Server

ANSWER = (
    "うん、うん、きかせてくれてありがとう。"
    "きょうもたくさんこーどをかいたんだね。"
    "こたつのなかはぽかぽかだから、すこしやすんでいってね。"
    "おちゃをのんで、しんこきゅうをしたら、またいっしょにがんばろう。"
)
"""Within the 100 characters or so that the bird is asked for."""
CHARACTERS_PER_SECOND = 8.0
"""Of hiragana: Japanese is spoken with 7 to 8 morae a second."""
TOGETHER = 4
"""Characters of one event."""


def main() -> None:
    """Serve until SIGTERM."""
    parts = [ANSWER[n : n + TOGETHER] for n in range(0, len(ANSWER), TOGETHER)]
    model = Server(parts, TOGETHER / CHARACTERS_PER_SECOND)
    ready = Route("/readyz", lambda _: PlainTextResponse("ok"))
    app = Starlette(routes=[ready, Mount("/", app=model)])
    host, port = os.environ["KOTATSU_HOST"], int(os.environ["KOTATSU_PORT"])
    uvicorn.run(app, host=host, port=port, log_config=None, ws="none")


if __name__ == "__main__":
    main()
