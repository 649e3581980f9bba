"""A set, its pools and two operators; writes to the API server fail, and its echoes are late.

What was spent is summed apart: from the lives of the pods, and from the ledgers as written.
"""

import json
from collections import defaultdict
from contextlib import suppress
from dataclasses import dataclass, replace
from decimal import Decimal
from random import Random
from types import SimpleNamespace

from prometheus_client import CollectorRegistry

from kotatsu_operator.controller.accounts import settle
from kotatsu_operator.controller.cache import Cache
from kotatsu_operator.controller.feature import Report, Turn
from kotatsu_operator.controller.report import Reporter
from kotatsu_operator.core.budget.ledger import BilledPod
from kotatsu_operator.core.budget.prices import parse_table
from kotatsu_operator.core.formats import conditions_of, internal, money_of
from kotatsu_operator.core.pool.memory import Memory
from kotatsu_operator.core.pool.parse import parse
from kotatsu_operator.core.pool.spec import Platform, PoolSpec
from kotatsu_operator.core.report.status import cost_status, is_written
from kotatsu_operator.features.sets.feature import PoolSets
from kotatsu_operator.features.sets.members import Members
from kotatsu_operator.kube.errors import ApiError, ConflictError, NotFoundError, Unreachable
from tests.operator.cluster import served, warm_pool
from tests.operator.core.values import HOUR, SECOND, utc

SET = "previews"
ZONES = ("UTC", "Asia/Tokyo", "Pacific/Kiritimati", "Etc/GMT+12")
NAMES = "abcd"
AWAY = OSError("the API server is away")


@dataclass(frozen=True)
class Target:
    key: tuple
    spec: PoolSpec


class Api:
    """The API server: what is stored, and which writes fail."""

    def __init__(self, random):
        self.random, self.version, self.pools, self.failing = random, 100, {}, 0.0
        self.forbids, self.listeners = 0, []
        self.limit, self.zone, self.wrong, self.generation = Decimal(1000), "UTC", False, 1
        self.set = {"metadata": {"name": SET, "uid": "set", "labels": {}}, "status": {}}
        self.set["metadata"]["creationTimestamp"] = "2030-01-01T00:00:00Z"
        self.edit()

    def edit(self):
        """Write the set as it is to be."""
        self.generation += 1
        template = {"timeZone": self.zone, **({"typo": 1} if self.wrong else {})}
        budget = {"limit": str(self.limit), "period": "Month", "onExhausted": "Sleep"}
        spec = {"namespaceSelector": {}, "template": {"spec": template}, "budget": budget}
        meta = {"generation": self.generation}
        self.set = self.stored(merged(self.set, {"metadata": meta}) | {"spec": spec})
        self.show("set", self.set)

    def stored(self, obj):
        self.version += 1
        copy = json.loads(json.dumps(obj))
        copy["metadata"]["resourceVersion"] = str(self.version)
        return copy

    def show(self, key, obj):
        for echoes in self.listeners:
            echoes.append((key, obj))

    def put(self, obj):
        key = obj["metadata"]["namespace"], obj["metadata"]["name"]
        self.pools[key] = self.stored(obj)
        self.show(key, self.pools[key])
        return self.pools[key]

    def remove(self, key):
        del self.pools[key]
        self.show(key, None)

    async def patch_status(self, namespace, name, status, version):
        before = self.random.random() < self.failing
        if before and self.random.random() < 0.5:
            raise AWAY
        found = self.pools.get((namespace, name))
        if found is None:
            raise NotFoundError(name)
        if found["metadata"]["resourceVersion"] != version:
            raise ConflictError(name)
        found = self.put(merged(found, {"status": status}))
        if before:  # it was written, and the answer is lost
            raise AWAY
        return found

    async def merge(self, _kind, _namespace, _name, patch):
        if self.random.random() < self.failing:
            raise AWAY
        self.set = self.stored(merged(self.set, patch))
        self.show("set", self.set)

    async def find(self, _kind, _scope):
        return [self.set]

    async def judged(self, _kind, obj):
        if self.forbids:
            self.forbids -= 1
            raise ApiError(403, "exceeded quota")
        if "typo" in obj["spec"]:
            raise ApiError(422, "unknown field typo")
        return obj


def merged(obj, patch):
    """A JSON merge patch, which is what the operator writes."""
    made = dict(obj)
    for name, value in patch.items():
        if isinstance(value, dict):
            known = made.get(name)
            made[name] = merged(known if isinstance(known, dict) else {}, value)
        elif value is None:
            made.pop(name, None)
        else:
            made[name] = value
    return made


def priced(cpu, currency):
    return parse_table({"currency": currency, "cpuHour": cpu})


class Operator:
    """One process: what its watches have shown, and what it knows while it leads."""

    def __init__(self, world, *, sets=True):
        self.world, self.api, self.sets, self.touched = world, world.api, sets, set()
        self.echoes, prices = [], world.prices
        self.api.listeners.append(self.echoes)
        self.cache = Cache(served(), clock=lambda: world.now)
        clock, currency = lambda: world.now, prices.currency
        self.feature = (
            PoolSets(CollectorRegistry(), clock, currency) if sets else Members(clock, currency)
        )
        self.feature._kube, self.feature._cache = self.api, self.cache
        self.feature._touch, self.feature._again = self.touched.add, lambda: None
        self.cache.tell(self.feature.observe)
        self.ledgers = {}
        """What is known of the pools whose status was written: the uid, the ledger, and when."""
        self.reporter = Reporter(self.api, self.cache, clock, "operator")
        self.bills, self.knows = defaultdict(list), False
        for pool in self.api.pools.values():
            self.cache.keep_pool(pool)

    def end(self):
        self.api.listeners = [one for one in self.api.listeners if one is not self.echoes]

    def lead(self):
        """Begin to lead, or end it. The sets are listed somewhat later."""
        self.feature.reset()
        self.ledgers.clear()
        self.reporter.reset()
        self.knows = False

    def watch(self, most=10**6):
        """Let the watches show some of what has happened."""
        for _ in range(min(most, len(self.echoes))):
            key, obj = self.echoes.pop(0)
            if key == "set":
                if self.sets:
                    self.feature._keep(obj)
            elif obj is None:
                self.cache.forget_pool(key)
            else:
                self.cache.keep_pool(obj)

    async def know(self):
        """List the sets, and ask whether their templates are right."""
        if not self.sets:
            return
        if not self.knows:
            await self.feature._begin()
            self.knows = True
        for by in self.feature._sets():
            await self.feature._accepts(by)

    async def look(self, key):
        pool = self.cache.pools.get(key)
        if pool is None:
            self.ledgers.pop(key, None)
            self.feature.forget(key)
            return None
        world, uid = self.world, pool["metadata"]["uid"]
        spec = parse(pool["spec"], Platform(prices=world.prices))
        known = conditions_of(pool.get("status") or {})
        turn = Turn(pool, Target(key, spec), None, Memory(), [], known, world.now)
        turn = self.feature.prepare(turn)
        there = [SimpleNamespace(billed=pod, uid=pod.uid) for pod in world.pods.get(uid, ())]
        bills, last = list(self.bills[uid]), None
        if (written := self.ledgers.get(key)) and written[0] == uid:
            last = written[1], world.now - written[2]
        account = settle(pool, turn.spec, there, bills, last, world.now)
        turn = replace(turn, account=account)
        report = Report(None, None, account.ledger, cost_status(account.ledger), ())
        report = self.feature.status(turn, report)
        world.own[uid] = money_of(account.ledger.accrued)
        world.best[uid] = max(world.best[uid], world.own[uid])
        conditions = list(account.conditions)
        status = self.reporter.completed(pool, pool, report.status, conditions, world.now)
        try:
            await self.reporter.write(pool, status, world.now)
        except (ConflictError, NotFoundError, *Unreachable) as error:
            stored = self.api.pools.get(key)  # as the reconciler reads it again
            if stored is not None:
                self.cache.keep_pool(stored)
            is_unanswered = not isinstance(error, ConflictError | NotFoundError)
            if not (is_unanswered and stored and is_written(status, stored.get("status") or {})):
                return account
        self.ledgers[key] = uid, account.ledger, world.now
        self.bills[uid] = self.bills[uid][len(bills) :]
        return account

    async def write(self):
        """Write the status of the set; whether that succeeded with all that was seen."""
        if not (self.sets and self.knows):
            return False
        known = self.feature._known[SET]
        known.written = None
        await self.feature._write(SET, known)
        return True


class World:
    """A set with pools that come and go, and up to two operators."""

    def __init__(self, seed, limit=10**9):
        self.random, self.now = Random(seed), utc("2030-05-10T10:00")
        self.prices = priced("60", "JPY")
        self.api, self.pods, self.number = Api(self.random), {}, 0
        self.own: dict[str, Decimal] = {}
        """What each pool had when it was looked at last."""
        self.best = defaultdict(Decimal)
        """The most that an operator has ever known of each."""
        self.missing = Decimal(0)
        """What was lost with operators that had not written it."""
        self.truth = defaultdict(Decimal)
        """What its pods have cost, from their lives."""
        self.looked: set[str] = set()
        """Those that the leader has looked at while it knew the budget."""
        self.gone: set[str] = set()
        self.open: set[str] = set()
        """Pools whose deletion no status has yet."""
        self.lost = False
        """Whether an operator has ended, or a pool was deleted, before all that was known of the
        pool was written."""
        self.api.limit = Decimal(limit)
        self.api.edit()
        self.operators = [Operator(self), Operator(self)]
        for operator in self.operators:
            operator.watch()
        for name in NAMES[:3]:
            self.make(name)

    @property
    def leader(self):
        return self.operators[0]

    def make(self, name):
        self.number += 1
        made = warm_pool(name, uid=f"{name}-{self.number}")
        made["metadata"]["labels"] = {"kotatsu.dev/set": SET}
        made["metadata"]["ownerReferences"] = [{"kind": "WarmPoolSet", "name": SET}]
        # The owner of each has set another time zone, which is not that of the budget.
        made["spec"]["timeZone"] = self.random.choice(ZONES)
        made["spec"]["budget"] = {"limit": str(self.api.limit), "period": "Month"}
        self.api.put(made)

    def delete(self, key):
        uid = self.api.pools[key]["metadata"]["uid"]
        self.stop(uid)
        self.api.remove(key)
        self.gone.add(uid)
        self.open.add(uid)
        self.lost |= uid not in self.looked

    def start(self, uid):
        self.number += 1
        cpu = {"cpu": Decimal(self.random.randint(1, 4000)) / 1000}
        self.pods.setdefault(uid, []).append(BilledPod(self.now, cpu, f"pod-{self.number}"))

    def stop(self, uid):
        for pod in self.pods.pop(uid, ()):
            for operator in self.operators:
                operator.bills[uid].append(replace(pod, gone_at=self.now))

    def spend(self, time):
        for uid, pods in self.pods.items():
            rate = sum(pod.requests["cpu"] for pod in pods) * self.prices.per_hour["cpu"]
            self.truth[uid] += rate * Decimal(time / HOUR)
        self.now += time

    async def look(self, *, calm=False):
        """Let the leader look at all pools that it knows, stop those that it stops."""
        accounts = {}
        for key in sorted(self.leader.cache.pools):
            uid = self.leader.cache.uid_of(key)
            # Another operator has had more of it.
            self.lost |= uid in self.gone and uid not in self.looked
            if calm or self.random.random() < 0.8:
                accounts[key] = await self.leader.look(key)
        for key, account in accounts.items():
            if account is not None and SET in self.leader.feature._purses:
                self.looked.add(self.leader.cache.uid_of(key))
            if account is not None and not account.allowed.begins:
                assert self.most() >= self.api.limit, "stopped too early"
                self.stop(self.leader.cache.uid_of(key))
        return accounts

    async def report(self):
        with suppress(*Unreachable):
            seen = {pool["metadata"]["uid"] for pool in self.leader.cache.pools.values()}
            if await self.leader.write():
                self.open &= seen

    async def reprice(self, price, currency):
        """An upgrade with other prices, which all operators get.

        What has not been written before would be charged at the new price.
        """
        await self.settle()
        if currency != self.prices.currency:
            # Amounts of two currencies are never added: all begins at nothing.
            for known in (self.own, self.best, self.truth, self.gone, self.open):
                known.clear()
            self.missing, self.lost = Decimal(0), False
        self.prices = priced(price, currency)
        for one in self.operators:
            one.end()
        self.operators = [Operator(self), Operator(self)]
        self.leader.lead()
        self._begun()

    def restart(self, *, sets=True):
        """Another process instead of the leader, which has no time to write."""
        self.leader.end()
        self.operators[0] = Operator(self, sets=sets)
        self.leader.lead()
        self._begun()

    def change_leader(self):
        self.leader.lead()
        self.operators.reverse()
        self.leader.lead()
        self._begun()

    def _begun(self):
        self.lost |= bool(self.open)
        self.looked.clear()

    def is_known(self):
        """Whether the pools have the budget of the set, which an operator has accepted once."""
        found = (internal(pool.get("status")) for pool in self.api.pools.values())
        return all("set" in one for one in found if one)

    def most(self):
        """What all pools of the period have spent at most."""
        return sum(
            max(self.own.get(uid, Decimal(0)), money_of(of)) for uid, of in self.truth.items()
        )

    def living(self):
        """What the ledgers of the pools have that are there, as they are written."""
        found = [pool.get("status", {}).get("cost", {}) for pool in self.api.pools.values()]
        of = [cost["accrued"] for cost in found if cost.get("currency") == self.prices.currency]
        return sum(map(Decimal, of), Decimal(0))

    async def settle(self):
        """Let all that is under way come to its end."""
        if not self.leader.sets:
            self.restart()
        self.api.failing, self.api.forbids = 0.0, 0
        for _ in range(3):
            self.leader.watch()
            await self.leader.know()
            self.spend(61 * SECOND)
            accounts = await self.look(calm=True)
        await self.report()
        return accounts

    async def step(self):
        self.api.failing = self.random.choice([0, 0, 0.3])
        die, pools = self.random.random(), sorted(self.api.pools)
        uids = [pool["metadata"]["uid"] for pool in self.api.pools.values()]
        if die < 0.15 and uids:
            self.start(self.random.choice(uids))
        elif die < 0.25 and uids:
            self.stop(self.random.choice(uids))
        elif die < 0.35 and pools:
            self.delete(key := self.random.choice(pools))
            if self.random.random() < 0.5:
                self.make(key[1])
        elif die < 0.45 and (free := set(NAMES) - {name for _, name in pools}):
            self.make(self.random.choice(sorted(free)))
        elif die < 0.50:
            self.api.zone = self.random.choice(ZONES)
            self.api.edit()
        elif die < 0.53:
            self.api.wrong = not self.api.wrong
            self.api.edit()
        elif die < 0.56:
            self.api.forbids = 2
            self.api.edit()
        elif die < 0.63:
            self.restart()
        elif die < 0.70:
            self.change_leader()
        elif die < 0.72:
            self.restart(sets=False)
        elif die < 0.75:
            currency = self.random.choice(["JPY", "JPY", "USD"])
            await self.reprice(str(self.random.randint(10, 90)), currency)
        self.spend(self.random.randint(1, 20) * SECOND)
        for operator in self.operators:
            operator.watch(self.random.choice([0, 1, 3, 100]))
        if self.random.random() < 0.7:
            await self.leader.know()
        await self.look()
        if self.random.random() < 0.7:
            await self.report()

    async def judge(self):
        """The total is the sum of the ledgers as they are written, and of those that are gone."""
        await self.settle()
        total = Decimal(self.api.set["status"]["cost"]["accrued"])
        gone = sum((self.own.get(uid, Decimal(0)) for uid in self.gone), Decimal(0))
        if not self.lost:
            assert total == self.living() + gone - self.missing
        else:
            most = sum((self.best[uid] for uid in self.gone), Decimal(0))
            assert self.living() <= total <= self.living() + most
            self.missing, self.lost = self.living() + gone - total, False
        assert total <= sum(self.truth.values()) + Decimal("0.0001")
