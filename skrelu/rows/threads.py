"""Blocks in several threads, the results in order: the sum does not hang on the number of threads."""

from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context

from skrelu._compat import blas_threads

AHEAD = 2  # results a thread that may wait to be taken: those of moments are large


def ordered(function, items, n_threads):
    """Yield ``function(item)`` in the order of the items, each computed by one of so many threads.

    Meanwhile BLAS has one thread: several for one block bring less than several blocks at a time. Threads last as long
    as the iteration, so that none is left to processes that are forked.
    """
    waiting = deque()
    with blas_threads(1), ThreadPoolExecutor(n_threads) as pool:
        try:
            for item in items:
                waiting.append(pool.submit(copy_context().run, function, item))
                if len(waiting) > AHEAD * n_threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)
