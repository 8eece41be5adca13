"""Sliding windows in Redis: requests that arrive at once are counted by one run of a script."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import structlog
from limits import RateLimitItem
from redis.asyncio import ConnectionPool, Redis
from redis.commands.core import AsyncScript
from redis.exceptions import RedisError

from services.kernel.coalescing import Coalescer

# One hash tag: a script must not touch keys of several slots where Redis is divided into them.
PREFIX: Final = "{finops:limits}"
# A slower Redis than this would cost every request more than the limit protects.
REDIS_SECONDS_MAX: Final = 0.05
REDIS_PAUSE_SECONDS: Final = 5.0

log = structlog.get_logger(__name__)

# A key has two counts: of the window that runs, and of the one before, which weighs as much as is
# left of its time. Times are in milliseconds. A count's key lives for two windows.
_COUNT: Final = """
local answers = {}
for i = 1, #KEYS, 2 do
  local before, running = KEYS[i], KEYS[i + 1]
  local limit, window = tonumber(ARGV[i]), tonumber(ARGV[i + 1])
  local running_left = redis.call('PTTL', running)
  if running_left > 0 and running_left < window then
    redis.call('RENAME', running, before)
    running_left = running_left + window
    redis.call('SET', running, 0, 'PX', running_left)
  end
  local before_count = tonumber(redis.call('GET', before)) or 0
  local before_left = math.max(redis.call('PTTL', before), 0)
  local count = tonumber(redis.call('GET', running)) or 0
  local is_allowed = math.floor(before_count * before_left / window) + count < limit
  if is_allowed then
    count = count + 1
    if running_left > 0 then
      redis.call('INCR', running)
    else
      running_left = 2 * window
      redis.call('SET', running, 1, 'PX', running_left)
    end
  end
  answers[#answers + 1] = {
    is_allowed and 1 or 0, before_count, before_left, count, math.max(running_left, 0)
  }
end
return answers
"""


@dataclass(frozen=True, slots=True)
class Hit:
    """What became of one request. reset_seconds: until there is room for one more."""

    is_allowed: bool
    remaining: int
    reset_seconds: float


class RedisWindows:
    """Counts hits. Source of the method: the sliding window counter of the library `limits`.

    A Redis that fails, or answers late, is left alone for a while.
    """

    def __init__(self, url: str) -> None:
        """Takes where Redis is. Connects at the first hit."""
        self._pool = ConnectionPool.from_url(
            url, socket_timeout=REDIS_SECONDS_MAX, socket_connect_timeout=REDIS_SECONDS_MAX
        )
        self._script = AsyncScript(Redis(connection_pool=self._pool), _COUNT)
        self._hits: Coalescer[tuple[RateLimitItem, str], Hit] = Coalescer(
            self._count, name="rate_limits", refuse=TimeoutError
        )
        self._again = 0.0

    async def hit(self, item: RateLimitItem, key: str) -> Hit | None:
        """Counts one request of a key, unless its limit is used up.

        Returns None where Redis does not tell in REDIS_SECONDS_MAX, waiting for a turn included.
        """
        if self._is_left_alone():
            return None
        try:
            async with asyncio.timeout(REDIS_SECONDS_MAX):
                return await self._hits.submit(key, (item, key))
        except (RedisError, TimeoutError) as error:
            self._leave_alone(error)
            return None

    async def close(self) -> None:
        """Closes the connections."""
        await self._pool.aclose()

    def _is_left_alone(self) -> bool:
        return time.monotonic() < self._again

    def _leave_alone(self, error: Exception) -> None:
        # Of many that failed together, the first to come here tells.
        if not self._is_left_alone():
            log.warning("limits without redis", reason=type(error).__name__)
            self._again = time.monotonic() + REDIS_PAUSE_SECONDS

    async def _count(self, hits: Sequence[tuple[RateLimitItem, str]]) -> Sequence[Hit]:
        if self._is_left_alone():
            raise TimeoutError  # found dead while these waited for their turn
        keys: list[str] = []
        arguments: list[int] = []
        for item, key in hits:
            place = f"{PREFIX}:{item.key_for(key)}"
            keys += (f"{place}/-1", place)
            arguments += (item.amount, item.get_expiry() * 1000)
        try:
            counts = await self._script(keys, arguments)
        except RedisError as error:
            self._leave_alone(error)  # at once: the next batch begins before these callers run
            raise
        return [_hit(item, *each) for (item, _), each in zip(hits, counts, strict=True)]


def _hit(  # noqa: PLR0917 - as the script answers
    item: RateLimitItem,
    is_allowed: int,
    before_count: int,
    before_left: int,
    count: int,
    running_left: int,
) -> Hit:
    window = item.get_expiry() * 1000
    weighted = before_count * before_left // window + count
    # The count lives for the window that runs and the next.
    resets = [running_left - window] if running_left > window else []
    if before_count:
        # The weight of the older count falls by one each time that much has passed.
        resets.append(before_left % max(1, window // before_count))
    return Hit(bool(is_allowed), max(0, item.amount - weighted), min(resets, default=0) / 1000)
