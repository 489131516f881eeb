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

    /// Chips of `kind`, ascending.
    pub(super) fn chips(&self, kind: ChipKind) -> impl Iterator<Item = ChipSelect> + use<> {
        let per_chip = if DACS.contains(&kind) { DAC_LINES } else { OCTAL_LINES };
        // At most 256/8 chips.
        let count = self.lines(kind).div_ceil(per_chip) as u8;
        (0..count).map(move |index| ChipSelect { kind, index })
    }

    /// All DACs.
    pub(super) fn dacs(&self) -> impl Iterator<Item = ChipSelect> + use<> {
        let population = *self;
        DACS.into_iter().flat_map(move |kind| population.chips(kind))
    }

    /// Everything, in the order in which it is set up: what opens the array comes first.
    pub(super) fn parts(&self) -> impl Iterator<Item = Part> + use<> {
        let population = *self;
        SWITCHES
            .into_iter()
            .flat_map(move |kind| population.chips(kind))
            .map(Part::Switch)
            .chain(self.dacs().map(Part::Dac))
            .chain(self.chips(ChipKind::Adc).map(Part::Adc))
            .chain([Part::Thermometer])
    }
}

/// Chip index and channel of a line behind DACs.
pub(super) fn dac_channel(line: u16) -> (u8, u8) {
    // Lines are below 256.
    ((line / DAC_LINES) as u8, (line % DAC_LINES) as u8)
}
