//! What the soak does to an instrument, and how it is drawn.

use ohmrig_emulator::chips::Wire;
use ohmrig_emulator::profile::{Profile, SPREAD_CUT};
use ohmrig_emulator::random::Random;
use ohmrig_protocol::bench::{ChipKind, ChipSelect};
use ohmrig_protocol::message::{Pulse, Region, Scheme};
use ohmrig_protocol::units::{Seconds, Volts};

/// One thing to do.
#[derive(Clone, Debug)]
pub(super) enum Command {
    Read {
        region: Region,
        volts: f64,
        conversions: u16,
    },
    Reference {
        row: u16,
        volts: f64,
    },
    /// So many vectors of ±0.2 V at most, drawn from a seed.
    Products {
        vectors: u16,
        seed: u64,
        conversions: u16,
    },
    Trace {
        row: u16,
        column: u16,
        volts: f64,
        samples: u16,
    },
    Pulse(Pulse),
    /// In one pipeline, as many in flight as the device takes.
    Pulses(Vec<Pulse>),
    Program {
        region: Region,
        targets: Vec<f64>,
        max_pulses: u16,
        passes: u8,
    },
    Status,
    UnknownJob(u64),
    CheckChips,
    Safe,
    /// Cell and read limit as fractions of what they are.
    Tighten(f64),
    /// A pulse after its arming has run out.
    Late(Pulse),
    /// Nothing is said for longer than an armed device stands.
    Silence,
    PowerCycle,
    Reconnect,
    /// Something with a chip that isn't in order.
    Spoil(Spoil, Box<Command>),
    /// Something on a link that dies after so many frames, in one direction.
    Cut {
        after: u32,
        mute: bool,
        then: Box<Command>,
    },
}

/// How a chip is spoiled.
#[derive(Clone, Copy, Debug)]
pub(super) enum Spoil {
    Dead(ChipSelect),
    Flip { chip: ChipSelect, frames_ahead: u32, wire: Wire, bit: usize },
    StuckBusy(u8),
    FaultRegister(ChipSelect, u16),
    Thermometer,
    ThermometerFlip { frames_ahead: u32, wire: Wire, bit: usize },
}

/// Of an LTC2688's address: 0x10, 0x08 and 0x02, as bits of a frame. 0x0n becomes 0x1n; 0x72 and 0x78 become 0x7A.
const SETTING_BITS: [usize; 3] = [3, 4, 6];

/// What pulses count on which cells.
#[derive(Clone, Copy, Debug)]
pub(super) struct Amplitudes {
    /// Up to this |V| no device counts anything.
    pub(super) quiet: f64,
    /// |V| of SET and of RESET between which a pulse counts as one on the selected cell of every device and on no
    /// half-selected one, whatever drops along the lines; `None` if no amplitude in an array of this size is sure.
    pub(super) sure: Option<[(f64, f64); 2]>,
}

impl Amplitudes {
    /// `None` if these devices can't be written.
    fn new(profile: &Profile, rows: u16, columns: u16) -> Option<Self> {
        let device = &profile.device;
        let pulse = device.pulse.as_ref()?;
        let spread = SPREAD_CUT * pulse.threshold_spread;
        let most_s = device.conductance.maximum_s * (1.0 + SPREAD_CUT * device.conductance.bound_spread);
        let (rows, columns) = (f64::from(rows), f64::from(columns));
        let wires = &device.wires;
        // 100 Ω and two switches of 1.5 Ω and some in a row, one in a column; all cells at their most.
        let row_drop = (104.0 + wires.row_segment_ohm * columns) * most_s * columns;
        let column_drop = (2.0 + wires.column_segment_ohm * rows) * most_s * rows;
        let dropped = row_drop + column_drop;
        let lowest = pulse.set.threshold_v.min(pulse.reset.threshold_v) * (1.0 - spread);
        // As commanded + 20 mV + 0.5 %.
        let quiet = (lowest - 0.02) / 1.005;
        let span = |threshold_v: f64| {
            let from = (threshold_v * (1.0 + spread) + 0.02) / ((1.0 - dropped) * 0.995);
            (dropped < 0.4 && from < 2.0 * quiet).then_some((from, 2.0 * quiet))
        };
        let sure = span(pulse.set.threshold_v).zip(span(pulse.reset.threshold_v));
        Some(Self { quiet, sure: sure.map(|(set, reset)| [set, reset]) })
    }
}

/// Draws commands for one board.
pub(super) struct Drawer {
    dice: Random,
    rows: u16,
    columns: u16,
    amplitudes: Option<Amplitudes>,
    /// Range of targets, S.
    targets: (f64, f64),
}

impl Drawer {
    /// Chips that can be spoiled.
    pub(super) const KINDS: [ChipKind; 11] = [
        ChipKind::RowDac,
        ChipKind::BiasDac,
        ChipKind::Adc,
        ChipKind::RowConnect,
        ChipKind::ColumnSense,
        ChipKind::ColumnBias,
        ChipKind::Calibrate,
        ChipKind::Feedback10k,
        ChipKind::Feedback1k,
        ChipKind::RowCalibrate,
        ChipKind::FormingBypass,
    ];

    pub(super) fn new(dice: Random, profile: &Profile, rows: u16, columns: u16) -> Self {
        let range = &profile.device.conductance;
        Self {
            dice,
            rows,
            columns,
            amplitudes: Amplitudes::new(profile, rows, columns),
            targets: (range.minimum_s, range.maximum_s),
        }
    }

    pub(super) fn below(&mut self, n: u64) -> u64 {
        self.dice.next_u64() % n.max(1)
    }

    pub(super) fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.dice.uniform()
    }

    fn line(&mut self, lines: u16) -> u16 {
        self.below(u64::from(lines)) as u16
    }

    fn region(&mut self, most: u16) -> Region {
        let (row, column) = (self.line(self.rows), self.line(self.columns));
        let rows = 1 + self.line(most.min(self.rows - row));
        let columns = 1 + self.line(most.min(self.columns - column));
        Region { row, column, rows, columns }
    }

    /// A pulse that this array counts exactly, or one that must be refused.
    fn pulse(&mut self) -> Pulse {
        let (row, column) = (self.line(self.rows), self.line(self.columns));
        let width = Seconds(self.between(20e-6, 300e-6) as f32);
        let scheme = match self.below(8) {
            0..4 => Scheme::Half,
            4 => Scheme::SymmetricHalf,
            5 | 6 => Scheme::Third,
            _ => Scheme::Grounded,
        };
        let negative = self.below(2) == 1;
        let quiet = self.below(8) == 0;
        let (low, high) = match self.amplitudes {
            None => (0.1, 1.5),
            Some(Amplitudes { sure: Some(spans), .. }) if !quiet => spans[usize::from(negative)],
            Some(Amplitudes { quiet, .. }) => (0.05, quiet),
        };
        let magnitude = self.between(low, high);
        let volts = Volts((if negative { -magnitude } else { magnitude }) as f32);
        let mut pulse = Pulse { row, column, volts, width, scheme, gate: None };
        match self.below(24) {
            0 => pulse.volts = Volts(self.between(5.0, 9.0) as f32),
            1 => pulse.volts = Volts(f32::NAN),
            2 => pulse.width = Seconds(self.between(1.0, 3.0) as f32 + 0.01),
            3 => pulse.width = Seconds(1e-6),
            4 => pulse.row = self.rows + self.line(10),
            5 => pulse.gate = Some(Volts(1.0)),
            6 => {
                let scheme = if negative { Scheme::Floating } else { Scheme::Grounded };
                pulse = Pulse { scheme, volts: Volts(self.between(2.8, 4.0) as f32), ..pulse };
            }
            _ => {}
        }
        pulse
    }

    fn plain(&mut self) -> Command {
        let volts = self.between(0.05, 0.3);
        match self.below(100) {
            0..25 => Command::Read { region: self.region(4), volts, conversions: 1 + self.line(12) },
            25..30 => Command::Reference { row: self.line(self.rows), volts },
            30..40 => {
                let (vectors, seed) = (1 + self.line(20), self.dice.next_u64());
                Command::Products { vectors, seed, conversions: 1 + self.line(3) }
            }
            40..45 => {
                let (row, column) = (self.line(self.rows), self.line(self.columns));
                Command::Trace { row, column, volts, samples: 1 + self.line(60) }
            }
            45..67 => Command::Pulse(self.pulse()),
            67..77 => Command::Pulses((0..=self.below(20)).map(|_| self.pulse()).collect()),
            77..84 if self.amplitudes.is_some_and(|amplitudes| amplitudes.sure.is_some()) => {
                let region = self.region(3);
                let (low, high) = self.targets;
                let targets = (0..region.cells()).map(|_| self.between(low, high)).collect();
                let max_pulses = 1 + self.line(12);
                Command::Program { region, targets, max_pulses, passes: 1 + self.line(2) as u8 }
            }
            84..90 => Command::Status,
            90..93 => Command::UnknownJob(self.dice.next_u64()),
            93..97 => Command::CheckChips,
            _ => Command::Safe,
        }
    }

    fn chip(&mut self) -> ChipSelect {
        let kind = Self::KINDS[self.below(Self::KINDS.len() as u64) as usize];
        let (lines, per_chip) = match kind {
            ChipKind::RowDac => (self.rows, 16),
            ChipKind::BiasDac => (self.columns, 16),
            ChipKind::RowConnect | ChipKind::RowCalibrate | ChipKind::FormingBypass => (self.rows, 8),
            _ => (self.columns, 8),
        };
        ChipSelect { kind, index: self.line(lines.div_ceil(per_chip)) as u8 }
    }

    fn spoil(&mut self) -> Spoil {
        match self.below(10) {
            0..3 => Spoil::Dead(self.chip()),
            3..8 => {
                let chip = self.chip();
                let wire = if self.below(2) == 0 { Wire::Sdi } else { Wire::Sdo };
                let (frames_ahead, bit) = (self.below(60) as u32, self.below(24) as usize);
                // A DAC's frames carry no CRC: the address bits that make a setting of a code or of a selection can change
                // a span (`docs/safety.md`), which is found when it is read back and not before. All others are harmless.
                let is_dac = matches!(chip.kind, ChipKind::RowDac | ChipKind::BiasDac);
                let wire = if is_dac && SETTING_BITS.contains(&bit) { Wire::Sdo } else { wire };
                Spoil::Flip { chip, frames_ahead, wire, bit }
            }
            8 => Spoil::StuckBusy(self.line(self.columns.div_ceil(8)) as u8),
            _ => match self.below(2) {
                0 => {
                    let kind = if self.below(2) == 0 { ChipKind::RowDac } else { ChipKind::BiasDac };
                    Spoil::FaultRegister(ChipSelect { kind, index: 0 }, 1 << self.below(16))
                }
                _ if self.below(2) == 0 => Spoil::Thermometer,
                _ => {
                    let wire = if self.below(2) == 0 { Wire::Sdi } else { Wire::Sdo };
                    let (frames_ahead, bit) = (self.below(3) as u32, self.below(16) as usize);
                    Spoil::ThermometerFlip { frames_ahead, wire, bit }
                }
            },
        }
    }

    /// The next command.
    pub(super) fn draw(&mut self) -> Command {
        match self.below(100) {
            0..4 => Command::PowerCycle,
            4..7 => Command::Reconnect,
            7 => Command::Tighten(self.between(0.9, 1.05)),
            8 => Command::Silence,
            9 => Command::Late(self.pulse()),
            10..18 => {
                let spoil = self.spoil();
                Command::Spoil(spoil, Box::new(self.plain()))
            }
            18..23 => Command::Cut {
                after: self.below(6) as u32,
                mute: self.below(2) == 0,
                then: Box::new(self.plain()),
            },
            _ => self.plain(),
        }
    }

    /// Amplitudes of pulses that are counted exactly.
    pub(super) fn amplitudes(&self) -> Option<Amplitudes> {
        self.amplitudes
    }
}
