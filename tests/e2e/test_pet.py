"""The whole app, everything asleep: a visit, its page in a browser, speech for fifty at once."""

import asyncio
import base64
import uuid

import httpx
import pytest
from e2e.conftest import PET_SERVICES, cluster_ip, scale_ups
from e2e.kit import App, eventually, gather_ok
from e2e.patience import patience
from e2e.visit import play
from pages.kit import IN_BROWSER, PHONE, visiting
from sound import player

pytestmark = pytest.mark.e2e

TEXT = "こんにちは。わたしは、こたつの、とりです。"


async def test_a_whole_visit_works_with_everything_asleep_and_again_while_warm(base, pet):
    before = {name: scale_ups(pet, name) for name in PET_SERVICES}
    await play(base, f"demo-{uuid.uuid4().hex[:6]}")
    # On a busy machine the first one is idle again before the last one has woken.
    assert all(scale_ups(pet, name) > before[name] for name in PET_SERVICES)
    await play(base, f"demo-{uuid.uuid4().hex[:6]}")


async def test_installed_as_its_page_says_all_three_sleep_and_a_request_to_each_wakes_it(
    guided, http
):
    for name in PET_SERVICES:
        await App(name, guided).asleep()
    before = {name: scale_ups(guided, name) for name in PET_SERVICES}
    await play(f"http://{cluster_ip(guided, 'gateway')}", f"demo-{uuid.uuid4().hex[:6]}")
    assert all(scale_ups(guided, name) > before[name] for name in PET_SERVICES)
    voice = cluster_ip(guided, "voice")
    answer = await http.post(f"http://{voice}/voice", json={"text": TEXT})
    assert player().decode(answer.content, sample_rate=48_000, nchannels=1).duration > 2.0


@IN_BROWSER
async def test_the_page_wakes_the_sleeping_bird_and_is_heard(base, browser):
    async with visiting(browser, base, **PHONE) as visit:
        await visit.page.click("#demo", timeout=1000 * patience())
        await visit.page.wait_for_selector("#room:not([hidden])", timeout=1000 * patience())
        await visit.until("document.querySelector('#ranking').children.length > 0", patience())
        await visit.page.click("#speak")
        await visit.page.wait_for_selector("#scene svg[data-mood=waking]")
        await visit.screenshot("pet-waking")
        await visit.until("document.querySelector('#audio').duration > 1", patience())
        assert await visit.text("#credit")
        assert await visit.accessibility() == []
        await visit.screenshot("pet-awake")


async def test_fifty_requests_from_zero_are_fifty_whole_mp3s_from_one_scale_up(base, pet, http):
    voice, address = App("voice", pet), cluster_ip(pet, "voice")
    before = scale_ups(pet, "voice")
    answers = await gather_ok(
        [http.post(f"http://{address}/voice", json={"text": TEXT}) for _ in range(50)]
    )
    for answer in answers:
        assert answer.status_code == 200, answer.text
        assert answer.headers["content-type"] == "audio/mpeg"
        sound = player().decode(answer.content, sample_rate=48_000, nchannels=1)
        assert 2.0 < sound.duration < 8.0
        assert max(abs(s) for s in sound.samples) > 3000
    assert len({answer.content for answer in answers}) == 1
    assert scale_ups(pet, "voice") - before == 1

    form = await http.post(f"http://{address}/voice", data={"text": TEXT})
    assert base64.b64decode(form.text) == answers[0].content
    await eventually("voice pods only", lambda: not voice.endpoints()["activator"])


async def test_feeding_through_a_killed_pod_loses_nothing_and_doubles_nothing(base, pet):
    headers = {"Authorization": f"demo-{uuid.uuid4().hex[:6]}"}
    async with httpx.AsyncClient(base_url=base, timeout=120, trust_env=False) as http:
        food = (await http.post("/get_feed", headers=headers)).json()["feedCount"]

        async def feed(key):
            for _ in range(40):
                try:
                    answer = await http.post("/feed", headers={**headers, "Idempotency-Key": key})
                except httpx.TransportError:
                    continue
                if answer.status_code < 500:
                    return answer
                await asyncio.sleep(0.5)
            raise AssertionError("never answered")

        keys = [uuid.uuid4().hex for _ in range(food)]
        feeding = asyncio.gather(*(feed(k) for k in keys))
        await asyncio.sleep(0.1)
        pet(
            "delete", "pod", "-l", "app.kubernetes.io/component=feed", "--grace-period=0", "--force"
        )
        answers = await feeding
        assert [a.status_code for a in answers] == [200] * food
        home = (await http.get("/home", headers=headers)).json()
        assert home["characterExperience"] == 10 * food
        assert home["feedCount"] == 0
