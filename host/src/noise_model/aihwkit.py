"""Noise model of a measured crossbar for aihwkit (1.1.0), written by `ohmrig export --to aihwkit`.

    from ohmrig_aihwkit import OhmrigNoiseModel
    rpu_config.noise_model = OhmrigNoiseModel()

Units: conductances in µS, times in s, frequencies in Hz, densities of relative conductance S_G/G² in 1/Hz, one-sided. Numbers in
pairs are [value, standard uncertainty]; `FIT` has every one of them, and which measurements they are from. A part that is None
was not measured: it adds nothing here, which doesn't mean that the devices have none of it.

Cycle to cycle (drawn anew whenever cells are programmed): the programming error, at the time of the read that followed it. That
read's own noise is in it.
Device to device (a cell keeps it): drift exponent, level and exponent of 1/f noise. aihwkit draws them per call of
apply_noise, and ν once per programming if apply_programming_noise and apply_drift_noise are used. Their spread was found between
cells that were programmed once, so what a cell's next programming would change is part of it.
In time: 1/f noise between the read's own bandwidth, 1/(2 t_read), and 1/(2 (t_read + t_inference)), and the white noise below
1/(2 t_read). aihwkit adds them to the weights once per inference time, not per multiplication.
Telegraph noise is in the spectrum only as far as the 1/f fit takes it up. Current-voltage nonlinearity has no place in
BaseNoiseModel: `current` has the fitted law.
"""

from copy import deepcopy
from math import exp, log

import torch
from aihwkit.inference.converter.conductance import SinglePairConductanceConverter
from aihwkit.inference.noise.base import BaseNoiseModel
from torch.autograd import no_grad

FIT = {}


def _mean(part, g):
    """Mean of a population at conductances g (µS)."""
    x = torch.log(g.clamp(min=1e-6))
    return part["level"][0] + part["slope"][0] * (x - part["centre"])


def _band(f_low, f_high, gamma):
    """Integral of f^-gamma."""
    rest = 1.0 - gamma
    safe = torch.where(rest.abs() < 1e-6, torch.full_like(rest, 1e-6), rest)
    return (f_high**safe - f_low**safe) / safe


def current(g, volts):
    """Current (µA) of cells of g (µS at 0 V) at a voltage (V), by the fitted law; linear if none was measured."""
    law = FIT["current"]
    if law is None or law["law"] == "linear":
        return g * volts
    volts = torch.as_tensor(volts, dtype=g.dtype)
    c = _mean(law["parameter"], g)
    if law["law"] == "cubic":
        return g * (volts + c * volts**3)
    if law["law"] == "schottky":
        return g * volts * torch.exp(c * volts.abs().sqrt())
    # sinh(v sqrt c)/sqrt c, which is sin(v sqrt -c)/sqrt -c below zero.
    root = c.abs().sqrt().clamp(min=1e-9)
    return g * torch.where(c >= 0.0, torch.sinh(volts * root), torch.sin(volts * root)) / root


class OhmrigNoiseModel(BaseNoiseModel):
    """Programming error, drift and read noise of the cells that were measured.

    Args:
        g_converter: of weights to conductances (µS); default: single pair over the measured range.
        t_read: how long one read takes, s.
        prog_noise_scale, drift_scale, read_noise_scale: factors; 0 leaves the part out.
    """

    def __init__(self, g_converter=None, t_read=1e-4, prog_noise_scale=1.0, drift_scale=1.0, read_noise_scale=1.0):
        if g_converter is None:
            g_converter = SinglePairConductanceConverter(g_max=FIT["g_max_us"], g_min=FIT["g_min_us"])
        super().__init__(deepcopy(g_converter))
        self.t_read = t_read
        self.prog_noise_scale = prog_noise_scale
        self.drift_scale = drift_scale
        self.read_noise_scale = read_noise_scale

    @no_grad()
    def apply_programming_noise_to_conductance(self, g_target):
        fit = FIT["programming"]
        if fit is None:
            return g_target.clone()
        x = g_target / FIT["g_max_us"]
        bias = fit["bias_us"][0][0] + fit["bias_us"][1][0] * x
        sigma = torch.exp(fit["ln_sigma_us"][0][0] + fit["ln_sigma_us"][1][0] * x)
        error = bias + sigma * torch.randn_like(g_target)
        return (g_target + self.prog_noise_scale * error).clamp(min=0.0)

    @no_grad()
    def generate_drift_coefficients(self, g_target):
        fit = FIT["drift"]
        if fit is None:
            return torch.zeros_like(g_target)
        nu = _mean(fit["exponent"], g_target) + fit["exponent"]["spread"] * torch.randn_like(g_target)
        return self.drift_scale * nu

    @no_grad()
    def apply_drift_noise_to_conductance(self, g_prog, drift_noise_param, t_inference):
        g = g_prog
        if FIT["drift"] is not None and drift_noise_param is not None:
            t_0 = FIT["drift"]["t0_s"]
            g = g * torch.exp(-drift_noise_param * log((t_inference + t_0) / t_0))
        sigma = self.read_noise(g, t_inference)
        return (g + self.read_noise_scale * sigma * torch.randn_like(g)).clamp(min=0.0)

    @no_grad()
    def read_noise(self, g, t_inference):
        """Standard deviation (µS) of reads of t_read each, spread over t_inference, s; the cells' own levels are drawn."""
        fit = FIT["read_noise"]
        if fit is None:
            return torch.zeros_like(g)
        f_high, f_low = 0.5 / self.t_read, 0.5 / (self.t_read + t_inference)
        part, gamma = fit["ln_density_1_hz"], fit["exponent"]
        density = torch.exp(_mean(part, g) + part["spread"] * torch.randn_like(g))
        gammas = _mean(gamma, g) + gamma["spread"] * torch.randn_like(g)
        variance = density * _band(f_low, f_high, gammas) + fit["white_per_hz"] * f_high
        return g * variance.sqrt()
