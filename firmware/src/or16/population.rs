//! Which chips a board of a given geometry has, and which of their outputs lead somewhere.

use ohmrig_protocol::bench::{ChipKind, ChipSelect};

/// Outputs of an LTC2688.
const DAC_LINES: u16 = crate::chips::ltc2688::CHANNELS as u16;
/// Inputs of an AD7606C-16, and switches of an ADGS1414D.
const OCTAL_LINES: u16 = 8;
/// Most lines either way.
pub(super) const MAX_LINES: u16 = 256;
/// Most switch or ADC chips of one kind.
pub(super) const MAX_OCTALS: usize = (MAX_LINES / OCTAL_LINES) as usize;
/// Most DACs of one kind.
pub(super) const MAX_DACS: usize = (MAX_LINES / DAC_LINES) as usize;

/// Switch groups, in the order of their numbers.
pub(super) const SWITCHES: [ChipKind; 8] = [
    ChipKind::RowConnect,
    ChipKind::ColumnSense,
    ChipKind::ColumnBias,
    ChipKind::Calibrate,
    ChipKind::Feedback10k,
    ChipKind::Feedback1k,
    ChipKind::RowCalibrate,
    ChipKind::FormingBypass,
];
/// DAC groups.
pub(super) const DACS: [ChipKind; 3] = [ChipKind::RowDac, ChipKind::BiasDac, ChipKind::GateDac];

/// One thing on the board that can be asked how it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// An ADGS1414D.
    Switch(ChipSelect),
    /// An LTC2688.
    Dac(ChipSelect),
    /// An AD7606C-16.
    Adc(ChipSelect),
    /// The TMP117.
    Thermometer,
}

/// How many lines there are.
#[derive(Clone, Copy, Debug)]
pub(super) struct Population {
    pub(super) rows: u16,
    pub(super) columns: u16,
    pub(super) gates: bool,
}

impl Population {
    /// Lines that chips of `kind` serve. Gate lines run along the columns.
    pub(super) fn lines(&self, kind: ChipKind) -> u16 {
        match kind {
            ChipKind::RowDac | ChipKind::RowConnect | ChipKind::RowCalibrate | ChipKind::FormingBypass => {
                self.rows
            }
            ChipKind::GateDac if !self.gates => 0,
            _ => self.columns,
        }
    }

    /// How many chips of `kind` there are.
    fn count(&self, kind: ChipKind) -> u8 {
        let per_chip = if DACS.contains(&kind) { DAC_LINES } else { OCTAL_LINES };
        // At most 256/8 chips.
        self.lines(kind).div_ceil(per_chip) as u8
    }

    /// Chips of `kind`, ascending.
    pub(super) fn chips(&self, kind: ChipKind) -> impl Iterator<Item = ChipSelect> + use<> {
        (0..self.count(kind)).map(move |index| ChipSelect { kind, index })
    }

    /// The chip that `before` others of these kinds are in front of; or how many too few there are.
    fn chip(&self, kinds: &[ChipKind], mut before: u16) -> Result<ChipSelect, u16> {
        for &kind in kinds {
            let count = self.count(kind);
            match u8::try_from(before) {
                Ok(index) if index < count => return Ok(ChipSelect { kind, index }),
                _ => before -= u16::from(count),
            }
        }
        Err(before)
    }

    /// The DAC that `before` others are in front of.
    pub(super) fn dac(&self, before: u16) -> Option<ChipSelect> {
        self.chip(&DACS, before).ok()
    }

    /// All DACs.
    pub(super) fn dacs(&self) -> impl Iterator<Item = ChipSelect> + use<> {
        let population = *self;
        (0..).map_while(move |before| population.dac(before))
    }

    /// Of everything, in the order in which it is set up, the part that `before` others are in front of. What opens the array
    /// comes first.
    pub(super) fn part(&self, before: u16) -> Option<Part> {
        self.chip(&SWITCHES, before)
            .map(Part::Switch)
            .or_else(|before| self.chip(&DACS, before).map(Part::Dac))
            .or_else(|before| self.chip(&[ChipKind::Adc], before).map(Part::Adc))
            .or_else(|before| if before == 0 { Ok(Part::Thermometer) } else { Err(before) })
            .ok()
    }
}

/// Chip index and channel of a line behind DACs.
pub(super) fn dac_channel(line: u16) -> (u8, u8) {
    // Lines are below 256.
    ((line / DAC_LINES) as u8, (line % DAC_LINES) as u8)
}
