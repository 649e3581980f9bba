"""The whole app through its gateway: everything asleep, then one request after another."""

import asyncio
import uuid
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from e2e.conftest import PET_SERVICES, WEB_INDEX, cluster_ip
from e2e.kit import App, eventually, gather_ok, is_ending, stamp
from e2e.visit import play
from pages.kit import DEVICES, IN_BROWSER, visiting

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]


async def test_a_whole_visit_works_with_everything_asleep_and_again_while_warm(base, pet):
    await play(base, f"demo-{uuid.uuid4().hex[:6]}")
    for name in PET_SERVICES:
        assert App(name, pet).replicas() >= 1
    await play(base, f"demo-{uuid.uuid4().hex[:6]}")


async def test_a_web_build_in_a_configmap_is_served_beside_the_api(base):
    async with httpx.AsyncClient(base_url=base, trust_env=False) as http:
        for path in ("/app/", "/app/home", "/app/any/page"):
            answer = await http.get(path)
            assert (answer.status_code, answer.text) == (200, WEB_INDEX)
        assert (await http.get("/app/missing.js")).status_code == 404


async def test_a_text_that_can_not_be_spoken_wakes_the_voice_and_gets_a_line(base):
    import miniaudio

    async with httpx.AsyncClient(base_url=base, timeout=120, trust_env=False) as http:
        answer = await http.post("/voice", json={"text": "😀"})
    assert (answer.status_code, answer.headers["x-voice-error"]) == (200, "422")
    assert miniaudio.decode(answer.content).duration > 1


@IN_BROWSER
@pytest.mark.parametrize("device", list(DEVICES))
async def test_the_page_wakes_the_sleeping_bird_and_is_heard(device, base, pet, browser):
    async with visiting(browser, base, **DEVICES[device]) as visit:
        await visit.page.click("#demo", timeout=60_000)
        await visit.page.wait_for_selector("#room:not([hidden])", timeout=60_000)
        await visit.until("document.querySelector('#ranking').children.length > 0", 30)
        await visit.page.click("#speak")
        await visit.page.wait_for_selector("#scene svg[data-mood=waking]")
        await visit.screenshot(f"pet-waking-{device}")
        await visit.until("document.querySelector('#audio').duration > 1", 60)
        assert await visit.text("#credit")
        assert await visit.accessibility() == []
        await visit.screenshot(f"pet-awake-{device}")


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


@pytest.mark.parametrize("mode", ["error", "rate_limited", "slow", "garbage"])
async def test_a_sick_github_never_denies_a_known_user(mode, base, pet):
    headers = {"Authorization": f"demo-{uuid.uuid4().hex[:6]}"}
    stub = f"http://{cluster_ip(pet, 'github-stub')}"
    async with httpx.AsyncClient(base_url=base, timeout=60, trust_env=False) as http:
        assert (await http.get("/home", headers=headers)).status_code == 200
        try:
            (await http.put(f"{stub}/_stub/control", json={"mode": mode})).raise_for_status()
            home = await http.get("/home", headers=headers)
            assert home.status_code == 200, home.text
        finally:
            await http.delete(f"{stub}/_stub/control")


@pytest.fixture
def awake(base, pet):
    """The pet's pods stay once `base` has seen them asleep, and what they log with them."""

    def override(value):
        for name in PET_SERVICES:
            pet.patch("warmpool", name, {"spec": {"override": value}})

    override({"mode": "Warm", "until": stamp(datetime.now(UTC) + timedelta(minutes=10))})
    yield
    override(None)


@pytest.mark.usefixtures("awake")
async def test_no_secret_is_in_any_pods_log_or_metrics(base, pet):
    """The gateway's access and error log among them: tokens and codes go through it."""
    token, code = (f"demo-canary-{uuid.uuid4().hex[:12]}" for _ in range(2))
    stub = f"http://{cluster_ip(pet, 'github-stub')}"
    await play(base, token)
    async with httpx.AsyncClient(base_url=base, timeout=120, trust_env=False) as http:
        for mode in ("ok", "error", "garbage"):
            (await http.put(f"{stub}/_stub/control", json={"mode": mode})).raise_for_status()
            for authorization in (f"Bearer {token}", f"token {token}x!", f"{token} {token}"):
                for method, path in (("GET", "/home"), ("POST", "/feed"), ("GET", "/authorize")):
                    await http.request(method, path, headers={"Authorization": authorization})
            await http.get("/token", params={"code": code})
            await http.post("/token", params={"code": code}, content=b"x" * 1_100_000)
            await http.get("/token", params={"code": code * 2000})
        await http.delete(f"{stub}/_stub/control")
    for broken in (f"GET /token?code={code} HTTP/9.9", f"GET /token?code={code} nonsense", token):
        await _send(base, f"{broken}\r\nAuthorization: {token}\r\nbroken\r\n\r\n")

    said = {}
    for pod in pet.items("pods"):
        if is_ending(pod):
            continue  # of an earlier test
        name = pod["metadata"]["name"]
        said[name] = pet("logs", name, "--all-containers")
        if not name.startswith("gateway"):
            said[name] += pet("get", "--raw", f"{_path(pod)}:8080/proxy/metrics")
    assert {name.split("-")[0] for name in said} >= {"gateway", "auth", "feed", "voice", "kotatsu"}
    gateway = "".join(text for name, text in said.items() if name.startswith("gateway"))
    assert '"path":"/token"' in gateway, "the access log is on"
    for secret in (token, code):
        assert [name for name, text in said.items() if secret in text] == []


def _path(pod):
    meta = pod["metadata"]
    return f"/api/v1/namespaces/{meta['namespace']}/pods/{meta['name']}"


async def _send(base, text):
    host = httpx.URL(base).host
    _, writer = await asyncio.open_connection(host, 80)
    writer.write(text.encode())
    await writer.drain()
    writer.close()
    await writer.wait_closed()


async def test_the_pools_sleep_again_when_nobody_comes(base, pet):
    await gather_ok([eventually(n, lambda n=n: not App(n, pet).pods(), 60) for n in PET_SERVICES])
