"""The console as a feature: its board follows the pools, and its server shows the board."""

from collections.abc import Callable
from datetime import datetime

from kotatsu_operator.controller.cache import Cache
from kotatsu_operator.controller.feature import Feature, Setup
from kotatsu_operator.controller.namespaces import Namespaces
from kotatsu_operator.features.console.app import ConsoleServer, create_console
from kotatsu_operator.features.console.board import Board
from kotatsu_operator.kube.client import Kube
from kotatsu_operator.kube.objects import Key


class Console(Board):
    """A board that is served as long as the operator runs, also while another one leads."""

    def __init__(self, clock: Callable[[], datetime], server: Callable[[Board], ConsoleServer]):
        super().__init__(clock)
        self._server = server(self)

    async def watch(
        self, kube: Kube, namespaces: Namespaces, cache: Cache, touch: Callable[[Key], None]
    ) -> None:
        self._server.start()
        try:
            await super().watch(kube, namespaces, cache, touch)
        finally:
            self._server.stop()


def console(setup: Setup) -> Feature:
    """The console; a feature that does nothing where the settings have no port for it."""
    settings, clock = setup.settings, setup.clock
    if not settings.console_port:
        return Feature()

    def server(board: Board) -> ConsoleServer:
        app = create_console(board, clock, settings.console_hosts)
        return ConsoleServer(app, settings.host, settings.console_port)

    return Console(clock, server)
