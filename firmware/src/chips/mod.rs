//! Chip drivers, each generic over embedded-hal 1.0 traits.

pub mod ad5593r;
pub mod ad7606c;
pub mod adgs1414d;
pub mod ltc2688;
pub mod tmp117;

#[cfg(test)]
mod wire;
