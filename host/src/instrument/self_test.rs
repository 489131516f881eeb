//! What a board's self test makes of its measurements: which lines, switches and cells are proven to work, which are
//! wrong, and which nothing was proven of.
//!
//! Lines are looked at with at most 50 mV across any cell, so that nothing in an unknown array switches.

use super::{CellMap, Instrument, InstrumentError, ReadSettings, TraceOrder};
use ndarray::{Array2, ArrayView1, Axis};
use ohmrig_protocol::message::{FaultCode, JobId, JobState, Pulse, Refusal, Scheme, TraceSource};
use ohmrig_protocol::units::{Seconds, Volts};

/// On-resistance of a switch, Ω (ADGS1414D data sheet, first page).
const SWITCH_OHMS: f64 = 1.5;
/// Across a cell while continuity is looked at, V.
pub const CONTINUITY_VOLTS: f64 = 0.05;
/// Conversions at each polarity of that.
const CONTINUITY_CONVERSIONS: u16 = 64;
/// Across the selected cell of the pulse that looks for shorted columns, V, and its width, s; other columns are then at half of it.
const PROBE_VOLTS: f64 = 0.04;
const PROBE_S: f64 = 50e-6;
/// Beyond what the cells draw in that pulse, A: half of its voltage over 400 Ω.
const PROBE_MARGIN_A: f64 = 50e-6;
/// No device conducts so well (S); what does is a short across a cell.
const SHORT_S: f64 = 2e-3;
/// A line whose cells all conduct less than this share of what cells do is open.
const OPEN_SHARE: f64 = 0.05;
/// Beyond this multiple of what a row alone conducts, the next one conducts with it.
const WITH_NEIGHBOUR: f64 = 1.2;
/// What has to be there of a current for a switch that carries it to be closed, and of a drop for one to be open.
const HALF: f64 = 0.5;
/// In series to a row: its own 100 Ω, and with the bypass open 10 kΩ more (`docs/hardware.md`).
const ROW_OHMS: f64 = 100.0;
const FORMING_OHMS: f64 = 10e3;
/// Conversions of a path that are averaged, at each polarity.
const PATH_CONVERSIONS: u16 = 32;
/// What is this many standard uncertainties is there.
const CERTAIN: f64 = 6.0;

/// Number of the jobs that sample paths: nobody wants the samples of a self test that was killed, so the next one can tell
/// them from others' and drops them.
const JOB: JobId = JobId(u64::from_le_bytes(*b"selftest"));

/// What was found of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Line {
    /// Current flows through it, and to no other line.
    Sound,
    /// No current flows through it.
    Open,
    /// It touches the next line of its kind.
    ShortedToNext,
    /// It touches the line of its kind before it.
    ShortedToPrevious,
    /// It touches a line across a cell.
    ShortedAcross,
    /// Its driver, amplifier or reference is off by more than the tolerance.
    Wrong,
    /// A column that its bias driver doesn't get to.
    BiasOpen,
    /// A row whose forming resistor is always in circuit, or never.
    BypassStuck,
    /// Nothing could be proven.
    Unproven,
}

impl Line {
    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sound => "ok",
            Self::Open => "open",
            Self::ShortedToNext => "shorted-to-next",
            Self::ShortedToPrevious => "shorted-to-previous",
            Self::ShortedAcross => "shorted-across-cell",
            Self::Wrong => "wrong",
            Self::BiasOpen => "bias-open",
            Self::BypassStuck => "bypass-stuck",
            Self::Unproven => "unproven",
        }
    }

    /// Whether writing with it could do harm or mean nothing.
    #[must_use]
    pub const fn is_unsafe(self) -> bool {
        !matches!(self, Self::Sound | Self::Unproven)
    }
}

/// The whole report but for the chips, which a device checks by itself.
#[derive(Clone, Debug, PartialEq)]
pub struct SelfTest {
    /// Deviation of every crossing of row driver and reference resistor from nominal, relative; infinite where saturated.
    pub reference: Array2<f64>,
    /// Largest deviation of a column with its 10 kΩ and with its 1 kΩ feedback from that without, relative.
    pub feedback: [f64; 2],
    /// One per row.
    pub rows: Vec<Line>,
    /// One per column.
    pub columns: Vec<Line>,
    /// Of each row, whether current has proven that its forming resistor comes into circuit and leaves it.
    pub bypass: Vec<bool>,
    /// Of each column, whether current has come through its bias switch.
    pub bias: Vec<bool>,
    /// Rows and columns of shorts across cells.
    pub shorts: Vec<(usize, usize)>,
    /// Cells that don't conduct, on lines that do.
    pub open_cells: Vec<(usize, usize)>,
    /// Conductances at [`CONTINUITY_VOLTS`], S.
    pub conductance: Array2<f64>,
}

impl SelfTest {
    /// Whether anything makes writing unsafe.
    #[must_use]
    pub fn is_unsafe(&self) -> bool {
        self.rows.iter().chain(&self.columns).any(|line| line.is_unsafe()) || !self.shorts.is_empty()
    }

    /// Switch groups and how they are proven: by current through every switch, or else by read-back only.
    #[must_use]
    pub fn switches(&self, tolerance: f64) -> [(&'static str, &'static str); 8] {
        let by_current = |proven: bool| if proven { "current" } else { "unproven" };
        let conducts = |lines: &[Line]| by_current(lines.iter().all(|line| *line == Line::Sound));
        let loops = by_current(self.reference.iter().all(|d| d.abs() <= tolerance));
        let [ten, one] = self.feedback.map(|deviation| by_current(deviation <= 2.0 * tolerance));
        [
            ("row-connect", conducts(&self.rows)),
            ("column-sense", conducts(&self.columns)),
            ("column-bias", by_current(self.bias.iter().all(|&proven| proven))),
            ("calibrate", loops),
            ("feedback-10k", ten),
            ("feedback-1k", one),
            ("row-calibrate", loops),
            ("forming-bypass", by_current(self.bypass.iter().all(|&proven| proven))),
        ]
    }
}

impl Instrument {
    /// Tests drivers, amplifiers, switches and lines, at `settings.volts` on the reference resistors and at most 50 mV on the
    /// array. Arms for pulses of 40 mV, which no device notices, and disarms. `progress` is called once per line.
    ///
    /// # Errors
    /// [`InstrumentError`]; a defect is none.
    pub fn self_test(
        &mut self,
        settings: &ReadSettings,
        tolerance: f64,
        mut progress: impl FnMut(),
    ) -> Result<SelfTest, InstrumentError> {
        let (rows, columns) = (self.device().rows, self.device().columns);
        if !matches!(self.job_state(JOB)?, JobState::Unknown { .. }) {
            self.finish_trace(JOB)?;
        }
        let mut reference = Array2::zeros((usize::from(rows), usize::from(columns)));
        for row in 0..rows {
            let map = self.read_reference(row, settings)?;
            reference.row_mut(usize::from(row)).assign(&deviation(&map, self.nominal()).row(0));
            progress();
        }
        let feedback = self.compare_feedbacks(settings)?;
        let continuity = ReadSettings {
            volts: CONTINUITY_VOLTS,
            range: None,
            conversions: settings.conversions.max(CONTINUITY_CONVERSIONS),
        };
        let map = self.read_cells(self.whole(), &continuity)?;
        let mut test = judge(&map, reference, tolerance);
        test.feedback = feedback;
        let noise = median(map.uncertainty.iter().copied()) * CONTINUITY_VOLTS;
        self.probe_rows(&mut test, noise)?;
        self.probe_bias(&mut test, noise)?;
        self.probe_columns(&mut test, &mut progress)?;
        Ok(test)
    }

    /// Current into each column's amplifier along a path, A: half of what differs between both polarities of 50 mV.
    fn along(&mut self, source: TraceSource) -> Result<Vec<f64>, InstrumentError> {
        let columns = self.device().columns;
        let converters = self.device().converters;
        let step_a = f64::from(converters.adc_step.0) / f64::from(converters.feedback[0].0);
        let order = TraceOrder {
            source,
            volts: CONTINUITY_VOLTS,
            column: 0,
            columns,
            range: 0,
            samples: 1,
            // Ample for all converters to be read one after the other.
            interval_ns: 100_000 + 10_000 * u32::from(columns.div_ceil(8)),
            averaged: PATH_CONVERSIONS,
        };
        let plus = self.trace_as(JOB, &order, |_| {})?;
        let minus = self.trace_as(JOB, &TraceOrder { volts: -CONTINUITY_VOLTS, ..order }, |_| {})?;
        let saturated = plus.saturated + minus.saturated > 0;
        let pairs = plus.codes.iter().zip(&minus.codes);
        Ok(pairs
            .map(|(plus, minus)| {
                // Amplifiers invert.
                if saturated { f64::INFINITY } else { (minus[0] - plus[0]) / 2.0 * step_a }
            })
            .collect())
    }

    /// Drives each row alone, with its own forming resistor in circuit, which must take a known share of the current; and with
    /// the next one's, which leaves that row free to follow if the two touch, and to add what it conducts. `noise` is that of
    /// a cell's current, A.
    fn probe_rows(&mut self, test: &mut SelfTest, noise: f64) -> Result<(), InstrumentError> {
        let usable: Vec<usize> =
            (0..test.columns.len()).filter(|&column| test.columns[column] == Line::Sound).collect();
        let noise = noise * (usable.len() as f64).sqrt();
        let last = test.rows.len().saturating_sub(1);
        let alone = |test: &SelfTest, row: usize| -> f64 {
            usable.iter().map(|&column| test.conductance[(row, column)]).sum::<f64>() * CONTINUITY_VOLTS
        };
        for driven in 0..last {
            if test.rows[driven] == Line::ShortedAcross || test.rows[driven + 1] == Line::ShortedAcross {
                continue;
            }
            let source = TraceSource::Forming { row: driven as u16 + 1, driven: driven as u16 };
            let currents = self.along(source)?;
            let current: f64 = usable.iter().map(|&column| currents[column]).sum();
            let alone = alone(test, driven);
            if (WITH_NEIGHBOUR - 1.0) * alone < CERTAIN * noise {
                continue;
            }
            if current > WITH_NEIGHBOUR * alone {
                if test.rows[driven] == Line::Sound {
                    test.rows[driven] = Line::ShortedToNext;
                }
                if test.rows[driven + 1] == Line::Sound {
                    test.rows[driven + 1] = Line::ShortedToPrevious;
                }
            }
        }
        for row in 0..test.rows.len() {
            if test.rows[row] != Line::Sound {
                continue;
            }
            // Devices drift and flicker: without, with, without, and what differs between the first and the last is noise too.
            let row_number = row as u16;
            let mut sum = |source| -> Result<f64, InstrumentError> {
                let currents = self.along(source)?;
                Ok(usable.iter().map(|&column| currents[column]).sum())
            };
            let before = sum(TraceSource::Row(row_number))?;
            let current = sum(TraceSource::Forming { row: row_number, driven: row_number })?;
            let after = sum(TraceSource::Row(row_number))?;
            let alone = (before + after) / 2.0;
            let read: f64 = test.conductance.row(row).iter().sum();
            let conducts = read / (1.0 - ROW_OHMS * read);
            let expected = (1.0 + ROW_OHMS * conducts) / (1.0 + (ROW_OHMS + FORMING_OHMS) * conducts);
            let drop = alone * (1.0 - expected);
            if drop < CERTAIN * noise.max((before - after).abs()) {
                continue;
            }
            if alone - current > HALF * drop {
                test.bypass[row] = true;
            } else if drop > HALF * alone {
                // A smaller one can hide behind the flicker of devices that conduct so little.
                test.rows[row] = Line::BypassStuck;
            }
        }
        Ok(())
    }

    /// With all rows disconnected, the bias driver of each column: its current comes through two cells on every row and into
    /// the other columns.
    fn probe_bias(&mut self, test: &mut SelfTest, noise: f64) -> Result<(), InstrumentError> {
        for column in 0..test.columns.len() {
            if test.columns[column] != Line::Sound {
                continue;
            }
            let others: Vec<usize> = (0..test.columns.len())
                .filter(|&other| other != column && test.columns[other] == Line::Sound)
                .collect();
            let through = |row: ArrayView1<'_, f64>| {
                let into = others.iter().map(|&other| row[other].max(0.0)).sum::<f64>();
                let from = row[column].max(0.0);
                if from + into > 0.0 { from * into / (from + into) } else { 0.0 }
            };
            let expected = test.conductance.rows().into_iter().map(through).sum::<f64>() * CONTINUITY_VOLTS;
            if HALF * expected < CERTAIN * noise * (others.len() as f64).sqrt() {
                continue;
            }
            let currents = self.along(TraceSource::Bias(column as u16))?;
            if others.iter().map(|&other| currents[other]).sum::<f64>() > HALF * expected {
                test.bias[column] = true;
            } else {
                test.columns[column] = Line::BiasOpen;
            }
        }
        Ok(())
    }

    /// Conductance of a reference resistor with the switches in its way, S: all columns share one of them.
    fn nominal(&self) -> f64 {
        let device = self.device();
        let shared = SWITCH_OHMS * f64::from(device.columns);
        1.0 / (f64::from(device.converters.reference.0) + shared + SWITCH_OHMS)
    }

    /// The references with each feedback, against each other: the worst of all columns.
    fn compare_feedbacks(&mut self, settings: &ReadSettings) -> Result<[f64; 2], InstrumentError> {
        let mut worst = [f64::INFINITY; 2];
        let most = ReadSettings { range: Some(0), conversions: settings.conversions.max(64), ..*settings };
        let alone = self.read_reference(0, &most)?;
        for (worst, range) in worst.iter_mut().zip(1..) {
            if self.feedback(range).is_err() {
                continue;
            }
            let map = self.read_reference(0, &ReadSettings { range: Some(range), ..most })?;
            let pairs = map.conductance.iter().zip(&alone.conductance);
            *worst = pairs.map(|(with, without)| (with / without - 1.0).abs()).fold(0.0, f64::max);
        }
        Ok(worst)
    }

    /// A pulse of 40 mV on each column, with its neighbours on their bias drivers at 20 mV: current that the cells don't
    /// draw comes from a neighbour.
    fn probe_columns(
        &mut self,
        test: &mut SelfTest,
        progress: &mut impl FnMut(),
    ) -> Result<(), InstrumentError> {
        let columns = test.columns.len();
        let mut leaks = vec![false; columns];
        for (column, leaks) in leaks.iter_mut().enumerate() {
            progress();
            if columns < 2 || matches!(test.columns[column], Line::ShortedAcross) {
                continue;
            }
            let cells = test.conductance.column(column);
            let drawn: f64 = cells.iter().skip(1).sum::<f64>() * PROBE_VOLTS / 2.0 + cells[0] * PROBE_VOLTS;
            let pulse = Pulse {
                row: 0,
                column: column as u16,
                volts: Volts(PROBE_VOLTS as f32),
                width: Seconds(PROBE_S as f32),
                scheme: Scheme::Half,
                gate: None,
            };
            self.arm(5_000)?;
            match self.pulse(pulse) {
                Ok(pulsed) => {
                    *leaks =
                        pulsed.current_a.is_some_and(|a| (a - drawn).abs() > drawn.abs() + PROBE_MARGIN_A);
                }
                Err(InstrumentError::Refused { refusal: Refusal::Fault(FaultCode::OverCurrent), .. }) => {
                    self.clear_fault(FaultCode::OverCurrent)?;
                    *leaks = true;
                }
                // Limits that don't allow such a pulse: nothing is proven.
                Err(InstrumentError::Refused { refusal: Refusal::Limit { .. }, .. }) => {
                    for line in test.columns.iter_mut().filter(|line| **line == Line::Sound) {
                        *line = Line::Unproven;
                    }
                    break;
                }
                Err(error) => return Err(error),
            }
        }
        self.safe()?;
        name_neighbours(&leaks, &mut test.columns);
        Ok(())
    }
}

/// Names lines that leak: pairs of neighbours as shorted to each other, one alone as shorted to a line that isn't known.
fn name_neighbours(leaks: &[bool], lines: &mut [Line]) {
    let mut line = 0;
    while line < leaks.len() {
        if leaks[line] && leaks.get(line + 1) == Some(&true) {
            lines[line] = Line::ShortedToNext;
            lines[line + 1] = Line::ShortedToPrevious;
            line += 1;
        } else if leaks[line] {
            lines[line] = Line::Wrong;
        }
        line += 1;
    }
}

fn deviation(map: &CellMap, nominal: f64) -> Array2<f64> {
    Array2::from_shape_fn(map.conductance.dim(), |at| {
        if map.saturated[at] { f64::INFINITY } else { map.conductance[at] / nominal - 1.0 }
    })
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}

/// Lines of which more than half of the crossings are out of tolerance: a line is to blame for all of its crossings,
/// a crossing by itself can't be wrong.
fn out_of_tolerance(deviation: &Array2<f64>, axis: Axis, tolerance: f64) -> Vec<bool> {
    let bad = |line: ArrayView1<'_, f64>| line.iter().filter(|d| d.is_nan() || d.abs() > tolerance).count();
    deviation.axis_iter(axis).map(|line| 2 * bad(line) > line.len()).collect()
}

/// What the continuity read and the reference loop say.
fn judge(map: &CellMap, reference: Array2<f64>, tolerance: f64) -> SelfTest {
    let conductance = &map.conductance;
    let (row_count, column_count) = conductance.dim();
    let mut rows = vec![Line::Sound; row_count];
    let mut columns = vec![Line::Sound; column_count];
    let is_short = |at: (usize, usize)| map.saturated[at] || conductance[at].abs() > SHORT_S;
    let shorts: Vec<_> = conductance.indexed_iter().map(|(at, _)| at).filter(|&at| is_short(at)).collect();
    for &(row, column) in &shorts {
        rows[row] = Line::ShortedAcross;
        columns[column] = Line::ShortedAcross;
    }
    // A row that hangs on a column leaves the others nothing of its voltage.
    let sound = |(row, column): (usize, usize)| {
        rows[row] != Line::ShortedAcross && columns[column] != Line::ShortedAcross
    };
    let usual = median(conductance.indexed_iter().filter(|(at, _)| sound(*at)).map(|(_, g)| g.abs()));
    let noise = median(map.uncertainty.iter().copied());
    // Nothing is proven of lines whose cells conduct no more than the noise.
    let telling = usual * OPEN_SHARE > noise;
    let silent = |cells: &mut dyn Iterator<Item = ((usize, usize), f64)>| {
        let mut cells = cells.filter(|(at, _)| sound(*at)).map(|(_, g)| g.abs()).peekable();
        cells.peek().is_some() && cells.all(|g| g < usual * OPEN_SHARE)
    };
    let open_rows: Vec<bool> = (0..row_count)
        .map(|row| silent(&mut (0..column_count).map(|column| ((row, column), conductance[(row, column)]))))
        .collect();
    let open_columns: Vec<bool> = (0..column_count)
        .map(|column| silent(&mut (0..row_count).map(|row| ((row, column), conductance[(row, column)]))))
        .collect();
    for (lines, open) in [(&mut rows, &open_rows), (&mut columns, &open_columns)] {
        for (line, &open) in lines.iter_mut().zip(open) {
            match *line {
                Line::Sound if !telling => *line = Line::Unproven,
                Line::Sound if open => *line = Line::Open,
                _ => {}
            }
        }
    }
    let wrong = [(&mut rows, Axis(0)), (&mut columns, Axis(1))];
    for (lines, axis) in wrong {
        for (line, wrong) in lines.iter_mut().zip(out_of_tolerance(&reference, axis, tolerance)) {
            if wrong {
                *line = Line::Wrong;
            }
        }
    }
    let open_cells = conductance
        .indexed_iter()
        .filter(|&((row, column), g)| {
            telling
                && rows[row] == Line::Sound
                && columns[column] == Line::Sound
                && g.abs() < CERTAIN * map.uncertainty[(row, column)]
                && g.abs() < usual * OPEN_SHARE
        })
        .map(|(at, _)| at)
        .collect();
    SelfTest {
        reference,
        feedback: [f64::INFINITY; 2],
        bypass: vec![false; row_count],
        bias: vec![false; column_count],
        rows,
        columns,
        shorts,
        open_cells,
        conductance: conductance.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bad_driver_is_blamed_on_its_row_alone() {
        let mut deviation = Array2::zeros((4, 4));
        deviation.row_mut(2).fill(0.5);
        assert_eq!(out_of_tolerance(&deviation, Axis(0), 0.02), [false, false, true, false]);
        assert_eq!(out_of_tolerance(&deviation, Axis(1), 0.02), [false; 4]);
    }

    #[test]
    fn a_value_that_is_not_a_number_is_out_of_tolerance() {
        let mut deviation = Array2::zeros((3, 3));
        deviation.column_mut(1).fill(f64::NAN);
        assert_eq!(out_of_tolerance(&deviation, Axis(1), 0.02), [false, true, false]);
    }

    #[test]
    fn leaks_of_neighbours_are_told_as_pairs() {
        let mut lines = [Line::Sound; 6];
        name_neighbours(&[false, true, true, false, false, true], &mut lines);
        use Line::{ShortedToNext, ShortedToPrevious, Sound, Wrong};
        assert_eq!(lines, [Sound, ShortedToNext, ShortedToPrevious, Sound, Sound, Wrong]);
    }
}
