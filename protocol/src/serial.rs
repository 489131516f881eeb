//! Values as `postcard` writes them (<https://postcard.jamesmunns.com/wire-format>): in the bodies of frames, and as a device
//! keeps them in flash.
//!
//! Writing one piece never fails, nor does reading one: what is too long, too short or no value at all is told at the end. The
//! error of both has no values, so that the compiler leaves out the answer to it at every field of every message. That is
//! 7 KB of a small microcontroller's flash.

mod reader;
mod writer;

use core::fmt::{self, Display};
use reader::Reader;
use serde::{Deserialize, Serialize};
pub use writer::Writer;

/// Puts a value as it would stand in a body at the start of `out`, and says how many bytes that is; `None` if `out` is too
/// small.
pub fn put<B: Serialize + ?Sized>(value: &B, out: &mut [u8]) -> Option<usize> {
    let mut writer = Writer::bytes(out);
    let Ok(()) = value.serialize(&mut writer);
    writer.end()
}

/// A value as it stands in a body, and what is behind it; `None` if there is none.
pub fn take<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Option<(T, &'a [u8])> {
    let mut reader = Reader::new(bytes);
    let Ok(value) = T::deserialize(&mut reader);
    Some((value, reader.end()?))
}

/// An error that doesn't happen.
#[derive(Debug)]
pub enum Never {}

impl Display for Never {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {}
    }
}

impl core::error::Error for Never {}

/// What a derived `Deserialize` calls for a missing field, an unknown variant, or a value of another kind than the one asked for.
/// A `Reader` always gives a field, a variant there is, and what it is asked for: nothing of this is left in an image.
impl serde::de::Error for Never {
    fn custom<T: Display>(_: T) -> Self {
        unreachable!()
    }
}

/// A derived `Serialize` never calls it.
impl serde::ser::Error for Never {
    fn custom<T: Display>(_: T) -> Self {
        unreachable!()
    }
}

/// Instead of a value of a kind that no message has; the compiler refuses a message that has it.
macro_rules! unknown {
    () => {
        const { panic!("no message has a value of this kind yet") }
    };
}
use unknown;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::log::LogRecords;
    use crate::message::{Limits, Refusal, Reply, Request};
    use crate::session::{Hello, Mismatch, Unexecuted, Welcome};
    use core::fmt::Debug;
    use proptest::prelude::*;
    use std::vec::Vec;

    /// Holds what is made of `bytes`, as a message of one type, and what becomes of that again, against `postcard`.
    fn as_postcard_does<'a, T: Deserialize<'a> + Serialize + Debug>(bytes: &'a [u8]) {
        let own = take::<T>(bytes);
        // As text: NaN is no number, not even itself.
        let other = postcard::take_from_bytes::<T>(bytes).ok();
        assert_eq!(std::format!("{own:?}"), std::format!("{other:?}"), "{bytes:?}");
        if let Some((value, _)) = own {
            let (mut own, mut other) = ([0; 256], [0; 256]);
            let length = put(&value, &mut own).unwrap();
            assert_eq!(own.get(..length).unwrap(), postcard::to_slice(&value, &mut other).unwrap());
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20_000))]

        #[test]
        fn whatever_bytes_come_they_are_read_or_refused_and_written_again_as_postcard_does(
            kind in 0u8..40,
            rest in prop::collection::vec(prop_oneof![0u8..4, 0x7Eu8..0x82, any::<u8>()], 0..80),
        ) {
            let bytes: Vec<u8> = core::iter::once(kind).chain(rest).collect();
            as_postcard_does::<Request<'_>>(&bytes);
            as_postcard_does::<Reply<'_>>(&bytes);
            as_postcard_does::<Refusal>(&bytes);
            as_postcard_does::<Limits>(&bytes);
            as_postcard_does::<Unexecuted>(&bytes);
            as_postcard_does::<Hello>(&bytes);
            as_postcard_does::<Welcome>(&bytes);
            as_postcard_does::<Mismatch>(&bytes);
            as_postcard_does::<LogRecords<'_>>(&bytes);
            as_postcard_does::<(Option<u64>, u16, &str)>(&bytes);
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
