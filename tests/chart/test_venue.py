"""The first version of the app in a venue, before a real nginx with the chart's configuration.

It stays mute after any answer of /voice but 200 with sound in it. All phones of a venue have one
address, and it sends no token.
"""

import asyncio
import base64
import math
import random
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial

import httpx
import pytest
from chart.nginx import serving_gateway
from serving import serving
from sound import player
from voice.fakes import FakeEngine

from kotatsu_voice.app import create_app
from kotatsu_voice.settings import VoiceSettings

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

post = partial(httpx.post, timeout=60)

PEOPLE = 200
LINES = tuple(f"おはよう、きょうも{word}だね。" for word in "はるなつあきふゆ")
"""The app says one of a few lines after each tap."""
PLAYABLE = ("--set", "gateway.playableErrors=true")
ONE_A_MINUTE = ("--set", "gateway.anonymousVoice.rate=1r/m,gateway.anonymousVoice.burst=0")


@pytest.fixture(scope="module")
def voice() -> Iterator[str]:
    engine = FakeEngine()
    with serving(create_app(VoiceSettings(voice_anonymous=True), engine=engine)) as url:
        yield url.removeprefix("http://")


@dataclass
class Phone:
    """A phone with the first version of the app."""

    http: httpx.AsyncClient
    url: str
    is_mute: bool = False
    heard: Counter[str] = field(default_factory=Counter)

    async def tap(self, text: str = LINES[0]) -> None:
        """The bird speaks, unless it fell silent before."""
        if self.is_mute:
            return
        answer = await self.http.post(self.url, json={"text": text})
        self.heard[answer.headers.get("x-voice-error", "")] += 1
        try:
            player().decode(answer.content)
        except player().DecodeError:
            self.is_mute = True
        self.is_mute = self.is_mute or answer.status_code != 200


async def venue(
    port: int, taps: int, people: int = PEOPLE, *, pause: float = 0.0, seconds: float = math.inf
) -> list[Phone]:
    """All phones after their taps, with a pause (seconds, more or less) before each.

    After some `seconds` nobody taps any more.
    """
    end = time.monotonic() + seconds
    limits = httpx.Limits(max_connections=PEOPLE)
    async with httpx.AsyncClient(limits=limits, timeout=60, trust_env=False) as http:
        phones = [Phone(http, f"http://127.0.0.1:{port}/voice") for _ in range(people)]
        dice = random.Random(1)

        async def visit(phone: Phone) -> None:
            for _ in range(taps):
                await asyncio.sleep(pause * dice.uniform(0, 2))
                if time.monotonic() < end:
                    await phone.tap(dice.choice(LINES))

        async with asyncio.TaskGroup() as group:
            for phone in phones:
                group.create_task(visit(phone))
        return phones


def mute(phones: list[Phone]) -> int:
    return sum(phone.is_mute for phone in phones)


def heard(phones: list[Phone]) -> Counter[str]:
    return sum((phone.heard for phone in phones), Counter[str]())


async def test_a_venue_that_taps_at_once_is_within_the_limit(voice: str) -> None:
    with serving_gateway(voice) as port:
        phones = await venue(port, taps=2)
    assert mute(phones) == 0
    assert heard(phones) == {"": 2 * PEOPLE}


@pytest.mark.soak
@pytest.mark.timeout(1200)
async def test_nobody_falls_silent_in_five_minutes(voice: str) -> None:
    """200 people who tap every six seconds, with the default limits and the service's own voice."""
    with (
        serving(create_app(VoiceSettings(voice_anonymous=True))) as url,
        serving_gateway(url.removeprefix("http://"), *PLAYABLE) as port,
    ):
        phones = await venue(port, taps=50, pause=6, seconds=300)
    assert mute(phones) == 0
    assert set(heard(phones)) == {""}, heard(phones)


async def test_without_the_line_the_limit_makes_them_mute(voice: str) -> None:
    with serving_gateway(voice, *ONE_A_MINUTE) as port:
        phones = await venue(port, taps=1, people=20)
    assert mute(phones) >= 18


async def test_with_the_line_nobody_is_mute_however_low_the_limit_is(voice: str) -> None:
    with serving_gateway(voice, *ONE_A_MINUTE, *PLAYABLE) as port:
        phones = await venue(port, taps=3, people=20)
    assert mute(phones) == 0
    assert heard(phones)["429"] >= 3 * 20 - 5


@pytest.fixture(scope="module")
def line(voice: str) -> Iterator[str]:
    """The address of a gateway that answers the line."""
    with serving_gateway(voice, *PLAYABLE) as port:
        yield f"http://127.0.0.1:{port}"


def test_the_line_is_what_the_request_would_have_got(line: str) -> None:
    json = post(f"{line}/voice", json={"text": ""})
    form = post(f"{line}/voice/", data={"text": ""})
    stream = post(f"{line}/voice?stream=true", data={"text": ""})
    assert [a.headers["content-type"] for a in (json, form, stream)] == [
        "audio/mpeg",
        "text/plain",
        "audio/mpeg",
    ]
    assert base64.b64decode(form.content) == json.content == stream.content
    assert 1 < player().decode(json.content).duration < 5


def test_the_line_says_what_was_wrong_and_whose_voice_it_is(line: str) -> None:
    answer = post(f"{line}/voice", json={"text": ""}, headers={"Origin": "http://page.example"})
    assert (answer.status_code, answer.headers["x-voice-error"]) == (200, "422")
    spoken = post(f"{line}/voice", json={"text": "はい"})
    assert "x-voice-error" not in spoken.headers
    assert "Nagoya" in answer.headers["x-voice-credit"]
    assert answer.headers["access-control-allow-origin"] == "*"
    assert "X-Voice-Error" in answer.headers["access-control-expose-headers"]


@pytest.mark.parametrize(
    "request_",
    [
        {"content": b"x" * 2_000_000},
        {"content": b"<x/>", "headers": {"Content-Type": "text/xml"}},
        {"content": b"{", "headers": {"Content-Type": "application/json"}},
    ],
)
def test_a_request_that_is_wrong_gets_the_line_too(line: str, request_: dict[str, object]) -> None:
    answer = post(f"{line}/voice", **request_)  # type: ignore[arg-type]
    assert answer.status_code == 200
    assert answer.headers["x-voice-error"].startswith("4")


def test_a_voice_that_is_away_gets_the_line_and_other_paths_an_error() -> None:
    with serving_gateway("127.0.0.1:1", *PLAYABLE) as port:
        base = f"http://127.0.0.1:{port}"
        answer = post(f"{base}/voice", json={"text": "はい"})
        preflight = httpx.options(f"{base}/voice", timeout=60)
        other = post(f"{base}/talk")
    assert (answer.status_code, answer.headers["x-voice-error"]) == (200, "502")
    assert player().decode(answer.content).duration > 1
    assert "Content-Type" in preflight.headers["access-control-allow-headers"]
    assert (other.status_code, other.json()["status"]) == (502, 502)


def test_a_token_has_a_limit_of_its_own(voice: str) -> None:
    strict = "gateway.anonymousVoice.perToken.rate=1r/m,gateway.anonymousVoice.perToken.burst=1"
    with serving_gateway(voice, "--set", strict) as port:

        def ask(token: str | None) -> int:
            headers = {} if token is None else {"Authorization": token}
            url = f"http://127.0.0.1:{port}/voice"
            return post(url, json={"text": "はい"}, headers=headers).status_code

        assert [ask("gho_one") for _ in range(3)] == [200, 200, 429]
        assert [ask("Bearer gho_one"), ask("x" * 5000 + " gho_one")] == [429, 429]
        assert [ask("gho_two"), ask(None), ask(None), ask(None)] == [200] * 4


def test_an_address_of_ipv6_is_limited_with_its_whole_network(voice: str) -> None:
    """A client can send from each of the 2^64 addresses of a /64."""
    strict = "gateway.anonymousVoice.rate=1r/m,gateway.anonymousVoice.burst=1"
    proxy = "gateway.trustedProxies={127.0.0.1}"
    with serving_gateway(voice, "--set", strict, "--set", proxy) as port:

        def ask(address: str) -> int:
            headers = {"X-Forwarded-For": address}
            url = f"http://127.0.0.1:{port}/voice"
            return post(url, json={"text": "はい"}, headers=headers).status_code

        network = ["2001:db8:0:a::1", "2001:db8:0:a:ffff::2", "2001:db8:0:a:a0a:a0a:a0a:a0a"]
        assert [ask(address) for address in network] == [200, 200, 429]
        assert ask("2001:db8:0:b::1") == 200
        in_ipv6 = ["::ffff:192.0.2.1", "::ffff:192.0.2.2", "::ffff:192.0.2.3"]
        assert [ask(address) for address in in_ipv6] == [200] * 3
        assert [ask("192.0.2.9") for _ in range(3)] == [200, 200, 429]
        assert [ask(f"192.0.2.{n}") for n in (10, 11, 12)] == [200] * 3
