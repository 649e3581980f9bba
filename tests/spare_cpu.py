"""Run a command on the CPU time that all others leave: `spare_cpu.py COMMAND [ARGUMENT]...`

As a session of its own, because Linux shares the processor between sessions before it looks at
the priority of a process (sched(7), "The autogroup feature").
"""

import contextlib
import os
import signal
import sys
from pathlib import Path

os.setsid()
os.nice(19)
with contextlib.suppress(OSError):  # not every system has it
    Path("/proc/self/autogroup").write_text("19")
# What a shell starts in its background ignores interrupts: the command could not be stopped.
signal.signal(signal.SIGINT, signal.SIG_DFL)
os.execvp(sys.argv[1], sys.argv[1:])  # noqa: S606
