"""The calls of one library in a round, and the silence around them."""

import time
from timeit import Timer

from .peers import Call

SAMPLE = 5e-4  # seconds: shorter calls are repeated until a turn takes this long
LONG = 0.1  # seconds: a call that takes longer has no use for one before it
PAUSE = (
    1e-2  # seconds: a thread that spins is accounted for at the clock's ticks, up to 10 ms apart
)
MOST_PAUSES = 200


class Turn:
    """One call that is not timed, and then those that are; short calls are repeated."""

    def __init__(self, call: Call) -> None:
        self.timer = Timer(call)
        once = self.timer.timeit(1)
        if once < SAMPLE:
            once = min(self.timer.repeat(5, 1))
        self.loops = max(1, round(SAMPLE / once))
        self.warm = once < LONG

    def seconds(self) -> float:
        """Of a call, where nobody else computes in this process."""
        if self.warm:
            self.timer.timeit(1)
        return self.timer.timeit(self.loops) / self.loops

    def take(self) -> float:
        """The same, where others have computed in this process before."""
        settle()
        return self.seconds()


def settle() -> bool:
    """Wait until the process sleeps while this thread does; False where it never does.

    Workers of several libraries go on spinning after a call, up to 60 ms.
    """
    for _ in range(MOST_PAUSES):
        before = time.process_time()
        time.sleep(PAUSE)
        if time.process_time() - before < PAUSE / 4:
            return True
    return False
