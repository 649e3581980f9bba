"""Which pools the sets want in a namespace, and why not more."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from kotatsu_operator.core.pool.spec import BUILT_IN
from kotatsu_operator.core.poolset.spec import PoolSet
from kotatsu_operator.core.poolset.wanted import Place, Workload, differs, wanted


def pool_set(name="previews", **values):
    of = PoolSet(name, f"uid-{name}", (name, name), {}, None, {"idleAfter": "1m"}, {}, {})
    return replace(of, **values)


def workload(name="web", kind="Deployment", **values):
    return Workload(kind, name, values.pop("labels", {}), {"app": name}, **values)


def service(name="web", app="web", **spec):
    return {"metadata": {"name": name}, "spec": {"selector": {"app": app}, **spec}}


def pool(name="web", target="web", service="", by=""):
    labels = {"kotatsu.dev/set": by} if by else {}
    owners = [{"kind": "WarmPoolSet", "name": by}] if by else []
    spec = {"targetRef": {"kind": "Deployment", "name": target}}
    return {
        "metadata": {"name": name, "labels": labels, "ownerReferences": owners},
        "spec": spec | ({"service": service} if service else {}),
    }


def place(*workloads, services=None, pools=(), sets=None):
    services = [service(of.name, of.name) for of in workloads] if services is None else services
    return Place("shop", sets or [pool_set()], workloads, services, pools)


def refusal(found, by="previews"):
    (one,) = found.refused[by]
    return one.reason


def test_a_workload_with_a_service_gets_a_pool_of_its_name():
    made = wanted(place(workload())).made["web"]
    manifest = made.manifest(BUILT_IN, {"route": "Activator"})
    assert manifest["spec"] == {
        "route": "Activator",
        "idleAfter": "1m",
        "targetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
        "service": "web",
    }
    assert manifest["metadata"]["labels"] == {"kotatsu.dev/set": "previews"}
    (owner,) = manifest["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["uid"]) == ("WarmPoolSet", "uid-previews")


def test_the_pool_of_another_kind_has_the_kind_in_its_name():
    found = wanted(place(workload(), workload("web", "StatefulSet"), services=[service()]))
    assert set(found.made) == {"web"}
    db = wanted(place(workload("db", "StatefulSet")))
    assert set(db.made) == {"db.statefulset"}


def test_without_a_selector_only_workloads_with_a_service_are_selected():
    found = wanted(place(workload(), workload("worker"), services=[service()]))
    assert (set(found.made), found.selected, found.refused["previews"]) == (
        {"web"},
        {"previews": 1},
        [],
    )


def test_a_selected_workload_without_a_service_is_refused():
    by = pool_set(workloads={"matchLabels": {"tier": "web"}})
    found = wanted(
        place(workload("a", labels={"tier": "web"}), workload("b"), services=[], sets=[by])
    )
    assert refusal(found) == "ServiceNotFound"


def test_a_headless_service_wakes_nobody():
    found = wanted(place(workload(), services=[service(clusterIP="None")]))
    assert not found.made


def test_a_pool_that_is_not_of_a_set_wins_by_its_target_and_by_its_service():
    assert refusal(wanted(place(workload(), pools=[pool("mine")]))) == "HasPool"
    other = pool("mine", target="other", service="web")
    assert refusal(wanted(place(workload(), pools=[other]))) == "ServiceClaimed"
    named = pool("web", target="other", service="other")
    assert refusal(wanted(place(workload(), pools=[named]))) == "NameTaken"


def test_the_pool_of_a_set_that_is_gone_is_as_one_that_was_written_by_hand():
    assert refusal(wanted(place(workload(), pools=[pool(by="former")]))) == "HasPool"
    assert wanted(place(workload(), pools=[pool(by="previews")])).made


def test_a_label_alone_makes_no_pool_that_of_a_set():
    alone = pool(by="previews")
    alone["metadata"]["ownerReferences"] = []
    assert refusal(wanted(place(workload(), pools=[alone]))) == "HasPool"


def test_what_a_controller_has_made_is_left_to_it():
    assert refusal(wanted(place(workload(controller="Rollout web")))) == "OwnedByController"


def test_kotatsu_itself_is_never_selected():
    of = Workload("Deployment", "web", {}, {"app": "web", "app.kubernetes.io/name": "kotatsu"})
    assert wanted(place(of)).selected == {}


def test_who_opts_out_is_selected_only_by_a_set_that_ignores_it():
    of = workload(opts_out=True)
    assert not wanted(place(of)).made
    assert wanted(place(of, sets=[pool_set(heeds_opt_out=False)])).made


def test_the_older_set_has_what_two_select():
    found = wanted(place(workload(), sets=[pool_set("a"), pool_set("b")]))
    assert found.made["web"].by.name == "a"
    assert found.twice == {("a", "b"): 1}
    assert found.selected == {"a": 1}


def test_a_workload_waits_for_those_of_the_entries_after_its_own():
    tiers = ("web", "api", "db")
    of = [workload(tier, labels={"tier": tier}) for tier in tiers]
    order = tuple({"matchLabels": {"tier": tier}} for tier in tiers)
    by = pool_set(order=order, names=("cache",))
    made = wanted(place(*of, workload("other"), sets=[by])).made
    assert {name: one.depends for name, one in made.items()} == {
        "web": ("cache", "api", "db"),
        "api": ("cache", "db"),
        "db": ("cache",),
        "other": ("cache", "web", "api", "db"),
    }


def test_an_order_names_pools_that_were_written_by_hand_too():
    of = [workload("web"), workload("db", labels={"tier": "db"})]
    by = pool_set(order=({"matchLabels": {"tier": "db"}},))
    found = wanted(place(*of, sets=[by], pools=[pool("postgres", target="db", service="db")]))
    assert found.made["web"].depends == ("postgres",)


def test_the_first_field_that_differs_is_named():
    there = {"idleAfter": "7s", "windows": [{"name": "a", "replicas": 1}], "more": 1}
    assert differs({"windows": [{"name": "a"}]}, there) == ""
    assert differs({"idleAfter": "1s"}, there) == "spec.idleAfter"
    assert differs({"windows": [{"name": "b"}]}, there) == "spec.windows.name"
    assert differs({"windows": []}, there) == "spec.windows"
    assert differs({"dependsOn": ["a", "b"]}, {"dependsOn": ["b", "a"]}) == ""
    assert differs({"dependsOn": ["a"]}, {}) == "spec.dependsOn"


NAMES = st.sampled_from("abc")


@given(
    st.lists(
        st.tuples(NAMES, st.sampled_from(["Deployment", "StatefulSet"]), st.booleans()), unique=True
    ),
    st.lists(st.tuples(NAMES, NAMES)),
    st.lists(st.tuples(NAMES, NAMES, NAMES, st.sampled_from(["", "a", "former"])), max_size=3),
)
def test_no_two_pools_ever_share_a_target_a_service_or_a_name(workloads, services, pools):
    of = [workload(name, kind, opts_out=out) for name, kind, out in workloads]
    ways = [service(name, app) for name, app in dict(services).items()]
    there = [pool(name, target, way, by) for name, target, way, by in pools]
    found = wanted(place(*of, services=ways, pools=there, sets=[pool_set("a"), pool_set("b")]))
    others = [one for one in there if one["metadata"]["labels"].get("kotatsu.dev/set") != "a"]
    taken = [("Deployment", one["spec"]["targetRef"]["name"]) for one in others]
    targets = [one.workload.of for one in found.made.values()]
    assert len({*targets, *taken}) == len(targets) + len(set(taken))
    used = [one.service for one in found.made.values()]
    assert len({*used, *(one["spec"].get("service") for one in others)}) == len(used) + len(
        {one["spec"].get("service") for one in others}
    )
    assert not found.made.keys() & {one["metadata"]["name"] for one in others}
    assert all(not one.workload.opts_out for one in found.made.values())
    number = len(found.made) + sum(map(len, found.refused.values()))
    assert number == sum(found.selected.values())


def limit(there=None, **of):
    """maxReplicas that the set writes; `there` is that of the pool that exists."""
    template = of.pop("template", {})
    status = {"internal": {"foundReplicas": of.pop("found", 0)}}
    by = pool_set(template=template)
    (made,) = wanted(place(workload("db", "StatefulSet", **of), sets=[by])).made.values()
    exists = None if there is None else {"spec": {"maxReplicas": there}, "status": status}
    return made.manifest(BUILT_IN, made.limit(exists))["spec"].get("maxReplicas")


def test_pods_with_a_disk_are_as_many_at_most_as_run():
    assert limit(has_disk=True, replicas=1) == 1
    assert limit(has_disk=True, replicas=0) == 1
    assert limit(has_disk=True, replicas=3) == 3
    assert limit(replicas=3) is None


def test_the_template_says_how_many_pods_have_a_disk():
    assert limit(has_disk=True, template={"maxReplicas": 5}) == 5
    windows = [{"name": "day", "replicas": 2}, {"name": "pitch", "replicas": 4}]
    assert limit(has_disk=True, template={"windows": windows}) == 4
    assert limit(has_disk=True, template={"calendars": [{"name": "shows", "replicas": 3}]}) == 3


def test_a_pool_with_a_disk_keeps_its_maximum_while_it_sleeps():
    assert limit(3, has_disk=True, replicas=0) == 3
    # As an earlier version has filled it in.
    assert limit(10, has_disk=True, replicas=1) == 1
    assert limit(10, has_disk=True, replicas=0, found=3) == 3
