//! Ctrl-C and SIGTERM: noted once, looked at by everything that waits, so that every exit goes through destructors
//! (QEMU ends, truth and state files are written).

use std::sync::atomic::{AtomicBool, Ordering};

static REQUESTED: AtomicBool = AtomicBool::new(false);

/// Starts noticing. A second signal ends the process at once.
///
/// # Errors
/// The system's, if signals can't be caught.
pub fn install() -> Result<(), ctrlc::Error> {
    ctrlc::set_handler(|| {
        if REQUESTED.swap(true, Ordering::SeqCst) {
            std::process::exit(130);
        }
    })
}

/// Whether somebody asked this process to end.
#[must_use]
pub fn requested() -> bool {
    REQUESTED.load(Ordering::SeqCst)
}
