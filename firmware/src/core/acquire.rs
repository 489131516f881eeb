//! One conversion as a small machine: start, wait, ask, read out. And what every machine of the core answers.

use crate::front_end::{FrontEnd, FrontEndError, Settle};
use ohmrig_protocol::message::FaultCode;

/// What a machine wants after a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(super) enum Step {
    /// Call again once this much instrument time has passed.
    Again(Settle),
    /// It has ended.
    Done,
}

impl Step {
    /// Call again at once.
    pub(super) const NOW: Self = Self::Again(Settle { ns: 0 });
}

/// Between two questions whether a late conversion has ended.
const ASK_AGAIN_NS: u32 = 500;

/// One conversion of all columns.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Conversion {
    waited_ns: Option<u32>,
}

impl Conversion {
    /// Steps until the codes can be read; the last step reads those of columns `first ..` into `codes`.
    pub(super) fn step(
        &mut self,
        front_end: &mut impl FrontEnd,
        first: u16,
        codes: &mut [i16],
    ) -> Result<Step, FrontEndError> {
        let step = self.convert(front_end)?;
        if step == Step::Done {
            front_end.read_codes(first, codes)?;
        }
        Ok(step)
    }

    /// Steps until the codes can be read, by the caller.
    pub(super) fn convert(&mut self, front_end: &mut impl FrontEnd) -> Result<Step, FrontEndError> {
        let Some(waited_ns) = self.waited_ns else {
            front_end.start_conversion()?;
            let ns = front_end.description().conversion_ns;
            self.waited_ns = Some(ns);
            return Ok(Step::Again(Settle { ns }));
        };
        if front_end.conversion_done()? {
            self.waited_ns = None;
            return Ok(Step::Done);
        }
        if waited_ns >= front_end.description().conversion_timeout_ns {
            return Err(FrontEndError { code: FaultCode::Timeout, chip: None });
        }
        self.waited_ns = Some(waited_ns.saturating_add(ASK_AGAIN_NS));
        Ok(Step::Again(Settle { ns: ASK_AGAIN_NS }))
    }
}

/// Integer sums of one column's codes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sums {
    /// Σ code.
    pub(super) sum: i32,
    /// Σ code².
    pub(super) squares: i64,
    /// Conversions summed.
    pub(super) count: u32,
    /// Whether a sample was beyond the linear range.
    pub(super) saturated: bool,
}

impl Sums {
    pub(super) fn add(&mut self, code: i16, linear: u16) {
        self.sum = self.sum.saturating_add(i32::from(code));
        self.squares = self.squares.saturating_add(i64::from(code) * i64::from(code));
        self.count = self.count.saturating_add(1);
        self.saturated |= is_saturated(code, linear);
    }

    /// Mean code.
    #[allow(clippy::cast_precision_loss)] // Sums of 16-bit codes; f32 keeps them to 1 part in 10⁷.
    pub(super) fn mean(&self) -> f32 {
        self.sum as f32 / self.count.max(1) as f32
    }

    /// Variance of the mean code: from the scatter where there are two samples or more, and at least what rounding
    /// to whole codes leaves (1/12 per sample).
    #[allow(clippy::cast_precision_loss)] // As above; the difference is formed in integers.
    #[inline(never)] // Its overflow checks once.
    pub(super) fn variance_of_mean(&self) -> f32 {
        let count = i64::from(self.count.max(1));
        let scatter = if count > 1 {
            let spread = count * self.squares - i64::from(self.sum) * i64::from(self.sum);
            spread as f32 / (count * (count - 1)) as f32
        } else {
            0.0
        };
        scatter.max(1.0 / 12.0) / count as f32
    }
}

/// Whether a code is beyond the linear range of amplifier and converter.
pub(super) fn is_saturated(code: i16, linear: u16) -> bool {
    code.unsigned_abs() > linear
}

#[cfg(test)]
mod tests {
    use super::*;
    use ohmrig_protocol::message::MAX_CONVERSIONS;

    #[test]
    fn the_largest_request_cannot_overflow_its_sums() {
        let mut sums = Sums::default();
        for _ in 0..MAX_CONVERSIONS {
            sums.add(i16::MIN, 0);
        }
        assert_eq!(sums.sum, -32_768 * 4096);
        assert_eq!(sums.squares, 32_768 * 32_768 * 4096);
    }

    #[test]
    fn the_mean_and_its_variance_are_those_of_the_textbook() {
        let mut sums = Sums::default();
        for code in [10, 12, 14, 16] {
            sums.add(code, 100);
        }
        assert!((sums.mean() - 13.0).abs() < 1e-6);
        // Sample variance 20/3, of the mean a quarter of it.
        assert!((sums.variance_of_mean() - 20.0 / 12.0).abs() < 1e-5);
    }

    #[test]
    fn equal_codes_still_leave_the_rounding() {
        let mut sums = Sums::default();
        sums.add(5, 100);
        sums.add(5, 100);
        assert!((sums.variance_of_mean() - 1.0 / 24.0).abs() < 1e-7);
    }

    #[test]
    fn one_sample_beyond_the_linear_range_marks_the_sum() {
        let mut sums = Sums::default();
        sums.add(-101, 100);
        sums.add(0, 100);
        assert!(sums.saturated);
    }
}
