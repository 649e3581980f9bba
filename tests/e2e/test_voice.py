"""The voice from nothing: Japanese speech out of a pool that was asleep."""

import base64
import subprocess

import pytest
from e2e.conftest import SMALL_VOICE, built, cluster_ip, helm_install, scale_ups
from e2e.kit import App, eventually, gather_ok

pytestmark = pytest.mark.e2e

TEXT = "こんにちは。わたしは、こたつの、とりです。"


@pytest.fixture
def voice(platform):
    """The pet chart's voice, for anybody, with a short idleAfter."""
    sets = (*built("voice.image", "voice"), "voice.anonymous=true", "voice.pool.idleAfter=20s")
    helm_install(platform, "pet", "pet", *sets, SMALL_VOICE, wait=False)
    yield App("voice", platform)
    platform("delete", "warmpool", "voice", "--wait=false")
    subprocess.run(["helm", "uninstall", "pet", "-n", platform.namespace], check=True)


@pytest.mark.timeout(600)
async def test_fifty_requests_from_zero_are_fifty_whole_mp3s_from_one_scale_up(
    voice, platform, http
):
    import miniaudio

    await voice.asleep(within=120)
    address = cluster_ip(platform, "voice")
    before = scale_ups(platform, "voice")
    answers = await gather_ok(
        [http.post(f"http://{address}/voice", json={"text": TEXT}) for _ in range(50)]
    )
    for answer in answers:
        assert answer.status_code == 200, answer.text
        assert answer.headers["content-type"] == "audio/mpeg"
        sound = miniaudio.decode(answer.content, sample_rate=48_000, nchannels=1)
        assert 2.0 < sound.duration < 8.0
        assert max(abs(s) for s in sound.samples) > 3000
    assert len({answer.content for answer in answers}) == 1
    assert scale_ups(platform, "voice") - before == 1

    form = await http.post(f"http://{address}/voice", data={"text": TEXT})
    assert base64.b64decode(form.text) == answers[0].content
    await eventually("voice pods only", lambda: not voice.endpoints()["activator"], within=30)
