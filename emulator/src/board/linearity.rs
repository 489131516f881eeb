//! Integral nonlinearity of a 16-bit converter: a smooth curve and steps at the carries of its high bits.

use crate::random::Random;

const CODES: f64 = 65536.0;
/// Bits whose weights are wrong enough to matter; the error of a weight goes with the square root of the weight, as
/// does the mismatch of elements that are built from equal units (Pelgrom et al., IEEE JSSC 24, 1433, 1989).
const HIGH_BITS: usize = 6;
const SEGMENTS: usize = 1 << HIGH_BITS;
/// Points between which the largest value of the smooth curve is looked for.
const GRID: u32 = 256;

/// One converter's deviation from the straight line through its end points.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Linearity {
    /// Coefficients of 1, x, x² and x³ beside a factor 1 − x², with x from −1 to 1 over the range, LSB.
    smooth: [f64; 4],
    /// By the code's high bits, LSB.
    steps: [f64; SEGMENTS],
    /// Of the steps, so that the last code has no error, LSB per code.
    slope: f64,
}

impl Linearity {
    /// A curve of which the smooth part has the peak `smooth_lsb` and the steps have the peak `carry_lsb`.
    pub(super) fn draw(smooth_lsb: f64, carry_lsb: f64, random: &mut Random) -> Self {
        let mut drawn = Self { smooth: [0.0; 4], steps: [0.0; SEGMENTS], slope: 0.0 };
        for coefficient in &mut drawn.smooth {
            *coefficient = random.normal();
        }
        let grid = (0..=GRID).map(|k| f64::from(k) * (CODES / f64::from(GRID)));
        let peak = grid.map(|code| libm::fabs(drawn.curve(code))).fold(0.0, f64::max);
        drawn.smooth = drawn.smooth.map(|coefficient| coefficient * smooth_lsb / peak);

        let mut weights = [0.0; HIGH_BITS];
        for (bit, weight) in weights.iter_mut().enumerate() {
            *weight = random.normal() * libm::sqrt(f64::from(1_u32 << bit));
        }
        for (high, step) in drawn.steps.iter_mut().enumerate() {
            *step = (0..HIGH_BITS).filter(|bit| high >> bit & 1 != 0).map(|bit| weights[bit]).sum();
        }
        drawn.slope = drawn.steps[SEGMENTS - 1] / (CODES - 1.0);
        let width = CODES / SEGMENTS as f64;
        let ends = (0..SEGMENTS).map(|high| high as f64 * width).flat_map(|code| [code, code + width - 1.0]);
        let peak = ends.map(|code| libm::fabs(drawn.carry(code))).fold(0.0, f64::max);
        drawn.steps = drawn.steps.map(|step| step * carry_lsb / peak);
        drawn.slope *= carry_lsb / peak;
        drawn
    }

    /// Error at `code` (0 to 65536), LSB; outside, that of the nearest end.
    pub(super) fn error_lsb(&self, code: f64) -> f64 {
        let code = code.clamp(0.0, CODES - 1.0);
        self.curve(code) + self.carry(code)
    }

    fn curve(&self, code: f64) -> f64 {
        let x = code * (2.0 / CODES) - 1.0;
        let [a, b, c, d] = self.smooth;
        (1.0 - x * x) * (a + x * (b + x * (c + x * d)))
    }

    fn carry(&self, code: f64) -> f64 {
        self.steps[code as usize * SEGMENTS / CODES as usize] - self.slope * code
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peak(linearity: &Linearity) -> f64 {
        (0..65536).map(|code| libm::fabs(linearity.error_lsb(f64::from(code)))).fold(0.0, f64::max)
    }

    #[test]
    fn each_part_has_the_peak_that_is_asked_for_and_both_together_no_more_than_their_sum() {
        for seed in 0..20 {
            let draw = |smooth, carry| Linearity::draw(smooth, carry, &mut Random::new(seed, 0));
            // The grid of 256 points misses the top of a parabola over the range by less than (1/256)².
            assert!((peak(&draw(3.0, 0.0)) - 3.0).abs() < 1e-3, "seed {seed}");
            assert!((peak(&draw(0.0, 0.45)) - 0.45).abs() < 1e-9, "seed {seed}");
            assert!(peak(&draw(3.0, 0.45)) <= 3.451, "seed {seed}");
        }
    }

    #[test]
    fn the_end_points_have_no_error() {
        let linearity = Linearity::draw(3.0, 0.45, &mut Random::new(1, 0));
        assert_eq!(linearity.error_lsb(0.0), 0.0);
        // 1 − x² is 4 LSB/range there.
        assert!(linearity.error_lsb(65535.0).abs() < 3e-3);
    }

    #[test]
    fn the_converter_stays_monotonic_and_its_steps_are_at_carries_of_high_bits_only() {
        for seed in 0..20 {
            let linearity = Linearity::draw(3.0, 0.45, &mut Random::new(seed, 0));
            let mut largest = 0.0_f64;
            for code in 1..65536_u32 {
                let step = linearity.error_lsb(f64::from(code)) - linearity.error_lsb(f64::from(code - 1));
                assert!(step > -0.95, "seed {seed}, code {code}: {step}");
                if code % 1024 == 0 {
                    largest = largest.max(libm::fabs(step));
                } else {
                    assert!(libm::fabs(step) < 0.005, "seed {seed}, code {code}: {step}");
                }
            }
            assert!(largest > 0.1, "seed {seed}: {largest}");
        }
    }

    #[test]
    fn without_limits_there_is_no_error_at_all() {
        let linearity = Linearity::draw(0.0, 0.0, &mut Random::new(1, 0));
        assert!((0..=65536).all(|code| linearity.error_lsb(f64::from(code)) == 0.0));
    }
}
