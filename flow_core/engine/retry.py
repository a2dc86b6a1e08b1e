"""Whether and when a failed attempt is tried again: pure functions."""

from __future__ import annotations

from asyncio import CancelledError
from functools import lru_cache

from flow_core.errors import Interrupted, InvalidStep, MissingInput, PayloadError, Permanent
from flow_core.model.options import MAX_FLOAT, Retry

__all__ = ["next_delay", "resolve_retry"]

#: Errors that are never retried, whatever the setting says.
NEVER = (
    Permanent, PayloadError, MissingInput, InvalidStep, Interrupted, CancelledError, KeyboardInterrupt, SystemExit
)  # fmt: skip


@lru_cache(maxsize=64)
def _counted(retries: int) -> Retry:
    return Retry(retries)


def resolve_retry(*settings: int | Retry | None) -> Retry | None:
    """The first setting that is set: step, then operation, then execution. They are not multiplied."""
    for setting in settings:
        if setting is not None:
            return setting if isinstance(setting, Retry) else _counted(setting)
    return None


def next_delay(retry: Retry | None, attempt: int, error: BaseException, random: float) -> float | None:
    """Seconds to wait before the next attempt; None: give up.

    Args:
        retry: the effective setting, None for no retries.
        attempt: number of the attempt that failed, from 1.
        error: what it raised. Its ``retry_after`` (seconds), when set and finite, is the delay.
        random: a number from 0 to 1, for the jitter.

    Source of the formula: exponential back-off with full jitter, AWS Architecture Blog 2015.
    """
    if retry is None or attempt > retry.retries or isinstance(error, NEVER):
        return None
    kinds = [f"{kind.__module__}.{kind.__qualname__}" for kind in type(error).__mro__]
    if not any(kind in retry.retry_on for kind in kinds) or any(kind in retry.give_up_on for kind in kinds):
        return None
    wanted = getattr(error, "retry_after", None)
    if isinstance(wanted, (int, float)) and 0 <= wanted <= MAX_FLOAT:
        return float(wanted)
    try:
        delay = min(retry.max, retry.initial * retry.factor ** (attempt - 1))
    except OverflowError:  # far above any max
        delay = retry.max
    return delay * random if retry.jitter == "full" else delay
