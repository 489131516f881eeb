"""One circuit solver on one array: `solvers.py NAME N OUT.npy` writes the currents of the first input vector (A) and
prints {"seconds": ...}, the time per vector. A solver that gives up prints {"error": ...} instead."""

import json
import logging
import sys

import numpy as np

import problem

VOLTS = 0.2


def superlu(conductance, volts):
    """SciPy's sparse direct solver on the node equations: assembly, factorisation, one solve."""
    import scipy.sparse as sparse
    from scipy.sparse.linalg import splu

    rows, columns = conductance.shape
    cells = rows * columns
    node = np.arange(cells).reshape(rows, columns)
    wire = 1.0 / problem.OHM

    def call():
        row_diagonal = np.full((rows, columns), 2.0 * wire)
        row_diagonal[:, -1] = wire
        column_diagonal = np.full((rows, columns), 2.0 * wire)
        column_diagonal[0] = wire
        diagonal = np.concatenate([(row_diagonal + conductance).ravel(), (column_diagonal + conductance).ravel()])
        pairs = [
            (node.ravel(), cells + node.ravel(), conductance.ravel()),
            (node[:, :-1].ravel(), node[:, 1:].ravel(), np.full(rows * (columns - 1), wire)),
            (cells + node[:-1].ravel(), cells + node[1:].ravel(), np.full((rows - 1) * columns, wire)),
        ]
        own = np.arange(2 * cells)
        i = np.concatenate([own] + [a for a, _, _ in pairs] + [b for _, b, _ in pairs])
        j = np.concatenate([own] + [b for _, b, _ in pairs] + [a for a, _, _ in pairs])
        values = np.concatenate([diagonal] + 2 * [-g for _, _, g in pairs])
        matrix = sparse.csc_matrix((values, (i, j)), shape=(2 * cells, 2 * cells))
        source = np.zeros(2 * cells)
        source[node[:, 0]] = volts * wire
        factors = splu(matrix, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True})
        return factors.solve(source)[-columns:] * wire

    return problem.warm(call)


def badcrossbar(conductance, volts):
    import badcrossbar as peer

    logging.disable(logging.CRITICAL)
    resistance, column = 1.0 / conductance, volts.reshape(-1, 1)

    def call():
        solution = peer.compute(column, resistance, problem.OHM, node_voltages=False, all_currents=False)
        return np.asarray(solution.currents.output).ravel()

    return problem.warm(call)


def crosssim(conductance, volts, tolerance, iterations, gamma):
    """CrossSim works with conductances relative to the largest and voltages relative to the largest."""
    from simulator import CrossSimParameters
    from simulator.backend import ComputeBackend
    from simulator.circuits.array import NoninterleavedInputSourceArray

    ComputeBackend(use_gpu=False)
    parameters = CrossSimParameters()
    parameters.xbar.device.Rmin, parameters.xbar.device.Rmax = 1.0 / problem.G_MAX, 100.0 / problem.G_MAX
    parasitics = parameters.xbar.array.parasitics
    parasitics.enable, parasitics.Rp_row, parasitics.Rp_col = True, problem.OHM, problem.OHM
    parameters.simulation.Verr_th_mvm = tolerance
    parameters.simulation.Niters_max_parasitics = iterations
    parameters.simulation.relaxation_gamma = gamma
    parameters.simulation.hide_convergence_msg = True
    array = NoninterleavedInputSourceArray(parameters)
    matrix = np.ascontiguousarray(conductance.T / problem.G_MAX)
    seconds, relative = problem.warm(lambda: array.iterative_solve(matrix, volts / VOLTS))
    return seconds, np.asarray(relative) * problem.G_MAX * VOLTS


def aihwkit(conductance, volts):
    """An analog tile without noise or converters, with aihwkit's formula for the drop along the outputs' wires."""
    import torch
    from aihwkit.nn import AnalogLinear
    from aihwkit.simulator.configs import InferenceRPUConfig
    from aihwkit.simulator.parameters.enums import BoundManagementType, NoiseManagementType

    torch.set_num_threads(1)
    columns, rows = conductance.T.shape
    config = InferenceRPUConfig()
    forward = config.forward
    forward.inp_res = forward.out_res = -1.0
    forward.inp_noise = forward.out_noise = forward.w_noise = 0.0
    forward.inp_bound = forward.out_bound = 0.0
    forward.noise_management = NoiseManagementType.NONE
    forward.bound_management = BoundManagementType.NONE
    forward.ir_drop, forward.ir_drop_g_ratio = 1.0, 1.0 / (problem.OHM * problem.G_MAX)
    layer = AnalogLinear(rows, columns, bias=False, rpu_config=config)
    layer.set_weights(torch.tensor(conductance.T / problem.G_MAX, dtype=torch.float32))
    layer.eval()
    inputs = torch.tensor(volts / VOLTS, dtype=torch.float32).reshape(1, -1)
    with torch.no_grad():
        seconds, relative = problem.warm(lambda: layer(inputs))
    return seconds, relative.numpy().ravel().astype(float) * problem.G_MAX * VOLTS


SOLVERS = {
    "superlu": superlu,
    "badcrossbar": badcrossbar,
    "crosssim": lambda g, v: crosssim(g, v, 1e-3, 100, 1.0),
    "crosssim-tight": lambda g, v: crosssim(g, v, 1e-10, 100_000, 0.9),
    "aihwkit": aihwkit,
}

if __name__ == "__main__":
    name, n, out = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    conductance, volts = problem.array(n, VOLTS)
    try:
        seconds, currents = SOLVERS[name](conductance, volts[0])
    except (ValueError, FloatingPointError, RuntimeError) as error:
        print(json.dumps({"error": str(error).split("\n")[0]}))
        sys.exit(0)
    np.save(out, currents)
    print(json.dumps({"seconds": seconds}))
