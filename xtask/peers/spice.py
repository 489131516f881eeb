"""Arrays as ngspice netlists: any line driven, grounded or floating at either end, every wire segment its own."""

import re
import resource
import subprocess
from pathlib import Path

import numpy as np

# Tighter than any comparison here; ngspice's defaults stop at 1e-3.
OPTIONS = ".options reltol=1e-12 vntol=1e-15 abstol=1e-18 itl1=1000\n"


def current(law, siemens, volts):
    """A device's current as ngspice's expression of the voltage across it."""
    if law == "linear":
        return f"{siemens:.17g}*{volts}"
    if "sinh" in law:
        v0 = law["sinh"]["v0_v"]
        return f"{siemens * v0:.17g}*sinh({volts}/{v0!r})"
    if "cubic" in law:
        # ngspice's ^ takes the base's absolute value.
        return f"{siemens:.17g}*({volts}+{law['cubic']['coefficient_per_v2']!r}*{volts}*{volts}*{volts})"
    raise ValueError(law)


def netlist(case):
    """Row nodes r{i}_{j}, column nodes c{i}_{j}, sources vl, vr, vt, vb; segment 0 is at the left end or the top."""
    rows, columns = len(case["left"]), len(case["bottom"])
    lines = ["array\n", OPTIONS]

    def end(kind, index, line, node, segment):
        if line == "Floating":
            return
        volts, ohms = line["Driven"]["volts"], line["Driven"]["ohms"]
        lines.append(f"v{kind}{index} s{kind}{index} 0 dc {volts:.17g}\n")
        lines.append(f"r{kind}{index} s{kind}{index} {node} {ohms + segment:.17g}\n")

    for i in range(rows):
        wire = case["row_segments"][i * (columns + 1) :][: columns + 1]
        end("l", i, case["left"][i], f"r{i}_0", wire[0])
        end("r", i, case["right"][i], f"r{i}_{columns - 1}", wire[-1])
        lines += [f"rr{i}_{j} r{i}_{j - 1} r{i}_{j} {wire[j]:.17g}\n" for j in range(1, columns)]
    for j in range(columns):
        wire = case["column_segments"][j * (rows + 1) :][: rows + 1]
        end("t", j, case["top"][j], f"c0_{j}", wire[0])
        end("b", j, case["bottom"][j], f"c{rows - 1}_{j}", wire[-1])
        lines += [f"rc{i}_{j} c{i - 1}_{j} c{i}_{j} {wire[i]:.17g}\n" for i in range(1, rows)]
    for i in range(rows):
        for j in range(columns):
            siemens = case["conductance"][i * columns + j]
            if case["law"] == "linear":
                lines.append(f"rd{i}_{j} r{i}_{j} c{i}_{j} {1.0 / siemens:.17g}\n")
            else:
                volts = f"v(r{i}_{j},c{i}_{j})"
                lines.append(f"bd{i}_{j} r{i}_{j} c{i}_{j} i={current(case['law'], siemens, volts)}\n")
    return "".join(lines)


def processor_time():
    """Of all children so far (s)."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def run(folder, commands, seconds):
    """Runs commands in ngspice; gives the processor time it took (s)."""
    script = folder / "run.cir"
    script.write_text(f"* run\n.control\nset numdgt=15\nset wr_singlescale\n{commands}quit\n.endc\n.end\n")
    start = processor_time()
    ended = subprocess.run(
        ["ngspice", "-b", script], capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=seconds
    )
    if ended.returncode != 0:
        raise RuntimeError((ended.stdout + ended.stderr).strip().splitlines()[-1])
    return processor_time() - start


def written(path):
    """What `wrdata` wrote: the first number is its scale. Without a solution it writes nothing."""
    found = path if path.exists() else path.with_name(path.name + ".data")
    if not found.exists():
        raise RuntimeError("ngspice found no operating point")
    return np.array([float(word) for word in found.read_text().split()][1:])


def probe(folder, vectors):
    """Commands that write vectors (`v(x)`, `i(vy)`), thirty to a file, and the reading of those files."""
    for old in folder.glob("out*"):
        old.unlink()
    parts = [vectors[first : first + 30] for first in range(0, len(vectors), 30)]
    paths = [folder / f"out{index}" for index in range(len(parts))]
    text = "".join(f"wrdata {path} {' '.join(part)}\n" for path, part in zip(paths, parts))
    return text, lambda: np.concatenate([written(path) for path in paths])


def operating_point(folder, case, seconds=300):
    """Voltage across every device (V), and current out of each column's bottom end (A, 0 where it floats)."""
    rows, columns = len(case["left"]), len(case["bottom"])
    folder = Path(folder)
    (folder / "array.cir").write_text(netlist(case))
    ends = [j for j in range(columns) if case["bottom"][j] != "Floating"]
    names = [f"v({side}{i}_{j})" for side in "rc" for i in range(rows) for j in range(columns)]
    names += [f"i(vb{j})" for j in ends]
    text, read = probe(folder, names)
    run(folder, f"source {folder / 'array.cir'}\nop\n{text}", seconds)
    values = read()
    cells = rows * columns
    bottom = np.zeros(columns)
    bottom[ends] = values[2 * cells :]
    return values[:cells] - values[cells : 2 * cells], bottom


def first_vector(folder, case, volts, seconds):
    """Time of one more solve in a process that has solved the circuit before, with other inputs each time (s), and the
    column currents of the last vector in `volts` (A)."""
    folder = Path(folder)
    (folder / "array.cir").write_text(re.sub(r"\.options .*\n", "", netlist(case), count=1))
    columns = len(case["bottom"])
    names = [f"i(vb{j})" for j in range(columns)]
    saved = "".join(f"save {' '.join(names[first : first + 30])}\n" for first in range(0, columns, 30))

    def solve(vector):
        return "".join(f"alter vl{i} dc = {v:.17g}\n" for i, v in enumerate(vector)) + "op\n"

    text, read = probe(folder, names)
    load = f"source {folder / 'array.cir'}\n{saved}"
    once = run(folder, load + solve(volts[-1]) + text, seconds)
    currents = read()
    more = [solve(vector) + "destroy all\n" for vector in volts[:-1]]
    many = run(folder, load + "".join(more) + solve(volts[-1]) + text, seconds * len(volts))
    return (many - once) / (len(volts) - 1), currents
