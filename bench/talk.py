"""How soon the bird is heard while a model still writes its answer."""

import json

from gemini_server import ANSWER, CHARACTERS_PER_SECOND
from http1 import Answer, Connection, request
from report import Row
from samples import Samples
from services import Running, running
from topic import again, main, progress

BODY = json.dumps({"message": "おはよう"}).encode()
HEADERS = {"Content_Type": "application/json", "Authorization": "demo"}
AGAIN = again("talk")
GOAL = 0.4


def rows(quick: bool) -> list[Row]:
    """The same answer whole and streamed, in turns."""
    runs = 1 if quick else 5
    login = {"KOTATSU_GITHUB_CLIENT_ID": "bench", "KOTATSU_GITHUB_CLIENT_SECRET": "bench"}
    with (
        running("gemini_server.py", {}) as model,
        running("kotatsu_github_stub", {}) as github,
        running("kotatsu_auth", {**login, "KOTATSU_GITHUB_API_URL": github.url}) as auth,
    ):
        settings = {
            "KOTATSU_AUTH_URL": auth.url,
            "KOTATSU_VOICE_CACHE_BYTES": "0",
            "KOTATSU_GEMINI_API_KEY": "none",
            "KOTATSU_GEMINI_API_URL": f"{model.url}/v1beta",
        }
        with running("kotatsu_voice", settings) as voice:
            return [_first_sound(voice, runs)]


def _first_sound(voice: Running, runs: int) -> Row:
    whole, first = [], []
    with progress.step("talk"), Connection(voice.address) as connection:
        for _ in range(runs):
            whole.append(_ask(connection, "/talk").first)
            first.append(_ask(connection, "/talk?stream=true").first)
    all_of, streamed = Samples.of(whole), Samples.of(first)
    ratio = streamed.median / all_of.median
    return Row(
        "first sound of talk, streamed ÷ waiting for the whole answer",
        f"a stand-in for Gemini writes {len(ANSWER)} characters, {CHARACTERS_PER_SECOND:.0f} a"
        f" second; Open JTalk, no cache, in turns; the whole took {all_of.text} ({all_of.spread})",
        streamed.text,
        streamed.spread,
        runs,
        f"≤ {GOAL}",
        ratio,
        ratio <= GOAL,
        AGAIN,
    )


def _ask(connection: Connection, path: str) -> Answer:
    answer = connection.ask(request("POST", path, BODY, **HEADERS))
    lines = [json.loads(line) for line in answer.body.splitlines()]
    if answer.status != 200 or "".join(line["text"] for line in lines) != ANSWER:
        raise RuntimeError(f"the voice answered {answer.status}: {answer.body[:200]!r}")
    return answer


if __name__ == "__main__":
    main(rows)
