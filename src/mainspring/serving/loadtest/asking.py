"""A load test: one request to see that it is answered, then step after step, until a limit breaks."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from mainspring import clock
from mainspring.errors import InvalidError, UnavailableError, shorten
from mainspring.serving.loadtest.limits import Limit
from mainspring.serving.loadtest.measured import Measured
from mainspring.serving.loadtest.report import LoadReport
from mainspring.serving.loadtest.schedule import Step
from mainspring.serving.loadtest.target import Target

_MOST_CONNECTIONS = 900
"""Of the 1,024 files that `select` takes."""


def load_test(
    target: Target, requests: Sequence[bytes], steps: Sequence[Step], *, limits: Sequence[Limit] = (), rows: int = 1,
    protocol: str = "", connections: int = 64, timeout_s: float = 10.0,
    on_step: Callable[[Measured], None] = lambda _: None,
) -> LoadReport:  # fmt: skip
    """Send requests at the rates of the steps, one step after the other; the first that breaks a limit is the last.

    `requests` are whole, as `posts` makes them, and are sent by turns over so many connections. `rows` are those of each,
    and `protocol` is the one of all, for the report. What is not answered within the time limit is given up.

    Raises:
        UnavailableError: nothing answers there.
        InvalidError: the first request is refused, or there is nothing to do.
    """
    from mainspring.serving.loadtest.driver import Driver, precise_run

    if not steps or not requests:
        raise InvalidError("steps", [*steps], "at least one step, and one request")
    if not 0 < connections <= _MOST_CONNECTIONS:
        raise InvalidError("connections", connections, f"a number from 1 to {_MOST_CONNECTIONS}")
    if not timeout_s > 0:
        raise InvalidError("timeout", timeout_s, "a number of seconds above 0")
    first = target.ask(requests[0])
    if not 200 <= first.status < 300:
        said = shorten(first.body.decode(errors="replace"), 300)
        raise InvalidError("first request", first.status, "answered with a status of 2xx", f"The server said: {said}")

    async def asked() -> list[Measured]:
        from mainspring.serving.loadtest.connection import connector

        driver = Driver(
            connector(target.host, target.port, tls=target.tls), requests, connections=connections, timeout_s=timeout_s
        )
        found: list[Measured] = []
        try:
            await driver.open()
            for step in steps:
                found.append(await driver.drive(step, target.cpu_s))
                on_step(found[-1])
                if not all(limit.holds(found[-1]) for limit in limits):
                    break
        except OSError as error:
            raise UnavailableError(str(target), f"no connection can be opened ({error})") from error
        finally:
            await driver.close()
        return found

    at = clock.now_us()
    measured = precise_run(asked())
    return LoadReport(
        endpoint=target.endpoint, url=str(target), version=first.version, at=at, rows=rows, connections=connections,
        limits=tuple(limits), steps=tuple(measured), planned=len(steps), protocol=protocol,
    )  # fmt: skip
