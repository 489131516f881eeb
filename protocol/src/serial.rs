//! Values as `postcard` writes them: in the bodies of frames, and as a device keeps them in flash.
//!
//! Writing one piece never fails, nor does reading one: what is too long, or too short, is told at its end, so that the compiler
//! needn't have an answer to it at every field of every message. That is 2 KB of a small microcontroller's flash.

use crate::checksum::RunningCrc;
use cobs::CobsEncoder;
use postcard::{de_flavors, ser_flavors::Flavor};
use serde::{Deserialize, Serialize};

/// Serializes into the output buffer: bytes as they are, or straight through COBS, so that no second buffer is needed. One type
/// for both, that an image has one serializer for what it sends and for what it keeps.
pub(crate) struct Writer<'a> {
    to: Destination<'a>,
    too_long: bool,
}

enum Destination<'a> {
    Frame { cobs: CobsEncoder<'a>, crc: RunningCrc },
    Bytes { free: &'a mut [u8], used: usize },
}

impl<'a> Writer<'a> {
    /// Of a frame, which its CRC ends.
    pub(crate) fn frame(out: &'a mut [u8]) -> Self {
        let to = Destination::Frame { cobs: CobsEncoder::new(out), crc: RunningCrc::default() };
        Self { to, too_long: false }
    }

    #[inline(never)]
    pub(crate) fn write(&mut self, data: &[u8]) {
        self.too_long |= match &mut self.to {
            Destination::Frame { cobs, crc } => {
                crc.update(data);
                cobs.push(data).is_err()
            }
            Destination::Bytes { free, used } => {
                let written = crate::bytes::put(free.get_mut(*used..).unwrap_or_default(), &[data]);
                *used += written;
                written < data.len()
            }
        };
    }
}

impl Flavor for Writer<'_> {
    type Output = usize;

    fn try_push(&mut self, data: u8) -> postcard::Result<()> {
        self.write(&[data]);
        Ok(())
    }

    fn try_extend(&mut self, data: &[u8]) -> postcard::Result<()> {
        self.write(data);
        Ok(())
    }

    fn finalize(mut self) -> postcard::Result<usize> {
        if let Destination::Frame { crc, .. } = self.to {
            self.write(&crc.value().to_le_bytes());
        }
        match self.to {
            _ if self.too_long => Err(postcard::Error::SerializeBufferFull),
            Destination::Frame { cobs, .. } => Ok(cobs.finalize()),
            Destination::Bytes { used, .. } => Ok(used),
        }
    }
}

/// Puts a value as it would stand in a body at the start of `out`, and says how many bytes that is; `None` if `out` is too
/// small.
pub fn put<B: Serialize + ?Sized>(value: &B, out: &mut [u8]) -> Option<usize> {
    let to = Destination::Bytes { free: out, used: 0 };
    postcard::serialize_with_flavor(value, Writer { to, too_long: false }).ok()
}

/// Reads values. Bytes that end too soon read as if zeros followed, and are refused at the end.
struct Reader<'a> {
    rest: &'a [u8],
    too_short: bool,
}

impl<'a> de_flavors::Flavor<'a> for Reader<'a> {
    type Remainder = &'a [u8];
    type Source = &'a [u8];

    #[inline(never)]
    fn pop(&mut self) -> postcard::Result<u8> {
        let Some((first, rest)) = self.rest.split_first() else {
            self.too_short = true;
            return Ok(0);
        };
        self.rest = rest;
        Ok(*first)
    }

    #[inline(never)]
    fn try_take_n(&mut self, bytes: usize) -> postcard::Result<&'a [u8]> {
        /// For the longest number; what is longer is of any length.
        const ZEROS: [u8; 8] = [0; 8];
        let Some((taken, rest)) = self.rest.split_at_checked(bytes) else {
            self.too_short = true;
            return Ok(ZEROS.get(..bytes).unwrap_or_default());
        };
        self.rest = rest;
        Ok(taken)
    }

    fn finalize(self) -> postcard::Result<&'a [u8]> {
        if self.too_short { Err(postcard::Error::DeserializeUnexpectedEnd) } else { Ok(self.rest) }
    }
}

/// A value as it stands in a body, and what is behind it; `None` if there is none.
pub fn take<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Option<(T, &'a [u8])> {
    let mut reader = postcard::Deserializer::from_flavor(Reader { rest: bytes, too_short: false });
    let value = T::deserialize(&mut reader).ok()?;
    Some((value, reader.finalize().ok()?))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::message::{Limits, Refusal, Reply, Request};
    use proptest::prelude::*;
    use std::vec::Vec;

    fn with_postcard<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Option<(T, &'a [u8])> {
        postcard::take_from_bytes(bytes).ok()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20_000))]

        #[test]
        fn whatever_bytes_come_they_are_read_or_refused_as_postcard_does(
            kind in 0u8..40,
            rest in prop::collection::vec(prop_oneof![0u8..4, any::<u8>()], 0..80),
        ) {
            let bytes: Vec<u8> = core::iter::once(kind).chain(rest).collect();
            let (own, other) = (take::<Request<'_>>(&bytes), with_postcard::<Request<'_>>(&bytes));
            // As text: NaN is no number, not even itself.
            prop_assert_eq!(std::format!("{own:?}"), std::format!("{other:?}"));
            let (own, other) = (take::<Limits>(&bytes), with_postcard::<Limits>(&bytes));
            prop_assert_eq!(std::format!("{own:?}"), std::format!("{other:?}"));
        }
    }

    #[test]
    fn what_is_put_is_what_postcard_puts_and_what_does_not_fit_is_refused() {
        let refusal = Refusal::Storage(crate::message::StorageProblem::TooSmall { bytes: 70_000, needed: 3 });
        for reply in [Reply::Done, Reply::Refused(refusal), Reply::Record { offset: 7, data: &[1, 0, 2] }] {
            let mut whole = [0; 32];
            let whole = postcard::to_slice(&reply, &mut whole).unwrap();
            for room in 0..=whole.len() {
                let mut out = std::vec![0; room];
                let fits = (room == whole.len()).then_some(room);
                assert_eq!(put(&reply, &mut out), fits, "{reply:?} in {room} bytes");
                assert!(fits.is_none() || out == whole);
            }
        }
    }
}
