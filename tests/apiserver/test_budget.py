"""A spent budget on a real API server: nobody wakes the pool until there is money again."""

import asyncio
import uuid

import pytest
from apiserver.kit import eventually

pytestmark = pytest.mark.apiserver


async def test_a_pool_without_money_is_not_woken_and_wakes_again_when_the_limit_is_raised(
    make_app, http, recorder
):
    """A pod costs 1,000 a second: the one that runs spends it all."""
    budget = {"limit": "1000", "period": "Day"}
    app = await make_app("money", idleAfter="1h")
    await app.send(http)
    app.kubectl.patch("warmpool", app.name, {"spec": {"budget": budget, "idleAfter": "3s"}})
    await eventually("the limit reached", lambda: app.inner().get("cost", {}).get("exhaustedAt"))
    condition = app.conditions()["BudgetAvailable"]
    assert (condition["status"], condition["reason"]) == ("False", "Exhausted")
    await app.asleep()
    await eventually("held by its budget", lambda: app.status()["reason"] == "Budget")

    async def refused():
        response = await http.post(app.url)
        assert response.status_code == 503
        assert 0 < int(response.headers["Retry-After"]) <= 3600
        assert "budget" in response.json()["detail"]
        return response

    await refused()
    await asyncio.sleep(2)
    await refused()
    assert (app.phase(), app.replicas()) == ("Asleep", 0)

    enough = {"budget": {"limit": "1000000000"}, "idleAfter": "1h"}
    app.kubectl.patch("warmpool", app.name, {"spec": enough})
    # The next request wakes it, whether the operator has looked yet or not: the activator refuses
    # until its watch has shown the new limit.
    async with asyncio.timeout(90):
        params = {"request_id": uuid.uuid4().hex, "ms": 0}
        while (response := await http.post(app.url, params=params)).status_code == 503:
            await asyncio.sleep(0.1)
    assert response.status_code == 200, response.text
    await eventually("awake", lambda: app.phase() in ("Warming", "Warm"))
    await eventually("money again", lambda: app.conditions()["BudgetAvailable"]["status"] == "True")
