import json

from kotatsu_operator.console.view import pool_view
from tests.operator.console.pools import NOW, Clock, day


def views():
    return {e.pool["metadata"]["name"]: pool_view(e, NOW) for e in day(Clock()).read()[2]}


def test_a_view_is_plain_json():
    assert json.loads(json.dumps(views()))


def test_a_warm_pool_shows_its_floor_its_demand_and_its_money():
    voice = views()["voice"]
    assert (voice["phase"], voice["floor"], voice["window"]) == ("Warm", 5, "final-pitch")
    assert voice["demand"] == {"inFlight": 3, "held": 1, "known": True}
    assert voice["cost"]["limit"] == "3000"
    assert [s[1] for s in voice["samples"]] == [0, 1, 0, 3, 5]


def test_the_windows_around_now_are_laid_out():
    names = [w["name"] for w in views()["voice"]["windows"]]
    assert names.count("final-pitch") == 1
    assert names.count("rehearsal") == 3  # yesterday's, today's and tomorrow's


def test_an_override_in_force_is_shown_with_who_and_why():
    assert views()["feed"]["override"]["by"] == "alice"


def test_a_refused_pool_shows_the_sentence_of_its_refusal():
    assert views()["lost"]["refused"] == "there is no Deployment <b>lost</b>"


def test_a_pool_whose_spec_cannot_be_read_is_still_shown():
    board = day(Clock())
    [entry] = [e for e in board.read()[2] if e.pool["metadata"]["name"] == "voice"]
    entry.pool["spec"]["timeZone"] = "Asia/Nowhere"
    assert pool_view(entry, NOW)["windows"] == []


def test_nothing_of_the_object_but_what_is_named_gets_out():
    board = day(Clock())
    [entry] = [e for e in board.read()[2] if e.pool["metadata"]["name"] == "voice"]
    entry.pool["metadata"]["annotations"] = {"note": "canary"}
    entry.pool["spec"]["metrics"] = {"path": "/canary"}
    assert "canary" not in json.dumps(pool_view(entry, NOW))
