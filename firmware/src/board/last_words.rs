//! The message of a panic, kept in memory that a reset leaves alone, for the boot after it to tell.

/// Says that what follows was written by us and not by power-on.
const MARK: u32 = 0x6f68_6d21;
/// Bytes of the message; the rest of a longer one is lost.
pub const CAPACITY: usize = 160;

/// One message. All bit patterns are valid: after power-on the memory holds anything.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct LastWords {
    mark: u32,
    length: u32,
    crc: u32,
    text: [u8; CAPACITY],
}

impl LastWords {
    /// No message.
    pub const NONE: Self = Self { mark: 0, length: 0, crc: 0, text: [0; CAPACITY] };

    /// Keeps `words`, one behind the other, cut to what there is room for.
    pub fn keep(&mut self, words: &[Word<'_>]) {
        let mut room = self.text.iter_mut();
        let mut write = |bytes: &[u8]| room.by_ref().zip(bytes).map(|(to, from)| *to = *from).count();
        let mut length = 0;
        for word in words {
            length += match *word {
                Word::Text(text) => write(text.as_bytes()),
                Word::Decimal(number) => number_digits(number, 10, &mut write),
                Word::Hexadecimal(number) => number_digits(number, 16, &mut write),
            };
        }
        self.length = u32::try_from(length).unwrap_or(0);
        self.crc = ohmrig_protocol::frame::crc32(self.text.get(..length).unwrap_or_default());
        self.mark = MARK;
    }

    /// The message, if there is a whole one; and forgets it.
    pub fn take(&mut self) -> Option<Message> {
        let kept = core::mem::replace(self, Self::NONE);
        let length = usize::try_from(kept.length).ok()?;
        let text = kept.text.get(..length)?;
        let whole = kept.mark == MARK && ohmrig_protocol::frame::crc32(text) == kept.crc;
        whole.then_some(Message { length, text: kept.text })
    }
}

/// A message that was kept.
#[derive(Clone, Copy, Debug)]
pub struct Message {
    length: usize,
    text: [u8; CAPACITY],
}

impl Message {
    /// Its text, up to the first byte that is no UTF-8 (a message may have been cut within a character).
    pub fn as_str(&self) -> &str {
        let text = self.text.get(..self.length).unwrap_or_default();
        match core::str::from_utf8(text) {
            Ok(text) => text,
            Err(error) => {
                let whole = text.get(..error.valid_up_to()).unwrap_or_default();
                core::str::from_utf8(whole).unwrap_or_default()
            }
        }
    }
}

/// A part of a message. A panic's own arguments aren't here: their formatting takes 3 KB of `core::fmt`, which nothing else
/// in an image needs, and what a panic is about is clear from its place.
#[derive(Clone, Copy, Debug)]
pub enum Word<'w> {
    /// As it is.
    Text(&'w str),
    /// Without leading zeros.
    Decimal(u32),
    /// The same, small letters.
    Hexadecimal(u32),
}

fn number_digits(number: u32, base: u32, write: &mut dyn FnMut(&[u8]) -> usize) -> usize {
    let mut digits = [0; 10];
    let mut left = number;
    let mut first = digits.len();
    for (index, digit) in digits.iter_mut().enumerate().rev() {
        #[allow(clippy::cast_possible_truncation)] // Less than 16.
        let value = (left % base) as u8;
        *digit = if value < 10 { b'0' + value } else { b'a' + value - 10 };
        left /= base;
        first = index;
        if left == 0 {
            break;
        }
    }
    write(digits.get(first..).unwrap_or_default())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_told_once() {
        let mut words = LastWords::NONE;
        words.keep(&[Word::Text("row "), Word::Decimal(17), Word::Text(" of "), Word::Decimal(0)]);
        assert_eq!(words.take().unwrap().as_str(), "row 17 of 0");
        assert!(words.take().is_none());
        words.keep(&[Word::Hexadecimal(0x0800_a1ef), Word::Text(" "), Word::Decimal(u32::MAX)]);
        assert_eq!(words.take().unwrap().as_str(), "800a1ef 4294967295");
    }

    #[test]
    fn what_power_on_left_is_no_message() {
        let mut noise = LastWords { mark: 0x1234_5678, length: 7, crc: 1, text: [0xA5; CAPACITY] };
        assert!(noise.take().is_none());
        let mut nearly = LastWords::NONE;
        nearly.keep(&[Word::Text("panicked")]);
        nearly.text[0] ^= 1;
        assert!(nearly.take().is_none());
        let mut longer_than_there_is =
            LastWords { mark: MARK, length: u32::MAX, crc: 0, text: [0; CAPACITY] };
        assert!(longer_than_there_is.take().is_none());
    }

    #[test]
    fn a_long_message_is_cut_between_characters() {
        let mut words = LastWords::NONE;
        words.keep(&[Word::Text(&"x".repeat(CAPACITY - 1)), Word::Text("µµ"), Word::Decimal(1)]);
        assert_eq!(words.take().unwrap().as_str(), "x".repeat(CAPACITY - 1));
    }
}
