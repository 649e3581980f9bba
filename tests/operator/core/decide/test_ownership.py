"""A person who scales once is obeyed; what keeps coming back is named."""

from rows import each

from kotatsu_operator.core.decide.decide import CONTEST_LASTS, decide
from kotatsu_operator.core.objects import Write
from kotatsu_operator.core.pool.decision import Observation
from kotatsu_operator.core.pool.memory import MANY, Memory
from tests.operator.core.values import MINUTE, pool_spec, t

LONG = CONTEST_LASTS // MINUTE
"""Minutes without a write after which a contest is over."""


def write(text: str) -> Write | None:
    """`helm@3`: helm has written in minute 3; with `=` before it, by applying a manifest."""
    if not text:
        return None  # the operator has written last
    by, minute = text.removeprefix("=").split("@")
    return Write(by, t("10:00") + int(minute) * MINUTE, applied=text.startswith("="))


THREE = {0: "helm@0", 9: "", 10: "helm@10", 19: "", 20: "helm@20"}
assert MANY == 3


@each("why, seen, count, holds", [
    ("one write is none", {0: "helm@0"}, 1, False),
    ("seen twice it is one", {0: "helm@0", 1: "helm@0"}, 1, False),
    ("the third in a row is", THREE, 3, True),
    ("far apart they are none", {n * LONG: f"helm@{n * LONG}" for n in range(5)}, 1, False),
    ("of several they are none", {n: f"{'ab'[n % 2]}@{n}" for n in range(5)}, 1, False),
    ("a manifest is one at once", {0: "=argocd@0"}, 1, True),
    ("also after our own write", {0: "=argocd@0", LONG - 1: ""}, 1, True),
    ("and for as long as it stands", {0: "=argocd@0", 9 * LONG: "=argocd@0"}, 1, True),
    ("after long it is over", THREE | {20 + LONG: ""}, 0, False),
    ("a last write that stands is none", THREE | {20 + LONG: "helm@20"}, 1, False),
])  # fmt: skip
def test_what_other_clients_write_again_and_again_is_a_contest(why, seen, count, holds):
    memory = Memory(since=t("09:00"))
    for minute, text in seen.items():
        there = Observation(replicas=0, ready=0, pods=0, write=write(text))
        memory = decide(pool_spec(), there, memory, t("10:00") + minute * MINUTE).memory
    contest = memory.contest
    assert (contest.count if contest else 0, bool(contest and contest.holds)) == (count, holds), why
