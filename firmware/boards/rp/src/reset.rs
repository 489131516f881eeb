//! Why the processor started.

use embassy_rp::pac;
use ohmrig_protocol::message::ResetReason;

/// Why the processor started. `panicked`: words were left. Sources: RP2040 datasheet, WATCHDOG REASON and
/// VREG_AND_CHIP_RESET CHIP_RESET; RP2350 datasheet, POWMAN CHIP_RESET.
#[must_use]
pub fn reset_reason(panicked: bool) -> ResetReason {
    if pac::WATCHDOG.reason().read().timer() {
        return ResetReason::Watchdog;
    }
    if panicked {
        return ResetReason::Panic;
    }
    #[cfg(feature = "rp2040")]
    {
        let flags = pac::VREG_AND_CHIP_RESET.chip_reset().read();
        match (flags.had_por(), flags.had_run() || flags.had_psm_restart()) {
            // The same flag for power-on and brown-out.
            (true, _) => ResetReason::PowerOn,
            (_, true) => ResetReason::External,
            _ => ResetReason::Unknown,
        }
    }
    #[cfg(feature = "rp2350")]
    {
        let flags = pac::POWMAN.chip_reset().read();
        match (flags.had_por(), flags.had_bor(), flags.had_run_low()) {
            (true, ..) => ResetReason::PowerOn,
            (_, true, _) => ResetReason::BrownOut,
            (.., true) => ResetReason::External,
            _ => ResetReason::Unknown,
        }
    }
}
