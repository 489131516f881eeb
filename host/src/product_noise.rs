//! The noise that products should have: what a profile's own sources of devices and board add up to, source by source, to be
//! held against what repeating the products finds.

use ndarray::ArrayView2;
use ohmrig_emulator::board::BoardImperfections;
use ohmrig_emulator::fluctuation::{Flicker, Telegraph};
use ohmrig_emulator::profile::{Imperfections, Profile};

/// What was multiplied, and how.
#[derive(Clone, Copy, Debug)]
pub struct Products<'a> {
    /// Voltages of the drivers (vectors, rows), V.
    pub inputs: ArrayView2<'a, f64>,
    /// What the array multiplies by (rows, columns), S.
    pub siemens: ArrayView2<'a, f64>,
    /// Feedback of the amplifiers, Ω.
    pub ohms: f64,
    /// Full scale of a converter's code, V.
    pub lsb_v: f64,
    /// Conversions averaged per vector.
    pub conversions: u16,
    /// Distance of these conversions, s.
    pub interval_s: f64,
    /// Whether they are spread over a period of the mains, which takes it out.
    pub over_mains: bool,
    /// From a product to its repetition, s.
    pub apart_s: f64,
}

/// One source: its name and its standard deviation at one output, rms over columns, A.
pub type Source = (&'static str, f64);

/// Noise bandwidth of a sample: a first-order filter of 220 kHz; the amplifier's own bandwidth is above it.
const BANDWIDTH_HZ: f64 = 220e3 * std::f64::consts::FRAC_PI_2;

/// Euler's constant.
const EULER: f64 = 0.577_215_664_901_532_9;

/// Steps of each dwell time over which telegraph noise is averaged.
const DWELLS: u32 = 24;

/// Half the mean square difference of two averages of noise of density 1/f (1/Hz), `apart_s` apart: ln(2πf·T) + γ for samples of
/// noise that ends at 1/(2π·fastest), and that of averages over τ from the second difference of x²·ln x, of which the
/// Allan variance 2·ln 2 is the case T = τ.
fn flicker_variance(products: &Products<'_>, fastest_s: f64) -> f64 {
    let (apart_s, span_s) = (products.apart_s, products.interval_s * f64::from(products.conversions - 1));
    let samples = (apart_s / fastest_s).ln() + EULER;
    if span_s <= fastest_s {
        return samples.max(0.0);
    }
    // Averages that overlapped would not be two.
    let ratio = (apart_s / span_s).max(1.0);
    let term = |x: f64| if x > 0.0 { x * x * x.ln() } else { 0.0 };
    // The limit, where the difference of large numbers would lose digits.
    let averages = if ratio > 1e3 {
        ratio.ln() + 1.5
    } else {
        (term(ratio + 1.0) + term(ratio - 1.0) - 2.0 * term(ratio)) / 2.0
    };
    averages.min(samples).max(0.0)
}

/// The same of one trap's telegraph noise of amplitude 1, over the dwell times of a profile: p·(1 − p)·(1 − e^(−T·(1/t₀ + 1/t₁))).
fn telegraph_variance(telegraph: &Telegraph, apart_s: f64) -> f64 {
    let span = (telegraph.slowest_s / telegraph.fastest_s).ln();
    let dwell = |step: u32| telegraph.fastest_s * (span * (f64::from(step) + 0.5) / f64::from(DWELLS)).exp();
    let pairs = (0..DWELLS).flat_map(|a| (0..DWELLS).map(move |b| (dwell(a), dwell(b))));
    let sum: f64 = pairs
        .map(|(lower_s, upper_s)| {
            let filled = lower_s / (lower_s + upper_s);
            filled * (1.0 - filled) * -(-apart_s * (1.0 / lower_s + 1.0 / upper_s)).exp_m1()
        })
        .sum();
    sum / f64::from(DWELLS * DWELLS)
}

/// Sources of a profile's devices and board in products; `None` for a board whose sources aren't those of the OR-16. The board's are
/// what its table of imperfections states; the devices' are the technology's, not those of the single cells.
#[must_use]
pub fn predicted(profile: &Profile, products: &Products<'_>) -> Option<Vec<Source>> {
    let board = match profile.board.imperfections {
        Imperfections::Ideal => BoardImperfections::IDEAL,
        Imperfections::Or16 => BoardImperfections::OR16,
        Imperfections::OpenMena => return None,
    };
    let device = &profile.device;
    let maximum_s = device.conductance.maximum_s;
    let conversions = f64::from(products.conversions);
    let vectors = products.inputs.nrows().max(1) as f64;
    let square_v: Vec<f64> = products
        .inputs
        .columns()
        .into_iter()
        .map(|row| row.iter().map(|v| v * v).sum::<f64>() / vectors)
        .collect();
    // Mean over columns of Σ (G·relative(G))²·V² over rows.
    let columns = products.siemens.ncols().max(1) as f64;
    let over_cells = |relative: &dyn Fn(f64) -> f64| -> f64 {
        let cells = products.siemens.indexed_iter();
        cells
            .map(|((row, _), &g)| (g * relative(g.max(f64::MIN_POSITIVE))).powi(2) * square_v[row])
            .sum::<f64>()
            / columns
    };
    let output_a2 = over_cells(&|_| 1.0);
    let flicker = device.flicker.map_or(0.0, |flicker: Flicker| {
        over_cells(&|g| flicker.level(g, maximum_s)) * flicker_variance(products, flicker.fastest_s)
    });
    let telegraph = device.telegraph.map_or(0.0, |telegraph| {
        // An exponential amplitude's mean square is twice the square of its mean.
        let per_trap = 2.0 * telegraph.amplitude.powi(2) * telegraph_variance(&telegraph, products.apart_s);
        output_a2 * telegraph.traps_per_device * per_trap
    });
    let cells_s2 = products.siemens.iter().map(|g| g * g).sum::<f64>() / columns;
    let volts = |v2: f64| v2 / products.ohms.powi(2);
    // Single conversions meet the mains at any phase; columns have half to all of its amplitude: 7/12 in the mean square.
    let mains = board.hum_v.iter().map(|v| v * v * 7.0 / 12.0 / 2.0).sum::<f64>();
    let slow = flicker_variance(products, 1e-6);
    let variances = [
        ("devices, white", over_cells(&|g| device.read_noise.deviation(g, maximum_s)) / conversions),
        ("devices, 1/f", flicker),
        ("devices, telegraph", telegraph),
        ("row drivers", cells_s2 * board.dac_noise_v_per_root_hz.powi(2) * BANDWIDTH_HZ / conversions),
        (
            "reference",
            output_a2
                * (board.reference_white.powi(2) / conversions
                    + board.reference_flicker_per_root_hz.powi(2) * slow),
        ),
        ("mains", if products.over_mains { 0.0 } else { volts(mains) }),
        (
            "supplies",
            volts(
                board.supply_white_v.powi(2) / conversions
                    + board.supply_flicker_v_per_root_hz.powi(2) * slow,
            ),
        ),
        (
            "converters",
            volts(products.lsb_v.powi(2) * (board.adc_noise_lsb.powi(2) + 1.0 / 12.0) / conversions),
        ),
    ];
    Some(variances.into_iter().map(|(name, variance)| (name, variance.sqrt())).collect())
}

/// All sources together, A.
#[must_use]
pub fn together(sources: &[Source]) -> f64 {
    sources.iter().map(|(_, a)| a * a).sum::<f64>().sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::Array2;

    fn products<'a>(inputs: &'a Array2<f64>, conversions: u16, apart_s: f64) -> Products<'a> {
        Products {
            inputs: inputs.view(),
            siemens: inputs.view(),
            ohms: 1e3,
            lsb_v: 1e-4,
            conversions,
            interval_s: 1e-3,
            over_mains: false,
            apart_s,
        }
    }

    #[test]
    fn adjacent_averages_of_flicker_noise_differ_by_its_allan_variance() {
        let inputs = Array2::ones((1, 1));
        // 101 conversions take 0.1 s.
        let adjacent = flicker_variance(&products(&inputs, 101, 0.1), 1e-9);
        assert!((adjacent - 2.0 * 2.0_f64.ln()).abs() < 1e-12, "{adjacent}");
        // Far apart: ln(T/τ) + 3/2.
        let far = flicker_variance(&products(&inputs, 101, 100.0), 1e-9);
        assert!((far - (1000.0_f64.ln() + 1.5)).abs() < 1e-5, "{far}");
    }

    #[test]
    fn a_trap_shows_all_of_its_variance_after_a_long_time_and_none_at_once() {
        let telegraph =
            Telegraph { traps_per_device: 1.0, amplitude: 1.0, fastest_s: 1.0, slowest_s: 1.0 + 1e-9 };
        assert!((telegraph_variance(&telegraph, 1e6) - 0.25).abs() < 1e-9);
        assert!(telegraph_variance(&telegraph, 1e-9) < 1e-9);
    }
}
