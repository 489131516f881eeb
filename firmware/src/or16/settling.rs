//! How long the analog path needs after each kind of change, in one table.
//!
//! A read is over when less than ε = 2⁻¹⁴ of the largest step is left: 0.3 mV of 5 V, below two LSBs of the ADC
//! (0.19 mV each) at full swing and far below one at the swings of a read. The path is a row of three first-order lags, DAC,
//! amplifier and ADC filter. For a read the three are solved together ([`READ_NS`]). After switches have moved or a pulse
//! is over, which is rarer and less well known, each is given the time to get to ε/3 of its own step, and their sum is at ε:
//! the first is then within ε/3, the second within ε/3 of that, and so on. So each lag τ counts τ·ln(3/ε) = 10.81 τ.

use crate::chips::ltc2688;
use crate::front_end::{PulseEdge, Settle};

/// ln(3 · 2¹⁴) = 10.803, in hundredths, rounded up.
const LAGS_PERCENT: u32 = 1081;

/// Time of a lag `tau_ns` to get to ε/3.
const fn lag(tau_ns: u32) -> u32 {
    (tau_ns * LAGS_PERCENT).div_ceil(100)
}

/// Slope of a DAC output, V/µs. No public driver states it; "a few V/µs" is taken at its slow end.
const DAC_SLEW_V_PER_US: u32 = 2;
/// Lag of a DAC output once it no longer slews, ns. Taken slow as well.
const DAC_TAU_NS: u32 = 1_000;
/// Largest step of a line in a pulse, V.
const PULSE_STEP_V: u32 = 5;

/// Lag of the ADC's input filter, ns: 1 / (2π · 220 kHz) = 723.4.
const ADC_TAU_NS: u32 = 724;

/// Lag of the amplifiers by feedback setting, ns: feedback R·C, or, if slower, the decay 2·a/b of the closed loop
/// a·s² + b·s + 1 with a = R·(C_in + C)/ω_t, b = R·C + 1/ω_t, C_in = 250 pF, ω_t = 2π · 10 MHz.
///
/// | setting | R | C | R·C | 2·a/b |
/// | --- | --- | --- | --- | --- |
/// | 0 | 100 kΩ | 10 pF | 1000 | 815 |
/// | 1 | 9.09 kΩ | 25 pF | 227 | 328 |
/// | 2 | 990 Ω | 66 pF | 65 | 123 |
const AMPLIFIER_TAU_NS: [u32; 3] = [1_000, 328, 123];

/// After a row has stepped within read voltages, by feedback setting, ns: DAC, amplifier and ADC filter. A step of 1 V, from
/// one polarity of the board's limit to the other, may first slew 0.5 µs; then the three lags in a row leave 2⁻¹⁴ after 13.5,
/// 11.4 and 11.1 µs. At 100 kΩ the amplifier rings with more line than the 250 pF of the lags, and with
/// 470 pF of it the simulated circuit needs 18.2 µs (`docs/hardware/settling.csv`): that long it gets.
const READ_NS: [u32; 3] = [18_700, 11_900, 11_700];
/// After a line has stepped by a whole pulse, ns.
const DAC_PULSE_NS: u32 = 1_000 * PULSE_STEP_V / DAC_SLEW_V_PER_US + lag(DAC_TAU_NS);
/// Amplifier and ADC filter, by feedback setting, ns.
const SENSE_NS: [u32; 3] = {
    let [hundred, ten, one] = AMPLIFIER_TAU_NS;
    [lag(hundred) + lag(ADC_TAU_NS), lag(ten) + lag(ADC_TAU_NS), lag(one) + lag(ADC_TAU_NS)]
};

/// Nothing to wait for.
pub(super) const NONE: Settle = Settle { ns: 0 };
/// Reset lines low (Linux holds CLR of the LTC2688 for 1 ms; the AD7606C-16 needs 3.2 µs for a full reset).
pub(super) const RESET_HELD: Settle = Settle { ns: 1_000_000 };
/// From the reset lines' release to the first frame: the slowest chip is the LTC2688.
pub(super) const RESET_OVER: Settle = Settle { ns: ltc2688::RESET_MS * 1_000_000 };
/// A pulse's edge. Narrower ones have no flat top: an output slews a few V/µs and settles within about 10 µs.
pub(super) const PULSE_EDGE: PulseEdge =
    PulseEdge { slew_v_per_us: DAC_SLEW_V_PER_US as f32, lag_us: DAC_TAU_NS as f32 * 1e-3, flat_ns: 20_000 };
/// Lines back at 0 V after a pulse.
pub(super) const PULSE_OVER: Settle = Settle { ns: DAC_PULSE_NS };

/// Amplifiers and ADC filters alone: after switches have moved.
pub(super) fn sense(range: u8) -> Settle {
    // A setting that isn't in the table can't be set; the slowest is then safe.
    let [slowest, ..] = SENSE_NS;
    Settle { ns: SENSE_NS.get(usize::from(range)).copied().unwrap_or(slowest) }
}

/// The whole path after rows have moved.
pub(super) fn read(range: u8) -> Settle {
    let [slowest, ..] = READ_NS;
    Settle { ns: READ_NS.get(usize::from(range)).copied().unwrap_or(slowest) }
}

#[cfg(test)]
#[allow(clippy::indexing_slicing, clippy::unwrap_used, clippy::panic)]
mod tests {
    use super::*;

    /// A step of 1 V at the slope limit.
    const SLEWING_NS: u32 = 1_000 / DAC_SLEW_V_PER_US;

    /// What three lags in a row leave of a unit step after `ns`, by small Euler steps.
    fn left(lags_ns: [u32; 3], ns: u32) -> f64 {
        let mut stages = [0.0; 3];
        for _ in 0..ns {
            let mut input = 1.0;
            for (stage, tau) in stages.iter_mut().zip(lags_ns) {
                *stage += (input - *stage) / f64::from(tau);
                input = *stage;
            }
        }
        let [.., last] = stages;
        1.0 - last
    }

    #[test]
    fn what_is_left_after_the_times_of_the_table_is_below_2_to_the_minus_14() {
        for (range, tau) in (0..).zip(AMPLIFIER_TAU_NS) {
            // 1 ns Euler steps are 1 % of the shortest lag here, far less than the table's slack.
            let ns = read(range).ns - SLEWING_NS;
            assert!(left([DAC_TAU_NS, tau, ADC_TAU_NS], ns) < 0.5f64.powi(14), "range {range}");
            // And not for much longer than that takes, where nothing rings.
            let earlier = ns - 100;
            assert!(range == 0 || left([DAC_TAU_NS, tau, ADC_TAU_NS], earlier) > 0.5f64.powi(14), "{range}");
            assert!(read(range).ns >= sense(range).ns, "range {range}");
        }
    }

    #[test]
    fn a_read_waits_longer_than_the_simulated_circuit_needs_with_up_to_470_pf_of_line() {
        let mut least_us = [f64::INFINITY; 3];
        for row in include_str!("../../../docs/hardware/settling.csv").lines().skip(1) {
            let columns: std::vec::Vec<f64> = row.split(',').map(|column| column.parse().unwrap()).collect();
            let [range, line_pf, .., slow_path_us] = columns[..] else { panic!("{row}") };
            let spare_us = f64::from(read(range as u8).ns) / 1e3 - slow_path_us;
            if line_pf <= 470.0 {
                least_us[range as usize] = least_us[range as usize].min(spare_us);
            }
        }
        for spare_us in least_us {
            assert!(spare_us > 0.0 && spare_us.is_finite(), "{least_us:?}");
        }
    }

    #[test]
    fn after_an_overload_the_wait_of_a_range_is_over_when_the_simulated_amplifier_is_back() {
        let mut rows = 0;
        for row in include_str!("../../../docs/hardware/overload.csv").lines().skip(1) {
            let columns: std::vec::Vec<f64> = row.split(',').map(|column| column.parse().unwrap()).collect();
            let [range, .., back_us] = columns[..] else { panic!("{row}") };
            assert!(f64::from(sense(range as u8).ns) / 1e3 > back_us, "{row}");
            rows += 1;
        }
        assert_eq!(rows, SENSE_NS.len());
    }

    #[test]
    fn the_amplifier_lags_are_those_of_the_closed_loop() {
        let (input, unity) = (250e-12, 2.0 * core::f64::consts::PI * 10e6);
        let branches = [(f64::INFINITY, 0.0), (10e3, 15e-12), (1e3, 56e-12)];
        for (tau_ns, (ohms, farads)) in AMPLIFIER_TAU_NS.into_iter().zip(branches) {
            let (r, c) = (1.0 / (1.0 / 100e3 + 1.0 / ohms), 10e-12 + farads);
            let (a, b) = (r * (input + c) / unity, r * c + 1.0 / unity);
            let slowest_ns = 1e9 * (r * c).max(2.0 * a / b);
            assert!((f64::from(tau_ns) - slowest_ns).abs() < 1.0, "{tau_ns} {slowest_ns}");
        }
    }
}
