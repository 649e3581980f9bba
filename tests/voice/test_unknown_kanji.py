"""A kanji that Open JTalk's dictionary lacks.

The package then asks Sudachi, whose dictionary (200 MB) is not installed.
"""

import httpx

from kotatsu_voice.app import create_app
from kotatsu_voice.settings import VoiceSettings


async def test_a_sentence_with_it_is_left_out_and_alone_it_is_a_422() -> None:
    app = create_app(VoiceSettings(voice_anonymous=True))
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://voice") as client:
            alone = await client.post("/voice", json={"text": "龘です。"})
            mixed = await client.post("/voice", json={"text": "はい。龘です。"})
            rest = await client.post("/voice", json={"text": "はい。"})
    assert (alone.status_code, mixed.status_code) == (422, 200)
    assert mixed.content == rest.content
