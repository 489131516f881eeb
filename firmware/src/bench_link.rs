//! A [`Bench`] at the far end of a byte stream: each call becomes an operation of `docs/bench-protocol.md`, of which
//! only those that return something wait for the bench.

use embedded_io::{Read, Write};
use ohmrig_protocol::bench::recall::{self, Memory};
use ohmrig_protocol::bench::runs::{self, DecodeError, Foreseen};
use ohmrig_protocol::bench::wire::{self, Check, Fault, FrameSize, SelectBytes, Status, Varint, opcode};
use ohmrig_protocol::bench::{Bench, BenchInfo, ChipSelect, OutputLine};

/// Bytes that may precede the answer to a greeting: what an earlier conversation left in the stream.
const MAX_STALE_BYTES: usize = 4096;

/// Bursts no longer than this are recalled only when they are the same: switches that go back and forth then have a
/// place for each.
const SHORT_BURST_BYTES: usize = 8 * recall::FRAME;

/// Why a call could not be carried to the bench.
///
/// The first group ends the conversation: the bench may have seen other operations than were sent, and every later
/// call gets [`LinkError::Broken`]. The second refuses a call before a byte of it is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LinkError<E> {
    /// The byte stream failed; a time-out of its own is what turns a lost byte into this.
    #[error("byte stream to the bench: {0}")]
    Io(E),
    /// The byte stream ended.
    #[error("byte stream to the bench ended")]
    Closed,
    /// No bench answered the greeting.
    #[error("no bench answers: {skipped} bytes came, none of them an answer to the greeting")]
    NoBench {
        /// Bytes that came instead.
        skipped: usize,
    },
    /// The bench speaks another version.
    #[error("bench protocol version {bench} at the bench, {link} here")]
    Version {
        /// The version of this link.
        link: u16,
        /// The version of the bench.
        bench: u16,
    },
    /// A reply starts with a byte that no reply starts with.
    #[error("reply of the bench starts with {0:#04x}: the conversation has lost or gained bytes")]
    Status(u8),
    /// Bytes were lost, added or changed in either direction.
    #[error("check {received:#06x} at the bench, {computed:#06x} here: bytes were lost, added or changed")]
    Check {
        /// What the bench sent.
        received: u16,
        /// What this end computed.
        computed: u16,
    },
    /// The reply has a segment beyond the burst it answers.
    #[error("reply of the bench has a segment of {segment} words where {left} are left")]
    Overrun {
        /// Words of the segment.
        segment: usize,
        /// Words left in the burst.
        left: usize,
    },
    /// The bench ended the conversation at an operation.
    #[error("bench fails at operation {opcode:#04x}: {fault}")]
    Failed {
        /// The operation, perhaps a posted one some time ago.
        opcode: u8,
        /// What was wrong with it.
        fault: Fault,
    },
    /// As `Failed`, with a fault this end doesn't know.
    #[error("bench fails at operation {opcode:#04x} with unknown fault {fault}")]
    UnknownFault {
        /// The operation.
        opcode: u8,
        /// The fault's number.
        fault: u8,
    },
    /// The bench's clock is not where calls have put it.
    #[error("instrument clock {bench} ns at the bench, {link} ns here")]
    Clock {
        /// What this end knew, or the time of the reply before.
        link: u64,
        /// What the bench told.
        bench: u64,
    },
    /// An earlier error ended the conversation; connect again.
    #[error("an earlier error ended the conversation with the bench")]
    Broken,

    /// A frame of a size that the protocol doesn't carry.
    #[error("SPI frame of {bytes} bytes; {min} to {max} are possible", min = 1, max = FrameSize::MAX)]
    FrameSize {
        /// Bytes per frame as asked.
        bytes: usize,
    },
    /// A burst whose last frame is incomplete.
    #[error("SPI burst of {bytes} bytes is no multiple of its frame, {frame} bytes")]
    NotWholeFrames {
        /// Bytes of the burst.
        bytes: usize,
        /// Bytes per frame.
        frame: usize,
    },
    /// A transfer whose two directions differ in length.
    #[error("SPI transfer of {out} bytes out and {input} bytes in")]
    UnequalLengths {
        /// Bytes to send.
        out: usize,
        /// Bytes to receive.
        input: usize,
    },
    /// An I²C transaction longer than the protocol carries.
    #[error("I2C transaction of {bytes} bytes; {max} are possible", max = wire::MAX_I2C_BYTES)]
    I2cLength {
        /// Bytes of the longer direction.
        bytes: usize,
    },
    /// More codes of the microcontroller's ADC than the protocol carries.
    #[error("{codes} ADC codes; {max} are possible", max = wire::MAX_ADC_CODES)]
    AdcLength {
        /// Codes asked for.
        codes: usize,
    },
    /// A flash access beyond 32-bit offsets.
    #[error("flash access of {bytes} bytes from {offset} ends beyond 32-bit offsets")]
    FlashRange {
        /// Its first byte.
        offset: u32,
        /// Its length.
        bytes: usize,
    },
}

type Result<T, IO> = core::result::Result<T, LinkError<<IO as embedded_io::ErrorType>::Error>>;

/// A bench reached over `IO`. `IO`'s `read` must end with an error when the bench has been silent for long (seconds):
/// that is how a byte lost on the way doesn't wait for ever.
#[derive(Debug)]
pub struct BenchLink<'m, IO> {
    conversation: Conversation<'m, IO>,
    info: BenchInfo,
    broken: bool,
}

impl<'m, IO: Read + Write> BenchLink<'m, IO> {
    /// Greets the bench. `memory`, which is long, is to hold the last bursts and must not have any yet.
    pub fn connect(io: IO, memory: &'m mut Memory) -> Result<Self, IO> {
        let mut conversation = Conversation { io, check: Check::default(), told: 0, clock: None, memory };
        let info = conversation.greet()?;
        Ok(Self { conversation, info, broken: false })
    }

    /// Runs `call`; an error of it is the last word of the conversation.
    fn say<T>(&mut self, call: impl FnOnce(&mut Conversation<'m, IO>) -> Result<T, IO>) -> Result<T, IO> {
        if self.broken {
            return Err(LinkError::Broken);
        }
        let result = call(&mut self.conversation);
        self.broken = result.is_err();
        result
    }
}

/// The stream, and what both ends know.
#[derive(Debug)]
struct Conversation<'m, IO> {
    io: IO,
    check: Check,
    /// The clock as of the last reply.
    told: u64,
    /// The clock now, unless transactions of unknown length were posted since it was last known.
    clock: Option<u64>,
    memory: &'m mut Memory,
}

impl<IO: Read + Write> Conversation<'_, IO> {
    fn send(&mut self, bytes: &[u8]) -> Result<(), IO> {
        send_through(&mut self.io, &mut self.check, bytes)
    }

    /// Reads without taking the bytes into the check.
    fn read(&mut self, mut into: &mut [u8]) -> Result<(), IO> {
        while !into.is_empty() {
            let read = self.io.read(into).map_err(LinkError::Io)?;
            into = into.get_mut(read..).filter(|_| read > 0).ok_or(LinkError::Closed)?;
        }
        Ok(())
    }

    fn receive(&mut self, into: &mut [u8]) -> Result<(), IO> {
        self.read(into)?;
        self.check.update(into);
        Ok(())
    }

    fn send_word(&mut self, opcode: u8, word: u16) -> Result<(), IO> {
        let [low, high] = word.to_le_bytes();
        self.send(&[opcode, low, high])
    }

    fn receive_array<const N: usize>(&mut self) -> Result<[u8; N], IO> {
        let mut bytes = [0; N];
        self.receive(&mut bytes)?;
        Ok(bytes)
    }

    fn greet(&mut self) -> Result<BenchInfo, IO> {
        self.send(&wire::HELLO)?;
        self.send(&wire::VERSION.to_le_bytes())?;
        self.io.flush().map_err(LinkError::Io)?;
        let mut latest = [0; wire::HELLO_REPLY.len()];
        let mut skipped = 0;
        while latest != wire::HELLO_REPLY {
            if skipped == MAX_STALE_BYTES {
                return Err(LinkError::NoBench { skipped });
            }
            let mut byte = [0];
            self.read(&mut byte)?;
            latest.rotate_left(1);
            if let (Some(last), [byte]) = (latest.last_mut(), byte) {
                *last = byte;
            }
            skipped += 1;
        }
        self.check.update(&wire::HELLO_REPLY);
        let bench = u16::from_le_bytes(self.receive_array()?);
        if bench != wire::VERSION {
            return Err(LinkError::Version { link: wire::VERSION, bench });
        }
        let mut info = [0; wire::INFO_BYTES];
        self.reply(Time::MayPass, |conversation| conversation.receive(&mut info))?;
        Ok(wire::info_from_bytes(&info))
    }

    /// Awaits the reply to what was sent last; `data` receives the part that depends on the operation.
    fn reply(&mut self, time: Time, data: impl FnOnce(&mut Self) -> Result<(), IO>) -> Result<bool, IO> {
        self.io.flush().map_err(LinkError::Io)?;
        let [status] = self.receive_array()?;
        let (answer, clock_bytes) = match Status::from_byte(status) {
            Some(Status::Done { answer, clock_bytes }) => (answer, clock_bytes),
            Some(Status::Failed) => {
                let [fault, opcode] = self.receive_array()?;
                return Err(match Fault::from_byte(fault) {
                    Some(fault) => LinkError::Failed { opcode, fault },
                    None => LinkError::UnknownFault { opcode, fault },
                });
            }
            None => return Err(LinkError::Status(status)),
        };
        let mut clock = [0; 8];
        let told = clock.get_mut(..clock_bytes).ok_or(LinkError::Status(status))?;
        self.receive(told)?;
        let now = wire::clock_from(self.told, told);
        data(self)?;
        let computed = self.check.value();
        let mut received = [0; 2];
        self.read(&mut received)?;
        let received = u16::from_le_bytes(received);
        if received != computed {
            return Err(LinkError::Check { received, computed });
        }
        let (earliest, latest) = match (time, self.clock) {
            (Time::Stands, Some(clock)) => (clock, clock),
            (_, clock) => (clock.unwrap_or(self.told), u64::MAX),
        };
        if !(earliest..=latest).contains(&now) {
            return Err(LinkError::Clock { link: earliest, bench: now });
        }
        self.told = now;
        self.clock = Some(now);
        Ok(answer)
    }

    fn ask(&mut self, operation: &[u8]) -> Result<bool, IO> {
        self.send(operation)?;
        self.reply(Time::Stands, |_| Ok(()))
    }

    /// Sends one SPI operation; `opcodes` are those for any frame, for 3 and for 18 bytes.
    fn send_burst(
        &mut self,
        [any, three, eighteen]: [u8; 3],
        select: ChipSelect,
        frame: FrameSize,
        out: &[u8],
    ) -> Result<(), IO> {
        let select = SelectBytes::new(select);
        let words = (out.len() / frame.bytes()) as u8;
        match frame.bytes() {
            3 => self.send(&[three])?,
            18 => self.send(&[eighteen])?,
            _ => self.send(&[any])?,
        }
        self.send(select.bytes())?;
        match frame.bytes() {
            3 | 18 => self.send(&[words])?,
            bytes => self.send(&[bytes as u8, words])?,
        }
        for segment in runs::encode(out, frame, Foreseen::Zeros) {
            self.send(&[segment.header.to_byte()])?;
            self.send(segment.body)?;
        }
        Ok(())
    }

    /// A burst as what differs from a remembered one, if that is shorter; whether it was.
    fn recall(&mut self, select: ChipSelect, sent: &[u8], input: &mut [u8]) -> Result<bool, IO> {
        let Some((place, count)) = self.memory.nearest(select, sent) else { return Ok(false) };
        let frame = FrameSize::new(recall::FRAME).ok_or(LinkError::FrameSize { bytes: recall::FRAME })?;
        let coded: usize =
            runs::encode(sent, frame, Foreseen::Zeros).map(|segment| 1 + segment.body.len()).sum();
        if 1 + count * (1 + recall::FRAME) > coded || count > 0 && sent.len() <= SHORT_BURST_BYTES {
            return Ok(false);
        }
        // Below the frames of a burst.
        self.send(&[opcode::SPI_RECALL, place, count as u8])?;
        let Self { io, check, memory, .. } = self;
        for (at, [a, b, c]) in memory.sent_differences(place, sent) {
            send_through(io, check, &[at, a, b, c])?;
        }
        self.reply(Time::MayPass, |conversation| {
            let [count] = conversation.receive_array()?;
            if count == wire::RUN_CODED {
                return conversation.receive_burst(frame, sent, input);
            }
            conversation.memory.received(place, input);
            let (words, _) = input.as_chunks_mut::<{ recall::FRAME }>();
            for _ in 0..count {
                let [at, word @ ..] = conversation.receive_array::<{ 1 + recall::FRAME }>()?;
                let left = words.len();
                *words.get_mut(usize::from(at)).ok_or(LinkError::Overrun { segment: at.into(), left })? =
                    word;
            }
            Ok(())
        })?;
        self.memory.replace(place, sent, input);
        Ok(true)
    }

    fn receive_burst(&mut self, frame: FrameSize, sent: &[u8], input: &mut [u8]) -> Result<(), IO> {
        runs::decode(input, frame, Foreseen::Echo(sent), |bytes| self.receive(bytes)).map_err(|error| {
            match error {
                DecodeError::Read(error) => error,
                DecodeError::Overrun { segment, left } => LinkError::Overrun { segment, left },
            }
        })
    }
}

fn send_through<IO: Write>(io: &mut IO, check: &mut Check, mut bytes: &[u8]) -> Result<(), IO> {
    check.update(bytes);
    while !bytes.is_empty() {
        let written = io.write(bytes).map_err(LinkError::Io)?;
        bytes = bytes.get(written..).filter(|_| written > 0).ok_or(LinkError::Closed)?;
    }
    Ok(())
}

/// Whether instrument time may pass in an operation.
#[derive(Clone, Copy, Debug)]
enum Time {
    Stands,
    MayPass,
}

fn checked_frame<E>(bytes: usize, out: &[u8]) -> core::result::Result<FrameSize, LinkError<E>> {
    let frame = FrameSize::new(bytes).ok_or(LinkError::FrameSize { bytes })?;
    if out.len().is_multiple_of(bytes) {
        Ok(frame)
    } else {
        Err(LinkError::NotWholeFrames { bytes: out.len(), frame: bytes })
    }
}

/// The chunks of a flash access of `bytes` bytes from `offset`: offset and length − 1 as on the wire.
fn flash_head(opcode: u8, offset: u32, chunk: &[u8]) -> [u8; 6] {
    let [a, b, c, d] = offset.to_le_bytes();
    [opcode, a, b, c, d, chunk.len().saturating_sub(1) as u8]
}

/// The offset of each chunk of a flash access.
fn flash_offsets<E>(
    offset: u32,
    bytes: usize,
) -> core::result::Result<impl Iterator<Item = u32>, LinkError<E>> {
    let last = u32::try_from(bytes).ok().and_then(|bytes| offset.checked_add(bytes));
    let end = last.ok_or(LinkError::FlashRange { offset, bytes })?;
    Ok((offset..end).step_by(wire::MAX_FLASH_CHUNK))
}

impl<IO: Read + Write> Bench for BenchLink<'_, IO> {
    type Error = LinkError<IO::Error>;

    fn info(&mut self) -> Result<BenchInfo, IO> {
        Ok(self.info)
    }

    fn now_ns(&mut self) -> Result<u64, IO> {
        self.say(|conversation| {
            if let Some(clock) = conversation.clock {
                return Ok(clock);
            }
            conversation.ask(&[opcode::NOW])?;
            Ok(conversation.told)
        })
    }

    fn wait_until_ns(&mut self, at_ns: u64) -> Result<(), IO> {
        self.say(|conversation| {
            match conversation.clock.map(|clock| at_ns.checked_sub(clock)) {
                Some(Some(ns)) => {
                    conversation.send(&[opcode::WAIT])?;
                    conversation.send(Varint::new(ns).bytes())?;
                    conversation.clock = Some(at_ns);
                }
                // With the clock unknown it stays so: `at_ns` may have passed.
                Some(None) | None => {
                    conversation.send(&[opcode::WAIT_UNTIL])?;
                    conversation.send(&at_ns.to_le_bytes())?;
                }
            }
            Ok(())
        })
    }

    fn spi_write(&mut self, select: ChipSelect, frame: usize, out: &[u8]) -> Result<(), IO> {
        let frame = checked_frame(frame, out)?;
        self.say(|conversation| {
            for burst in out.chunks(frame.max_words() * frame.bytes()) {
                let opcodes = [opcode::SPI_WRITE, opcode::SPI_WRITE_3, opcode::SPI_WRITE_18];
                conversation.send_burst(opcodes, select, frame, burst)?;
                conversation.clock = None;
            }
            Ok(())
        })
    }

    fn spi_transfer(
        &mut self,
        select: ChipSelect,
        frame: usize,
        out: &[u8],
        input: &mut [u8],
    ) -> Result<(), IO> {
        let frame = checked_frame(frame, out)?;
        if out.len() != input.len() {
            return Err(LinkError::UnequalLengths { out: out.len(), input: input.len() });
        }
        self.say(|conversation| {
            let bytes = frame.max_words() * frame.bytes();
            for (burst, back) in out.chunks(bytes).zip(input.chunks_mut(bytes)) {
                let remembered = recall::is_remembered(frame.bytes(), burst.len());
                if remembered && conversation.recall(select, burst, back)? {
                    continue;
                }
                let opcodes = [opcode::SPI_TRANSFER, opcode::SPI_TRANSFER_3, opcode::SPI_TRANSFER_18];
                conversation.send_burst(opcodes, select, frame, burst)?;
                conversation
                    .reply(Time::MayPass, |conversation| conversation.receive_burst(frame, burst, back))?;
                if remembered {
                    conversation.memory.remember(select, burst, back);
                }
            }
            Ok(())
        })
    }

    fn i2c(&mut self, address: u8, out: &[u8], input: &mut [u8]) -> Result<bool, IO> {
        let bytes = out.len().max(input.len());
        if bytes > wire::MAX_I2C_BYTES {
            return Err(LinkError::I2cLength { bytes });
        }
        self.say(|conversation| {
            conversation.send(&[opcode::I2C, address, out.len() as u8, input.len() as u8])?;
            conversation.send(out)?;
            conversation.reply(Time::MayPass, |conversation| conversation.receive(input))
        })
    }

    fn set_output(&mut self, line: OutputLine, high: bool) -> Result<(), IO> {
        self.say(|conversation| conversation.send(&[opcode::SET_OUTPUT, wire::output_byte(line, high)]))
    }

    fn start_pulse(&mut self, width_ns: u32) -> Result<(), IO> {
        self.say(|conversation| {
            conversation.send(&[opcode::START_PULSE])?;
            conversation.send(Varint::new(width_ns.into()).bytes())
        })
    }

    fn stop_pulse(&mut self) -> Result<(), IO> {
        self.say(|conversation| conversation.send(&[opcode::STOP_PULSE]))
    }

    fn pulse_done(&mut self) -> Result<bool, IO> {
        self.say(|conversation| conversation.ask(&[opcode::PULSE_DONE]))
    }

    fn start_conversion(&mut self) -> Result<(), IO> {
        self.say(|conversation| conversation.send(&[opcode::START_CONVERSION]))
    }

    fn supply_good(&mut self) -> Result<bool, IO> {
        self.say(|conversation| conversation.ask(&[opcode::SUPPLY_GOOD]))
    }

    fn conversion_done(&mut self) -> Result<bool, IO> {
        self.say(|conversation| conversation.ask(&[opcode::CONVERSION_DONE]))
    }

    fn flash_read(&mut self, offset: u32, into: &mut [u8]) -> Result<(), IO> {
        let offsets = flash_offsets(offset, into.len())?;
        self.say(|conversation| {
            for (offset, chunk) in offsets.zip(into.chunks_mut(wire::MAX_FLASH_CHUNK)) {
                conversation.send(&flash_head(opcode::FLASH_READ, offset, chunk))?;
                conversation.reply(Time::Stands, |conversation| conversation.receive(chunk))?;
            }
            Ok(())
        })
    }

    fn flash_write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), IO> {
        let offsets = flash_offsets(offset, bytes.len())?;
        self.say(|conversation| {
            for (offset, chunk) in offsets.zip(bytes.chunks(wire::MAX_FLASH_CHUNK)) {
                conversation.send(&flash_head(opcode::FLASH_WRITE, offset, chunk))?;
                conversation.ask(chunk)?;
            }
            Ok(())
        })
    }

    fn flash_erase(&mut self, offset: u32) -> Result<(), IO> {
        self.say(|conversation| {
            conversation.send(&[opcode::FLASH_ERASE])?;
            conversation.ask(&offset.to_le_bytes())?;
            Ok(())
        })
    }

    fn set_switches(&mut self, closed: u16) -> Result<(), IO> {
        self.say(|conversation| conversation.send_word(opcode::SET_SWITCHES, closed))
    }

    fn arm_switches(&mut self, closed: u16) -> Result<(), IO> {
        self.say(|conversation| conversation.send_word(opcode::ARM_SWITCHES, closed))
    }

    fn set_dac(&mut self, code: u16) -> Result<(), IO> {
        self.say(|conversation| conversation.send_word(opcode::SET_DAC, code))
    }

    fn read_adc(&mut self, first: u8, codes: &mut [u16]) -> Result<(), IO> {
        let mut bytes = [0; 2 * wire::MAX_ADC_CODES];
        let Some(bytes) = bytes.get_mut(..2 * codes.len()) else {
            return Err(LinkError::AdcLength { codes: codes.len() });
        };
        self.say(|conversation| {
            conversation.send(&[opcode::READ_ADC, first, codes.len() as u8])?;
            conversation.reply(Time::Stands, |conversation| conversation.receive(bytes))
        })?;
        for (code, bytes) in codes.iter_mut().zip(bytes.as_chunks::<2>().0) {
            *code = u16::from_le_bytes(*bytes);
        }
        Ok(())
    }
}
