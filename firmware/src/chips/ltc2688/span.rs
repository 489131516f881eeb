//! Spans of an LTC2688 and what a code means in each, in volts.

/// What a DAC channel puts out, 0 to 65535 across its span; offset binary in a bipolar span (0x8000 is 0 V).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DacCode(pub u16);

impl DacCode {
    /// 0 V in every bipolar span.
    pub const MID_SCALE: Self = Self(0x8000);
}

/// Output span of a channel. The numbers are the SPAN field of SETTING (Linux `LTC2688_SPAN_RANGE_*`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Span {
    /// 0 V to 5 V.
    Unipolar5 = 0,
    /// 0 V to 10 V.
    Unipolar10 = 1,
    /// −5 V to 5 V.
    Bipolar5 = 2,
    /// −10 V to 10 V.
    Bipolar10 = 3,
    /// −15 V to 15 V.
    Bipolar15 = 4,
}

/// A voltage that no code of the span is nearest to.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[error("{asked} V is outside {lowest} V to {highest} V")]
pub struct OutOfSpan {
    /// What was asked for, V.
    pub asked: f32,
    /// What code 0 puts out, V.
    pub lowest: f32,
    /// What code 65535 puts out, V.
    pub highest: f32,
}

/// Codes in a span: a span of `w` volts has steps of `w`/65536 (Linux: scale is span / 2¹⁶, offset −32768 if bipolar).
const STEPS: i32 = 1 << 16;

impl Span {
    /// Lowest and highest voltage a code can put out, V: the upper end of the span less one step.
    pub fn limits(self) -> (f32, f32) {
        (self.volts(DacCode(0)), self.volts(DacCode(u16::MAX)))
    }

    /// Lower end and width, V.
    fn extent(self) -> (i32, i32) {
        match self {
            Self::Unipolar5 => (0, 5),
            Self::Unipolar10 => (0, 10),
            Self::Bipolar5 => (-5, 10),
            Self::Bipolar10 => (-10, 20),
            Self::Bipolar15 => (-15, 30),
        }
    }

    /// What `code` puts out with ideal gain and offset, V. Exact: numerator and result fit an `f32`'s 24 bits.
    pub fn volts(self, code: DacCode) -> f32 {
        let (lowest, width) = self.extent();
        (lowest * STEPS + i32::from(code.0) * width) as f32 / STEPS as f32
    }

    /// The code nearest to `volts`; halves go up. Nothing is clamped: what no code is nearest to is refused, NaN too.
    pub fn code(self, volts: f32) -> Result<DacCode, OutOfSpan> {
        let (lowest, width) = self.extent();
        // floor((volts − lowest)·STEPS/width + 1/2) = floor((2·STEPS·volts − 2·STEPS·lowest + width) / (2·width)), where a
        // fraction of the first product can't matter: all else is whole. The product itself is exact, a shift of the exponent.
        let doubled = libm::floorf(volts * (2 * STEPS) as f32);
        let ends = (2 * STEPS * lowest - width) as f32..(2 * STEPS * (lowest + width) - width) as f32;
        if ends.contains(&doubled) {
            let steps = (doubled as i32 - 2 * STEPS * lowest + width) / (2 * width);
            Ok(DacCode(steps as u16))
        } else {
            let (lowest, highest) = self.limits();
            Err(OutOfSpan { asked: volts, lowest, highest })
        }
    }
}

/// Where a channel in toggle mode takes its A/B choice from: TD_SEL of SETTING (no-OS `ltc268x_clk_input`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum ToggleSource {
    /// The channel's bit in SW_TOGGLE.
    Software = 0,
    /// Pin TGP0.
    Tgp0 = 1,
}

/// The SETTING register: span, toggle source, mode "toggle" (bit 11 clear; set would be dither), no 5 % overrange
/// (bit 3 clear). Fields from Linux `LTC2688_CH_*_MSK`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Setting {
    /// Output span.
    pub span: Span,
    /// What toggles the channel once it is toggle-enabled.
    pub toggle: ToggleSource,
}

impl Setting {
    /// The register's value: span in bits 2:0, toggle source in bits 5:4.
    pub fn bits(self) -> u16 {
        self.span as u16 | (self.toggle as u16) << 4
    }
}
