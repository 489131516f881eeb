//! A write pulse on the DACs: which channels move to which codes, loaded, read back, and taken away.

use super::drive::{Burst, setting, zero};
use super::faults;
use super::population::{Population, dac_channel};
use crate::chips::ltc2688::{CHANNELS, Channel, DacCode, InputRegister, Register};
use crate::front_end::{FrontEndError, Selection};
use crate::hardware::Hardware;
use crate::log::words;
use ohmrig_protocol::bench::{ChipKind, ChipSelect};
use ohmrig_protocol::message::Scheme;
use ohmrig_protocol::units::Volts;

/// Pulse level of the selected line of a group and of its others, V or as codes; `None` stays at 0 V and is not
/// toggled.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Levels<T> {
    selected: Option<T>,
    others: Option<T>,
}

/// Levels of rows and columns, V.
fn levels(scheme: Scheme, volts: f32) -> (Levels<f32>, Levels<f32>) {
    let still = Levels { selected: None, others: None };
    let one = |volts| Levels { selected: Some(volts), others: None };
    match scheme {
        Scheme::Half => (
            Levels { selected: Some(volts), others: Some(volts / 2.0) },
            // The selected column is on its amplifier, which holds it at 0 V.
            Levels { selected: None, others: Some(volts / 2.0) },
        ),
        Scheme::SymmetricHalf => (one(volts / 2.0), one(-volts / 2.0)),
        Scheme::Third => (
            Levels { selected: Some(volts), others: Some(volts / 3.0) },
            Levels { selected: None, others: Some(2.0 * volts / 3.0) },
        ),
        Scheme::Grounded | Scheme::Floating => (one(volts), still),
    }
}

/// A pulse in codes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Plan {
    pub(super) selection: Selection,
    rows: Levels<DacCode>,
    columns: Levels<DacCode>,
    gates: Levels<DacCode>,
}

/// What one DAC does in a pulse: all its channels follow TGP0, those too that stay at 0 V, as one that toggles ignores updates.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Share {
    /// Code in B of every channel but the exception.
    common: DacCode,
    exception: Option<(Channel, DacCode)>,
}

impl Share {
    /// Codes in B of all channels.
    fn codes(&self) -> [u16; CHANNELS] {
        let mut codes = [self.common.0; CHANNELS];
        if let Some((channel, code)) = self.exception
            && let Some(place) = codes.get_mut(channel.index())
        {
            *place = code.0;
        }
        codes
    }
}

/// The first channels that follow TGP0, one of which 0x74 (the register that says which) and 0x54 (a code, then an update of
/// all channels) have for their last four bits: with 0 V in front, as a code it is as good as 0 V.
const FIRST_TOGGLED: u16 = 1 << 4;
const ALL_TOGGLED: u16 = 0xFFFF;

impl Plan {
    /// The nearest codes; refuses what no code of a span is nearest to, and a gate voltage where there are no gates.
    pub(super) fn new(
        population: &Population,
        selection: Selection,
        volts: Volts,
        gate: Option<Volts>,
    ) -> Result<Self, FrontEndError> {
        if gate.is_some() && !population.gates {
            return Err(faults::misuse(words!("a gate voltage without gates")));
        }
        let codes = |kind, levels: Levels<f32>| {
            let code = |volts: Option<f32>| volts.map(|volts| setting(kind).span.code(volts)).transpose();
            match (code(levels.selected), code(levels.others)) {
                (Ok(selected), Ok(others)) => Ok(Levels { selected, others }),
                _ => Err(faults::misuse(words!("a voltage outside the DACs' span"))),
            }
        };
        let (rows, columns) = levels(selection.scheme, volts.0);
        let gates = Levels { selected: gate.map(|gate| gate.0), others: None };
        Ok(Self {
            selection,
            rows: codes(ChipKind::RowDac, rows)?,
            columns: codes(ChipKind::BiasDac, columns)?,
            gates: codes(ChipKind::GateDac, gates)?,
        })
    }

    /// Nothing of a DAC that stays as it is.
    fn share(&self, select: ChipSelect) -> Option<Share> {
        let (levels, line) = match select.kind {
            ChipKind::RowDac => (self.rows, self.selection.row),
            ChipKind::GateDac => (self.gates, self.selection.column),
            _ => (self.columns, self.selection.column),
        };
        let (index, number) = dac_channel(line);
        let selected = Channel::try_from(number).ok().filter(|_| index == select.index);
        let zero = zero(select.kind);
        let moves = levels.others.is_some() || (levels.selected.is_some() && selected.is_some());
        moves.then(|| Share {
            common: levels.others.unwrap_or(zero),
            // The selected column of a scheme that measures has no level: its driver isn't connected.
            exception: selected.map(|channel| (channel, levels.selected.unwrap_or(zero))),
        })
    }

    /// Loads and reads back A, B, setting and toggle-enable of every channel of every DAC that will move. Rows must be
    /// at 0 V, and B too.
    ///
    /// The codes of the pulse are written last, to channels that follow TGP0 already: these put out A whatever is updated,
    /// so that no single frame gone wrong on the way into B reaches the array. Toggling before that is safe, as A has been
    /// read back at 0 V and no edge comes until all is. And it is read back that B is selected before anything is
    /// written to it: else A would be. B stays selected until the pulse is unloaded, as no write may follow the read-back.
    pub(super) fn load<H: Hardware>(
        &self,
        hardware: &mut H,
        population: &Population,
    ) -> Result<(), FrontEndError> {
        for select in population.dacs() {
            if self.share(select).is_none() {
                Burst::new().expect(Register::ToggleEnable, 0).run(hardware, select)?;
            } else {
                toggle(hardware, select)?;
            }
        }
        for select in population.dacs() {
            if let Some(share) = self.share(select) {
                write_b(hardware, select, &share)?;
            }
        }
        Ok(())
    }

    /// 0 V in B and A selected, read back; then toggling off, and everything read back: whichever register a channel that
    /// leaves toggle mode puts out (the sources leave it open), it holds 0 V. While a channel toggles it ignores updates, and
    /// all of them do, so that no frame gone wrong puts out what is in the other. A second write that ends toggling would
    /// come when they no longer do.
    pub(super) fn unload<H: Hardware>(
        &self,
        hardware: &mut H,
        population: &Population,
    ) -> Result<(), FrontEndError> {
        for select in population.dacs() {
            if let Some(share) = self.share(select) {
                clear_b(hardware, select, &share)?;
            }
        }
        let a = InputRegister::A.select_mask();
        for select in population.dacs().filter(|&select| self.share(select).is_some()) {
            Burst::new()
                .write(Register::ToggleEnable, 0)
                .expect_all(Register::Setting, setting(select.kind).bits())
                .expect(Register::ToggleEnable, 0)
                .expect(Register::AbSelect, a)
                .expect(Register::Fault, 0)
                .run(hardware, select)?;
        }
        Ok(())
    }
}

/// Toggling on, 0 V read in A of every channel, B selected.
///
/// A bit turned over in the frame that says which channels toggle makes a code of channel 4 of it and an update of all. So
/// that channel comes first, with a mask that is 0 V as a code; the frame for all of them finds it toggling, and ignored. A is
/// read last, since the same bit of a read makes it a write of −5 V, which a channel that toggles doesn't put out.
fn toggle<H: Hardware>(hardware: &mut H, select: ChipSelect) -> Result<(), FrontEndError> {
    let DacCode(zero) = zero(select.kind);
    let first = zero | FIRST_TOGGLED;
    let b = InputRegister::B.select_mask();
    Burst::new()
        // A channel still toggling would have ignored the read since the last pulse, and that read been believed.
        .expect(Register::ToggleEnable, 0)
        .write(Register::ToggleEnable, first)
        .expect(Register::ToggleEnable, first)
        .write(Register::ToggleEnable, ALL_TOGGLED)
        .expect(Register::ToggleEnable, ALL_TOGGLED)
        .expect_all(Register::Code, zero)
        .write(Register::AbSelect, b)
        .expect(Register::AbSelect, b)
        .run(hardware, select)
}

/// The codes into B, codes and settings read back. B holds 0 V before: only what differs from it is written, so that a write
/// that went anywhere else shows as one that is missing. Which channels toggle isn't read again: no bit of these frames
/// changes it, but one of that read would, with the pulse in B.
fn write_b<H: Hardware>(hardware: &mut H, select: ChipSelect, share: &Share) -> Result<(), FrontEndError> {
    let zero = zero(select.kind);
    let mut burst = Burst::new();
    if share.common != zero {
        burst.write(Register::CodeAll, share.common.0);
    }
    if let Some((channel, code)) = share.exception
        && code != share.common
    {
        burst.write(Register::Code(channel), code.0);
    }
    burst
        .expect_each(Register::Code, &share.codes())
        .expect_all(Register::Setting, setting(select.kind).bits())
        .run(hardware, select)
}

/// 0 V into B, where anything else is in it, and A selected again.
fn clear_b<H: Hardware>(hardware: &mut H, select: ChipSelect, share: &Share) -> Result<(), FrontEndError> {
    let DacCode(zero) = zero(select.kind);
    let a = InputRegister::A.select_mask();
    let mut burst = Burst::new();
    if let Some((moved, _)) = Channel::all().zip(share.codes()).find(|&(_, code)| code != zero) {
        burst.write(Register::CodeAll, zero).expect(Register::Code(moved), zero);
    }
    burst
        .write(Register::AbSelect, a)
        .expect_all(Register::Code, zero)
        .expect(Register::AbSelect, a)
        .run(hardware, select)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::chips::ltc2688::Span;

    const BOARD: Population = Population { rows: 16, columns: 16, gates: false };

    fn share(scheme: Scheme, volts: f32, kind: ChipKind) -> Option<Share> {
        let selection = Selection { row: 3, column: 5, scheme, forming: false };
        Plan::new(&BOARD, selection, Volts(volts), None).unwrap().share(ChipSelect { kind, index: 0 })
    }

    fn code(volts: f32) -> DacCode {
        Span::Bipolar5.code(volts).unwrap()
    }

    fn at(channel: u8, volts: f32) -> Option<(Channel, DacCode)> {
        Some((channel.try_into().unwrap(), code(volts)))
    }

    #[test]
    fn half_puts_every_other_line_at_half_and_leaves_the_selected_column_to_its_amplifier() {
        let rows = Share { common: code(0.75), exception: at(3, 1.5) };
        let columns = Share { common: code(0.75), exception: at(5, 0.0) };
        assert_eq!(share(Scheme::Half, 1.5, ChipKind::RowDac), Some(rows));
        assert_eq!(share(Scheme::Half, 1.5, ChipKind::BiasDac), Some(columns));
    }

    #[test]
    fn symmetric_half_moves_the_two_selected_lines_only() {
        let rows = Share { common: code(0.0), exception: at(3, -1.0) };
        let columns = Share { common: code(0.0), exception: at(5, 1.0) };
        assert_eq!(share(Scheme::SymmetricHalf, -2.0, ChipKind::RowDac), Some(rows));
        assert_eq!(share(Scheme::SymmetricHalf, -2.0, ChipKind::BiasDac), Some(columns));
    }

    #[test]
    fn third_leaves_no_other_cell_more_than_a_third() {
        let rows = Share { common: code(1.0), exception: at(3, 3.0) };
        let columns = Share { common: code(2.0), exception: at(5, 0.0) };
        assert_eq!(share(Scheme::Third, 3.0, ChipKind::RowDac), Some(rows));
        assert_eq!(share(Scheme::Third, 3.0, ChipKind::BiasDac), Some(columns));
    }

    #[test]
    fn grounded_and_floating_move_the_selected_row_only() {
        for scheme in [Scheme::Grounded, Scheme::Floating] {
            let rows = Share { common: code(0.0), exception: at(3, 2.0) };
            assert_eq!(share(scheme, 2.0, ChipKind::RowDac), Some(rows));
            assert_eq!(share(scheme, 2.0, ChipKind::BiasDac), None);
        }
    }

    #[test]
    fn a_dac_without_a_line_that_moves_is_left_alone() {
        let board = Population { rows: 18, columns: 5, gates: false };
        let of = |scheme, kind, index| {
            let selection = Selection { row: 17, column: 0, scheme, forming: false };
            let plan = Plan::new(&board, selection, Volts(1.0), None).unwrap();
            plan.share(ChipSelect { kind, index })
        };
        assert_eq!(of(Scheme::Half, ChipKind::RowDac, 0), Some(Share { common: code(0.5), exception: None }));
        assert_eq!(of(Scheme::Grounded, ChipKind::RowDac, 0), None);
        assert!(of(Scheme::Grounded, ChipKind::RowDac, 1).is_some());
    }

    #[test]
    fn a_voltage_no_code_is_nearest_to_is_refused_and_not_clamped() {
        let selection = Selection { row: 0, column: 0, scheme: Scheme::Half, forming: false };
        for volts in [5.0, -5.1, f32::NAN, f32::INFINITY] {
            assert!(Plan::new(&BOARD, selection, Volts(volts), None).is_err(), "{volts}");
        }
        assert!(Plan::new(&BOARD, selection, Volts(-5.0), None).is_ok());
    }

    #[test]
    fn a_gate_voltage_needs_gates_and_moves_the_selected_column_s_gate_only() {
        let selection = Selection { row: 0, column: 7, scheme: Scheme::Grounded, forming: false };
        assert!(Plan::new(&BOARD, selection, Volts(1.0), Some(Volts(2.5))).is_err());
        let gated = Population { gates: true, ..BOARD };
        let plan = Plan::new(&gated, selection, Volts(1.0), Some(Volts(2.5))).unwrap();
        let gates = plan.share(ChipSelect { kind: ChipKind::GateDac, index: 0 });
        let channel = Channel::try_from(7).unwrap();
        let exception = Some((channel, DacCode(0x8000)));
        assert_eq!(gates, Some(Share { common: DacCode(0), exception }));
    }
}
