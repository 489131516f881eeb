//! The chips of one board, by function and number.

use alloc::vec::Vec;

use ohmrig_protocol::bench::{ChipKind, ChipSelect};

use super::BoardError;
use crate::chips::ad7606c::{self, Ad7606c};
use crate::chips::adgs1414d::{self, Adgs1414d};
use crate::chips::ltc2688::{self, Ltc2688};
use crate::chips::{SpiFaults, SpiPort};

/// What a DAC channel converts, without its errors.
pub(super) struct DacOutput {
    pub(super) volts: f64,
    pub(super) code: f64,
    pub(super) lsb_v: f64,
}

/// As many of each kind as the geometry takes, the last of a kind perhaps used in part.
#[derive(Clone, Debug)]
pub(super) struct Chips {
    /// Row, bias and gate DACs.
    dacs: [Vec<SpiPort<Ltc2688>>; 3],
    pub(super) adcs: Vec<SpiPort<Ad7606c>>,
    /// From `RowConnect` to `FormingBypass`.
    switches: [Vec<SpiPort<Adgs1414d>>; 8],
}

const DACS: [ChipKind; 3] = [ChipKind::RowDac, ChipKind::BiasDac, ChipKind::GateDac];
const SWITCHES: [ChipKind; 8] = [
    ChipKind::RowConnect,
    ChipKind::ColumnSense,
    ChipKind::ColumnBias,
    ChipKind::Calibrate,
    ChipKind::Feedback10k,
    ChipKind::Feedback1k,
    ChipKind::RowCalibrate,
    ChipKind::FormingBypass,
];

/// What a chip select leads to.
pub(super) enum Port<'a> {
    Dac(&'a mut SpiPort<Ltc2688>),
    Adc(&'a mut SpiPort<Ad7606c>),
    Switch(&'a mut SpiPort<Adgs1414d>),
}

impl Port<'_> {
    pub(super) fn frame(&mut self, sdi: &[u8], sdo: &mut [u8], at_ns: u64) -> bool {
        match self {
            Self::Dac(port) => port.frame(sdi, sdo, at_ns),
            Self::Adc(port) => port.frame(sdi, sdo, at_ns),
            Self::Switch(port) => port.frame(sdi, sdo, at_ns),
        }
    }
}

impl<'a> Port<'a> {
    pub(super) fn into_faults(self) -> &'a mut SpiFaults {
        match self {
            Self::Dac(port) => &mut port.faults,
            Self::Adc(port) => &mut port.faults,
            Self::Switch(port) => &mut port.faults,
        }
    }
}

/// Whether a kind counts rows; the others count columns.
fn per_row(kind: ChipKind) -> bool {
    matches!(kind, ChipKind::RowDac | ChipKind::RowConnect | ChipKind::RowCalibrate | ChipKind::FormingBypass)
}

impl Chips {
    pub(super) fn new(rows: usize, columns: usize) -> Self {
        let lines = |kind| if per_row(kind) { rows } else { columns };
        let dacs = DACS.map(|kind| repeat(Ltc2688::new, lines(kind).div_ceil(ltc2688::CHANNELS)));
        let switches = SWITCHES.map(|kind| repeat(Adgs1414d::new, lines(kind).div_ceil(adgs1414d::SWITCHES)));
        Self { dacs, adcs: repeat(Ad7606c::new, columns.div_ceil(ad7606c::CHANNELS)), switches }
    }

    /// All of them as after power-on, behind the wires they have.
    pub(super) fn restart(&mut self, rows: usize, columns: usize) {
        let fresh = Self::new(rows, columns);
        fn renew<C>(ports: &mut [Vec<SpiPort<C>>], fresh: impl IntoIterator<Item = Vec<SpiPort<C>>>) {
            for (ports, fresh) in ports.iter_mut().zip(fresh) {
                for (port, fresh) in ports.iter_mut().zip(fresh) {
                    port.chip = fresh.chip;
                }
            }
        }
        renew(&mut self.dacs, fresh.dacs);
        renew(core::slice::from_mut(&mut self.adcs), [fresh.adcs]);
        renew(&mut self.switches, fresh.switches);
    }

    pub(super) fn port(&mut self, select: ChipSelect) -> Result<Port<'_>, BoardError> {
        let index = usize::from(select.index);
        let number = select.kind as usize;
        let (port, fitted) = match select.kind {
            ChipKind::RowDac | ChipKind::BiasDac | ChipKind::GateDac => {
                let ports = &mut self.dacs[number];
                let fitted = ports.len();
                (ports.get_mut(index).map(Port::Dac), fitted)
            }
            ChipKind::Adc => {
                let fitted = self.adcs.len();
                (self.adcs.get_mut(index).map(Port::Adc), fitted)
            }
            _ => {
                let ports = &mut self.switches[number - ChipKind::RowConnect as usize];
                let fitted = ports.len();
                (ports.get_mut(index).map(Port::Switch), fitted)
            }
        };
        port.ok_or(BoardError::Absent { select, fitted })
    }

    /// Every DAC.
    pub(super) fn all_dacs(&mut self) -> impl Iterator<Item = &mut Ltc2688> {
        self.dacs.iter_mut().flatten().map(|port| &mut port.chip)
    }

    /// Every switch chip.
    pub(super) fn all_switches(&mut self) -> impl Iterator<Item = &mut Adgs1414d> {
        self.switches.iter_mut().flatten().map(|port| &mut port.chip)
    }

    /// Where the DAC output of `line` is at or heading for; nothing if it is powered down.
    pub(super) fn dac_output(&self, kind: ChipKind, line: usize) -> Option<DacOutput> {
        let chip = &self.dacs[kind as usize][line / ltc2688::CHANNELS].chip;
        let channel = line % ltc2688::CHANNELS;
        let (code, lsb_v) = chip.conversion(channel);
        chip.target(channel).map(|volts| DacOutput { volts, code: f64::from(code), lsb_v })
    }

    /// Whether the switch of `line` in group `kind` is closed.
    pub(super) fn closed(&self, kind: ChipKind, line: usize) -> bool {
        let chips = &self.switches[kind as usize - ChipKind::RowConnect as usize];
        chips[line / adgs1414d::SWITCHES].chip.closed() >> (line % adgs1414d::SWITCHES) & 1 != 0
    }

    /// Whether every switch of group `kind` is open.
    pub(super) fn all_open(&self, kind: ChipKind) -> bool {
        let chips = &self.switches[kind as usize - ChipKind::RowConnect as usize];
        chips.iter().all(|port| port.chip.closed() == 0)
    }
}

fn repeat<C: crate::chips::SpiChip>(chip: fn() -> C, count: usize) -> Vec<SpiPort<C>> {
    (0..count).map(|_| SpiPort::new(chip())).collect()
}
