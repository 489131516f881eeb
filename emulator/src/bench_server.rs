//! The bench's end of `docs/bench-protocol.md`, without I/O: bytes from the firmware in, calls to a [`Bench`] and bytes
//! to the firmware out. Whatever comes in, it neither panics nor stores more than one operation.

use alloc::vec;
use alloc::vec::Vec;
use ohmrig_protocol::bench::recall::{self, Memory};
use ohmrig_protocol::bench::runs::{self, DecodeError, Foreseen};
use ohmrig_protocol::bench::wire::{self, Check, Fault, FrameSize, SelectBytes, Status, Varint, opcode};
use ohmrig_protocol::bench::{Bench, BenchInfo, ChipSelect, OutputLine};

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
#[derive(Clone, Debug, Default)]
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
    memory: Memory,
    /// Greetings of before: a firmware that starts again, reset by its watchdog perhaps, is another boot.
    boots: u64,
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
            let operation = wire::HELLO.to_vec();
            *self = Self { operation, greeted: true, boots: self.boots, ..Self::default() };
        }
        if !self.greeted {
            self.operation.clear();
        }
        if self.operation.len() < self.needed.max(1) {
            return Ok(());
        }
        let mut reader = Reader { bytes: &self.operation, at: 0 };
        let opcode = self.operation.first().copied().unwrap_or_default();
        let (fault, error) = match Operation::read(&mut reader, &self.memory) {
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
        *self = Self { hello: self.hello, boots: self.boots, ..Self::default() };
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
                let info = bench.info()?;
                let boot_nonce = info.boot_nonce.wrapping_add(self.boots);
                self.boots = self.boots.wrapping_add(1);
                (false, wire::info_bytes(&BenchInfo { boot_nonce, ..info }).to_vec())
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
            Operation::SupplyGood => (bench.supply_good()?, Vec::new()),
            Operation::ConversionDone => (bench.conversion_done()?, Vec::new()),
            Operation::SetSwitches { closed } => return Ok(bench.set_switches(closed)?),
            Operation::ArmSwitches { closed } => return Ok(bench.arm_switches(closed)?),
            Operation::SetDac { code } => return Ok(bench.set_dac(code)?),
            Operation::SpiWrite { select, frame, burst } => {
                return Ok(bench.spi_write(select, frame.bytes(), &burst)?);
            }
            Operation::SpiTransfer { select, frame, burst } => {
                let mut input = vec![0; burst.len()];
                bench.spi_transfer(select, frame.bytes(), &burst, &mut input)?;
                if recall::is_remembered(frame.bytes(), burst.len()) {
                    self.memory.remember(select, &burst, &input);
                }
                (false, run_coded(&input, frame, &burst))
            }
            Operation::SpiRecall { place, burst, select } => {
                let mut input = vec![0; burst.len()];
                bench.spi_transfer(select, recall::FRAME, &burst, &mut input)?;
                let differences: Vec<_> = self.memory.received_differences(place, &input).collect();
                let mut data = vec![differences.len() as u8];
                data.extend(differences.iter().flat_map(|&(at, [a, b, c])| [at, a, b, c]));
                if let Some(frame) = FrameSize::new(recall::FRAME) {
                    let coded = run_coded(&input, frame, &burst);
                    if coded.len() + 1 < data.len() {
                        data.clear();
                        data.push(wire::RUN_CODED);
                        data.extend(coded);
                    }
                }
                self.memory.replace(place, &burst, &input);
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
            Operation::ReadAdc { first, count } => {
                let mut codes = vec![0; count];
                bench.read_adc(first, &mut codes)?;
                (false, codes.into_iter().flat_map(u16::to_le_bytes).collect())
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

fn run_coded(input: &[u8], frame: FrameSize, sent: &[u8]) -> Vec<u8> {
    let mut data = Vec::new();
    for segment in runs::encode(input, frame, Foreseen::Echo(sent)) {
        data.push(segment.header.to_byte());
        data.extend_from_slice(segment.body);
    }
    data
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
    SupplyGood,
    SpiRecall { place: u8, select: ChipSelect, burst: Vec<u8> },
    SpiWrite { select: ChipSelect, frame: FrameSize, burst: Vec<u8> },
    SpiTransfer { select: ChipSelect, frame: FrameSize, burst: Vec<u8> },
    I2c { address: u8, bytes: Vec<u8>, read: usize },
    FlashRead { offset: u32, length: usize },
    FlashWrite { offset: u32, bytes: Vec<u8> },
    FlashErase { offset: u32 },
    SetSwitches { closed: u16 },
    ArmSwitches { closed: u16 },
    SetDac { code: u16 },
    ReadAdc { first: u8, count: usize },
}

/// Why bytes are no operation (yet).
#[derive(Debug)]
enum Unread {
    Incomplete { needed: usize },
    UnknownOpcode,
    BadArgument(&'static str),
}

impl Operation {
    fn read(reader: &mut Reader<'_>, memory: &Memory) -> Result<Self, Unread> {
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
            opcode::SUPPLY_GOOD => Self::SupplyGood,
            opcode::SPI_RECALL => {
                let [place, count] = reader.array()?;
                let (select, length) = memory.at(place).ok_or(Unread::BadArgument("place"))?;
                let mut burst = vec![0; length];
                memory.sent(place, &mut burst);
                for _ in 0..count {
                    let [at, word @ ..] = reader.array::<{ 1 + recall::FRAME }>()?;
                    let words = burst.as_chunks_mut::<{ recall::FRAME }>().0;
                    *words.get_mut(usize::from(at)).ok_or(Unread::BadArgument("position"))? = word;
                }
                Self::SpiRecall { place, select, burst }
            }
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
            opcode::SET_SWITCHES => Self::SetSwitches { closed: u16::from_le_bytes(reader.array()?) },
            opcode::ARM_SWITCHES => Self::ArmSwitches { closed: u16::from_le_bytes(reader.array()?) },
            opcode::SET_DAC => Self::SetDac { code: u16::from_le_bytes(reader.array()?) },
            opcode::READ_ADC => {
                let [first, count] = reader.array()?;
                let count = usize::from(count);
                if count > wire::MAX_ADC_CODES {
                    return Err(Unread::BadArgument("number of codes"));
                }
                Self::ReadAdc { first, count }
            }
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

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use ohmrig_protocol::bench::ChipKind;
    use proptest::prelude::*;

    /// Longest operation: SPI with an escaped chip select, told frame size, and a header before each of 128 words.
    const LONGEST: usize = 5 + wire::MAX_BURST_BYTES + wire::MAX_BURST_WORDS;

    /// A bench without chips; counts calls and keeps time.
    #[derive(Clone, Debug, Default, PartialEq, Eq)]
    struct Bare {
        calls: usize,
        now_ns: u64,
    }

    impl Bare {
        fn count(&mut self) -> Result<(), &'static str> {
            self.calls += 1;
            Ok(())
        }
    }

    impl Bench for Bare {
        type Error = &'static str;

        fn info(&mut self) -> Result<BenchInfo, Self::Error> {
            Ok(BenchInfo { rows: 1, columns: 2, flash_bytes: 3, flash_erase_bytes: 4, boot_nonce: 5 })
        }
        fn now_ns(&mut self) -> Result<u64, Self::Error> {
            Ok(self.now_ns)
        }
        fn wait_until_ns(&mut self, at_ns: u64) -> Result<(), Self::Error> {
            self.now_ns = self.now_ns.max(at_ns);
            self.count()
        }
        fn spi_write(&mut self, select: ChipSelect, _: usize, out: &[u8]) -> Result<(), Self::Error> {
            self.now_ns += out.len() as u64;
            if select.kind == ChipKind::Adc { Err("no converter") } else { self.count() }
        }
        fn spi_transfer(
            &mut self,
            select: ChipSelect,
            frame: usize,
            out: &[u8],
            input: &mut [u8],
        ) -> Result<(), Self::Error> {
            input.copy_from_slice(out);
            self.spi_write(select, frame, out)
        }
        fn i2c(&mut self, _: u8, _: &[u8], _: &mut [u8]) -> Result<bool, Self::Error> {
            self.count()?;
            Ok(false)
        }
        fn set_output(&mut self, _: OutputLine, _: bool) -> Result<(), Self::Error> {
            self.count()
        }
        fn start_pulse(&mut self, _: u32) -> Result<(), Self::Error> {
            self.count()
        }
        fn stop_pulse(&mut self) -> Result<(), Self::Error> {
            self.count()
        }
        fn pulse_done(&mut self) -> Result<bool, Self::Error> {
            self.count()?;
            Ok(true)
        }
        fn start_conversion(&mut self) -> Result<(), Self::Error> {
            self.count()
        }
        fn supply_good(&mut self) -> Result<bool, Self::Error> {
            self.count().map(|()| true)
        }
        fn conversion_done(&mut self) -> Result<bool, Self::Error> {
            self.count()?;
            Ok(false)
        }
        fn flash_read(&mut self, _: u32, _: &mut [u8]) -> Result<(), Self::Error> {
            self.count()
        }
        fn flash_write(&mut self, _: u32, _: &[u8]) -> Result<(), Self::Error> {
            self.count()
        }
        fn flash_erase(&mut self, _: u32) -> Result<(), Self::Error> {
            Err("flash is locked")
        }
        fn set_switches(&mut self, _: u16) -> Result<(), Self::Error> {
            self.count()
        }
        fn arm_switches(&mut self, _: u16) -> Result<(), Self::Error> {
            self.count()
        }
        fn set_dac(&mut self, _: u16) -> Result<(), Self::Error> {
            self.count()
        }
        fn read_adc(&mut self, _: u8, _: &mut [u16]) -> Result<(), Self::Error> {
            self.count()
        }
    }

    fn greeting() -> Vec<u8> {
        [&wire::HELLO[..], &wire::VERSION.to_le_bytes()].concat()
    }

    /// A greeted server; what it said to that is dropped.
    fn greeted(bench: &mut Bare) -> BenchServer {
        let mut server = BenchServer::new();
        server.feed(&greeting(), bench, &mut Vec::new()).unwrap();
        server
    }

    #[track_caller]
    fn fails_with(bytes: &[u8], said: [u8; 3], error: ServerError<&'static str>) {
        let mut bench = Bare::default();
        let mut server = greeted(&mut bench);
        let mut out = Vec::new();
        assert_eq!(server.feed(bytes, &mut bench, &mut out), Err(error));
        assert_eq!(out, said);
        assert_eq!(bench.calls, 0);

        out.clear();
        assert_eq!(server.feed(&[opcode::STOP_PULSE, opcode::PULSE_DONE], &mut bench, &mut out), Ok(()));
        assert_eq!((out.len(), bench.calls), (0, 0), "only a greeting starts anew");
        server.feed(&greeting(), &mut bench, &mut out).unwrap();
        assert!(out.starts_with(&wire::HELLO_REPLY));
        server.feed(&[opcode::STOP_PULSE], &mut bench, &mut out).unwrap();
        assert_eq!(bench.calls, 1);
    }

    #[test]
    fn an_unknown_opcode_ends_the_conversation() {
        fails_with(&[0x77, opcode::STOP_PULSE], [0xE5, 1, 0x77], ServerError::UnknownOpcode(0x77));
        fails_with(&[0x00], [0xE5, 1, 0], ServerError::UnknownOpcode(0));
        fails_with(&[0xA5, b'o', b'x'], [0xE5, 1, 0xA5], ServerError::UnknownOpcode(0xA5));
    }

    #[test]
    fn an_argument_outside_its_range_ends_the_conversation() {
        let cases: [(&[u8], &'static str); 12] = [
            (&[opcode::SET_OUTPUT, 3], "line"),
            (&[opcode::START_PULSE, 0xFF, 0xFF, 0xFF, 0xFF, 0x1F], "width"),
            (&[opcode::WAIT, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x02], "time"),
            (&[opcode::SPI_WRITE_3, 0x0C], "chip"),
            (&[opcode::SPI_WRITE, 0x00, 0], "frame size"),
            (&[opcode::SPI_WRITE, 0x00, 33], "frame size"),
            (&[opcode::SPI_WRITE_3, 0x00, 0], "number of frames"),
            (&[opcode::SPI_WRITE_18, 0x00, 22], "number of frames"),
            (&[opcode::SPI_TRANSFER_3, 0x00, 2, 0xC2], "segment"),
            (&[opcode::I2C, 0x80, 0, 0], "address"),
            (&[opcode::I2C, 0x48, 0, 33], "length"),
            (&[opcode::READ_ADC, 0, 17], "number of codes"),
        ];
        for (bytes, argument) in cases {
            let opcode = bytes[0];
            fails_with(bytes, [0xE5, 2, opcode], ServerError::BadArgument { opcode, argument });
        }
    }

    #[test]
    fn what_the_bench_refuses_ends_the_conversation() {
        let opcode = opcode::SPI_WRITE_3;
        let error = ServerError::Bench { opcode, error: "no converter" };
        fails_with(&[opcode, ChipKind::Adc as u8, 1, 0xC0], [0xE5, 3, opcode], error);
        let opcode = opcode::FLASH_ERASE;
        let error = ServerError::Bench { opcode, error: "flash is locked" };
        fails_with(&[opcode, 0, 0, 0, 0], [0xE5, 3, opcode], error);
    }

    #[test]
    fn a_firmware_of_another_version_hears_ours_and_nothing_else() {
        let (mut server, mut bench, mut out) = (BenchServer::new(), Bare::default(), Vec::new());
        let greeting = [&wire::HELLO[..], &[0xFE, 0xCA]].concat();
        assert_eq!(
            server.feed(&greeting, &mut bench, &mut out),
            Err(ServerError::Version { firmware: 0xCAFE, bench: wire::VERSION })
        );
        assert_eq!(out, [&wire::HELLO_REPLY[..], &wire::VERSION.to_le_bytes()].concat());
        assert_eq!(server.feed(&[opcode::STOP_PULSE], &mut bench, &mut out), Ok(()));
        assert_eq!(bench.calls, 0);
    }

    #[test]
    fn nothing_happens_before_a_greeting() {
        let (mut server, mut bench, mut out) = (BenchServer::new(), Bare::default(), Vec::new());
        server.feed(&[opcode::STOP_PULSE, opcode::NOW, 0x77], &mut bench, &mut out).unwrap();
        assert_eq!((out.len(), bench.calls, server.operation.len()), (0, 0, 0));
    }

    /// Bytes that are often the start of an operation.
    fn stream() -> impl Strategy<Value = Vec<u8>> {
        let opcodes: &[u8] = &[
            0x01, 0x02, 0x03, 0x04, 0x08, 0x09, 0x0A, 0x0C, 0x0D, 0x10, 0x11, 0x12, 0x14, 0x15, 0x16, 0x20,
            0x30, 0x31, 0x32, 0x40, 0x41, 0x42, 0x43,
        ];
        let piece = prop_oneof![
            1 => Just(greeting()),
            6 => (prop::sample::select(opcodes), prop::collection::vec(any::<u8>(), 0..12))
                .prop_map(|(opcode, rest)| [&[opcode][..], &rest].concat()),
            // A burst that is right up to its segments.
            4 => (1u8..=128, prop::collection::vec(any::<u8>(), 0..600))
                .prop_map(|(words, rest)| [&[opcode::SPI_TRANSFER_3, 0x12, words][..], &rest].concat()),
            1 => prop::collection::vec(any::<u8>(), 0..300),
        ];
        prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn any_bytes_in_any_chunks_do_the_same_and_fill_no_memory(
            stream in stream(),
            chunk in 1usize..100,
        ) {
            let mut whole = (BenchServer::new(), Bare::default(), Vec::new());
            let mut parts = whole.clone();
            let mut errors = Vec::new();
            for input in [&greeting()[..], &stream] {
                errors.extend(whole.0.feed(input, &mut whole.1, &mut whole.2).err());
                prop_assert!(whole.0.operation.len() < LONGEST);
                let mut first = None;
                for chunk in input.chunks(chunk) {
                    let error = parts.0.feed(chunk, &mut parts.1, &mut parts.2).err();
                    first = first.or(error);
                    prop_assert!(parts.0.operation.len() < LONGEST);
                }
                prop_assert_eq!(first.as_ref(), errors.last());
                errors.clear();
            }
            prop_assert_eq!((whole.1, whole.2), (parts.1, parts.2));
        }
    }
}
