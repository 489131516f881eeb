//! Opening a session, and the answers a device gives to frames it does not execute.
//!
//! Every request has a sequence number, counted from 0 within its session, and is executed strictly in that order.
//! A *once* request's reply is cached: when its frame arrives again the cached reply is sent and nothing is done.
//! A *repeatable* request within the window simply runs again.

use crate::frame::SessionId;
use serde::{Deserialize, Serialize};

/// Requests whose replies a device remembers, and the most it lets be in flight.
pub const MAX_WINDOW: usize = 8;

/// The largest body of a *once* request's reply, so that it fits the reply cache.
pub const MAX_CACHED_REPLY_BYTES: usize = 32;

/// Host → device: asks for a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// A random number, new for each session.
    pub host_nonce: u64,
}

/// Device → host: the session, and what the device can take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Welcome {
    /// The hello's nonce.
    pub host_nonce: u64,
    /// A number no earlier boot of this device has had.
    pub boot_nonce: u64,
    /// Sessions opened since boot, this one included.
    pub sessions: u32,
    /// Largest frame in bytes, delimiter included, in either direction.
    pub max_frame: u32,
    /// Requests that may be in flight.
    pub window: u8,
    /// Cells one job may have.
    pub job_cells: u32,
}

impl Welcome {
    /// The session this welcome opens.
    #[must_use]
    pub fn session(&self) -> SessionId {
        session_id(self.host_nonce, self.boot_nonce, self.sessions)
    }
}

/// The number of a session: a hash of both nonces and of how many sessions this boot has had, never 0. The nonces
/// make traffic captured before a reset worthless; the count does it for a hello replayed within one boot.
#[must_use]
pub fn session_id(host_nonce: u64, boot_nonce: u64, sessions: u32) -> SessionId {
    let mut hash = 0x6F68_6D72_6967_0001_u64;
    for word in [host_nonce, boot_nonce, u64::from(sessions)] {
        // SplitMix64's finalizer (Steele, Lea, Flood, OOPSLA 2014).
        hash = hash.wrapping_add(word).wrapping_add(0x9E37_79B9_7F4A_7C15);
        hash = (hash ^ (hash >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        hash = (hash ^ (hash >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        hash ^= hash >> 31;
    }
    #[allow(clippy::cast_possible_truncation)] // Folding is the point.
    let folded = SessionId::from_bits((hash ^ (hash >> 24) ^ (hash >> 48)) as u32);
    if folded == SessionId::NONE { SessionId::from_bits(1) } else { folded }
}

/// Device → host: a request frame that was not executed, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Unexecuted {
    /// A request before it is missing: send from this number on.
    Expected {
        /// The next number that will be executed.
        sequence: u32,
    },
    /// So old that its reply is gone; it was dealt with long ago.
    Stale {
        /// The oldest number whose frame may still be repeated.
        oldest: u32,
    },
    /// Not of the device's present session (it was reset, or somebody opened another).
    NoSession {
        /// The device's boot nonce.
        boot_nonce: u64,
    },
    /// A number that another request of this session had already.
    Reused,
    /// The body isn't a request of this version. The number is used up.
    Malformed,
}

/// Device → host: the frame was of another version. These three bytes mean the same in every version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mismatch {
    /// The version of the frame.
    pub received: u8,
    /// Oldest version the device speaks.
    pub min: u8,
    /// Newest version the device speaks.
    pub current: u8,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_differs_by_host_by_boot_and_by_count() {
        let one = session_id(1, 2, 3);
        for other in [session_id(0, 2, 3), session_id(1, 3, 3), session_id(1, 2, 4), session_id(2, 1, 3)] {
            assert_ne!(one, other);
        }
    }

    #[test]
    fn no_session_has_the_number_of_none() {
        assert!((0..10_000).all(|n| session_id(n, !n, 1) != SessionId::NONE));
    }
}
