//! Run coding of SPI bursts: a burst as segments of equal, counting, foreseeable or literal words, so that a register
//! scan of a converter costs a dozen bytes on the UART instead of hundreds. Lossless; no state between bursts.
//!
//! Each segment is one header byte (kind in the top 2 bits, count of words − 1 in the low 6) and a body:
//!
//! | kind | words | body |
//! | --- | --- | --- |
//! | 0 literal | as they are | all of them |
//! | 1 repeat | all equal | the first |
//! | 2 ramp | the first byte counts up by 1 (wrapping), the rest stays | the first |
//! | 3 foreseen | those of [`Foreseen`] | none |

use super::wire::FrameSize;

/// Most words one segment can hold.
pub const MAX_SEGMENT_WORDS: usize = 64;

/// What a segment's words look like. The numbers are the wire encoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// Every word is in the body.
    Literal = 0,
    /// Every word is the one in the body.
    Repeat = 1,
    /// As `Repeat`, but the first byte is one more (wrapping) in every word.
    Ramp = 2,
    /// The words that [`Foreseen`] tells; no body.
    Foreseen = 3,
}

/// First byte of a segment. Every byte is a valid one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    kind: Kind,
    words: u8,
}

impl Header {
    /// The header that `byte` stands for.
    pub fn from_byte(byte: u8) -> Self {
        let kind = match byte >> 6 {
            0 => Kind::Literal,
            1 => Kind::Repeat,
            2 => Kind::Ramp,
            _ => Kind::Foreseen,
        };
        Self { kind, words: (byte & 0x3F) + 1 }
    }

    /// The byte that stands for this header.
    pub fn to_byte(self) -> u8 {
        ((self.kind as u8) << 6) | (self.words - 1)
    }

    /// What the words look like.
    pub fn kind(self) -> Kind {
        self.kind
    }

    /// How many words, 1 to [`MAX_SEGMENT_WORDS`].
    pub fn words(self) -> usize {
        usize::from(self.words)
    }

    /// Bytes that follow the header on the wire.
    pub fn body_bytes(self, frame: FrameSize) -> usize {
        match self.kind {
            Kind::Literal => self.words() * frame.bytes(),
            Kind::Repeat | Kind::Ramp => frame.bytes(),
            Kind::Foreseen => 0,
        }
    }
}

/// The words a receiver can tell without being told.
#[derive(Clone, Copy, Debug)]
pub enum Foreseen<'a> {
    /// Towards the chip: zeros.
    Zeros,
    /// From the chip: what went to it one word earlier in the same burst (zeros for the first), as SPI registers that
    /// shift their last input out again do.
    Echo(&'a [u8]),
}

impl<'a> Foreseen<'a> {
    /// Word `index` of the burst; `None` stands for zeros.
    fn word(self, index: usize, frame: FrameSize) -> Option<&'a [u8]> {
        match self {
            Self::Zeros => None,
            Self::Echo(sent) => index.checked_sub(1).and_then(|earlier| word(sent, earlier, frame)),
        }
    }

    fn is(self, index: usize, frame: FrameSize, candidate: &[u8]) -> bool {
        match self.word(index, frame) {
            Some(word) => word == candidate,
            None => candidate.iter().all(|&byte| byte == 0),
        }
    }
}

fn word(burst: &[u8], index: usize, frame: FrameSize) -> Option<&[u8]> {
    let start = index.checked_mul(frame.bytes())?;
    burst.get(start..start.checked_add(frame.bytes())?)
}

/// One segment of an encoded burst.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment<'a> {
    /// Goes out first.
    pub header: Header,
    /// Goes out next.
    pub body: &'a [u8],
}

/// The segments of a burst, in order. The same burst always gives the same segments, and never more bytes than the
/// burst plus one per [`MAX_SEGMENT_WORDS`] words.
#[derive(Clone, Debug)]
pub struct Segments<'a> {
    burst: &'a [u8],
    frame: FrameSize,
    foreseen: Foreseen<'a>,
    next: usize,
}

/// Encodes `burst`, whose length is a multiple of `frame` (an incomplete last word is not coded).
pub fn encode<'a>(burst: &'a [u8], frame: FrameSize, foreseen: Foreseen<'a>) -> Segments<'a> {
    Segments { burst, frame, foreseen, next: 0 }
}

impl Segments<'_> {
    /// The longest run at word `at` that saves something even if it splits a literal segment (hence the 2: its own
    /// header and that of the literals behind it); the cheaper kind among equally long ones.
    fn run(&self, at: usize) -> Option<(Kind, usize)> {
        let first = word(self.burst, at, self.frame)?;
        let length = |fits: &dyn Fn(usize, &[u8]) -> bool| {
            (0..MAX_SEGMENT_WORDS)
                .take_while(|&n| word(self.burst, at + n, self.frame).is_some_and(|word| fits(n, word)))
                .count()
        };
        let foreseen = length(&|n, word| self.foreseen.is(at + n, self.frame, word));
        let repeat = length(&|_, word| word == first);
        let ramp = length(&|n, word| counts_up(first, n, word));
        let mut longest = None;
        let mut longest_words = 0;
        for (kind, words, body) in [
            (Kind::Foreseen, foreseen, 0),
            (Kind::Repeat, repeat, self.frame.bytes()),
            (Kind::Ramp, ramp, self.frame.bytes()),
        ] {
            if words > longest_words && words * self.frame.bytes() >= body + 2 {
                longest = Some((kind, words));
                longest_words = words;
            }
        }
        longest
    }
}

/// Whether `word` is what `first` becomes after `n` steps of a ramp.
fn counts_up(first: &[u8], n: usize, word: &[u8]) -> bool {
    match (first.split_first(), word.split_first()) {
        (Some((start, start_rest)), Some((byte, rest))) => {
            usize::from(byte.wrapping_sub(*start)) == n && start_rest == rest
        }
        _ => false,
    }
}

impl<'a> Iterator for Segments<'a> {
    type Item = Segment<'a>;

    fn next(&mut self) -> Option<Segment<'a>> {
        let at = self.next;
        word(self.burst, at, self.frame)?;
        let (kind, words) = self.run(at).unwrap_or_else(|| {
            let more = (at + 1..at + MAX_SEGMENT_WORDS)
                .take_while(|&i| word(self.burst, i, self.frame).is_some() && self.run(i).is_none())
                .count();
            (Kind::Literal, 1 + more)
        });
        self.next += words;
        let header = Header { kind, words: words as u8 };
        let start = at * self.frame.bytes();
        let body = self.burst.get(start..start + header.body_bytes(self.frame))?;
        Some(Segment { header, body })
    }
}

/// Why a burst could not be decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError<E> {
    /// A segment says more words than the burst still has room for.
    #[error("a segment of {segment} words where the burst has {left} left")]
    Overrun {
        /// Words of the segment.
        segment: usize,
        /// Words left in the burst.
        left: usize,
    },
    /// The bytes did not come.
    #[error("{0}")]
    Read(E),
}

/// Decodes one burst into `burst`, whose length says how many words it has; `read` fills its argument with the next
/// bytes from the wire.
pub fn decode<E>(
    mut burst: &mut [u8],
    frame: FrameSize,
    foreseen: Foreseen<'_>,
    mut read: impl FnMut(&mut [u8]) -> Result<(), E>,
) -> Result<(), DecodeError<E>> {
    let mut at = 0;
    while !burst.is_empty() {
        let mut header = [0];
        read(&mut header).map_err(DecodeError::Read)?;
        let [byte] = header;
        let header = Header::from_byte(byte);
        let left = burst.len() / frame.bytes();
        let (segment, rest) = burst
            .split_at_mut_checked(header.words() * frame.bytes())
            .ok_or(DecodeError::Overrun { segment: header.words(), left })?;
        if let Some(body) = segment.get_mut(..header.body_bytes(frame)) {
            read(body).map_err(DecodeError::Read)?;
        }
        expand(header.kind(), segment, frame, foreseen, at);
        at += header.words();
        burst = rest;
    }
    Ok(())
}

/// Completes `segment`, which starts with its body and is word `at` of its burst.
fn expand(kind: Kind, segment: &mut [u8], frame: FrameSize, foreseen: Foreseen<'_>, at: usize) {
    match kind {
        Kind::Literal => {}
        Kind::Repeat | Kind::Ramp => {
            let Some((first, rest)) = segment.split_at_mut_checked(frame.bytes()) else { return };
            let step = u8::from(kind == Kind::Ramp);
            let mut offset = 0u8;
            for word in rest.chunks_exact_mut(frame.bytes()) {
                offset = offset.wrapping_add(step);
                word.copy_from_slice(first);
                if let Some(byte) = word.first_mut() {
                    *byte = byte.wrapping_add(offset);
                }
            }
        }
        Kind::Foreseen => {
            for (n, word) in segment.chunks_exact_mut(frame.bytes()).enumerate() {
                match foreseen.word(at + n, frame) {
                    Some(foreseen) => word.copy_from_slice(foreseen),
                    None => word.fill(0),
                }
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    extern crate std;
    use super::*;
    use proptest::prelude::*;
    use std::vec;
    use std::vec::Vec;

    fn frame(bytes: usize) -> FrameSize {
        FrameSize::new(bytes).unwrap()
    }

    fn bytes_of(burst: &[u8], frame: FrameSize, foreseen: Foreseen<'_>) -> Vec<u8> {
        encode(burst, frame, foreseen)
            .flat_map(|segment| [&[segment.header.to_byte()], segment.body].concat())
            .collect()
    }

    fn decoded(
        mut wire: &[u8],
        length: usize,
        frame: FrameSize,
        foreseen: Foreseen<'_>,
    ) -> Result<Vec<u8>, DecodeError<&'static str>> {
        let mut burst = vec![0xAA; length];
        decode(&mut burst, frame, foreseen, |into| {
            let (now, later) = wire.split_at_checked(into.len()).ok_or("wire ended")?;
            into.copy_from_slice(now);
            wire = later;
            Ok(())
        })?;
        assert!(wire.is_empty(), "{} bytes not read", wire.len());
        Ok(burst)
    }

    #[test]
    fn a_register_scan_is_one_ramp() {
        let scan: Vec<u8> = (0..32).flat_map(|n| [0x80 + n, 0, 0]).collect();
        assert_eq!(bytes_of(&scan, frame(3), Foreseen::Zeros), [0x80 | 31, 0x80, 0, 0]);
    }

    #[test]
    fn equal_codes_but_one_are_two_ramps_around_a_literal() {
        let mut scan: Vec<u8> = (0..16).flat_map(|n| [0x80 + n, 0x12, 0x34]).collect();
        scan[21] = 0x87;
        scan[22] = 0xC0;
        assert_eq!(
            bytes_of(&scan, frame(3), Foreseen::Zeros),
            [0x80 | 6, 0x80, 0x12, 0x34, 0x00, 0x87, 0xC0, 0x34, 0x80 | 7, 0x88, 0x12, 0x34]
        );
    }

    #[test]
    fn reading_a_converter_sends_one_byte_of_zeros() {
        assert_eq!(bytes_of(&[0; 18], frame(18), Foreseen::Zeros), [0xC0]);
    }

    #[test]
    fn echoed_writes_cost_one_byte() {
        let sent = [0x10, 1, 2, 0x22, 3, 4, 0x31, 5, 6, 0xFF, 0, 0];
        let received = [0, 0, 0, 0x10, 1, 2, 0x22, 3, 4, 0x31, 5, 6];
        assert_eq!(bytes_of(&received, frame(3), Foreseen::Echo(&sent)), [0xC0 | 3]);
    }

    #[test]
    fn an_empty_burst_is_no_segment() {
        assert_eq!(encode(&[], frame(3), Foreseen::Zeros).count(), 0);
    }

    #[test]
    fn a_segment_beyond_the_burst_is_refused() {
        assert_eq!(
            decoded(&[0xC0 | 2], 6, frame(3), Foreseen::Zeros),
            Err(DecodeError::Overrun { segment: 3, left: 2 })
        );
    }

    #[test]
    fn every_header_byte_survives() {
        for byte in 0..=255 {
            assert_eq!(Header::from_byte(byte).to_byte(), byte);
        }
    }

    proptest! {
        // Few byte values, so that runs, ramps and echoes of every length turn up.
        #[test]
        fn what_is_encoded_decodes_to_itself_and_hardly_grows(
            size in prop_oneof![1usize..=4, Just(18usize), Just(32usize)],
            pairs in prop::collection::vec((0u8..3, 0u8..3), 0..128),
            steps in prop::bool::ANY,
            echo in prop::bool::ANY,
        ) {
            let frame = frame(size);
            let burst = |pick: &dyn Fn(&(u8, u8)) -> u8| -> Vec<u8> {
                pairs.iter().enumerate().flat_map(|(n, pair)| {
                    let mut word = vec![0; size];
                    word[0] = pick(pair).wrapping_add(if steps { n as u8 } else { 0 });
                    word[size - 1] ^= pick(pair) & 1;
                    word
                }).collect()
            };
            let (sent, received) = (burst(&|p| p.0), burst(&|p| p.1 & p.0));
            let foreseen = if echo { Foreseen::Echo(&sent) } else { Foreseen::Zeros };
            let wire = bytes_of(&received, frame, foreseen);
            prop_assert!(wire.len() <= received.len() + pairs.len().div_ceil(MAX_SEGMENT_WORDS));
            prop_assert_eq!(decoded(&wire, received.len(), frame, foreseen).unwrap(), received);
        }

        #[test]
        fn garbage_is_decoded_or_refused(wire in prop::collection::vec(any::<u8>(), 0..64), words in 0usize..128) {
            let mut wire = &wire[..];
            let mut burst = vec![0; words * 3];
            let sent = vec![7; words * 3];
            let _ = decode(&mut burst, frame(3), Foreseen::Echo(&sent), |into| {
                let (now, later) = wire.split_at_checked(into.len()).ok_or("wire ended")?;
                into.copy_from_slice(now);
                wire = later;
                Ok::<_, &str>(())
            });
        }
    }
}
