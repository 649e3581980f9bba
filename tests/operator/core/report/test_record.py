"""The record of what sleeps, compared with the pools there are."""

from dataclasses import replace

from rows import each

from kotatsu_operator.core.protocol import record_part
from kotatsu_operator.core.report.record import (
    MOST,
    Entry,
    SavedMinScale,
    entry_of,
    inherited,
    kept_status,
    parts_of,
    place_of,
    read_entry,
    read_kept,
    recorded,
    settle,
)
from tests.operator.cluster import warm_pool

VOICE = Entry("demo", "voice", "Deployment", "voice", {"foundReplicas": 3})

DEMO = place_of("demo", "demo")


def slept(name="voice", replicas=3, **spec):
    return warm_pool(name, status={"foundReplicas": replicas}, **spec)


def test_an_entry_says_whose_it_is_and_what_comes_back():
    assert entry_of(slept()) == VOICE
    assert read_entry(VOICE.text(), "demo") == VOICE


def test_a_pool_whose_target_was_not_found_yet_has_none():
    assert entry_of(warm_pool()) is None


def test_what_a_record_of_version_0_1_restores_is_what_was_found():
    text = VOICE.text().replace("foundReplicas", "restoreReplicas")
    assert read_entry(text, "demo") == VOICE


def test_an_entry_says_what_autoscaler_and_revisions_get_back():
    owed = {"hpa": HPA, "knative": {"revisions": [SAVED]}}
    entry = entry_of(warm_pool(status={"phase": "Warm", "internal": owed}))
    assert entry.owed == owed
    assert read_entry(entry.text(), "demo") == entry


def test_an_edited_spec_is_followed():
    feed = slept(targetRef=warm_pool("feed")["spec"]["targetRef"])
    settlement = settle(DEMO, {"pool-voice": VOICE.text()}, [feed])
    assert read_entry(settlement.data["pool-voice"], "demo").target == "feed"
    assert settlement.gone == {}


@each("text", ["", "nonsense", "[]", "{}", '{"pool": 1, "target": "x"}', "null"])
def test_what_cannot_be_read_harms_nobody(text):
    assert settle(DEMO, {"x": text}, []) == settle(DEMO, {}, [])
    assert settle(DEMO, {"pool-voice": text}, [slept()]).data == {"pool-voice": VOICE.text()}
    assert settle(DEMO, {"pool-voice": text}, [warm_pool()]).data == {}


FOREIGN = "../../theirs/deployments/web"


@each(
    "name",
    [FOREIGN, "..", ".", "", "a/b", "a?dryRun=All", "a#b", "a%2fb", "A", "x" * 254, "ｗｅｂ"],
)
def test_a_name_that_is_none_is_no_target(name):
    pool = slept()
    pool["spec"]["targetRef"]["name"] = name
    assert entry_of(pool) is None
    assert read_entry(replace(VOICE, target=name).text(), "demo") is None


HPA, SAVED = {"name": "voice", "minReplicas": 2}, {"name": "voice-1", "minScale": "1"}
MALFORMED = [
    *({"foundReplicas": odd} for odd in ("many", True, -1, 2**31, [3])),
    *({"hpa": odd} for odd in ("voice", {"name": "voice"}, HPA | {"name": FOREIGN},
                               HPA | {"minReplicas": None})),
    *({"knative": odd} for odd in ([], {"revisions": "voice-1"})),
    *({"knative": {"revisions": [odd]}} for odd in ({"name": FOREIGN}, SAVED | {"minScale": 1})),
]  # fmt: skip


@each("owed", MALFORMED)
def test_only_what_is_well_formed_is_owed(owed):
    assert read_entry(replace(VOICE, owed=owed).text(), "demo").owed == {}
    both = read_entry(replace(VOICE, owed=VOICE.owed | owed).text(), "demo").owed
    assert both.keys() <= VOICE.owed.keys()
    assert entry_of(warm_pool(status=owed | {"internal": owed})) is None


def test_json_too_deep_to_read_harms_nobody():
    deep = VOICE.text()[:-1] + ', "x": ' + "[" * 100_000 + "]" * 100_000 + "}"
    assert settle(DEMO, {"x": deep}, []) == settle(DEMO, {}, [])


# --- a newer pool of the target ---


def test_a_newer_pool_takes_no_floor_of_a_gone_one_for_an_original():
    gone = (SavedMinScale("a", "1", ("2",)), SavedMinScale("b", None, ("2",)))

    def both(mine):
        known = {"knative": kept_status(mine)}
        return read_kept(known | inherited(known, {"knative": kept_status(gone)}))

    assert both((SavedMinScale("a", "2", ("3",)),)) == (
        SavedMinScale("a", "1", ("3",)),
        SavedMinScale("b", None, ("2",)),
    )
    other = (SavedMinScale("a", "5", ("6",)), SavedMinScale("b", "2", ("3",), uid="another"))
    assert both(other) == other


def test_an_heir_keeps_what_it_owes_itself_but_what_it_found_was_set_by_the_deleted_pool():
    mine = {"foundReplicas": 1, "takenService": "web"}
    theirs = {"foundReplicas": 3, "takenService": "voice", "hpa": HPA}
    assert inherited(mine, theirs) == {"foundReplicas": 3, "hpa": HPA}
    assert inherited(mine, {"foundReplicas": 1}) == {}


# --- for many namespaces ---

SHARED = place_of("demo", "home")
MINE = {"foundReplicas": 3, "internal": {"activators": "home/0"}}


def test_each_namespace_has_one_part_of_the_record():
    parts = parts_of("home")
    assert len(set(parts)) == 16
    assert [part for part in parts if part.holds("demo")] == [SHARED]


@each("namespace", ["theirs", "../demo", "", "a/b", 7, None])
def test_a_record_of_one_namespace_says_nothing_of_another(namespace):
    text = replace(VOICE, namespace=namespace).text()
    if namespace != "theirs" or record_part("theirs") != SHARED.name:
        assert settle(SHARED, {"x": text}, []).gone == {}


def test_the_part_of_a_record_has_the_pools_of_this_install_alone():
    mine, theirs = warm_pool(status=MINE), slept("feed")
    other = warm_pool("chat", status={"foundReplicas": 3, "internal": {"activators": "away/0"}})
    assert settle(SHARED, {}, [mine, theirs, other]).data == {"pool-voice": VOICE.text()}


def test_the_entry_of_a_pool_that_another_install_has_by_now_is_dropped():
    theirs = warm_pool(status={"foundReplicas": 3, "internal": {"activators": "away/0"}})
    settlement = settle(SHARED, {"pool-voice": VOICE.text()}, [theirs])
    assert (settlement.data, settlement.gone) == ({}, {})


def entry(namespace, number=0):
    return replace(VOICE, namespace=namespace, pool=f"{'x' * 240}{number}", target="y" * 250).text()


def filled(namespace):
    """What one namespace gets of a part that is empty, and how many pools it has there."""
    data = {}
    for number in range(3000):
        after = recorded(data, f"uid-{number}", entry(namespace, number), namespace)
        if after is None:
            return data
        data = after
    raise AssertionError("it may have all")


def test_no_namespace_takes_a_part_of_the_record_from_the_others():
    data = filled("greedy")
    assert sum(map(len, data.values())) < MOST * 3 // 4
    for number in range(50):
        data = recorded(data, f"other-{number}", entry("other", number), "other")
    assert len([key for key in data if key.startswith("other")]) == 50
    # What it has stays, and changes.
    text = replace(VOICE, namespace="greedy", owed={"foundReplicas": 4}).text()
    assert recorded(data, "uid-0", "", "greedy").keys() == data.keys() - {"uid-0"}
    assert len(recorded({}, "uid-0", text, "greedy")) == 1


def test_pools_without_an_entry_get_one_only_while_there_is_room():
    many = [slept(f"{'x' * 240}{number}") for number in range(2500)]
    settlement = settle(DEMO, {}, many)
    assert 500 < len(settlement.data) < 2500
    assert sum(map(len, settlement.data.values())) < MOST * 3 // 4
    assert settle(DEMO, settlement.data, many).data == settlement.data


def test_an_entry_under_the_uid_of_another_namespaces_pool_changes_nothing_of_it():
    forged = replace(VOICE, namespace="theirs", owed={"foundReplicas": 99}).text()
    assert settle(DEMO, {"pool-voice": forged}, [slept()]).data == {"pool-voice": VOICE.text()}
