//! One write pulse as a machine: select, load and verify, edge, (sample the current), over, unload.

use super::acquire::{Conversion, Step, is_saturated};
use super::budgets::{Exposure, sampled_energy};
use super::limits;
use crate::front_end::{Description, FrontEnd, FrontEndError, Selection, Settle};
use ohmrig_protocol::message::{Converters, FaultCode, Limits, Scheme};
use ohmrig_protocol::units::{Amperes, Volts};

/// Between two questions whether a late pulse is over, and when that is a fault.
const ASK_AGAIN_NS: u32 = 1_000;
/// What a sample of a pulse's current may be short of it: a share (feedback, converter) and an offset of some codes in
/// the widest range.
const SAMPLE_SHARE: f32 = 0.02;
const SAMPLE_OFFSET_A: f32 = 1e-6;
const LATE_NS: u32 = 20_000;

/// What to apply.
#[derive(Clone, Copy, Debug)]
pub(super) struct PulseOrder {
    pub(super) selection: Selection,
    pub(super) volts: Volts,
    pub(super) width_ns: u32,
    pub(super) gate: Option<Volts>,
    /// How the selected column's current is sampled, where scheme and width allow.
    pub(super) sense: Sense,
}

/// Which amplifier setting tells the current, and when it is asked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sense {
    /// Feedback setting.
    pub(super) range: u8,
    /// With the widest feedback in parallel to it.
    pub(super) widest: bool,
    /// Once more when everything has settled.
    pub(super) report: bool,
}

/// Remembers how much current the pulses of a column drew, to choose whether the feedback of its reads can tell the
/// next one's.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ColumnCurrent {
    /// Column, and A per V of its last pulse.
    last: Option<(u16, f32)>,
}

/// A pulse may draw so many times the current that the last one's share of its voltage makes likely, and still be told
/// with the feedback of reads. It covers a device that switches on by more than the whole column conducted.
const GROWTH: f32 = 2.0;

impl ColumnCurrent {
    /// Whether a pulse on `column` needs the widest feedback: always for the first one of a column.
    pub(super) fn needs_widest(
        &self,
        column: u16,
        volts: Volts,
        range: u8,
        front_end: &impl FrontEnd,
    ) -> bool {
        let linear = linear_amperes(&front_end.description().converters, range);
        match self.last {
            Some((known, per_volt)) if known == column => {
                let likely = per_volt * magnitude(volts.0) * GROWTH;
                likely.is_nan() || likely > linear
            }
            _ => true,
        }
    }

    /// Takes note of what a pulse drew.
    pub(super) fn note(&mut self, pulse: &PulseMachine) {
        let per_volt = |amperes: Amperes| magnitude(amperes.0) / magnitude(pulse.order.volts.0);
        self.last = pulse.sampled.map(|amperes| (pulse.order.selection.column, per_volt(amperes)));
    }
}

fn magnitude(value: f32) -> f32 {
    if value < 0.0 { -value } else { value }
}

/// The largest current that a feedback setting tells.
fn linear_amperes(converters: &Converters, range: u8) -> f32 {
    let feedback = converters.feedback.get(usize::from(range)).map_or(f32::NAN, |feedback| feedback.0);
    f32::from(converters.adc_linear) * converters.adc_step.0 / feedback
}

/// Whether a scheme and a width let the selected column's current be sampled in time to cut the pulse.
pub(super) fn is_current_limited(scheme: Scheme, width_ns: u32, description: &Description) -> bool {
    let on_amplifier = !matches!(scheme, Scheme::SymmetricHalf);
    on_amplifier && width_ns >= description.guard_after_ns.saturating_add(description.conversion_ns)
}

/// A pulse under way.
#[derive(Clone, Copy, Debug)]
pub(super) struct PulseMachine {
    order: PulseOrder,
    stage: Stage,
    waited_ns: u32,
    conversion: Conversion,
    /// The rising edge has happened; instrument time of it.
    pub(super) edge_at_ns: Option<u64>,
    /// Current of the selected column; `None` while or if not measured.
    pub(super) current: Option<Amperes>,
    /// Current of the sample that guards; `None` while or if not taken, and if it was beyond the range.
    sampled: Option<Amperes>,
    /// Largest magnitude sampled, A, and when behind the edge the last sample was taken.
    peak: Option<(f32, u32)>,
    /// The current passed its limit and the pulse was cut.
    pub(super) tripped: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Range,
    Select,
    Load,
    Edge,
    Guard,
    Report,
    Rest,
    Over,
    Unload,
    Settled,
}

impl PulseMachine {
    #[inline(never)]
    pub(super) fn new(order: PulseOrder) -> Self {
        Self {
            order,
            stage: Stage::Range,
            waited_ns: 0,
            conversion: Conversion::default(),
            edge_at_ns: None,
            current: None,
            sampled: None,
            peak: None,
            tripped: false,
        }
    }

    pub(super) fn volts(&self) -> Volts {
        self.order.volts
    }

    pub(super) fn width_ns(&self) -> u32 {
        self.order.width_ns
    }

    /// The cell, and by how much its pulse, now over, fell short of the energy that was counted for it (fJ), as far as
    /// its current was sampled.
    pub(super) fn unused_energy(&self, limits: &Limits) -> Option<((u16, u16), u64)> {
        let PulseOrder { selection, volts, width_ns, .. } = self.order;
        // Not by the first sample alone, which is taken before everything has settled.
        self.current?;
        let (peak, until_ns) = self.peak?;
        let counted = Exposure::of(volts, width_ns, selection.scheme, limits.current).energy;
        let peak = Amperes((peak * (1.0 + SAMPLE_SHARE) + SAMPLE_OFFSET_A).min(limits.current.0));
        let needed = sampled_energy(volts, width_ns, peak, until_ns, limits.current);
        Some(((selection.row, selection.column), counted.saturating_sub(needed)))
    }

    /// A sample that was none takes the ones before along: nothing is known of the current then.
    fn note_peak(&mut self, current: Option<Amperes>, now_ns: u64) {
        let behind = now_ns.saturating_sub(self.edge_at_ns.unwrap_or(now_ns));
        let before = self.peak.map_or(0.0, |(peak, _)| peak);
        self.peak = current.map(|current| {
            let magnitude = if current.0 < 0.0 { -current.0 } else { current.0 };
            (magnitude.max(before), u32::try_from(behind).unwrap_or(u32::MAX))
        });
    }

    /// Whether the selected column's current can be sampled `after_ns` behind the edge, within the pulse.
    fn measures(&self, after_ns: u32, front_end: &impl FrontEnd) -> bool {
        let description = front_end.description();
        let enough = after_ns.saturating_add(description.conversion_ns);
        is_current_limited(self.order.selection.scheme, self.order.width_ns, description)
            && self.order.width_ns >= enough
    }

    /// What is left until `after_ns` behind the edge.
    fn until(&self, after_ns: u32, now_ns: u64) -> Settle {
        let gone = now_ns.saturating_sub(self.edge_at_ns.unwrap_or(now_ns));
        Settle { ns: u32::try_from(u64::from(after_ns).saturating_sub(gone)).unwrap_or(after_ns) }
    }

    pub(super) fn step(
        &mut self,
        front_end: &mut impl FrontEnd,
        limits: &Limits,
        now_ns: u64,
    ) -> Result<Step, FrontEndError> {
        let settle = match self.stage {
            Stage::Range => {
                self.stage = Stage::Select;
                front_end.set_range(self.order.sense.range)?
            }
            Stage::Select => {
                self.stage = Stage::Load;
                front_end.select(self.order.selection)?
            }
            Stage::Load => {
                self.stage = Stage::Edge;
                front_end.load_pulse(self.order.volts, self.order.gate, self.order.sense.widest)?
            }
            Stage::Edge => {
                self.edge_at_ns = Some(now_ns);
                front_end.start_pulse(self.order.width_ns)?;
                let ns = front_end.description().guard_after_ns;
                if self.measures(ns, front_end) {
                    self.stage = Stage::Guard;
                    Settle { ns }
                } else {
                    self.stage = Stage::Over;
                    Settle { ns: self.order.width_ns }
                }
            }
            Stage::Guard | Stage::Report => {
                let mut code = [0];
                match self.conversion.step(front_end, self.order.selection.column, &mut code)? {
                    step @ Step::Again(_) => return Ok(step),
                    Step::Done => {}
                }
                let [code] = code;
                let current = self.judge(code, front_end, limits);
                self.note_peak(current, now_ns);
                // Beyond a range that can't tell the limit, the current has jumped: cut as well, and looked at with the
                // widest feedback next time.
                if self.tripped || current.is_none() {
                    front_end.stop_pulse()?;
                    self.stage = Stage::Unload;
                    return Ok(Step::NOW);
                }
                if self.stage == Stage::Guard {
                    self.sampled = current;
                }
                let report_after_ns = front_end.description().report_after_ns;
                let again = self.order.sense.report && self.measures(report_after_ns, front_end);
                if self.stage == Stage::Guard && again {
                    self.stage = Stage::Report;
                    self.until(report_after_ns, now_ns)
                } else {
                    if self.stage == Stage::Report {
                        self.current = current;
                    }
                    self.stage = Stage::Rest;
                    return Ok(Step::NOW);
                }
            }
            Stage::Rest => {
                self.stage = Stage::Over;
                self.until(self.order.width_ns, now_ns)
            }
            Stage::Over => {
                if !front_end.pulse_done()? {
                    if self.waited_ns >= LATE_NS {
                        front_end.stop_pulse()?;
                        return Err(FrontEndError { code: FaultCode::Timeout, chip: None });
                    }
                    self.waited_ns += ASK_AGAIN_NS;
                    return Ok(Step::Again(Settle { ns: ASK_AGAIN_NS }));
                }
                self.stage = Stage::Unload;
                return Ok(Step::NOW);
            }
            Stage::Unload => {
                self.stage = Stage::Settled;
                front_end.unload_pulse()?
            }
            Stage::Settled => return Ok(Step::Done),
        };
        Ok(Step::Again(settle))
    }

    /// The current of a sample, and whether it trips; `None` where it is beyond the range, which trips unless the limit is
    /// beyond the range too.
    fn judge(&mut self, code: i16, front_end: &impl FrontEnd, limits: &Limits) -> Option<Amperes> {
        let Description { converters, pulse_feedback, .. } = front_end.description();
        let Sense { range, widest, .. } = self.order.sense;
        let feedback = if widest { pulse_feedback } else { &converters.feedback };
        let feedback = feedback.get(usize::from(range)).map_or(f32::NAN, |feedback| feedback.0);
        let per_code = converters.adc_step.0 / feedback;
        if is_saturated(code, converters.adc_linear) {
            let least = per_code * f32::from(converters.adc_linear);
            let is_widest =
                pulse_feedback.get(usize::from(range)).is_none_or(|parallel| parallel.0 >= feedback);
            self.tripped = widest || is_widest || limits::passes_current(Amperes(least), limits);
            return None;
        }
        let current = Amperes(-f32::from(code) * per_code);
        self.tripped = limits::passes_current(current, limits);
        Some(current)
    }
}
