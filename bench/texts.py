"""Memory of the voice over thousands of different texts."""

import asyncio
from collections.abc import Sequence

from http1 import Client, connect
from report import Row
from samples import Samples
from services import Running, running
from simulation.measure import MIB, resident_mib
from speech import speak
from topic import again, main, progress

ON_REQUEST = True

TEXTS = 5000
LINES = ("おはよう、今日はいい天気だね。", "こたつがあたたかいよ。", "ごはんをありがとう。")
CACHE = 4 * 1024 * 1024
"""Bytes: it is full long before the first measurement."""
AT_ONCE = 4
GOAL = 1.05
AGAIN = again("texts")


async def rows(quick: bool) -> list[Row]:
    """Resident memory after each fifth of the texts."""
    texts = [f"{number}番の小鳥です。{LINES[number % len(LINES)]}" for number in range(TEXTS)]
    if quick:
        texts = texts[: TEXTS // 10]
    settings = {"KOTATSU_VOICE_ANONYMOUS": "true", "KOTATSU_VOICE_CACHE_BYTES": str(CACHE)}
    with running("kotatsu_voice", settings) as voice, progress.step(f"speak {len(texts)} texts"):
        return [await _flat(voice, texts)]


async def _flat(voice: Running, texts: Sequence[str]) -> Row:
    clients = await connect(voice.address, AT_ONCE)
    fifth = len(texts) // 5
    found = []
    for start in range(0, len(texts), fifth):
        part = texts[start : start + fifth]
        await asyncio.gather(*(_speak(c, part[n::AT_ONCE]) for n, c in enumerate(clients)))
        found.append(resident_mib(voice.pid) * MIB)
    for client in clients:
        client.close()
    measured = Samples.of(found, "MB")
    ratio = found[-1] / found[0]
    each = ", ".join(f"{value:.0f}" for value in found)
    return Row(
        f"memory of the voice after {len(texts):,} different texts ÷ after {fifth:,}",
        f"Open JTalk, {AT_ONCE} at once, {CACHE // 1024**2} MiB of cache; MB each fifth: {each}",
        f"{found[-1]:.0f} MB",
        measured.spread,
        len(texts),
        f"≤ {GOAL}",
        ratio,
        ratio <= GOAL,
        AGAIN,
    )


async def _speak(client: Client, texts: Sequence[str]) -> None:
    for text in texts:
        answer = await client.ask(speak(text))
        if answer.status != 200:
            raise RuntimeError(f"the voice answered {answer.status}: {answer.body[:200]!r}")


if __name__ == "__main__":
    main(rows)
