"""One test for many cases of one sentence: a pytest item costs more than most cases do."""

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any


def each(
    names: str, cases: Iterable[Any], name: Callable[[Any], str] = repr
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Like pytest.mark.parametrize, within one test: all cases are tried and each failure is shown.

    `names` are the parameters of a case, with commas between them; `name` says which case failed,
    or its key where `cases` is a map.
    The fixtures of the test are made once, so none of them may be changed by a case.
    """
    parameters = [part.strip() for part in names.split(",")]
    has_names = isinstance(cases, Mapping)
    rows: list[Any] = list(cases.items() if isinstance(cases, Mapping) else cases)
    assert rows, "there are no cases"

    def decorated(test: Callable[..., Any]) -> Callable[..., Any]:
        failures: list[Exception] = []

        @contextmanager
        def case(row: Any) -> Iterator[dict[str, Any]]:
            called, row = row if has_names else (None, row)
            values = [row] if len(parameters) == 1 else row
            try:
                yield dict(zip(parameters, values, strict=True))
            except Exception as error:
                error.add_note(f"in the case {called or name(row)}")
                failures.append(error)

        def judge() -> None:
            found = failures[:]
            failures.clear()
            if found:
                raise ExceptionGroup(f"{len(found)} of {len(rows)} cases", found)

        def all_cases(**fixtures: Any) -> None:
            for row in rows:
                with case(row) as values:
                    test(**values, **fixtures)
            judge()

        async def all_cases_async(**fixtures: Any) -> None:
            for row in rows:
                with case(row) as values:
                    await test(**values, **fixtures)
            judge()

        made: Any = all_cases_async if inspect.iscoroutinefunction(test) else all_cases
        made.__name__, made.__doc__, made.__module__ = test.__name__, test.__doc__, test.__module__
        fixtures = [p for n, p in inspect.signature(test).parameters.items() if n not in parameters]
        made.__signature__ = inspect.Signature(fixtures)
        return made

    return decorated
