"""The conditions and events of a WarmPool, collected from the operator's source.

Calls of `condition` and `Note` name most of them. Where a name is computed, the functions and enums
that compute it are asked.
"""

import ast
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from docs.pages import ROOT

from kotatsu_operator.core.budget.limit import BudgetState
from kotatsu_operator.core.pool.memory import Phase
from kotatsu_operator.core.report.conditions import budget_condition

SOURCE = ROOT / "operator/src/kotatsu_operator"
REFUSAL = "refused.reason"
"""How the conditions of a refused pool take their reason: the page workloads has the list."""

_COMPUTED = {
    "phase.value": {p.value for p in Phase if not p.is_asleep and p is not Phase.WARMING},
    "standing": {standing.value for standing in BudgetState},
    REFUSAL: set[str](),
    "refused": {"SelectorContested", "SelectorNotPermitted", "ServiceHasEndpoints"},
}
"""Expressions that no literal of the same function gives a value, and the values they have."""


@cache
def _modules() -> tuple[tuple[Path, ast.Module], ...]:
    return tuple((path, ast.parse(path.read_text())) for path in sorted(SOURCE.rglob("*.py")))


@cache
def _all_nodes() -> tuple[ast.AST, ...]:
    return tuple(node for _, module in _modules() for node in ast.walk(module))


def _nodes(*kinds: type[ast.AST]) -> Iterator[Any]:
    """The nodes of these kinds in all modules."""
    return (node for node in _all_nodes() if isinstance(node, kinds))


def _unparkable() -> set[str]:
    """The reasons for which pods cannot be parked."""
    reasons = [c.args[0] for c in _nodes(ast.Call) if ast.unparse(c.func) == "Obstacle"]
    return {str(reason.value) for reason in reasons if isinstance(reason, ast.Constant)}


@cache
def _calls() -> dict[str, list[tuple[ast.AST, ast.Call]]]:
    """Each call of a function by its name, with the function that it stands in."""
    found = defaultdict(list)
    for outer in _nodes(ast.FunctionDef, ast.AsyncFunctionDef):
        for node in ast.walk(outer):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                found[node.func.id].append((outer, node))
    return found


def _values(expression: ast.expr, outer: ast.AST) -> set[str]:
    """What an expression can be; AssertionError if nothing here tells."""
    match expression:
        case ast.Constant(value=str(text)):
            return {text}
        case ast.IfExp(body=body, orelse=orelse):
            return _values(body, outer) | _values(orelse, outer)
        case ast.Starred(value=ast.Call(func=ast.Name(id=name))):
            (function,) = [f for f in _nodes(ast.FunctionDef) if f.name == name]
            tuples = [n.value for n in ast.walk(function) if isinstance(n, ast.Return)]
            return {v for t in tuples if isinstance(t, ast.Tuple) for v in _values(t.elts[0], t)}
    text = ast.unparse(expression)
    if text == "parking.reason":
        return _unparkable()
    if text in _COMPUTED:
        return _COMPUTED[text]
    given = [
        node.value
        for node in ast.walk(outer)
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == text
    ]
    assert given, f"tests/docs/reasons.py does not know what {text} can be"
    return {value for one in given for value in _values(one, outer)}


@cache
def conditions() -> set[tuple[str, str]]:
    """Each condition and reason of an accepted pool."""
    found = set()
    for outer, call in _calls()["condition"]:
        kind, _, *rest = call.args
        if isinstance(kind, ast.Constant):
            found |= {(str(kind.value), reason) for reason in _values(rest[0], outer)}
        else:
            assert ast.unparse(rest[0]) == REFUSAL, ast.unparse(call)
    # Warm has the phase as its reason, whichever it is.
    return found | {("Warm", phase.value) for phase in Phase}


def of_jobs() -> set[str]:
    """The reasons that the chart's Jobs write into conditions."""
    return {
        str(reason.value)
        for path, module in _modules()
        if path.parent.name == "jobs"
        for node in ast.walk(module)
        if isinstance(node, ast.Dict)
        for name, reason in zip(node.keys, node.values, strict=True)
        if isinstance(name, ast.Constant) and name.value == "reason"
        if isinstance(reason, ast.Constant)
    }


def statuses() -> dict[tuple[str, str], set[str]]:
    """The statuses of those conditions of which a literal or a pure function gives them."""
    found: dict[tuple[str, str], set[str]] = {}
    for outer, call in _calls()["condition"]:
        kind, holds, *rest = call.args
        if isinstance(kind, ast.Constant) and isinstance(holds, ast.Constant):
            for reason in _values(rest[0], outer):
                status = "Unknown" if holds.value is None else str(holds.value)
                found.setdefault((str(kind.value), reason), set()).add(status)
    for standing in BudgetState:
        status = budget_condition(standing, "")["status"]
        found["BudgetAvailable", standing.value] = {status}
    return found


def events() -> dict[str, bool]:
    """Each event that is not a condition's, and whether it is a warning."""
    found = {}
    for outer, call in _calls()["Note"]:
        if not isinstance(call.args[0], ast.Name):
            warns = {k.arg: ast.unparse(k.value) for k in call.keywords}.get("warning") == "True"
            found |= dict.fromkeys(_values(call.args[0], outer), warns)
    return found
