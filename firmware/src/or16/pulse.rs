//! A write pulse on the DACs: which channels move to which codes, loaded, read back, and taken away.

use super::drive::{burst, setting, zero};
use super::faults;
use super::population::{Population, dac_channel};
use crate::chips::ltc2688::{Channel, DacCode, InputRegister, Register};
use crate::front_end::{FrontEndError, Selection};
use crate::hardware::Hardware;
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

/// What one DAC does in a pulse.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Share {
    /// Code of every channel but the exception.
    common: DacCode,
    exception: Option<(Channel, DacCode)>,
    /// Channels that follow TGP0.
    toggled: u16,
}

impl Plan {
    /// The nearest codes; refuses what no code of a span is nearest to, and a gate voltage where there are no gates.
    pub(super) fn new(
        population: &Population,
        selection: Selection,
        volts: Volts,
        gate: Option<Volts>,
    ) -> Result<Self, FrontEndError> {
        if gate.is_some() && !population.gates {
            return Err(faults::misuse("a gate voltage without gates"));
        }
        let codes = |kind, levels: Levels<f32>| {
            let code = |volts: Option<f32>| volts.map(|volts| setting(kind).span.code(volts)).transpose();
            match (code(levels.selected), code(levels.others)) {
                (Ok(selected), Ok(others)) => Ok(Levels { selected, others }),
                _ => Err(faults::misuse("a voltage outside the DACs' span")),
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

    fn share(&self, population: &Population, select: ChipSelect) -> Share {
        let (levels, line) = match select.kind {
            ChipKind::RowDac => (self.rows, self.selection.row),
            ChipKind::GateDac => (self.gates, self.selection.column),
            _ => (self.columns, self.selection.column),
        };
        let (index, number) = dac_channel(line);
        let selected = Channel::try_from(number).ok().filter(|_| index == select.index);
        let selected_mask = selected.map_or(0, Channel::mask);
        let others = levels.others.map_or(0, |_| population.populated(select) & !selected_mask);
        Share {
            common: levels.others.unwrap_or(zero(select.kind)),
            // The selected column of a scheme that measures has no level: its driver isn't connected and isn't toggled.
            exception: selected.zip(levels.selected),
            toggled: others | levels.selected.map_or(0, |_| selected_mask),
        }
    }

    /// Loads and reads back A, B, setting and toggle-enable of every channel of every DAC that will move. Rows must be
    /// at 0 V.
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
            if self.share(population, select).toggled == 0 {
                burst(hardware, select, |burst| burst.expect(Register::ToggleEnable, 0).map(drop))?;
            } else {
                select_b(hardware, select)?;
            }
        }
        for select in population.dacs() {
            let share = self.share(population, select);
            if share.toggled != 0 {
                write_b(hardware, select, &share)?;
            }
        }
        Ok(())
    }

    /// A selected again, then toggling off, and everything read back: A has had 0 V all along, and whichever register a
    /// channel that leaves toggle mode puts out (the sources leave it open), it is that one. No voltage is written, so that
    /// hardly a frame gone wrong can put one out: while a channel toggles it ignores updates. A second write that ends toggling
    /// would come when it no longer does.
    pub(super) fn unload<H: Hardware>(
        &self,
        hardware: &mut H,
        population: &Population,
    ) -> Result<(), FrontEndError> {
        for select in population.dacs() {
            if self.share(population, select).toggled != 0 {
                let DacCode(zero) = zero(select.kind);
                let setting = setting(select.kind).bits();
                let a = InputRegister::A.select_mask();
                burst(hardware, select, |burst| {
                    burst
                        .write(Register::AbSelect, a)?
                        .write(Register::ToggleEnable, 0)?
                        .expect_all(Register::Code, |_| zero)?
                        .expect_all(Register::Setting, |_| setting)?
                        .expect(Register::ToggleEnable, 0)?
                        .expect(Register::AbSelect, a)?
                        .expect(Register::Fault, 0)
                        .map(drop)
                })?;
            }
        }
        Ok(())
    }
}

/// 0 V in A of every channel, then B selected.
fn select_b<H: Hardware>(hardware: &mut H, select: ChipSelect) -> Result<(), FrontEndError> {
    let DacCode(zero) = zero(select.kind);
    let b = InputRegister::B.select_mask();
    burst(hardware, select, |burst| {
        burst
            .expect_all(Register::Code, |_| zero)?
            // A channel still toggling would have ignored the read since the last pulse, and that read been believed.
            .expect(Register::ToggleEnable, 0)?
            .write(Register::AbSelect, b)?
            .expect(Register::AbSelect, b)?;
        Ok(())
    })
}

/// Toggling on, the codes into B, everything read back.
fn write_b<H: Hardware>(hardware: &mut H, select: ChipSelect, share: &Share) -> Result<(), FrontEndError> {
    let Share { common, exception, toggled } = *share;
    let setting = setting(select.kind).bits();
    burst(hardware, select, |burst| {
        burst.write(Register::ToggleEnable, toggled)?.write(Register::CodeAll, common.0)?;
        if let Some((channel, code)) = exception {
            burst.write(Register::Code(channel), code.0)?;
        }
        let code = |channel| match exception {
            Some((other, code)) if channel == other => code.0,
            _ => common.0,
        };
        burst
            .expect_all(Register::Code, code)?
            .expect_all(Register::Setting, |_| setting)?
            .expect(Register::ToggleEnable, toggled)?;
        Ok(())
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::chips::ltc2688::Span;

    const BOARD: Population = Population { rows: 16, columns: 16, gates: false };

    fn share(scheme: Scheme, volts: f32, kind: ChipKind) -> Share {
        let selection = Selection { row: 3, column: 5, scheme, forming: false };
        Plan::new(&BOARD, selection, Volts(volts), None).unwrap().share(&BOARD, ChipSelect { kind, index: 0 })
    }

    fn code(volts: f32) -> DacCode {
        Span::Bipolar5.code(volts).unwrap()
    }

    fn at(channel: u8, volts: f32) -> Option<(Channel, DacCode)> {
        Some((channel.try_into().unwrap(), code(volts)))
    }

    #[test]
    fn half_puts_every_other_line_at_half_and_leaves_the_selected_column_to_its_amplifier() {
        let rows = Share { common: code(0.75), exception: at(3, 1.5), toggled: 0xFFFF };
        let columns = Share { common: code(0.75), exception: None, toggled: !(1 << 5) };
        assert_eq!(share(Scheme::Half, 1.5, ChipKind::RowDac), rows);
        assert_eq!(share(Scheme::Half, 1.5, ChipKind::BiasDac), columns);
    }

    #[test]
    fn symmetric_half_moves_the_two_selected_lines_only() {
        let rows = Share { common: code(0.0), exception: at(3, -1.0), toggled: 1 << 3 };
        let columns = Share { common: code(0.0), exception: at(5, 1.0), toggled: 1 << 5 };
        assert_eq!(share(Scheme::SymmetricHalf, -2.0, ChipKind::RowDac), rows);
        assert_eq!(share(Scheme::SymmetricHalf, -2.0, ChipKind::BiasDac), columns);
    }

    #[test]
    fn third_leaves_no_other_cell_more_than_a_third() {
        let rows = share(Scheme::Third, 3.0, ChipKind::RowDac);
        let columns = share(Scheme::Third, 3.0, ChipKind::BiasDac);
        assert_eq!(rows, Share { common: code(1.0), exception: at(3, 3.0), toggled: 0xFFFF });
        assert_eq!(columns, Share { common: code(2.0), exception: None, toggled: !(1 << 5) });
    }

    #[test]
    fn grounded_and_floating_move_the_selected_row_only() {
        for scheme in [Scheme::Grounded, Scheme::Floating] {
            let rows = Share { common: code(0.0), exception: at(3, 2.0), toggled: 1 << 3 };
            assert_eq!(share(scheme, 2.0, ChipKind::RowDac), rows);
            assert_eq!(share(scheme, 2.0, ChipKind::BiasDac).toggled, 0);
        }
    }

    #[test]
    fn channels_that_lead_nowhere_are_not_toggled() {
        let population = Population { rows: 18, columns: 5, gates: false };
        let selection = Selection { row: 17, column: 0, scheme: Scheme::Half, forming: false };
        let plan = Plan::new(&population, selection, Volts(1.0), None).unwrap();
        let toggled = |kind, index| plan.share(&population, ChipSelect { kind, index }).toggled;
        assert_eq!(toggled(ChipKind::RowDac, 0), 0xFFFF);
        assert_eq!(toggled(ChipKind::RowDac, 1), 0b11);
        assert_eq!(toggled(ChipKind::BiasDac, 0), 0b11110);
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
        let gates = plan.share(&gated, ChipSelect { kind: ChipKind::GateDac, index: 0 });
        let channel = Channel::try_from(7).unwrap();
        let exception = Some((channel, DacCode(0x8000)));
        assert_eq!(gates, Share { common: DacCode(0), exception, toggled: 1 << 7 });
    }
}
