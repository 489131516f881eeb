//! Which versions of the wire this build speaks, and the policy by which they change.
//!
//! - Enum variants are appended, never reordered or removed; fields are never added to a variant, a new variant is.
//! - A change that an older peer would misread raises [`CURRENT`]; what is dropped raises [`MIN`].
//! - Golden bytes of every message of every version live in the test crate and are frozen from the first tag on.
//!   Until that tag version 0 may change.

/// The oldest version this build understands.
pub const MIN: u8 = 0;

/// The version this build sends. At most 14: it travels in four bits, and 15 is kept for a longer header.
pub const CURRENT: u8 = 0;
