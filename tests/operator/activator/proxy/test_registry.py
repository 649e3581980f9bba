"""The registry of a pool's connections: each is in one state."""

from types import SimpleNamespace

import pytest

from kotatsu_operator.activator.proxy.registry import Registry, State

HELD = (State.HELD, State.ANNOUNCING, State.QUEUED, State.CONNECTING)
JOINED = (State.JOINED, State.RESUMING)


class Connection(SimpleNamespace):
    __hash__ = object.__hash__


@pytest.fixture
def registry():
    return Registry()


def connections(registry, number, state):
    made = [Connection(state=State.SILENT) for _ in range(number)]
    for connection in made:
        registry.move(connection, state)
    return made


def test_a_connection_is_in_the_state_that_it_got_last(registry):
    (connection,) = connections(registry, 1, State.SILENT)
    for state in (*HELD, *JOINED, State.ENDING):
        registry.move(connection, state)
        assert connection.state is state
        assert [registry.count(s) for s in State if s is not state] == [0] * 7
        assert registry.of(state) == [connection]
        assert (connection in registry.held) == (state in HELD)
        assert (connection in registry.joined) == (state in JOINED)


@pytest.mark.parametrize("state", State)
def test_a_connection_that_has_ended_is_in_no_state(registry, state):
    (connection,) = connections(registry, 1, state)
    registry.remove(connection)
    assert [registry.count(s) for s in State] == [0] * 8
    assert not registry.held
    assert not registry.joined
    assert connection.state is State.ENDING


def test_the_first_of_a_state_has_been_in_it_for_longest(registry):
    first, second = connections(registry, 2, State.HELD)
    registry.move(second, State.QUEUED)
    registry.move(first, State.QUEUED)
    assert registry.first(State.QUEUED) is second
    assert list(registry.held) == [first, second]  # by arrival
    assert registry.first(State.JOINED) is None
