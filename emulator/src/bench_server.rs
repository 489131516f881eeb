//! The bench's end of `docs/bench-protocol.md`, without I/O: bytes from the firmware in, calls to a [`Bench`] and bytes
//! to the firmware out. Whatever comes in, it neither panics nor stores more than one operation.

use alloc::vec;
use alloc::vec::Vec;
use ohmrig_protocol::bench::runs::{self, DecodeError, Foreseen};
use ohmrig_protocol::bench::wire::{self, Check, Fault, FrameSize, SelectBytes, Status, Varint, opcode};
use ohmrig_protocol::bench::{Bench, ChipSelect, OutputLine};

/// Why a conversation ended. The firmware is told in bytes; this is for the bench's own log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ServerError<E> {
    /// The firmware speaks another version of the protocol.
    #[error("bench protocol version {firmware} at the firmware, {bench} here")]
    Version {
        /// The version in the greeting.
        firmware: u16,
        /// The version of this bench.
        bench: u16,
    },
    /// No operation has this opcode.
    #[error("no operation has opcode {0:#04x}")]
    UnknownOpcode(u8),
    /// An operation with an argument outside its range.
    #[error("operation {opcode:#04x}: {argument} is outside its range")]
    BadArgument {
        /// The operation.
        opcode: u8,
        /// Which argument.
        argument: &'static str,
    },
    /// The bench could not do it.
    #[error("operation {opcode:#04x}: {error:?}")]
    Bench {
        /// The operation.
        opcode: u8,
        /// What the bench says.
        error: E,
    },
}

/// One firmware's conversation with a bench.
#[derive(Debug, Default)]
pub struct BenchServer {
    /// The operation being received.
    operation: Vec<u8>,
    /// It can't be complete before it has so many bytes.
    needed: usize,
    /// Whether a greeting was accepted and nothing went wrong since.
    greeted: bool,
    /// Bytes of a greeting's start seen at the end of the stream.
    hello: usize,
    check: Check,
    /// The clock in the last reply.
    told: u64,
}

impl BenchServer {
    /// A server that waits for a greeting.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes in bytes from the firmware, in chunks of any size, does what they say on `bench`, and appends what the
    /// firmware must be sent to `out`. All of `bytes` is used up in any case; an error is the first that ended a
    /// conversation, after which everything up to the next greeting was or will be ignored.
    pub fn feed<B: Bench>(
        &mut self,
        bytes: &[u8],
        bench: &mut B,
        out: &mut Vec<u8>,
    ) -> Result<(), ServerError<B::Error>> {
        let mut result = Ok(());
        for &byte in bytes {
            result = result.and(self.take(byte, bench, out));
        }
        result
    }

    fn take<B: Bench>(
        &mut self,
        byte: u8,
        bench: &mut B,
        out: &mut Vec<u8>,
    ) -> Result<(), ServerError<B::Error>> {
        self.operation.push(byte);
        // The greeting's first byte occurs only there, so a mismatch can be but a new start.
        self.hello = if wire::HELLO.get(self.hello) == Some(&byte) {
            self.hello + 1
        } else {
            usize::from(wire::HELLO.first() == Some(&byte))
        };
        if self.hello == wire::HELLO.len() {
            // The firmware starts anew, perhaps amid an operation that it will never complete.
            *self = Self { operation: wire::HELLO.to_vec(), greeted: true, ..Self::default() };
        }
        if !self.greeted {
            self.operation.clear();
        }
        if self.operation.len() < self.needed.max(1) {
            return Ok(());
        }
        let mut reader = Reader { bytes: &self.operation, at: 0 };
        let opcode = self.operation.first().copied().unwrap_or_default();
        let (fault, error) = match Operation::read(&mut reader) {
            Err(Unread::Incomplete { needed }) => {
                self.needed = needed;
                return Ok(());
            }
            Err(Unread::UnknownOpcode) => (Fault::UnknownOpcode, ServerError::UnknownOpcode(opcode)),
            Err(Unread::BadArgument(argument)) => {
                (Fault::BadArgument, ServerError::BadArgument { opcode, argument })
            }
            Ok(Operation::Hello { version }) if version != wire::VERSION => {
                self.end();
                out.extend_from_slice(&wire::HELLO_REPLY);
                out.extend_from_slice(&wire::VERSION.to_le_bytes());
                return Err(ServerError::Version { firmware: version, bench: wire::VERSION });
            }
            Ok(operation) => {
                self.check.update(&self.operation);
                self.operation.clear();
                self.needed = 0;
                match self.execute(operation, bench, out) {
                    Ok(()) => return Ok(()),
                    Err(Failure::TimeOverflow) => (
                        Fault::BadArgument,
                        ServerError::BadArgument { opcode, argument: "time beyond 64 bits of ns" },
                    ),
                    Err(Failure::Bench(error)) => (Fault::Refused, ServerError::Bench { opcode, error }),
                }
            }
        };
        self.end();
        out.extend_from_slice(&[Status::Failed.to_byte(), fault as u8, opcode]);
        Err(error)
    }

    fn end(&mut self) {
        *self = Self { hello: self.hello, ..Self::default() };
    }

    fn execute<B: Bench>(
        &mut self,
        operation: Operation,
        bench: &mut B,
        out: &mut Vec<u8>,
    ) -> Result<(), Failure<B::Error>> {
        let (answer, data) = match operation {
            Operation::Hello { .. } => {
                let greeting = [&wire::HELLO_REPLY[..], &wire::VERSION.to_le_bytes()].concat();
                self.check.update(&greeting);
                out.extend_from_slice(&greeting);
                (false, wire::info_bytes(&bench.info()?).to_vec())
            }
            Operation::Now => (false, Vec::new()),
            Operation::Wait { ns } => {
                let at = bench.now_ns()?.checked_add(ns).ok_or(Failure::TimeOverflow)?;
                return Ok(bench.wait_until_ns(at)?);
            }
            Operation::WaitUntil { ns } => return Ok(bench.wait_until_ns(ns)?),
            Operation::SetOutput { line, high } => return Ok(bench.set_output(line, high)?),
            Operation::StartPulse { width_ns } => return Ok(bench.start_pulse(width_ns)?),
            Operation::StopPulse => return Ok(bench.stop_pulse()?),
            Operation::PulseDone => (bench.pulse_done()?, Vec::new()),
            Operation::StartConversion => return Ok(bench.start_conversion()?),
            Operation::ConversionDone => (bench.conversion_done()?, Vec::new()),
            Operation::SpiWrite { select, frame, burst } => {
                return Ok(bench.spi_write(select, frame.bytes(), &burst)?);
            }
            Operation::SpiTransfer { select, frame, burst } => {
                let mut input = vec![0; burst.len()];
                bench.spi_transfer(select, frame.bytes(), &burst, &mut input)?;
                let mut data = Vec::new();
                for segment in runs::encode(&input, frame, Foreseen::Echo(&burst)) {
                    data.push(segment.header.to_byte());
                    data.extend_from_slice(segment.body);
                }
                (false, data)
            }
            Operation::I2c { address, bytes, read } => {
                let mut input = vec![0; read];
                (bench.i2c(address, &bytes, &mut input)?, input)
            }
            Operation::FlashRead { offset, length } => {
                let mut data = vec![0; length];
                bench.flash_read(offset, &mut data)?;
                (false, data)
            }
            Operation::FlashWrite { offset, bytes } => {
                bench.flash_write(offset, &bytes)?;
                (false, Vec::new())
            }
            Operation::FlashErase { offset } => {
                bench.flash_erase(offset)?;
                (false, Vec::new())
            }
        };
        let now = bench.now_ns()?;
        let clock_bytes = wire::clock_bytes(self.told, now);
        self.told = now;
        let mut reply = vec![Status::Done { answer, clock_bytes }.to_byte()];
        reply.extend(now.to_le_bytes().iter().take(clock_bytes));
        reply.extend_from_slice(&data);
        self.check.update(&reply);
        reply.extend_from_slice(&self.check.value().to_le_bytes());
        out.extend_from_slice(&reply);
        Ok(())
    }
}

enum Failure<E> {
    TimeOverflow,
    Bench(E),
}

impl<E> From<E> for Failure<E> {
    fn from(error: E) -> Self {
        Self::Bench(error)
    }
}

/// One decoded operation.
#[derive(Debug)]
enum Operation {
    Hello { version: u16 },
    Now,
    Wait { ns: u64 },
    WaitUntil { ns: u64 },
    SetOutput { line: OutputLine, high: bool },
    StartPulse { width_ns: u32 },
    StopPulse,
    PulseDone,
    StartConversion,
    ConversionDone,
    SpiWrite { select: ChipSelect, frame: FrameSize, burst: Vec<u8> },
    SpiTransfer { select: ChipSelect, frame: FrameSize, burst: Vec<u8> },
    I2c { address: u8, bytes: Vec<u8>, read: usize },
    FlashRead { offset: u32, length: usize },
    FlashWrite { offset: u32, bytes: Vec<u8> },
    FlashErase { offset: u32 },
}

/// Why bytes are no operation (yet).
#[derive(Debug)]
enum Unread {
    Incomplete { needed: usize },
    UnknownOpcode,
    BadArgument(&'static str),
}

impl Operation {
    fn read(reader: &mut Reader<'_>) -> Result<Self, Unread> {
        Ok(match reader.byte()? {
            first if wire::HELLO.starts_with(&[first]) => {
                for &expected in wire::HELLO.iter().skip(1) {
                    if reader.byte()? != expected {
                        return Err(Unread::UnknownOpcode);
                    }
                }
                Self::Hello { version: u16::from_le_bytes(reader.array()?) }
            }
            opcode::NOW => Self::Now,
            opcode::WAIT => Self::Wait { ns: reader.varint("time")? },
            opcode::WAIT_UNTIL => Self::WaitUntil { ns: u64::from_le_bytes(reader.array()?) },
            opcode::SET_OUTPUT => {
                let (line, high) =
                    wire::output_from_byte(reader.byte()?).ok_or(Unread::BadArgument("line"))?;
                Self::SetOutput { line, high }
            }
            opcode::START_PULSE => {
                let width = reader.varint("width")?;
                Self::StartPulse { width_ns: width.try_into().map_err(|_| Unread::BadArgument("width"))? }
            }
            opcode::STOP_PULSE => Self::StopPulse,
            opcode::PULSE_DONE => Self::PulseDone,
            opcode::START_CONVERSION => Self::StartConversion,
            opcode::CONVERSION_DONE => Self::ConversionDone,
            code @ (opcode::SPI_WRITE | opcode::SPI_WRITE_3 | opcode::SPI_WRITE_18) => {
                let (select, frame, burst) = reader.burst(code - opcode::SPI_WRITE)?;
                Self::SpiWrite { select, frame, burst }
            }
            code @ (opcode::SPI_TRANSFER | opcode::SPI_TRANSFER_3 | opcode::SPI_TRANSFER_18) => {
                let (select, frame, burst) = reader.burst(code - opcode::SPI_TRANSFER)?;
                Self::SpiTransfer { select, frame, burst }
            }
            opcode::I2C => {
                let [address, write, read] = reader.array()?;
                if address > 0x7F {
                    return Err(Unread::BadArgument("address"));
                }
                let (write, read) = (usize::from(write), usize::from(read));
                if write.max(read) > wire::MAX_I2C_BYTES {
                    return Err(Unread::BadArgument("length"));
                }
                Self::I2c { address, bytes: reader.take(write)?.to_vec(), read }
            }
            opcode::FLASH_READ => Self::FlashRead {
                offset: u32::from_le_bytes(reader.array()?),
                length: usize::from(reader.byte()?) + 1,
            },
            opcode::FLASH_WRITE => {
                let offset = u32::from_le_bytes(reader.array()?);
                let length = usize::from(reader.byte()?) + 1;
                Self::FlashWrite { offset, bytes: reader.take(length)?.to_vec() }
            }
            opcode::FLASH_ERASE => Self::FlashErase { offset: u32::from_le_bytes(reader.array()?) },
            _ => return Err(Unread::UnknownOpcode),
        })
    }
}

/// Reads the parts of an operation in order.
#[derive(Debug)]
struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], Unread> {
        let end = self.at + length;
        let bytes = self.bytes.get(self.at..end).ok_or(Unread::Incomplete { needed: end })?;
        self.at = end;
        Ok(bytes)
    }

    fn byte(&mut self) -> Result<u8, Unread> {
        let [byte] = self.array()?;
        Ok(byte)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Unread> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    fn varint(&mut self, argument: &'static str) -> Result<u64, Unread> {
        Varint::decode(|| self.byte())?.ok_or(Unread::BadArgument(argument))
    }

    /// The rest of an SPI operation; `size` is 0 if the frame size is told, 1 for 3 bytes, 2 for 18.
    fn burst(&mut self, size: u8) -> Result<(ChipSelect, FrameSize, Vec<u8>), Unread> {
        let first = self.byte()?;
        let second = if SelectBytes::is_escaped(first) { self.byte()? } else { 0 };
        let select = SelectBytes::decode(first, second).ok_or(Unread::BadArgument("chip"))?;
        let bytes = match size {
            0 => self.byte()?.into(),
            1 => 3,
            _ => 18,
        };
        let frame = FrameSize::new(bytes).ok_or(Unread::BadArgument("frame size"))?;
        let words = usize::from(self.byte()?);
        if !(1..=frame.max_words()).contains(&words) {
            return Err(Unread::BadArgument("number of frames"));
        }
        let mut burst = vec![0; words * frame.bytes()];
        runs::decode(&mut burst, frame, Foreseen::Zeros, |into| {
            into.copy_from_slice(self.take(into.len())?);
            Ok(())
        })
        .map_err(|error| match error {
            DecodeError::Read(unread) => unread,
            DecodeError::Overrun { .. } => Unread::BadArgument("segment"),
        })?;
        Ok((select, frame, burst))
    }
}
