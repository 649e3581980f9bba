"""The conditions of a rejected pool: the reason, what still runs and what it costs."""

from collections.abc import Iterator

from kotatsu_operator.controller.accept.acceptance import Refused
from kotatsu_operator.core.budget.ledger import Ledger
from kotatsu_operator.core.budget.limit import Ends
from kotatsu_operator.core.report.conditions import condition
from kotatsu_operator.core.report.status_writer import Status


def refused_conditions(refused: Refused, ledger: Ledger, pods: int) -> list[Status]:
    """Accepted, Ready and Warm of a rejected pool: the reason, what still runs and its cost."""
    text = refused.message + "".join(f"; {said}" for said in _still(refused, ledger, pods))
    return [condition(kind, False, refused.reason, text) for kind in ("Accepted", "Ready", "Warm")]


def _still(refused: Refused, ledger: Ledger, pods: int) -> Iterator[str]:
    if not refused.counts:
        return
    if refused.reason == "InvalidSpec" and not ledger.currency:
        yield "the cost of its pods is not counted until spec.budget can be read and has prices"
    if pods == 0:
        return
    cost = f" at {ledger.rate:.2f} {ledger.currency} an hour" if ledger.currency else ""
    running = f"{pods} of its pods still run{cost}"
    if refused.ends is Ends.SLEEP:
        yield f"{running}, until nothing needs them; then they sleep"
    elif refused.ends is Ends.LOWER:
        yield f"{running}, until nothing needs them; one stays, because no request could wake it"
    else:
        why = f" ({refused.stays_because})" if refused.stays_because else ""
        yield f"{running}, and Kotatsu does not scale them{why}: to stop them, scale the target"
