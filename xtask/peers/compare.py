"""Runs every installed program beside `ohmrig` on the same generated arrays, and prints the tables as Markdown.

compare.py --ohmrig PATH --operate PATH --age PATH --profiles FOLDER --folder FOLDER [--missing NAME=REASON]...
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
from pathlib import Path

import numpy as np

import devices
import exports
import problem
import spice

SIZES = [32, 64, 128, 256, 512]
# What a program may take for one array before its larger ones are left out, s.
PATIENCE = 400
# Debian's ngspice has no KLU; its own sparse matrix takes some 70 times longer for twice the size.
LARGEST = {"ngspice": 64}
NAMES = {
    "badcrossbar": "badcrossbar 1.1.0",
    "superlu": "SciPy SuperLU",
    "crosssim": "CrossSim 3.2.0, its default 1e-3",
    "crosssim-tight": "CrossSim 3.2.0, 1e-10",
    "aihwkit": "aihwkit 1.1.0, its formula for the drop",
    "ngspice": "ngspice, another vector in one process",
}
ONE_THREAD = {name: "1" for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")}


def ours(options, n, vectors, sinh=False, repeat=20):
    """Processor seconds per vector and the currents of all `vectors`: what `repeat` more solutions take in one process."""
    conductance, volts = problem.array(n, 0.5 if sinh else 0.2)
    paths = [options.folder / name for name in ("g.npy", "v.npy", "i.npy")]
    np.save(paths[0], conductance)
    np.save(paths[1], volts[:vectors])
    words = [options.ohmrig, "solve", paths[0], paths[1], "-o", paths[2], "--r-wire", problem.OHM]
    words += ["--v0", problem.V0] if sinh else []

    def seconds(count):
        start = spice.processor_time()
        subprocess.run(list(map(str, [*words, "--repeat", count])), check=True, capture_output=True)
        return spice.processor_time() - start

    times = [seconds(repeat + 1) - seconds(1) for _ in range(5)]
    return statistics.median(times) / repeat / vectors, np.load(paths[2])


def peer(options, name, n):
    out = options.folder / "peer.npy"
    words = [sys.executable, Path(__file__).parent / "solvers.py", name, str(n), out]
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=PATIENCE, env=os.environ | ONE_THREAD)
    except subprocess.TimeoutExpired:
        return {"error": f"no result in {PATIENCE} s"}
    if done.returncode != 0:
        return {"error": (done.stderr.strip().splitlines() or ["?"])[-1]}
    return json.loads(done.stdout.splitlines()[-1]) | {"path": out}


def ngspice(options, n):
    conductance, volts = problem.array(n, 0.2)
    try:
        seconds, currents = spice.first_vector(options.folder, as_case(conductance, volts[0]), volts[:3][::-1], PATIENCE)
    except (subprocess.TimeoutExpired, RuntimeError) as error:
        return {"error": f"no result in {PATIENCE} s" if isinstance(error, subprocess.TimeoutExpired) else str(error)}
    np.save(options.folder / "peer.npy", currents)
    return {"seconds": seconds, "path": options.folder / "peer.npy"}


def as_case(conductance, volts):
    rows, columns = conductance.shape

    def driven(volts):
        return {"Driven": {"volts": float(volts), "ohms": 0.0}}

    return {
        "conductance": conductance.ravel().tolist(),
        "law": "linear",
        "row_segments": [problem.OHM] * (rows * (columns + 1)),
        "column_segments": [problem.OHM] * (columns * (rows + 1)),
        "left": [driven(v) for v in volts],
        "right": ["Floating"] * rows,
        "top": ["Floating"] * columns,
        "bottom": [driven(0.0)] * columns,
    }


def speed(options, names, missing):
    """Time per vector and ratio to ours, per size; what is missing has its reason in place of figures."""
    rows = {name: [] for name in ["ours", "ours, 64 vectors", "ours, sinh", *names]}
    lost = set()
    for n in SIZES:
        print(f"{n} × {n}", file=sys.stderr)
        # A tenth of a second or more: processor time comes in clock ticks.
        repeat = 2000 * 64 * 64 // (n * n) + 20
        own, exact = ours(options, n, 1, repeat=repeat)
        rows["ours"].append(f"{1e3 * own:.3g}")
        batch = ours(options, n, 64, repeat=repeat // 20 + 3)[0]
        rows["ours, 64 vectors"].append(f"{1e3 * batch:.3g} ({batch / own:.2g}×)")
        sinh = ours(options, n, 1, sinh=True, repeat=repeat // 4)[0]
        rows["ours, sinh"].append(f"{1e3 * sinh:.3g} ({sinh / own:.2g}×)")
        for name in names:
            if name in lost or n > LARGEST.get(name, n):
                rows[name].append("–")
                continue
            found = ngspice(options, n) if name == "ngspice" else peer(options, name, n)
            if "error" in found:
                print(f"  {name}: {found['error']}", file=sys.stderr)
                rows[name].append(found["error"])
                lost.add(name)
                continue
            currents = np.load(found["path"])
            differs = np.max(np.abs(currents / exact[0] - 1.0))
            rows[name].append(f"{1e3 * found['seconds']:.3g} ({found['seconds'] / own:.3g}×) {differs:.0e}")
            print(f"  {name}: {rows[name][-1]}", file=sys.stderr)
    titles = {"ours": "ohmrig, 1e-9", "ours, 64 vectors": "ohmrig, 64 vectors, each",
              "ours, sinh": "ohmrig, sinh devices, 0.5 V"} | NAMES
    print("| ms per vector (ratio to ohmrig) largest relative difference of a current |"
          + "".join(f" {n} |" for n in SIZES))
    print("| --- |" + " --- |" * len(SIZES))
    for name, cells in rows.items():
        print(f"| {titles[name]} | " + " | ".join(cells) + " |")
    for name, reason in missing.items():
        print(f"| {titles[name]} | missing: {reason} |" + " |" * (len(SIZES) - 1))


def random_case(random):
    """A small array in which anything may be connected to any end."""
    rows, columns = (int(n) for n in random.integers(1, 25, 2))

    def line():
        kind = random.integers(4)
        if kind == 0:
            return "Floating"
        volts = 0.0 if kind == 1 else float(random.uniform(-0.5, 0.5))
        ohms = 0.0 if random.integers(2) else float(10.0 ** random.uniform(0.0, 3.0))
        return {"Driven": {"volts": volts, "ohms": ohms}}

    laws = ["linear", {"sinh": {"v0_v": 0.25}}, {"cubic": {"coefficient_per_v2": 0.8}}]
    ends = {"left": rows, "right": rows, "top": columns, "bottom": columns}
    case = {end: [line() for _ in range(count)] for end, count in ends.items()}
    # A network without any source is at no voltage in particular.
    case["left"][0] = {"Driven": {"volts": 0.3, "ohms": 0.0}}
    case["conductance"] = (10.0 ** random.uniform(-6.0, -4.0, rows * columns)).tolist()
    case["law"] = laws[random.integers(len(laws))]
    case["row_segments"] = (10.0 ** random.uniform(-1.0, 1.5, rows * (columns + 1))).tolist()
    case["column_segments"] = (10.0 ** random.uniform(-1.0, 1.5, columns * (rows + 1))).tolist()
    return case


def agreement(options):
    """Random arrays, ends, segments and devices: ours against ngspice. Whether they agree."""
    worst = {}
    random = np.random.default_rng(11)
    for _ in range(options.cases):
        case = random_case(random)
        printed = subprocess.run(
            [options.operate], input=json.dumps(case), check=True, capture_output=True, text=True
        ).stdout
        found = json.loads(printed)
        volts, bottom = spice.operating_point(options.folder, case)
        sources = [line["Driven"]["volts"] for end in ("left", "right", "top", "bottom") for line in case[end]
                   if line != "Floating"]
        law = case["law"] if isinstance(case["law"], str) else next(iter(case["law"]))
        of_volts = np.max(np.abs(np.array(found["cell_volts"]) - volts)) / np.max(np.abs(sources))
        largest = np.max(np.abs(bottom))
        of_amperes = np.max(np.abs(np.array(found["bottom"]) - bottom)) / largest if largest > 0.0 else 0.0
        cases, a, b = worst.get(law, (0, 0.0, 0.0))
        worst[law] = (cases + 1, max(a, of_volts), max(b, of_amperes))
    print("| devices | arrays | device voltages, of the largest source | output currents, of the largest |")
    print("| --- | --- | --- | --- |")
    for law, (cases, a, b) in sorted(worst.items()):
        print(f"| {law} | {cases} | {a:.1e} | {b:.1e} |")
    # A dense Newton solve of the same arrays says that ngspice stops up to 3e-8 of the largest source short.
    return all(a <= 1e-7 and b <= 1e-8 for _, a, b in worst.values())


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--ohmrig", required=True)
    parser.add_argument("--operate", required=True)
    parser.add_argument("--age", required=True)
    parser.add_argument("--profiles", type=Path, required=True)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--cases", type=int, default=60)
    parser.add_argument("--missing", action="append", default=[])
    options = parser.parse_args()
    missing = dict(entry.split("=", 1) for entry in options.missing)
    names = [name for name in NAMES if name.split("-")[0] not in missing]
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    print(f"{platform.machine()}, {os.cpu_count()} cores, load average {load} at the start; one thread each, "
          f"{problem.OHM:g} Ω per segment, devices 1 to 100 µS, inputs to 0.2 V, warm medians of processor time.\n")
    speed(options, names, missing)
    disagree = []
    if "ngspice" not in missing:
        print(f"\n{options.cases} random arrays of 1 to 24 rows and columns against ngspice; every end driven through "
              "0 to 1 kΩ, grounded or open; every segment 0.1 to 32 Ω:\n")
        if not agreement(options):
            disagree.append("ngspice")
    if "aihwkit" not in missing and not devices.compare(options):
        disagree.append("aihwkit")
    disagree += exports.compare(options, missing)
    if disagree:
        sys.exit(f"ohmrig disagrees with {' and '.join(disagree)}")


main()
