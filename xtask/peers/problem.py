"""The arrays that every program is given, and how much processor time a call takes when everything is warm."""

import statistics
import time

import numpy as np

OHM = 1.0  # wire segment, rows and columns alike
V0 = 0.25  # voltage scale of the nonlinear devices, V
G_MAX = 1e-4


def array(n, volts):
    """Conductances (n, n), log-uniform from 1 to 100 µS, and 64 input vectors (64, n), uniform from 0 to `volts`."""
    random = np.random.default_rng([20, n])
    conductance = 10.0 ** random.uniform(-6.0, -4.0, (n, n))
    return conductance, random.uniform(0.0, volts, (64, n))


def warm(call, seconds=1.0, most=1000):
    """Median processor time of `call()` (s; every program runs in one thread, and a busy machine would count against
    the slow ones) after one that isn't counted (CrossSim finds its relaxation factor in it), and what
    it returned."""
    call()
    times = []
    while not times or (sum(times) < seconds and len(times) < most):
        start = time.process_time()
        result = call()
        times.append(time.process_time() - start)
    return statistics.median(times), result
