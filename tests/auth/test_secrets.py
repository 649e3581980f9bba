"""A token, a code and the client secret are followed through everything that auth says."""

import logging
from typing import Any

import httpx
import pytest
from auth.conftest import IMPATIENT

from kotatsu_auth.app import create_app
from kotatsu_auth.settings import AuthSettings
from kotatsu_common import logs
from kotatsu_github_stub.state import Mode, State

CANARY = "demo-canary-0123456789"
MODES: list[Mode] = ["ok", "error", "rate_limited", "slow", "garbage", "down"]


@pytest.mark.parametrize(
    "overrides", [{"github_client_secret": CANARY, "log_level": "debug", **IMPATIENT}]
)
async def test_a_secret_never_leaves_in_an_answer_a_metric_or_a_log(
    auth: httpx.AsyncClient,
    stub: State,
    settings: AuthSettings,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    logs.configure("debug")
    said = []
    try:
        for mode in MODES:
            stub.mode = mode
            for header in (CANARY, f"Bearer {CANARY}", f"token {CANARY}x y", f"Basic {CANARY}"):
                answer = await auth.post("/authorize/x", headers={"Authorization": header})
                said += [answer.text, str(answer.headers)]
            answer = await auth.get("/token", params={"code": f"{CANARY}!"})
            said += [answer.text, str(answer.headers)]
        # A mistake of ours: the traceback must not tell either.
        monkeypatch.setattr("kotatsu_auth.routes.answer", lambda _: 1 / 0)
        stub.mode = "ok"
        answer = await auth.get("/authorize", headers={"Authorization": CANARY})
        assert answer.status_code == 500
        said += [answer.text, (await auth.get("/metrics")).text]
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
    out, err = capfd.readouterr()
    said += [out, err, repr(settings)]
    assert "ZeroDivisionError" in err
    everything = "\n".join(said)
    assert "canary" in everything  # the login, which is no secret, shows that the net is tight
    assert CANARY not in everything


async def test_an_unexpected_end_of_the_request_does_not_print_it(
    settings: AuthSettings, caplog: pytest.LogCaptureFixture
) -> None:
    def explode(request: httpx.Request) -> Any:
        raise RuntimeError("the transport broke")

    caplog.set_level("DEBUG")
    async with httpx.AsyncClient(transport=httpx.MockTransport(explode)) as github:
        transport = httpx.ASGITransport(create_app(settings, http=github))
        async with httpx.AsyncClient(transport=transport, base_url="http://auth") as auth:
            answer = await auth.get("/authorize", headers={"Authorization": CANARY})
    assert answer.status_code == 500
    assert CANARY not in caplog.text + answer.text
