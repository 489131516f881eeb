//! Frames on the link: `COBS( header ‖ postcard body ‖ CRC-32 LE ) ‖ 0x00`.
//!
//! COBS is undone first, then the CRC is checked, then the body is decoded, and trailing bytes are refused. A CRC
//! outside COBS would not do: a flipped bit in a COBS length byte moves every later zero.
//!
//! Header, 8 bytes: `version << 4 | kind`, session (u24 LE), sequence number (u32 LE).

use crate::serial::{self, Writer};
use crc::{CRC_32_ISO_HDLC, Crc, Digest, Table};
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Bytes of the header inside COBS.
pub const HEADER_BYTES: usize = 8;
/// Bytes of the CRC behind the body.
pub const CRC_BYTES: usize = 4;

/// Encoded bytes, delimiter included, of a frame whose body has `body` bytes (the largest it can get).
#[must_use]
pub const fn encoded_bytes(body: usize) -> usize {
    let raw = HEADER_BYTES + body + CRC_BYTES;
    raw + raw.div_ceil(254) + 1
}

/// The largest body whose frame always fits `encoded` bytes, delimiter included.
#[must_use]
pub const fn body_bytes(encoded: usize) -> usize {
    let raw = encoded.saturating_sub(1);
    raw.saturating_sub(raw.div_ceil(255)).saturating_sub(HEADER_BYTES + CRC_BYTES)
}

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// Host → device: opens a session; body [`Hello`](crate::session::Hello), session and sequence 0.
    Hello = 0,
    /// Device → host: answers a hello; body [`Welcome`](crate::session::Welcome).
    Welcome = 1,
    /// Host → device: body [`Request`](crate::message::Request).
    Request = 2,
    /// Device → host: body [`Reply`](crate::message::Reply), sequence number of its request.
    Reply = 3,
    /// Device → host: a request that was not executed, and why; body [`Unexecuted`](crate::session::Unexecuted).
    Unexecuted = 4,
    /// Device → host: body [`LogRecords`](crate::log::LogRecords), sequence number of its own count.
    Log = 5,
    /// Device → host: a peer of another version; body [`Mismatch`](crate::session::Mismatch), the same in every version.
    Mismatch = 14,
}

impl Kind {
    const fn from_bits(bits: u8) -> Option<Self> {
        Some(match bits {
            0 => Self::Hello,
            1 => Self::Welcome,
            2 => Self::Request,
            3 => Self::Reply,
            4 => Self::Unexecuted,
            5 => Self::Log,
            14 => Self::Mismatch,
            _ => return None,
        })
    }
}

/// A session's number: 24 bits on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct SessionId(u32);

impl SessionId {
    /// No session: what hello frames carry.
    pub const NONE: Self = Self(0);

    /// The low 24 bits of `bits`.
    #[must_use]
    pub const fn from_bits(bits: u32) -> Self {
        Self(bits & 0x00FF_FFFF)
    }

    /// The number.
    #[must_use]
    pub const fn bits(self) -> u32 {
        self.0
    }
}

/// A frame's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Wire version of the sender, 0 to 14.
    pub version: u8,
    /// What the body is.
    pub kind: Kind,
    /// The session it belongs to.
    pub session: SessionId,
    /// Request number within the session, counted from 0.
    pub sequence: u32,
}

impl Header {
    fn to_bytes(self) -> [u8; HEADER_BYTES] {
        let [s0, s1, s2, _] = self.session.0.to_le_bytes();
        let [n0, n1, n2, n3] = self.sequence.to_le_bytes();
        [(self.version << 4) | self.kind as u8, s0, s1, s2, n0, n1, n2, n3]
    }
}

static CRC: Crc<u32, Table<1>> = Crc::<u32, Table<1>>::new(&CRC_32_ISO_HDLC);

/// The CRC-32 (ISO-HDLC, as in Ethernet) of frames and of what is kept in flash.
#[must_use]
pub fn crc32(bytes: &[u8]) -> u32 {
    CRC.checksum(bytes)
}

/// The same CRC of bytes that come in pieces.
#[derive(Clone)]
pub struct RunningCrc(Digest<'static, u32, Table<1>>);

impl Default for RunningCrc {
    fn default() -> Self {
        Self(CRC.digest())
    }
}

impl RunningCrc {
    /// Takes the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The CRC of all bytes so far.
    #[must_use]
    pub fn value(self) -> u32 {
        self.0.finalize()
    }
}

/// Why bytes are not a frame for us.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum FrameError {
    /// Not valid COBS.
    #[error("the bytes between two delimiters are not COBS")]
    Cobs,
    /// Shorter than a header and a CRC.
    #[error("a frame of {bytes} bytes; header and CRC alone take {}", HEADER_BYTES + CRC_BYTES)]
    Short {
        /// Bytes there were.
        bytes: usize,
    },
    /// The CRC doesn't match.
    #[error("frame CRC is {received:#010x}, its bytes give {computed:#010x}")]
    Crc {
        /// The CRC in the frame.
        received: u32,
        /// The CRC of what arrived.
        computed: u32,
    },
    /// A version this build doesn't speak.
    #[error(
        "frame of protocol version {received}; this side speaks {} to {}",
        crate::version::MIN,
        crate::version::CURRENT
    )]
    Version {
        /// The sender's version.
        received: u8,
    },
    /// A kind this version doesn't have.
    #[error("frame of unknown kind {bits}")]
    Kind {
        /// The four bits.
        bits: u8,
    },
    /// The body is not what its kind says, or bytes are left over.
    #[error("the body is not a valid message ({left_over} bytes left over)")]
    Body {
        /// Bytes behind a body that decoded; 0 if it didn't decode.
        left_over: usize,
    },
    /// The frame doesn't fit the buffer it is to be built in.
    #[error("the frame doesn't fit {capacity} bytes")]
    TooLarge {
        /// Bytes there were for it.
        capacity: usize,
    },
}

/// What a frame can carry: every message. Behind a pointer, so that an image has one [`encode`].
pub trait Body {
    /// Writes it.
    fn write(&self, to: &mut Writer<'_>);
}

impl<B: Serialize> Body for B {
    fn write(&self, to: &mut Writer<'_>) {
        let Ok(()) = self.serialize(to);
    }
}

/// A body that is serialized already.
#[derive(Clone, Copy, Debug)]
pub struct Serialized<'a>(pub &'a [u8]);

impl Body for Serialized<'_> {
    fn write(&self, to: &mut Writer<'_>) {
        to.write(self.0);
    }
}

/// Builds a frame in `out` and returns its length, delimiter included.
///
/// # Errors
/// [`FrameError::TooLarge`] if `out` is too small.
pub fn encode(header: Header, body: &dyn Body, out: &mut [u8]) -> Result<usize, FrameError> {
    let too_large = FrameError::TooLarge { capacity: out.len() };
    let mut writer = Writer::frame(out);
    writer.write(&header.to_bytes());
    body.write(&mut writer);
    let bytes = writer.end().ok_or(too_large)?;
    *out.get_mut(bytes).ok_or(too_large)? = 0;
    Ok(bytes + 1)
}

/// Takes a frame apart in place: `frame` is what stood between two delimiters.
///
/// # Errors
/// Every [`FrameError`] but `Body` and `TooLarge`. The version is checked after the CRC, so a mismatch is real.
pub fn decode(frame: &mut [u8]) -> Result<(Header, &[u8]), FrameError> {
    let bytes = cobs::decode_in_place(frame).map_err(|_| FrameError::Cobs)?;
    let frame: &[u8] = frame.get(..bytes).ok_or(FrameError::Cobs)?;
    let short = FrameError::Short { bytes };
    let (covered, crc) = frame.split_last_chunk::<CRC_BYTES>().ok_or(short)?;
    let (&[first, s0, s1, s2, n0, n1, n2, n3], body) =
        covered.split_first_chunk::<HEADER_BYTES>().ok_or(short)?;
    let (received, computed) = (u32::from_le_bytes(*crc), crc32(covered));
    if received != computed {
        return Err(FrameError::Crc { received, computed });
    }
    let (version, bits) = (first >> 4, first & 0x0F);
    let kind = Kind::from_bits(bits);
    if !(crate::version::MIN..=crate::version::CURRENT).contains(&version) && kind != Some(Kind::Mismatch) {
        return Err(FrameError::Version { received: version });
    }
    let header = Header {
        version,
        kind: kind.ok_or(FrameError::Kind { bits })?,
        session: SessionId(u32::from_le_bytes([s0, s1, s2, 0])),
        sequence: u32::from_le_bytes([n0, n1, n2, n3]),
    };
    Ok((header, body))
}

/// Decodes a body and refuses bytes behind it.
///
/// # Errors
/// [`FrameError::Body`].
pub fn decode_body<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, FrameError> {
    match serial::take(body) {
        Some((message, [])) => Ok(message),
        Some((_, rest)) => Err(FrameError::Body { left_over: rest.len() }),
        None => Err(FrameError::Body { left_over: 0 }),
    }
}

/// Collects bytes between delimiters. Whatever arrives, it is ready again at the next `0x00`.
#[derive(Debug)]
pub struct Decoder<'b> {
    buffer: &'b mut [u8],
    filled: usize,
    overlong: bool,
    dropped: u32,
}

impl<'b> Decoder<'b> {
    /// A decoder for frames of up to `buffer.len()` bytes, delimiter not included.
    pub fn new(buffer: &'b mut [u8]) -> Self {
        Self { buffer, filled: 0, overlong: false, dropped: 0 }
    }

    /// Overlong frames dropped so far.
    #[must_use]
    pub fn dropped(&self) -> u32 {
        self.dropped
    }

    /// The buffer: after [`feed`](Self::feed) returned a frame it holds that frame until fed again.
    #[must_use]
    pub fn buffer(&self) -> &[u8] {
        self.buffer
    }

    /// Takes bytes up to and including the first delimiter: how many it took, and the frame if one is whole.
    /// Call again with the rest. Empty frames (delimiters in a row) are skipped.
    pub fn feed(&mut self, bytes: &[u8]) -> (usize, Option<&mut [u8]>) {
        let mut taken = 0;
        for &byte in bytes {
            taken += 1;
            if byte != 0 {
                match self.buffer.get_mut(self.filled) {
                    Some(slot) => {
                        *slot = byte;
                        self.filled += 1;
                    }
                    None => self.overlong = true,
                }
                continue;
            }
            let (bytes, overlong) = (self.filled, self.overlong);
            self.filled = 0;
            self.overlong = false;
            if overlong {
                self.dropped = self.dropped.saturating_add(1);
            } else if bytes > 0 {
                return (taken, self.buffer.get_mut(..bytes));
            }
        }
        (taken, None)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::indexing_slicing, clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    fn header() -> Header {
        Header { version: 0, kind: Kind::Request, session: SessionId::from_bits(0x00C0_FFEE), sequence: 7 }
    }

    fn frame(body: &[u8]) -> std::vec::Vec<u8> {
        let mut out = std::vec![0; encoded_bytes(body.len() + 5)];
        let bytes = encode(header(), &body, &mut out).unwrap();
        out.truncate(bytes);
        out
    }

    #[test]
    fn crc_is_the_one_of_the_catalogue_in_one_piece_or_two() {
        // Check value of CRC-32/ISO-HDLC in the CRC RevEng catalogue.
        assert_eq!(crc32(b"123456789"), 0xCBF4_3926);
        let mut crc = RunningCrc::default();
        crc.update(b"1234");
        crc.update(b"56789");
        assert_eq!(crc.value(), 0xCBF4_3926);
    }

    #[test]
    fn a_frame_that_does_not_fit_is_refused_and_one_that_just_fits_is_not() {
        let whole = frame(&[1; 300]);
        for capacity in 0..whole.len() {
            let mut out = std::vec![0; capacity];
            assert_eq!(
                encode(header(), &[1u8; 300].as_slice(), &mut out),
                Err(FrameError::TooLarge { capacity })
            );
        }
        let mut out = std::vec![0; whole.len()];
        assert_eq!(encode(header(), &[1u8; 300].as_slice(), &mut out), Ok(whole.len()));
    }

    #[test]
    fn every_single_bit_flip_is_noticed() {
        let whole = frame(&[0, 1, 0, 0xFF, 2, 3, 0]);
        for bit in 0..(whole.len() - 1) * 8 {
            let mut flipped = whole.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let mut buffer = [0; 64];
            let mut decoder = Decoder::new(&mut buffer);
            let mut rest = flipped.as_slice();
            while !rest.is_empty() {
                let (taken, found) = decoder.feed(rest);
                rest = &rest[taken..];
                if let Some(found) = found {
                    assert!(decode(found).is_err(), "bit {bit}");
                }
            }
        }
    }

    #[test]
    fn another_version_is_named() {
        let mut out = [0; 64];
        let bytes = encode(Header { version: 9, ..header() }, &1u8, &mut out).unwrap();
        assert_eq!(decode(&mut out[..bytes - 1]), Err(FrameError::Version { received: 9 }));
    }

    #[test]
    fn bytes_behind_a_body_are_refused() {
        assert_eq!(decode_body::<u8>(&[1, 2]), Err(FrameError::Body { left_over: 1 }));
    }

    proptest! {
        #[test]
        fn body_bytes_and_encoded_bytes_agree(encoded in 0usize..4000) {
            let body = body_bytes(encoded);
            prop_assert!(body == 0 || encoded_bytes(body) <= encoded);
            prop_assert!(encoded_bytes(body + 1) > encoded);
        }

        #[test]
        fn what_is_framed_comes_back_after_any_garbage(
            garbage in proptest::collection::vec(any::<u8>(), 0..600),
            body in proptest::collection::vec(any::<u8>(), 0..600),
            cuts in proptest::collection::vec(1usize..40, 1..40),
        ) {
            let mut stream = garbage;
            stream.push(0);
            stream.extend(frame(&body));
            let mut buffer = [0; 1024];
            let mut decoder = Decoder::new(&mut buffer);
            let mut last = None;
            let mut rest = stream.as_slice();
            let mut cut = cuts.iter().cycle();
            while !rest.is_empty() {
                let now = rest.len().min(*cut.next().unwrap());
                let (taken, found) = decoder.feed(&rest[..now]);
                rest = &rest[taken..];
                if let Some(found) = found {
                    last = decode(found).ok().map(|(h, b)| (h, b.to_vec()));
                }
            }
            let (found, raw) = last.unwrap();
            prop_assert_eq!(found, header());
            prop_assert_eq!(decode_body::<&[u8]>(&raw).unwrap(), body.as_slice());
        }
    }
}
