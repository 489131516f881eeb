//! The message of a panic, kept in memory that a reset leaves alone, for the boot after it to tell.

use core::fmt;

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

    /// Keeps `words`, cut to what there is room for.
    pub fn keep(&mut self, words: fmt::Arguments<'_>) {
        *self = Self::NONE;
        let mut writer = Writer { words: self, length: 0 };
        // It only ends early, and then what fitted is what there is.
        let _ = fmt::write(&mut writer, words);
        let length = writer.length;
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

struct Writer<'w> {
    words: &'w mut LastWords,
    length: usize,
}

impl fmt::Write for Writer<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            *self.words.text.get_mut(self.length).ok_or(fmt::Error)? = byte;
            self.length += 1;
        }
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_told_once() {
        let mut words = LastWords::NONE;
        words.keep(format_args!("row {} of {}", 17, 16));
        assert_eq!(words.take().unwrap().as_str(), "row 17 of 16");
        assert!(words.take().is_none());
    }

    #[test]
    fn what_power_on_left_is_no_message() {
        let mut noise = LastWords { mark: 0x1234_5678, length: 7, crc: 1, text: [0xA5; CAPACITY] };
        assert!(noise.take().is_none());
        let mut nearly = LastWords::NONE;
        nearly.keep(format_args!("panicked"));
        nearly.text[0] ^= 1;
        assert!(nearly.take().is_none());
        let mut longer_than_there_is =
            LastWords { mark: MARK, length: u32::MAX, crc: 0, text: [0; CAPACITY] };
        assert!(longer_than_there_is.take().is_none());
    }

    #[test]
    fn a_long_message_is_cut_between_characters() {
        let mut words = LastWords::NONE;
        words.keep(format_args!("{}µµ", std::string::String::from("x").repeat(CAPACITY - 1)));
        assert_eq!(words.take().unwrap().as_str(), "x".repeat(CAPACITY - 1));
    }
}
