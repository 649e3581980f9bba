"""What suggested settings cost, replayed through the real decisions on made-up weeks.

24 apps of eight kinds, made from a seed (`tests/operator/core/weeks.py`), have the settings of the
rule, and 24 of twelve kinds that were made after the way to learn was chosen. Eight weeks of their
use are known; proposals are made of them, and replayed on the four weeks after, which no proposal
has seen.
"""

from collections.abc import Mapping
from datetime import timedelta

from kotatsu_operator.core.suggest import (
    Expected,
    RelativePrices,
    Settings,
    by_rule,
    past_of,
    propose,
)
from report import Row
from topic import again, main, progress

# isort: split
from tests.operator.core.weeks import BEGIN, MIX, UNSEEN, WEEK, cluster, replayed, usage_of

PARKED = 0.136
"""A parked pod's price as a share of a warm one: the voice in docs/explanation/cost.md."""
APPS, QUICK = 24, 8
KNOWN, AFTER = 8 * WEEK, 4 * WEEK
SEED = 1


def measured(apps: int, seed: int, mix: Mapping[str, int]) -> tuple[Expected, Expected, Expected]:
    """A week of all apps together: of the rule, of the proposals, and as they were shown."""
    prices, end = RelativePrices(PARKED), BEGIN + KNOWN
    rule = by_rule(Settings(timedelta(minutes=2)), prices)
    found: list[tuple[Expected, Expected, Expected]] = []
    for app in cluster(apps, (KNOWN + AFTER) // WEEK, seed, mix):
        progress.say(app.name)
        past = past_of(usage_of(app.between(BEGIN, end), BEGIN, end))
        proposal = propose(past, rule, app.spec, prices)
        assert proposal is not None
        settings = proposal.settings or rule
        by_them = [replayed(app, one, end, end + AFTER, PARKED) for one in (rule, settings)]
        found.append((by_them[0], by_them[1], proposal.proposed))
    rules, made, said = zip(*found, strict=True)
    return _sum(rules), _sum(made), _sum(said)


def _sum(parts: tuple[Expected, ...]) -> Expected:
    return Expected(sum(p.cold_starts for p in parts), sum(p.hours for p in parts))


def rows(quick: bool) -> list[Row]:
    apps = QUICK if quick else APPS
    return [*_rows(apps, "made-up apps", MIX), *_rows(apps, "apps of kinds made later", UNSEEN)]


def _rows(apps: int, of: str, mix: Mapping[str, int]) -> list[Row]:
    rule, made, said = measured(apps, SEED, mix)
    how = f"{apps} {of}, seed {SEED}: decide() on the 4 weeks after 8 known ones"
    pairs = (
        ("price, suggested ÷ the rule", made.hours / rule.hours, 1.0,
         f"{made.hours:.1f} pod-hours a week, the rule {rule.hours:.1f}"),
        ("cold starts, suggested ÷ the rule", made.cold_starts / rule.cold_starts, 0.75,
         f"{made.cold_starts:.1f} a week, the rule {rule.cold_starts:.1f}"),
        ("error of the price that suggest shows", abs(said.hours / made.hours - 1), 0.1,
         f"it shows {said.hours:.1f} pod-hours, and {made.hours:.1f} came"),
        ("error of the cold starts that suggest shows",
         abs(said.cold_starts / made.cold_starts - 1), 0.25,
         f"it shows {said.cold_starts:.1f}, and {made.cold_starts:.1f} came"),
    )  # fmt: skip
    return [
        Row(f"{what}, {of}", how, f"{ratio:.2f}", spread, apps, f"≤ {goal}", ratio, ratio <= goal,
            again("suggest"))
        for what, ratio, goal, spread in pairs
    ]  # fmt: skip


if __name__ == "__main__":
    main(rows)
