//! The serving end's way to damage a link: both directions of a client's bytes go through faulty lanes.

use crate::transport::inject::{Inject, Lane, Tally};
use std::sync::Arc;
use std::time::Instant;

/// Both directions of a link with faults.
#[derive(Debug)]
pub struct FaultyLanes {
    to_device: Lane,
    to_host: Lane,
    tally: Arc<Tally>,
}

impl FaultyLanes {
    /// With these faults; power cycles are not among them.
    #[must_use]
    pub fn new(inject: Inject) -> Self {
        let tally = Arc::new(Tally::default());
        Self {
            to_device: Lane::to_device(inject, Arc::clone(&tally)),
            to_host: Lane::to_host(inject, Arc::clone(&tally)),
            tally,
        }
    }

    /// What is injected, counted as it happens.
    #[must_use]
    pub fn tally(&self) -> Arc<Tally> {
        Arc::clone(&self.tally)
    }

    /// Replaces what was read after the first `old` bytes by what arrives at the device.
    pub(super) fn damage_incoming(&mut self, incoming: &mut Vec<u8>, old: usize) {
        pass(&mut self.to_device, incoming, old);
    }

    /// Replaces what the device said after the first `old` bytes by what arrives at the host.
    pub(super) fn damage_outgoing(&mut self, outgoing: &mut Vec<u8>, old: usize) {
        pass(&mut self.to_host, outgoing, old);
    }
}

fn pass(lane: &mut Lane, bytes: &mut Vec<u8>, old: usize) {
    let now = Instant::now();
    // A client that has left has taken its bytes with it.
    let fresh = bytes.split_off(old.min(bytes.len()));
    lane.feed(&fresh, now);
    while let Some(piece) = lane.take(now, fresh.is_empty()) {
        bytes.extend(piece.bytes);
    }
}
