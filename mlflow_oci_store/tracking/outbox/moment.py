"""Points in time whose age can be told whatever happens to the clock.

The service forgets a retry token after 24 hours, so the age of a request decides how it is sent. A
clock that was set back would make it look younger, hence the second clock: the time since the
machine was started, which nobody can set.
"""

from __future__ import annotations

import time
from typing import NamedTuple


class Moment(NamedTuple):
    """A point in time, by two clocks.

    Attributes:
        epoch: Seconds since 1970, by the clock that people set.
        uptime: Seconds since the machine was started, suspended time included where the operating
            system can tell.
    """

    epoch: float
    uptime: float

    @classmethod
    def now(cls) -> Moment:
        """The current moment."""
        return cls(time.time(), _uptime())

    def age(self) -> float:
        """Seconds since then, rather too many than too few.

        After a restart the second clock begins anew; what it says is then less than what it said,
        and only the first one counts. A moment that lies ahead is of unknown age: infinite.
        """
        now = Moment.now()
        by_uptime = now.uptime - self.uptime
        by_epoch = now.epoch - self.epoch
        if by_epoch < 0:
            return float("inf")
        return max(by_epoch, by_uptime)


def _uptime() -> float:
    clock = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if clock is None else time.clock_gettime(clock)
