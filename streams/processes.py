"""Child processes that never outlive us."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import IO, Self

# Its standard input ends without a line only when whoever holds the other end has died, however
# that came about. Then the child's process group goes the same way, asked first and made to after.
WATCH = """
read -r _ && exit
kill -TERM "-$1" 2>/dev/null
for _ in 1 2 3 4 5 6 7 8 9 10; do kill -0 "-$1" 2>/dev/null || break; sleep 1; done
kill -KILL "-$1" 2>/dev/null
[ -z "$2" ] || rm -rf -- "$2"
"""


class Child:
    """A command in a process group of its own, ended at the latest when this process is.

    A small shell waits on a pipe that only this process holds open: SIGKILL of this process,
    too, closes it, and the shell then ends the child. A signal from the terminal (Ctrl-C)
    reaches this process alone, which can so end its children in order.

    Parameters
    ----------
    command
        The program and its arguments.
    output
        Where its standard output and standard error go; without it, where ours go.
    stdout
        What `subprocess.Popen` takes, `subprocess.PIPE` for one; overrides ``output``.
    env
        Its environment; without it, ours.
    temporary
        A folder that is removed should this process die before the child is stopped.
    stop_seconds
        How long it may take to end in order. More than that of its own children, if it has some.

    Raises
    ------
    OSError
        When the command cannot be started.
    """

    def __init__(
        self,
        command: list[str],
        *,
        output: IO[bytes] | None = None,
        stdout: int | IO[bytes] | None = None,
        env: Mapping[str, str] | None = None,
        temporary: Path | None = None,
        stop_seconds: float = 10.0,
    ) -> None:
        self._ended = False
        self._stop_seconds = stop_seconds
        try:
            with _signals_after():  # or a child could run that nobody watches
                self._start(command, output if stdout is None else stdout, output, env, temporary)
        except BaseException:
            if hasattr(self, "_watch"):  # a signal came meanwhile: nobody will have this object
                self.kill()
            raise

    def _start(
        self,
        command: list[str],
        stdout: int | IO[bytes] | None,
        stderr: IO[bytes] | None,
        env: Mapping[str, str] | None,
        temporary: Path | None,
    ) -> None:
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            env=env,
            start_new_session=True,
        )
        try:
            self._watch = subprocess.Popen(
                ["/bin/sh", "-c", WATCH, "watch", str(self.pid), str(temporary or "")],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        except BaseException:
            self._signal(signal.SIGKILL)
            self.process.wait()
            raise

    @property
    def pid(self) -> int:
        """Process id, which is the id of its process group too."""
        return self.process.pid

    @property
    def running(self) -> bool:
        """Whether the child still runs."""
        return self.process.poll() is None

    def stop(self) -> int:
        """End the child: SIGTERM, and SIGKILL when it still runs ``stop_seconds`` later.

        Returns
        -------
        int
            Its exit status, negative for a signal.
        """
        if self.running:
            self._signal(signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(self._stop_seconds)
        return self.kill()

    def kill(self) -> int:
        """End the child and all that it started with SIGKILL; its exit status as in `stop`."""
        if not self._ended:  # later its id may be another's
            self._ended = True
            self._signal(signal.SIGKILL)
            self.process.wait()
            self._watch.communicate(b"\n")
        return self.process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def give_way(self) -> None:
        """Have the child use what others leave of the processors; where they leave nothing, some
        0.3 % of one.

        Of Linux, whose idle tasks have the weight 3, and others 1,024. Whoever wakes up there takes
        an idle task's processor at once; one that is only nice may keep it for some milliseconds.
        Elsewhere, and where a container must not choose, it has the lowest priority.
        """
        if not self.running:  # its id may be another's
            return
        os.setpriority(os.PRIO_PROCESS, self.pid, 19)
        if sys.platform == "linux":
            with suppress(PermissionError):
                os.sched_setscheduler(self.pid, os.SCHED_IDLE, os.sched_param(0))

    def _signal(self, number: int) -> None:
        with suppress(ProcessLookupError, PermissionError):  # macOS: a zombie's group
            os.killpg(self.process.pid, number)


@contextmanager
def _signals_after() -> Iterator[None]:
    """Let the handlers of SIGINT and SIGTERM, which may raise, run only after the block."""
    came: list[int] = []

    def note(number: int, _: FrameType | None) -> None:
        came.append(number)

    # Only handlers in Python can raise, and only in the main thread. What is ignored or ends us
    # must stay so: a child inherits it.
    numbers = (signal.SIGINT, signal.SIGTERM)
    ours = threading.current_thread() is threading.main_thread()
    handlers = {n: h for n in numbers if ours and callable(h := signal.getsignal(n))}
    for number in handlers:
        signal.signal(number, note)
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        for each in came:
            signal.raise_signal(each)
