from __future__ import annotations

from pathlib import Path

import pytest
from rows import each

from kotatsu_node.errors import NodeError
from kotatsu_node.layout import Layout


def test_state_is_in_one_fixed_place_so_that_any_checkout_can_clean_up_after_another() -> None:
    assert Layout.from_environment({}).state == Path("/var/lib/kotatsu-node")


def test_the_option_wins_over_the_environment() -> None:
    environ = {"KOTATSU_NODE_DIR": "/one"}
    assert Layout.from_environment(environ).state == Path("/one")
    assert Layout.from_environment(environ, state_dir="/two").state == Path("/two")


@each(
    "environ, cache",
    [
        ({"KOTATSU_CACHE": "/fast", "XDG_CACHE_HOME": "/slow"}, "/fast"),
        ({"XDG_CACHE_HOME": "/slow"}, "/slow/kotatsu"),
        ({}, f"{Path.home()}/.cache/kotatsu"),
    ],
)
def test_the_cache_is_outside_the_checkout(environ: dict[str, str], cache: str) -> None:
    assert Layout.from_environment(environ).cache == Path(cache)


def test_a_state_directory_too_long_for_a_socket_is_refused_with_advice() -> None:
    with pytest.raises(NodeError, match="too long") as caught:
        Layout.from_environment({}, state_dir="/" + "x" * 36)
    assert "--state-dir" in caught.value.report()
