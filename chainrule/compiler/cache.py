"""The disk cache of compiled programs, as users see it."""

from __future__ import annotations

from ..backends.native import cache
from ..settings import settings


def cache_info() -> cache.CacheInfo:
    """Return where compiled programs are kept, how many there are and how many bytes they take."""
    return cache.cache_info(settings.cache_directory)


def clear_cache() -> int:
    """Delete all compiled programs from the disk cache; return how many there were."""
    return cache.clear_cache(settings.cache_directory)
