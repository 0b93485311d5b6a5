"""`map` over several processes, for the work that building a corpus is."""

import multiprocessing
import os
import sys
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from itertools import chain, islice
from threading import Thread

MANY = 1500  # files; for fewer, one process is done before others have started


def map_in_processes(function, jobs, workers, chunksize=4):
    """`map(function, jobs)` by several processes, in order; by this one where others cannot be had.

    It works in a notebook, and in a script without `if __name__ == "__main__":`. A process that
    is killed is no loss either: this one does the rest of the work.

    Args:
        function: of one argument; a function of a module, so that other processes find it.
        jobs: its arguments, any number of them: they are taken when there is work for a process.
        workers: processes; 1 for this one only. On Windows 61 at most work, as many as it can wait for.
        chunksize: jobs sent at once, default 4; more for short jobs.

    Yields:
        What `function` returns. So many results wait at most as 64 chunks per process hold.
    """
    jobs, waiting, done = iter(jobs), [], 0
    workers = min(workers, 61) if sys.platform == "win32" else workers
    if workers > 1:
        pool = None
        try:
            # Fork is not safe beside a notebook's threads, so every system does what Windows does.
            spawn = multiprocessing.get_context("spawn")
            pool = ProcessPoolExecutor(workers, mp_context=spawn, initializer=_end_with_parent)
            while waiting := list(islice(jobs, 64 * workers * chunksize)):
                done = 0
                with _without_main():  # processes start when there is work for them
                    results = pool.map(function, waiting, chunksize=chunksize)
                for result in results:
                    yield result
                    done += 1
        except (BrokenProcessPool, OSError, AssertionError):  # AssertionError: daemonic processes may have no children
            pass
        finally:
            if pool is not None:
                pool.shutdown(cancel_futures=True)
    yield from map(function, chain(waiting[done:], jobs))


def _end_with_parent():
    """Let a worker end when its parent is killed: else it would wait for work for ever."""
    parent = multiprocessing.parent_process()
    Thread(target=lambda: (parent.join(), os._exit(1)), daemon=True).start()


@contextmanager
def _without_main():
    """Hide the caller's script from new processes, or one without a `__main__` guard would run again in each."""
    main = sys.modules["__main__"].__dict__
    kept = {name: main.pop(name) for name in ("__file__", "__spec__") if name in main}
    main["__spec__"] = None
    try:
        yield
    finally:
        main.update(kept)
