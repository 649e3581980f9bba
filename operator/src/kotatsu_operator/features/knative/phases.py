"""The phases of a Knative target only reflect Knative's own status."""

from dataclasses import replace
from datetime import timedelta

from kotatsu_operator.core.decide.phases import Step
from kotatsu_operator.core.pool.decision import Note
from kotatsu_operator.core.pool.memory import Phase, Reason, Route, changed

SCALE_DOWN = timedelta(minutes=5)
"""The time after the end of a floor in which Knative scales down. Its defaults are a stable window
of 60 s and a grace period of 30 s; pods that remain after this serve requests."""


class KnativeStep(Step):
    """One step of the phases of a Knative target; `Step` is the one for Deployments.

    Asleep ──floor, or pods for a request──▶ Warming ──floor Ready──▶ Warm ──floor gone──▶ Draining
    and from each of them to Sleeping and Asleep when Knative requests no pods any more.
    """

    def take(self) -> None:
        """Take the step without replicas: Knative scales, never the pool."""
        # Kotatsu's activator is never in the path to a Knative Service.
        self._set(route=changed(self.memory.route, target=Route.NATIVE, epoch=0))
        if self.goal.least > 0:
            self.goal = replace(self.goal, wanted=0)
            self._hold()
        else:
            self.goal = replace(self.goal, wanted=self.seen.replicas)
            self.seen = replace(self.seen, ready=self.seen.running or 0)
            self._let_go()

    def _hold(self) -> None:
        if self.memory.phase.is_asleep:
            self._wake(self.goal.reason)
        else:
            self._stay()

    def _let_go(self) -> None:
        phase, reason = self.memory.phase, self.memory.reason
        if self.seen.replicas == 0:
            self._rest()
        elif phase.is_asleep:
            self._wake(Reason.DEMAND)
        elif phase is Phase.DRAINING:
            if self.memory.since is None or self.now >= self.memory.since + SCALE_DOWN:
                self._stay()
        elif reason in (Reason.WINDOW, Reason.OVERRIDE):
            self._here(raised_at=None)
            self._enter(Phase.DRAINING, self._why_down())
            self.notes.append(
                Note("Draining", "the floor has ended; Knative keeps the pods that requests need")
            )
        else:
            self._stay()

    def _rest(self) -> None:
        phase = Phase.SLEEPING if self.seen.pods > 0 else Phase.ASLEEP
        if phase is self.memory.phase:
            return
        if phase is Phase.ASLEEP:
            self.notes.append(Note("Asleep", "the last pod is gone; Knative starts one on request"))
        self._here(raised_at=None)
        # Knative wakes it on request even if the budget is spent, so the budget is not the reason.
        by_override = self.goal.asleep_asked and not self.allowed.sleeps
        self._enter(phase, Reason.OVERRIDE if by_override else Reason.IDLE)
