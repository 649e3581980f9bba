"""How fast the voice speaks: whole, streamed, cached, with one worker and with two."""

import asyncio
import contextlib
import json
import time
from concurrent.futures import ThreadPoolExecutor

from http1 import Answer, Connection, request
from kotatsu_voice import audio
from kotatsu_voice.engine import Pcm
from kotatsu_voice.engines.openjtalk import RATE, OpenJTalkEngine
from kotatsu_voice.text import pieces, prepare
from report import Row
from samples import Samples
from services import Running, running
from simulation.measure import cpu_seconds
from topic import again, main, progress

AGAIN = again("speech")
SHORT = (
    "こんにちは、わたしはこたつのとりです。"
    "きょうはとてもさむいですね、あたたかくしておやすみください。"
)
LONG = (
    "こたつの歴史は室町時代にさかのぼります。囲炉裏の火が弱くなると、その上に櫓を組み、布団を掛けて足を"
    "温めました。江戸時代には掘りごたつが生まれ、町の人々は冬の夜を家族と共に過ごしました。今では電気の"
    "こたつが広く使われ、みかんを食べながら家族みんなで楽しく話す冬の風景となっています。"
)
AT_ONCE = 6
"""Different texts asked for at once: more than workers, so that none idles at a text's end."""


def speak(text: str, path: str = "/voice") -> bytes:
    """A request for the speech of a text."""
    return request(
        "POST", path, json.dumps({"text": text}).encode(), Content_Type="application/json"
    )


def rows(quick: bool) -> list[Row]:
    """Measure all of it."""
    runs = 4 if quick else 20
    cold = {"KOTATSU_VOICE_ANONYMOUS": "true", "KOTATSU_VOICE_CACHE_BYTES": "0"}
    with (
        running("kotatsu_voice", cold | {"KOTATSU_VOICE_WORKERS": "1"}) as one,
        running("kotatsu_voice", cold | {"KOTATSU_VOICE_WORKERS": "2"}) as two,
    ):
        with progress.step("speak, one worker"):
            factor = _real_time_factor(one, runs)
        with progress.step("speak, one worker against two"):
            workers = _two_workers(one, two, runs)
        with progress.step("stream"):
            stream = _stream(two, runs)
    with (
        progress.step("cached answers against /livez"),
        running("kotatsu_voice", {"KOTATSU_VOICE_ANONYMOUS": "true"}) as warm,
    ):
        cached = _cached(warm, 200 if quick else 2000)
    with progress.step("mp3 encoding against synthesis"):
        mp3 = _encoding(runs)
    return [*factor, *workers, stream, cached, mp3]


def _ask(connection: Connection, raw: bytes) -> Answer:
    answer = connection.ask(raw)
    if answer.status != 200:
        raise RuntimeError(f"the voice answered {answer.status}: {answer.body[:200]!r}")
    return answer


def _real_time_factor(one: Running, runs: int) -> list[Row]:
    """CPU time, not wall-clock time: what else the machine does makes no difference to it."""
    found = []
    with Connection(one.address) as connection:
        for text in (SHORT, LONG):
            _ask(connection, speak(text))
            factors, times = [], []
            for _ in range(runs):
                cpu = cpu_seconds(one.pid)
                answer = _ask(connection, speak(text))
                factors.append((cpu_seconds(one.pid) - cpu) / _sounds_for(answer.body))
                times.append(answer.seconds)
            factor, took = Samples.of(factors, ""), Samples.of(times)
            mean = sum(factors) / len(factors)  # CPU time is counted in hundredths of a second
            found.append(
                Row(
                    f"speech of {len(text)} characters: CPU per second of sound",
                    f"one worker, no cache; the answer took {took.text} ({took.spread})",
                    f"{mean:.3f}",
                    factor.spread,
                    runs,
                    "≤ 0.05 of a core",
                    mean,
                    mean <= 0.05,
                    AGAIN,
                )
            )
    return found


def _sounds_for(mp3: bytes) -> float:
    """Seconds of an MP3 of a constant rate."""
    return len(mp3) * 8 / (audio.MP3_KBPS * 1000)


def _two_workers(one: Running, two: Running, runs: int) -> list[Row]:
    texts = [f"{n}番目の文です。{LONG[:-2]}" for n in range(1, AT_ONCE + 1)]
    many: dict[int, list[float]] = {1: [], 2: []}
    single: dict[int, list[float]] = {1: [], 2: []}
    for run in range(max(2, runs // 4) + 1):
        for workers, service in ((1, one), (2, two)):
            with contextlib.ExitStack() as stack:
                lines = [stack.enter_context(Connection(service.address)) for _ in texts]
                pool = stack.enter_context(ThreadPoolExecutor(len(texts)))
                began = time.perf_counter()
                for done in [
                    pool.submit(_ask, line, speak(text))
                    for line, text in zip(lines, texts, strict=True)
                ]:
                    done.result()
                took = time.perf_counter() - began
                alone = _ask(lines[0], speak(LONG)).seconds
            if run:  # the first warms both up
                many[workers].append(took)
                single[workers].append(alone)

    def row(what: str, times: dict[int, list[float]], goal: str, bound: float | None) -> Row:
        slow, fast = Samples.of(times[1]), Samples.of(times[2])
        ratio = slow.median / fast.median
        met = None if bound is None else ratio >= bound
        how = f"{slow.text} with one worker, {fast.text} with two, in turns"
        return Row(what, how, fast.text, fast.spread, len(fast), goal, ratio, met, AGAIN)

    name = f"{AT_ONCE} texts of {len(texts[0])} characters at once: one worker ÷ two"
    alone_name = f"one text of {len(LONG)} characters: one worker ÷ two"
    return [row(name, many, "≥ 1.6", 1.6), row(alone_name, single, "", None)]


def _stream(two: Running, runs: int) -> Row:
    shares, firsts = [], []
    with Connection(two.address) as connection:
        for run in range(runs + 1):
            answer = _ask(connection, speak(LONG, "/voice?stream=true"))
            if run:
                shares.append(answer.first / answer.seconds)
                firsts.append(answer.first)
    share, first = Samples.of(shares, ""), Samples.of(firsts)
    return Row(
        f"first streamed sound of {len(LONG)} characters ÷ the whole",
        f"two workers, no cache; the first bytes came after {first.text} ({first.spread})",
        share.text,
        share.spread,
        runs,
        "≤ 0.2",
        share.median,
        share.median <= 0.2,
        AGAIN,
    )


def _cached(warm: Running, runs: int) -> Row:
    health, spoken = request("GET", "/livez"), speak(SHORT)
    times: dict[bytes, list[float]] = {health: [], spoken: []}
    with Connection(warm.address) as connection:
        for _ in range(50):
            _ask(connection, spoken), _ask(connection, health)
        for _ in range(runs // 50):
            for raw, kept in times.items():
                kept += [_ask(connection, raw).seconds for _ in range(50)]
    base, cached = Samples.of(times[health]), Samples.of(times[spoken])
    ratio = cached.median / base.median
    how = f"one connection, fifty of each in turns; GET /livez takes {base.text} ({base.spread})"
    return Row(
        "a cached answer of the voice ÷ /livez",
        how,
        cached.text,
        cached.spread,
        len(cached),
        "≤ 2 x",
        ratio,
        ratio <= 2,
        AGAIN,
    )


def _encoding(runs: int) -> Row:
    """In this process and in one thread, by the thread's CPU time."""
    sounds = asyncio.run(_synthesize(runs))
    synthesis, encoding = [], []
    for spent, pcms in sounds:
        began = time.thread_time()
        encoder = audio.Mp3(RATE)
        for pcm in pcms:
            encoder.add(audio.polish(pcm))
        encoder.end()
        encoding.append(time.thread_time() - began)
        synthesis.append(spent)
    made, mp3 = Samples.of(synthesis), Samples.of(encoding)
    share = Samples.of((b / a for a, b in zip(synthesis, encoding, strict=True)), "")
    return Row(
        f"making MP3 of {len(LONG)} characters ÷ synthesis",
        f"leveling, trimming and LAME take {mp3.text} ({mp3.spread}); Open JTalk {made.text}",
        share.text,
        share.spread,
        runs,
        "≤ 0.1 x",
        share.median,
        share.median <= 0.1,
        AGAIN,
    )


async def _synthesize(runs: int) -> list[tuple[float, list[Pcm]]]:
    engine = OpenJTalkEngine(1)
    await engine.start()
    parts = [piece.text for piece in pieces(prepare(LONG, 500))]
    found = []
    for run in range(runs + 1):
        began = time.process_time()
        pcms = [await engine.synthesize(part, 0) for part in parts]
        if run:
            found.append((time.process_time() - began, pcms))
    await engine.close()
    return found


if __name__ == "__main__":
    main(rows)
