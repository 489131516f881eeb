//! One write pulse as a machine: select, load and verify, edge, (sample the current), over, unload.

use super::acquire::{Conversion, Step, is_saturated};
use super::limits;
use crate::front_end::{FrontEnd, FrontEndError, Selection, Settle};
use ohmrig_protocol::message::{FaultCode, Limits, Scheme};
use ohmrig_protocol::units::{Amperes, Volts};

/// The current is first sampled this long after the edge, to cut a pulse that is beyond its limit …
const GUARD_AFTER_NS: u32 = 10_000;
/// … and once more when DAC, amplifier and the converter's filter have settled to 2⁻¹⁴ of a full-scale step (22 µs by
/// the front end's settling table, and some room): only this sample is reported.
const REPORT_AFTER_NS: u32 = 25_000;

/// Between two questions whether a late pulse is over, and when that is a fault.
const ASK_AGAIN_NS: u32 = 1_000;
const LATE_NS: u32 = 20_000;

/// What to apply.
#[derive(Clone, Copy, Debug)]
pub(super) struct PulseOrder {
    pub(super) selection: Selection,
    pub(super) volts: Volts,
    pub(super) width_ns: u32,
    pub(super) gate: Option<Volts>,
    /// Samples the selected column's current with this feedback setting, where scheme and width allow.
    pub(super) measure: Option<u8>,
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
    pub(super) fn new(order: PulseOrder) -> Self {
        Self {
            order,
            stage: Stage::Range,
            waited_ns: 0,
            conversion: Conversion::default(),
            edge_at_ns: None,
            current: None,
            tripped: false,
        }
    }

    pub(super) fn width_ns(&self) -> u32 {
        self.order.width_ns
    }

    /// Whether the selected column's current can be sampled `after_ns` behind the edge, within the pulse.
    fn measures(&self, after_ns: u32, front_end: &impl FrontEnd) -> bool {
        let on_amplifier = !matches!(self.order.selection.scheme, Scheme::SymmetricHalf);
        let enough = after_ns.saturating_add(front_end.description().conversion_ns);
        self.order.measure.is_some() && on_amplifier && self.order.width_ns >= enough
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
                match self.order.measure {
                    Some(range) => front_end.set_range(range)?,
                    None => return Ok(Step::NOW),
                }
            }
            Stage::Select => {
                self.stage = Stage::Load;
                front_end.select(self.order.selection)?
            }
            Stage::Load => {
                self.stage = Stage::Edge;
                front_end.load_pulse(self.order.volts, self.order.gate)?
            }
            Stage::Edge => {
                self.edge_at_ns = Some(now_ns);
                front_end.start_pulse(self.order.width_ns)?;
                if self.measures(GUARD_AFTER_NS, front_end) {
                    self.stage = Stage::Guard;
                    Settle { ns: GUARD_AFTER_NS }
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
                if self.tripped {
                    front_end.stop_pulse()?;
                    self.stage = Stage::Unload;
                    return Ok(Step::NOW);
                }
                if self.stage == Stage::Guard && self.measures(REPORT_AFTER_NS, front_end) {
                    self.stage = Stage::Report;
                    self.until(REPORT_AFTER_NS, now_ns)
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

    /// The current of a sample, and whether it trips. A saturated sample is a current beyond the range and so beyond any
    /// limit within it.
    fn judge(&mut self, code: i16, front_end: &impl FrontEnd, limits: &Limits) -> Option<Amperes> {
        let converters = &front_end.description().converters;
        if is_saturated(code, converters.adc_linear) {
            self.tripped = true;
            return None;
        }
        let range = self.order.measure.map_or(0, usize::from);
        let feedback = converters.feedback.get(range).filter(|feedback| feedback.0 > 0.0)?;
        let current = Amperes(-f32::from(code) * converters.adc_step.0 / feedback.0);
        self.tripped = limits::passes_current(current, limits);
        Some(current)
    }
}
