"""Custom device of a measured crossbar for CrossSim (3.2.0), written by `ohmrig export --to crosssim`.

    import ohmrig_crosssim
    ohmrig_crosssim.configure(params)

or choose model "OhmrigDevice" for the parts of `params.xbar.device` that are wanted, with Rmin = 1e6/FIT["g_max_us"].

Units: conductances in µS, times in s, frequencies in Hz, densities of relative conductance S_G/G² in 1/Hz, one-sided. Numbers in
pairs are [value, standard uncertainty]; `FIT` has every one of them, and which measurements they are from. A part that is None
was not measured: it adds nothing here, which doesn't mean that the devices have none of it.

Cycle to cycle (drawn anew whenever a matrix is set): the programming error, at the time of the read that followed it. That
read's own noise is in it.
Device to device (a cell keeps it): drift exponent, level and exponent of 1/f noise, parameter of the current-voltage law. CrossSim
draws them whenever a matrix is set (drift) or multiplied (noise); the law's parameter is its mean. Their spread was found
between cells that were programmed once, so what a cell's next programming would change is part of it.
In time: CrossSim draws read noise anew at every multiplication. It gets the 1/f noise between 1/(2 T_READ) and 1/(2 T_OBSERVED) and
the white noise below 1/(2 T_READ); 1/f noise of real cells hardly changes from one multiplication to the next, so what
averages out here over many multiplications would not there.
Telegraph noise is in the spectrum only as far as the 1/f fit takes it up.
"""

from simulator.backend import ComputeBackend
from simulator.devices.idevice import EmptyDevice

xp = ComputeBackend()

# How long one multiplication takes, and over how long the fluctuation counts as noise, s.
T_READ = 1e-4
T_OBSERVED = 1.0

FIT = {}


def configure(params, drift=False, nonlinear=True):
    """Sets a CrossSimParameters' device up: range, read voltage, and every part that was measured. With `drift`, params.xbar.device.time
    (s) counts from programming."""
    device = params.xbar.device
    device.Rmin = 1e6 / FIT["g_max_us"]
    device.Rmax = 1e6 / FIT["g_min_us"]
    device.programming_error.enable = FIT["programming"] is not None
    device.programming_error.model = "OhmrigDevice"
    device.read_noise.enable = FIT["read_noise"] is not None
    device.read_noise.model = "OhmrigDevice"
    device.drift_error.enable = drift and FIT["drift"] is not None
    device.drift_error.model = "OhmrigDevice"
    device.nonlinear_IV.enable = nonlinear and FIT["current"] is not None
    device.nonlinear_IV.model = "OhmrigDevice"
    if FIT["current"] is not None:
        device.Vread = FIT["current"]["volts"]


def _mean(part, g):
    """Mean of a population at conductances g (µS)."""
    return part["level"][0] + part["slope"][0] * (xp.log(xp.maximum(g, 1e-6)) - part["centre"])


def _normal(like):
    return xp.random.normal(size=like.shape).astype(like.dtype)


def _band(f_low, f_high, gamma):
    """Integral of f^-gamma."""
    rest = 1.0 - gamma
    rest = xp.where(xp.abs(rest) < 1e-6, 1e-6, rest)
    return (f_high**rest - f_low**rest) / rest


class OhmrigDevice(EmptyDevice):
    """Programming error, drift, read noise and current-voltage law of the cells that were measured."""

    def _micro(self, normalised):
        """CrossSim's conductances are in units of 1/Rmin."""
        return normalised * (1e6 / self.device_params.Rmin)

    def _normalised(self, micro):
        return micro * (self.device_params.Rmin * 1e-6)

    def programming_error(self, input_):
        fit = FIT["programming"]
        if fit is None:
            return input_
        g = self._micro(input_)
        x = g / FIT["g_max_us"]
        bias = fit["bias_us"][0][0] + fit["bias_us"][1][0] * x
        sigma = xp.exp(fit["ln_sigma_us"][0][0] + fit["ln_sigma_us"][1][0] * x)
        return self._normalised(g + bias + sigma * _normal(g))

    def drift_error(self, input_, time):
        programmed = self.programming_error(input_)
        fit = FIT["drift"]
        if fit is None:
            return programmed
        g = self._micro(input_)
        nu = _mean(fit["exponent"], g) + fit["exponent"]["spread"] * _normal(g)
        return programmed * xp.exp(-nu * xp.log((time + fit["t0_s"]) / fit["t0_s"]))

    def read_noise(self, input_):
        fit = FIT["read_noise"]
        if fit is None:
            return input_
        g = self._micro(input_)
        f_high, f_low = 0.5 / T_READ, 0.5 / (T_READ + T_OBSERVED)
        part, gamma = fit["ln_density_1_hz"], fit["exponent"]
        density = xp.exp(_mean(part, g) + part["spread"] * _normal(g))
        gammas = _mean(gamma, g) + gamma["spread"] * _normal(g)
        variance = density * _band(f_low, f_high, gammas) + fit["white_per_hz"] * f_high
        return input_ * (1.0 + xp.sqrt(variance) * _normal(g))

    def _relative_current(self, g, volts):
        """Current over conductance, V."""
        fit = FIT["current"]
        if fit is None or fit["law"] == "linear":
            return volts + 0.0 * g
        c = _mean(fit["parameter"], g)
        if fit["law"] == "cubic":
            return volts + c * volts**3
        if fit["law"] == "schottky":
            return volts * xp.exp(c * xp.sqrt(xp.abs(volts)))
        # sinh(v sqrt c)/sqrt c, which is sin(v sqrt -c)/sqrt -c below zero.
        root = xp.maximum(xp.sqrt(xp.abs(c)), 1e-9)
        return xp.where(c >= 0.0, xp.sinh(volts * root), xp.sin(volts * root)) / root

    def nonlinear_current(self, Gmat, Vmat):
        g = Gmat[(..., *(None,) * (Vmat.ndim - Gmat.ndim))]
        volts = Vmat * self.device_params.Vread
        return g * self._relative_current(self._micro(g), volts) / self.device_params.Vread

    def nonlinear_current_sum(self, Gmat, Vterm):
        if Vterm.ndim == 1:
            return self.nonlinear_current(Gmat, xp.broadcast_to(Vterm, Gmat.shape)).sum(axis=1)
        # One column of inputs after the other: the law depends on the cell.
        columns = [self.nonlinear_current_sum(Gmat, Vterm[:, k]) for k in range(Vterm.shape[1])]
        return xp.stack(columns, axis=1)
