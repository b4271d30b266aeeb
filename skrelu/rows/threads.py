"""Blocks in several threads, the results in order: a sum does not hang on the number of threads."""

import os
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar, copy_context
from threading import Lock

from skrelu._compat import blas_threads, n_threads

AHEAD = 2  # results a thread that may wait to be taken: those of moments are large
_POOL: ContextVar = ContextVar("pool", default=None)


@contextmanager
def several_threads():
    """Within it, blocks are spread over the threads that scikit-learn would use, and BLAS has one.

    Several BLAS threads for one block cost more than they bring, and blocks are independent. It is for the networks of
    several units: the passes of one ReLU wait for memory, not for the processor.
    """
    n = n_threads()
    with _ONE_BLAS_THREAD:
        if n == 1:
            yield
            return
        with ThreadPoolExecutor(n) as pool:
            token = _POOL.set((pool, n, os.getpid()))
            try:
                yield
            finally:
                _POOL.reset(token)


def ordered(function, items):
    """Yield ``function(item)`` in the order of the items, computed by several threads within `several_threads`."""
    found = _POOL.get()
    # A process that was forked has none of the threads.
    if len(items) == 1 or found is None or found[-1] != os.getpid():
        yield from map(function, items)
        return
    pool, n, _ = found
    waiting: deque = deque()
    try:
        for item in items:
            waiting.append(pool.submit(copy_context().run, function, item))
            if len(waiting) > AHEAD * n:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for task in waiting:
            task.cancel()


class _OneBlasThread:
    """One BLAS thread while any of several fits, each in a thread of its own, is under way."""

    def __init__(self):
        self._lock, self._n_users, self._limit = Lock(), 0, ExitStack()

    def __enter__(self):
        with self._lock:
            self._n_users += 1
            if self._n_users == 1:
                self._limit.enter_context(blas_threads(1))

    def __exit__(self, *error):
        with self._lock:
            self._n_users -= 1
            if self._n_users == 0:
                self._limit.close()


_ONE_BLAS_THREAD = _OneBlasThread()
