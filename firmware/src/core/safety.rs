//! Arming, the watchdogs of link and jobs, and the latched fault.

use ohmrig_protocol::message::{Fault, FaultCode, ResetReason};

/// While armed, silence on the link for longer than this is a fault.
const LINK_SILENT_NS: u64 = 2_000_000_000;

/// What allows writing, and what forbids it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Safety {
    armed_until_ns: Option<u64>,
    heard_at_ns: u64,
    fault: Option<Fault>,
}

/// A job that neither converts nor pulses for so long, by the instrument clock, gets nowhere: the longest pulse is 1 s.
const JOB_STALLED_NS: u64 = 30_000_000_000;
/// Nor one that takes so many steps without: a verify read or a pulse takes some twenty.
const JOB_STALLED_STEPS: u32 = 10_000;

/// How long a job has been without progress.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Stalled {
    since_ns: Option<u64>,
    steps: u32,
}

impl Stalled {
    /// To be told of every step of a job; whether it has stalled.
    pub(super) fn watch(&mut self, progress: bool, now_ns: u64) -> bool {
        if progress {
            *self = Self::default();
        }
        let since_ns = *self.since_ns.get_or_insert(now_ns);
        self.steps = self.steps.saturating_add(1);
        self.steps > JOB_STALLED_STEPS || now_ns.saturating_sub(since_ns) > JOB_STALLED_NS
    }
}

impl Safety {
    /// After a start: one that nobody asked for is a fault, so that nothing is written before somebody has looked.
    pub(super) fn after(reset: ResetReason) -> Self {
        let code = match reset {
            ResetReason::PowerOn | ResetReason::External | ResetReason::Unknown => None,
            ResetReason::Watchdog => Some(FaultCode::Watchdog),
            ResetReason::BrownOut => Some(FaultCode::BrownOut),
            ResetReason::Panic => Some(FaultCode::Panic),
        };
        let fault = code.map(|code| Fault { code, chip: None, at_ns: 0, sequence: None });
        Self { fault, ..Self::default() }
    }

    /// A frame of the present session has arrived.
    pub(super) fn heard(&mut self, link_ns: u64) {
        self.heard_at_ns = link_ns;
    }

    pub(super) fn arm(&mut self, link_ns: u64, milliseconds: u32) {
        self.armed_until_ns = Some(link_ns.saturating_add(u64::from(milliseconds) * 1_000_000));
    }

    pub(super) fn disarm(&mut self) {
        self.armed_until_ns = None;
    }

    pub(super) fn is_armed(&self, link_ns: u64) -> bool {
        self.armed_until_ns.is_some_and(|until| until > link_ns)
    }

    /// Milliseconds of arming left, rounded up; 0 is disarmed.
    pub(super) fn armed_ms(&self, link_ns: u64) -> u32 {
        let left = self.armed_until_ns.map_or(0, |until| until.saturating_sub(link_ns));
        u32::try_from(left.div_ceil(1_000_000)).unwrap_or(u32::MAX)
    }

    /// Ends an arming that ran out, and names the fault if the link has gone silent while armed.
    pub(super) fn watch(&mut self, link_ns: u64) -> Option<FaultCode> {
        if !self.is_armed(link_ns) {
            self.armed_until_ns = None;
            return None;
        }
        let silent = link_ns.saturating_sub(self.heard_at_ns);
        (silent > LINK_SILENT_NS).then_some(FaultCode::LinkSilent)
    }

    pub(super) fn fault(&self) -> Option<Fault> {
        self.fault
    }

    /// Latches a fault and disarms. The first one stays: what follows is mostly its consequence.
    pub(super) fn latch(&mut self, fault: Fault) {
        self.fault.get_or_insert(fault);
        self.disarm();
    }

    /// Latches a fault from before the present start, which stays instead of what followed it.
    pub(super) fn latched_before(&mut self, fault: Fault) {
        self.fault = Some(fault);
    }

    /// Clears the fault if it has this name.
    pub(super) fn clear(&mut self, code: FaultCode) -> bool {
        let named = self.fault.is_some_and(|fault| fault.code == code);
        if named {
            self.fault = None;
        }
        named
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn an_arming_runs_out_quietly() {
        let mut safety = Safety::default();
        safety.arm(0, 1000);
        assert_eq!(safety.armed_ms(SECOND / 2), 500);
        assert_eq!(safety.watch(SECOND), None);
        assert_eq!(safety.armed_ms(SECOND), 0);
    }

    #[test]
    fn silence_is_a_fault_only_while_armed() {
        let mut safety = Safety::default();
        assert_eq!(safety.watch(10 * SECOND), None);
        safety.heard(10 * SECOND);
        safety.arm(10 * SECOND, 60_000);
        assert_eq!(safety.watch(12 * SECOND), None);
        assert_eq!(safety.watch(12 * SECOND + 1), Some(FaultCode::LinkSilent));
    }

    #[test]
    fn a_start_that_nobody_asked_for_is_a_fault() {
        assert_eq!(Safety::after(ResetReason::PowerOn).fault(), None);
        for (reset, code) in [
            (ResetReason::Watchdog, FaultCode::Watchdog),
            (ResetReason::BrownOut, FaultCode::BrownOut),
            (ResetReason::Panic, FaultCode::Panic),
        ] {
            let mut safety = Safety::after(reset);
            assert_eq!(safety.fault().map(|fault| fault.code), Some(code));
            assert!(safety.clear(code));
        }
    }

    #[test]
    fn a_job_stalls_when_it_neither_converts_nor_pulses_for_long_or_for_many_steps() {
        let mut stalled = Stalled::default();
        assert!(!stalled.watch(false, 0));
        assert!(!stalled.watch(false, JOB_STALLED_NS));
        assert!(!stalled.watch(true, JOB_STALLED_NS + 1));
        assert!(!stalled.watch(false, 2 * JOB_STALLED_NS + 1));
        assert!(stalled.watch(false, 2 * JOB_STALLED_NS + 2));
        let mut stalled = Stalled::default();
        assert!((0..JOB_STALLED_STEPS).all(|_| !stalled.watch(false, 0)));
        assert!(stalled.watch(false, 0));
    }

    #[test]
    fn the_first_fault_stays_until_it_is_cleared_by_name() {
        let mut safety = Safety::default();
        let fault = |code| Fault { code, chip: None, at_ns: 0, sequence: None };
        safety.arm(0, 1000);
        safety.latch(fault(FaultCode::Chip));
        safety.latch(fault(FaultCode::Bus));
        assert_eq!(safety.armed_ms(0), 0);
        assert!(!safety.clear(FaultCode::Bus));
        assert!(safety.clear(FaultCode::Chip));
        assert_eq!(safety.fault(), None);
    }
}
