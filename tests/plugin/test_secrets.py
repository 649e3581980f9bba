"""The token of a kubeconfig is in nothing that the plugin says, in success and in each failure."""

import json

import pytest
from plugin.apiserver import Api
from plugin.conftest import Shell

pytestmark = pytest.mark.slow

LINES = (
    "kubectl demo-mode on voice --for 1h",
    "kubectl demo-mode status -o json",
    "kubectl demo-mode cost",
    "kubectl demo-mode off voice",
)


def test_a_token_is_in_nothing_that_the_plugin_says(sh: Shell, api: Api) -> None:
    wrong, away = api.home / "wrong.json", api.home / "away.json"
    tokens = {"wrong": "canary-0123456789"}
    for user in ("admin", "ann"):
        config = json.loads(api.kubeconfig(user).read_text())
        tokens[user] = config["users"][0]["user"]["token"]
    config["users"][0]["user"]["token"] = tokens["wrong"]
    wrong.write_text(json.dumps(config))
    config["clusters"][0]["cluster"]["server"] = "https://127.0.0.1:1"
    away.write_text(json.dumps(config))

    said, codes = "", []
    for line in LINES:
        for done in (
            sh(line),
            sh(line, "ann"),
            sh(f"{line} --kubeconfig={wrong}"),
            sh(f"{line} --kubeconfig={away}"),
        ):
            said += done.stdout + done.stderr
            codes.append(done.returncode)

    assert 0 in codes
    assert "you have no permission" in said
    assert "does not accept your credentials" in said
    assert "connection refused" in said
    for user, token in tokens.items():
        assert token not in said, user
