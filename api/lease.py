"""A lease in Redis: of all replicas, one at a time does what should be done once."""

from __future__ import annotations

import secrets

from redis.asyncio import Redis
from redis.exceptions import RedisError

# Extends the lease only if it is still ours; atomic.
_RENEW = """
if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('pexpire', KEYS[1], ARGV[2]) end
return 0
"""


class Lease:
    """Held while it is renewed in time. Work done under it must be harmless when two do it for a moment."""

    def __init__(self, redis: Redis, key: str, ms: int = 5_000) -> None:
        self._redis = redis
        self._key = key
        self._ms = ms
        self._token = secrets.token_hex(8)
        self._renew = redis.register_script(_RENEW)

    async def held(self) -> bool:
        """Take or renew it; False when another holds it or Redis does not answer."""
        try:
            if await self._redis.set(self._key, self._token, nx=True, px=self._ms):
                return True
            return bool(await self._renew(keys=[self._key], args=[self._token, self._ms]))
        except (RedisError, OSError, TimeoutError):
            return False
