"""The record of what sleeps, compared with the pools there are."""

from dataclasses import replace

import pytest
from rows import each

from kotatsu_operator.core.pool.spec import OnDelete
from kotatsu_operator.core.report.record import (
    Entry,
    entry_of,
    read_entry,
    settle,
    text_of,
)
from tests.operator.cluster import warm_pool

VOICE = Entry("voice", "Deployment", "voice", OnDelete.RESTORE, {"restoreReplicas": 3})


def slept(name="voice", replicas=3, **spec):
    return warm_pool(name, status={"restoreReplicas": replicas}, **spec)


def test_an_entry_says_whose_it_is_and_what_comes_back():
    assert entry_of(slept()) == VOICE
    assert entry_of(slept(onDelete="Keep")).on_delete is OnDelete.KEEP
    assert read_entry(VOICE.text()) == VOICE


def test_a_pool_that_has_put_nothing_to_sleep_has_none_until_it_is_about_to():
    assert entry_of(warm_pool()) is None
    assert entry_of(warm_pool(), 2).owed == {"restoreReplicas": 2}
    assert entry_of(slept(), 2).owed == {"restoreReplicas": 3}


def test_an_entry_says_what_autoscaler_and_revisions_get_back():
    owed = {
        "hpa": {"name": "voice", "minReplicas": 2},
        "knative": {"revisions": [{"name": "voice-1", "minScale": "1"}]},
    }
    entry = entry_of(warm_pool(status=owed | {"phase": "Warm"}))
    assert entry.owed == owed
    assert read_entry(entry.text()) == entry


def test_what_is_owed_for_a_sleep_under_way_is_not_lost_to_a_look_in_between():
    ahead = text_of(warm_pool(), 3)
    status = {"hpa": {"name": "voice", "minReplicas": 2}}
    assert read_entry(text_of(warm_pool(status=status), None, ahead)).owed == status | {
        "restoreReplicas": 3
    }


def test_an_edited_spec_is_followed():
    settlement = settle({"pool-voice": VOICE.text()}, [slept(onDelete="Keep")])
    assert read_entry(settlement.data["pool-voice"]).on_delete is OnDelete.KEEP
    assert settlement.gone == {}


def test_an_entry_written_ahead_of_its_status_stays():
    data = {"pool-voice": VOICE.text()}
    assert settle(data, [warm_pool()]).data == data


@pytest.mark.parametrize("text", ["", "nonsense", "[]", "{}", '{"pool": 1, "target": "x"}', "null"])
def test_what_cannot_be_read_harms_nobody(text):
    assert settle({"x": text}, []) == settle({}, [])
    assert settle({"pool-voice": text}, [slept()]).data == {"pool-voice": VOICE.text()}
    assert settle({"pool-voice": text}, [warm_pool()]).data == {}


FOREIGN = "../../theirs/deployments/web"


@each(
    "name",
    [FOREIGN, "..", ".", "", "a/b", "a?dryRun=All", "a#b", "a%2fb", "A", "x" * 254, "ｗｅｂ"],
)
def test_a_name_that_is_none_is_no_target(name):
    pool = slept()
    pool["spec"]["targetRef"]["name"] = name
    assert entry_of(pool) is None
    assert read_entry(replace(VOICE, target=name).text()) is None


MALFORMED = [
    {"restoreReplicas": "many"},
    {"restoreReplicas": True},
    {"restoreReplicas": -1},
    {"restoreReplicas": 2**31},
    {"restoreReplicas": [3]},
    {"hpa": "voice"},
    {"hpa": {"name": "voice"}},
    {"hpa": {"name": FOREIGN, "minReplicas": 1}},
    {"hpa": {"name": "voice", "minReplicas": None}},
    {"knative": []},
    {"knative": {"revisions": "voice-1"}},
    {"knative": {"revisions": [{"name": FOREIGN}]}},
    {"knative": {"revisions": [{"name": "voice-1", "minScale": 1}]}},
]


@each("owed", MALFORMED)
def test_only_what_is_well_formed_is_owed(owed):
    assert read_entry(replace(VOICE, owed=owed).text()).owed == {}
    assert (
        read_entry(replace(VOICE, owed=VOICE.owed | owed).text()).owed.keys() <= VOICE.owed.keys()
    )
    assert entry_of(warm_pool(status=owed)) is None


def test_json_too_deep_to_read_harms_nobody():
    deep = VOICE.text()[:-1] + ', "x": ' + "[" * 100_000 + "]" * 100_000 + "}"
    assert settle({"x": deep}, []) == settle({}, [])
