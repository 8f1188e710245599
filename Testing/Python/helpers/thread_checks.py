"""What two Python threads that call at once compute."""

import threading

import torch


def assert_two_threads_compute_what_one_does(compute, cases):
    """Check that two threads, each with a case of its own, get from `compute` what it gives when it is called alone."""
    torch.set_num_threads(2)
    alone = [compute(case) for case in cases]
    together = [[], []]
    ready = threading.Barrier(2)

    def work(index):
        ready.wait()
        for _ in range(5):
            together[index].append(compute(cases[index]))

    threads = [threading.Thread(target=work, args=(index,)) for index in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for results, expected in zip(together, alone, strict=True):
        assert len(results) == 5
        for result in results:
            torch.testing.assert_close(result, expected)
