"""`ohmrig export --to aihwkit|crosssim` loaded into the real programs: an emulated array is programmed and measured, exported, and
what the peers draw from the exported models is compared with what the run file says of the cells themselves."""

import importlib.util
import json
import subprocess
import sys

import numpy as np

SIZE = 16
SEED = 1000
DRAWS = 20000
# Standard errors that a difference may have; some 40 comparisons, chance reaches 4.5 once in 3000 runs.
MOST = 4.5
# Reads of this length over this time, s: inside the band that the noise was measured in.
READ, OBSERVED = 1e-3, 0.2


def measure(options):
    """A run file with everything an export takes, and what is in it."""
    folder = options.folder / "export"
    folder.mkdir(exist_ok=True)
    for old in folder.glob("*"):
        if old.is_file():
            old.unlink()
    levels = np.add.outer(3 * np.arange(SIZE), 7 * np.arange(SIZE)) % SIZE
    targets = 1e-6 * (15.0 + 60.0 * levels / (SIZE - 1.0))
    np.save(folder / "targets.npy", targets)
    # Devices with a curve.
    text = (options.profiles / "rram-cmo.toml").read_text()
    assert 'current = "linear"' in text
    (folder / "board.toml").write_text(text.replace('current = "linear"', "current = { sinh = { v0_v = 0.3 } }"))
    run = folder / "run.sqlite"
    base = [options.ohmrig, "--port", f"emulated:{folder / 'board.toml'}", "--seed", str(SEED), "--state", folder / "state",
            "--run", run]

    def ohmrig(*words):
        subprocess.run(list(map(str, [*base, *words])), check=True, capture_output=True)

    ohmrig("program", folder / "targets.npy")
    ohmrig("noise", "--rows", 6, "--columns", 6, "--samples", 16384, "--interval-s", 2e-4, "--no-telegraph")
    for column in range(6):
        ohmrig("iv", "--row", 15, "--column", column)
    ohmrig("drift", "--row", 8, "--rows", 4, "--columns", 6, "--last-s", 1e4)
    for peer in ("aihwkit", "crosssim"):
        subprocess.run([str(options.ohmrig), "export", str(run), "--to", peer, "-o", str(folder)], check=True,
                       capture_output=True)
    subprocess.run([str(options.ohmrig), "export", str(run), "--to", "npy", "-o", str(folder / "npy")], check=True,
                   capture_output=True)
    index = json.loads((folder / "npy" / "measurements.json").read_text())

    def of(kind):
        return [m for m in index["measurements"] if m["kind"] == kind]

    program = of("program")[0]["arrays"]
    arrays = {name: 1e6 * np.load(folder / "npy" / program[name]["file"]) for name in ("target_s", "conductance_s")}
    return {
        "folder": folder,
        "target": arrays["target_s"],
        "read": arrays["conductance_s"],
        "noise": [cell | {"volts": m["settings"]["volts"]} for m in of("noise") for cell in m["value"]["cells"]],
        "drift": [cell for m in of("drift") for cell in m["value"]["cells"] if cell["exponent"]],
        "iv": [m["value"]["fits"] for m in of("iv")],
    }


def load(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module


class Table:
    """Comparisons: of two numbers with the standard error of their difference."""

    def __init__(self):
        self.rows, self.agree = [], True

    def add(self, what, run, model, error):
        apart = (model - run) / error
        self.agree &= bool(abs(apart) <= MOST)
        self.rows.append(f"| {what} | {run:.4g} | {model:.4g} | {apart:+.1f} |")

    def show(self, peer):
        print(f"\nWhat a run file of an emulated array says of its cells, and what {peer} draws from the exported model "
              "(µS unless said otherwise); the difference in standard errors:\n")
        print(f"| quantity | run | {peer} | differs by |\n| --- | --- | --- | --- |")
        print("\n".join(self.rows))


def bands(run):
    """Programmed cells in three bands of their targets."""
    order = np.argsort(run["target"].ravel(), kind="stable")
    for part in np.array_split(order, 3):
        yield run["target"].ravel()[part], (run["read"] - run["target"]).ravel()[part]


def of_programming(table, run, draw):
    """`draw` programs an array of targets (µS) and gives conductances."""
    for targets, errors in bands(run):
        drawn = draw(np.repeat(targets, DRAWS // len(targets))) - np.repeat(targets, DRAWS // len(targets))
        at = f"{targets.min():.0f} to {targets.max():.0f} µS"
        n = len(errors)
        table.add(f"programming error, {at}: mean", errors.mean(), drawn.mean(), errors.std() / np.sqrt(n))
        # Of a standard deviation, by the sample's fourth moment: relaxed cells have tails.
        centred = errors - errors.mean()
        of_deviation = np.sqrt(max(np.mean(centred**4) - np.mean(centred**2) ** 2, 0.0) / n) / (2.0 * errors.std())
        table.add(f"programming error, {at}: deviation", errors.std(ddof=1), drawn.std(), of_deviation)


def of_read_noise(table, run, draw):
    """`draw` gives relative deviations of reads of cells at a conductance (µS)."""
    ratios = []
    for cell in run["noise"]:
        fit = cell["flicker"]
        if not (fit and fit["resolved"]):
            continue
        low, high = 0.5 / (READ + OBSERVED), 0.5 / READ
        level, gamma = fit["density_1_hz_per_hz"]["value"], fit["exponent"]["value"]
        part = np.log(high / low) if abs(gamma - 1.0) < 1e-6 else (high ** (1 - gamma) - low ** (1 - gamma)) / (1 - gamma)
        own = level * part + max(fit["white_per_hz"]["value"], 0.0) * high
        micro = abs(1e6 * cell["current_a"] / cell["volts"])
        ratios.append(np.log(np.var(draw(micro)) / own))
    ratios = np.array(ratios)
    # Cells differ from their own population's line; a mean of a variance is above that of its logarithm by half its spread.
    table.add(f"read noise of {len(ratios)} cells: ln(variance / cell's own)", 0.5 * ratios.var(), ratios.mean(),
              ratios.std(ddof=1) / np.sqrt(len(ratios)) + 0.02)


def of_drift(table, run, draw):
    """`draw` gives exponents of cells at conductances (µS)."""
    micro = np.array([1e6 * cell["conductance_s"]["value"] for cell in run["drift"]])
    found = np.array([cell["exponent"]["value"] for cell in run["drift"]])
    own = np.array([cell["exponent"]["standard_uncertainty"] for cell in run["drift"]])
    times = DRAWS // len(micro)
    drawn = draw(np.repeat(micro, times)).reshape(len(micro), times)
    apart = found - drawn.mean(axis=1)
    table.add(f"drift exponent of {len(micro)} cells: mean", found.mean(), drawn.mean(),
              apart.std(ddof=1) / np.sqrt(len(micro)))
    # Scatter about the line: drawn spread and the fits' own uncertainty.
    expected = np.sqrt(drawn.std(axis=1).mean() ** 2 + np.mean(own**2))
    table.add("drift exponent: scatter about its line", apart.std(ddof=2), expected,
              apart.std() / np.sqrt(2 * (len(micro) - 2)))


def of_current(table, run, current):
    """`current` gives I/G (V) of cells at a conductance (µS) and a voltage."""
    fits = [next(fit for fit in fits if fit["law"] == "sinh") for fits in run["iv"]]
    for volts in (0.1, 0.4):
        own = []
        for fit in fits:
            root = np.sqrt(max(fit["parameter"]["value"], 1e-12))
            own.append((np.sinh(volts * root) / root, current(1e6 * fit["conductance_s"]["value"], volts)))
        own = np.array(own)
        table.add(f"I/G of {len(own)} cells at {volts} V (V)", own[:, 0].mean(), own[:, 1].mean(),
                  (own[:, 0] - own[:, 1]).std(ddof=1) / np.sqrt(len(own)) + 1e-6)


def aihwkit(run):
    import torch
    from aihwkit.inference.converter.fusion import FusionConductanceConverter
    from aihwkit.nn import AnalogLinear, AnalogSequential
    from aihwkit.simulator.configs import InferenceRPUConfig
    from aihwkit.utils.export import fusion_export, fusion_import

    torch.manual_seed(SEED)
    module = load(run["folder"] / "ohmrig_aihwkit.py")
    table = Table()
    model = module.OhmrigNoiseModel(t_read=READ)
    tensor = torch.from_numpy

    of_programming(table, run, lambda g: model.apply_programming_noise_to_conductance(tensor(g)).numpy())
    of_drift(table, run, lambda g: model.generate_drift_coefficients(tensor(g)).numpy())

    def read(micro):
        g = torch.full((DRAWS,), micro, dtype=torch.float64)
        return model.apply_drift_noise_to_conductance(g, torch.zeros_like(g), OBSERVED).numpy() / micro - 1.0

    of_read_noise(table, run, read)
    of_current(table, run, lambda g, v: float(module.current(torch.tensor([g], dtype=torch.float64), v)[0] / g))
    table.show("aihwkit")

    # As a part of aihwkit itself: a layer whose weights are programmed and drift through the model.
    config = InferenceRPUConfig()
    config.noise_model = module.OhmrigNoiseModel()
    layer = AnalogSequential(AnalogLinear(SIZE, SIZE, bias=False, rpu_config=config))
    wanted = tensor(run["target"].T / run["target"].max()).float()
    layer[0].set_weights(wanted)
    layer.eval()
    layer.program_analog_weights()
    layer.drift_analog_weights(3600.0)
    assert torch.isfinite(layer(torch.eye(SIZE))).all()
    # And the conductances into a layer of their signs.
    plain = AnalogSequential(AnalogLinear(SIZE, SIZE, bias=False, rpu_config=InferenceRPUConfig()))
    plain[0].set_weights(wanted)
    converter = FusionConductanceConverter()
    _, params, state = fusion_export(plain, converter)
    fusion_import(str(run["folder"] / "conductances.csv"), plain, params, state, converter)
    got = plain[0].analog_module.get_weights(apply_weight_scaling=False)[0]
    # fusion_import rescales each output to its weights by regression: correlation is what is left to compare.
    worst = min(np.corrcoef(got[j].numpy(), run["read"][:, j])[0, 1] for j in range(SIZE))
    print(f"\nfusion_import takes conductances.csv: each output's weights correlate with its measured conductances by {worst:.9f} "
          "at least.")
    return table.agree and worst > 1.0 - 1e-6


def crosssim(run):
    from simulator import AnalogCore, CrossSimParameters

    np.random.seed(SEED)
    module = load(run["folder"] / "ohmrig_crosssim.py")
    module.T_READ, module.T_OBSERVED = READ, OBSERVED
    params = CrossSimParameters()
    module.configure(params)
    params.core.style = "BALANCED"
    core = AnalogCore(np.eye(4), params)
    assert np.all(np.isfinite(core @ np.ones(4)))
    device = next(d for d in find_devices(core) if isinstance(d._programming_error_model, module.OhmrigDevice))
    unit = 1e6 / device.device_params.Rmin
    table = Table()
    of_programming(table, run, lambda g: unit * device.programming_error(g / unit))

    def exponents(g):
        model, fit = device._drift_error_model, module.FIT
        model = module.OhmrigDevice(device.device_params, device.device_params.drift_error) \
            if not isinstance(model, module.OhmrigDevice) else model
        kept, fit["programming"] = fit["programming"], None
        later = unit * model.drift_error(g / unit, 3600.0)
        fit["programming"] = kept
        return -np.log(later / g) / np.log((3600.0 + fit["drift"]["t0_s"]) / fit["drift"]["t0_s"])

    of_drift(table, run, exponents)
    of_read_noise(table, run, lambda g: device.read_noise(np.full(DRAWS, g / unit)) / (g / unit) - 1.0)
    vread = device.device_params.Vread
    of_current(table, run, lambda g, v: float(
        device.nonlinear_current(np.array([[g / unit]]), np.array([[v / vread]]))[0, 0] * vread / (g / unit)))
    table.show("CrossSim")
    return table.agree


def find_devices(core):
    """The devices inside a core, however it is built."""
    found, seen, stack = [], set(), [core]
    while stack:
        this = stack.pop()
        if id(this) in seen:
            continue
        seen.add(id(this))
        if hasattr(this, "_programming_error_model"):
            found.append(this)
            continue
        if isinstance(this, (list, tuple)):
            stack.extend(this)
        elif type(this).__module__.startswith("simulator") and hasattr(this, "__dict__"):
            stack.extend(vars(this).values())
    return found


def compare(options, missing):
    """Prints the tables of the peers that are there; the names of those that disagree."""
    run = measure(options)
    return [f"{name}, from an export" for name, one in (("aihwkit", aihwkit), ("crosssim", crosssim))
            if name not in missing and not one(run)]
