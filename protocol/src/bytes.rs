//! Values of fixed width, one behind the other, and back.

/// `parts` one behind the other. What goes beyond `N` bytes is left out, what is short of it is zero: callers name a
/// constant that fits.
#[must_use]
pub fn joined<const N: usize>(parts: &[&[u8]]) -> [u8; N] {
    let mut bytes = [0; N];
    let length = put(&mut bytes, parts);
    debug_assert_eq!(length, N);
    bytes
}

/// Copies `parts` to the start of `into`, one behind the other, as far as it goes; returns how many bytes that were.
/// Not generic, and not inlined: one copy of it does for all callers on a microcontroller.
#[inline(never)]
pub fn put(into: &mut [u8], parts: &[&[u8]]) -> usize {
    let mut length = 0;
    for part in parts {
        for byte in *part {
            let Some(to) = into.get_mut(length) else { return length };
            *to = *byte;
            length += 1;
        }
    }
    length
}

/// A slice of bytes in serde as bytes, not as a sequence of numbers: on the wire the same, and moved as one piece. To be
/// named in `serialize_with`.
///
/// # Errors
/// The serializer's.
#[allow(clippy::trivially_copy_pass_by_ref)] // Serde's signature.
pub fn whole<S: serde::Serializer>(bytes: &&[u8], to: S) -> Result<S::Ok, S::Error> {
    to.serialize_bytes(bytes)
}

/// `[u8; N]` in serde as a tuple of bytes, in a loop: the derived code has one copy of everything per byte.
pub mod array {
    use core::fmt;

    use serde::de::{Error, SeqAccess, Visitor};
    use serde::ser::SerializeTuple;
    use serde::{Deserializer, Serializer};

    /// Writes the bytes without a length.
    ///
    /// # Errors
    /// The serializer's.
    pub fn serialize<S: Serializer, const N: usize>(bytes: &[u8; N], to: S) -> Result<S::Ok, S::Error> {
        let mut tuple = to.serialize_tuple(N)?;
        for byte in bytes {
            tuple.serialize_element(byte)?;
        }
        tuple.end()
    }

    /// The reverse of [`serialize`].
    ///
    /// # Errors
    /// The deserializer's, and fewer bytes than `N`.
    pub fn deserialize<'de, D: Deserializer<'de>, const N: usize>(from: D) -> Result<[u8; N], D::Error> {
        struct Bytes<const N: usize>;
        impl<'de, const N: usize> Visitor<'de> for Bytes<N> {
            type Value = [u8; N];

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("bytes")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut from: A) -> Result<[u8; N], A::Error> {
                let mut bytes = [0; N];
                for (read, byte) in bytes.iter_mut().enumerate() {
                    *byte = from.next_element()?.ok_or_else(|| A::Error::invalid_length(read, &self))?;
                }
                Ok(bytes)
            }
        }
        from.deserialize_tuple(N, Bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_stand_one_behind_the_other_and_nothing_is_written_beyond_the_end() {
        assert_eq!(joined::<5>(&[&[1, 2], &[], &[3, 4, 5]]), [1, 2, 3, 4, 5]);
        let mut short = [0; 3];
        assert_eq!(put(&mut short, &[&[1, 2], &[3, 4]]), 3);
        assert_eq!(short, [1, 2, 3]);
    }
}
