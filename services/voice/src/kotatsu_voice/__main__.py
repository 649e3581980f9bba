"""`kotatsu-voice`: read the environment, then serve."""

import logging
import os
import sys

from kotatsu_common import startup


def main() -> None:
    """Serve until SIGTERM. With -h, explain the environment."""
    with startup.quickly():
        startup.import_fastapi()
        from kotatsu_common import logs
        from kotatsu_common.settings import EXIT_USAGE, command
        from kotatsu_voice.engine import EngineError
        from kotatsu_voice.engines import check
        from kotatsu_voice.settings import VoiceSettings

        settings = command(VoiceSettings, "kotatsu-voice", "Japanese speech over HTTP.")
        try:
            check(settings)
        except EngineError as error:
            print(error, file=sys.stderr)  # noqa: T201
            raise SystemExit(EXIT_USAGE) from None
        from kotatsu_common.server import serve
        from kotatsu_voice.app import create_app

        if settings.voice_engine != "voicevox-engine":
            from kotatsu_voice import stderr

            stderr.capture(logging.getLogger("kotatsu.voice.library"))
        logs.configure(settings.log_level)
        app = create_app(settings)
    serve(app, settings)
    if app.state.speaker.is_stalled:
        os._exit(0)  # the interpreter would wait for the thread


if __name__ == "__main__":
    main()
