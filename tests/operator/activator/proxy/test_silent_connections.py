"""Connections that have not come to the point: a bounded number, the oldest goes first."""

from kotatsu_operator.activator.proxy.silent_connections import SilentConnections


class SilentConnection:
    def __init__(self):
        self.is_closed = False

    def close(self):
        self.is_closed = True


def test_there_is_room_for_so_many_and_the_oldest_makes_it():
    doorway, guests = SilentConnections(), [SilentConnection() for _ in range(5)]
    for guest in guests:
        doorway.enter(guest, limit=3)
    assert [g.is_closed for g in guests] == [True, True, False, False, False]
    assert len(doorway) == 3


def test_who_has_come_to_the_point_is_sent_away_no_more():
    doorway, first, second = SilentConnections(), SilentConnection(), SilentConnection()
    doorway.enter(first, limit=1)
    doorway.leave(first)
    doorway.enter(second, limit=1)
    assert not first.is_closed
    doorway.leave(first)
    assert len(doorway) == 1


def test_a_pool_that_may_hold_nobody_still_hears_what_one_wants():
    doorway, guest = SilentConnections(), SilentConnection()
    doorway.enter(guest, limit=0)
    assert not guest.is_closed
