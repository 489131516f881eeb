//! The firmware's hardware traits on any [`Bench`]: the emulator called directly, or one at the far end of a
//! [`BenchLink`](crate::bench_link::BenchLink).

use crate::hardware::{Flash, FramedSpi, Hardware, Mounted, Peripherals, Persistent, Sequencer};
use embedded_hal::{digital, i2c, spi};
use ohmrig_protocol::bench::wire::{FrameSize, MAX_I2C_BYTES};
use ohmrig_protocol::bench::{Bench, BenchInfo, ChipSelect, OutputLine};

/// Why a call on a [`BenchHardware`] failed; `E` is the bench's own error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BenchError<E: core::fmt::Debug> {
    /// The bench failed.
    #[error("bench: {0:?}")]
    Bench(E),
    /// Nothing acknowledged on the I²C bus.
    #[error("nothing acknowledges at I2C address {address:#04x}")]
    NoAcknowledge {
        /// The 7-bit address.
        address: u8,
    },
    /// An SPI transaction longer than one frame can be.
    #[error("SPI transaction of {bytes} bytes; {max} fit a frame", max = FrameSize::MAX)]
    FrameLength {
        /// Bytes of the transaction.
        bytes: usize,
    },
    /// A pause while a chip is selected, which no chip of the board needs and a bench can't do.
    #[error("pause of {ns} ns within an SPI frame")]
    PauseInFrame {
        /// The pause.
        ns: u32,
    },
    /// An I²C transaction longer than a bench takes.
    #[error("I2C transaction of {bytes} bytes; {max} are possible", max = MAX_I2C_BYTES)]
    I2cLength {
        /// Bytes of one direction.
        bytes: usize,
    },
    /// An I²C transaction that writes after reading.
    #[error("I2C transaction that writes after it has read")]
    I2cWriteAfterRead,
}

impl<E: core::fmt::Debug> spi::Error for BenchError<E> {
    fn kind(&self) -> spi::ErrorKind {
        spi::ErrorKind::Other
    }
}

impl<E: core::fmt::Debug> i2c::Error for BenchError<E> {
    fn kind(&self) -> i2c::ErrorKind {
        match self {
            Self::NoAcknowledge { .. } => i2c::ErrorKind::NoAcknowledge(i2c::NoAcknowledgeSource::Unknown),
            _ => i2c::ErrorKind::Other,
        }
    }
}

impl<E: core::fmt::Debug> digital::Error for BenchError<E> {
    fn kind(&self) -> digital::ErrorKind {
        digital::ErrorKind::Other
    }
}

/// A bench as [`Hardware`] and [`Flash`], with the instrument clock for the loop that runs the core.
#[derive(Debug)]
pub struct BenchHardware<B> {
    bench: B,
    info: BenchInfo,
}

impl<B: Bench> BenchHardware<B> {
    /// Asks `bench` who it is and takes it over.
    pub fn new(mut bench: B) -> Result<Self, B::Error> {
        let info = bench.info()?;
        Ok(Self { bench, info })
    }

    /// Who the bench is.
    pub fn info(&self) -> &BenchInfo {
        &self.info
    }

    /// The instrument clock, ns.
    pub fn now_ns(&mut self) -> Result<u64, B::Error> {
        self.bench.now_ns()
    }

    /// Lets instrument time pass until `at_ns`; nothing if it already has.
    pub fn wait_until_ns(&mut self, at_ns: u64) -> Result<(), B::Error> {
        self.bench.wait_until_ns(at_ns)
    }

    /// The bench itself, for what is not the firmware's business (such as ground truth of an emulated one).
    pub fn bench(&mut self) -> &mut B {
        &mut self.bench
    }
}

impl<B: Bench> Hardware for BenchHardware<B> {
    type Error = BenchError<B::Error>;
    type Spi<'a>
        = Chip<'a, B>
    where
        Self: 'a;
    type I2c<'a>
        = I2cBus<'a, B>
    where
        Self: 'a;
    type Output<'a>
        = Line<'a, B>
    where
        Self: 'a;
    type Sequencer<'a>
        = Edges<'a, B>
    where
        Self: 'a;

    fn chip(&mut self, select: ChipSelect) -> Chip<'_, B> {
        Chip { bench: &mut self.bench, select }
    }

    fn i2c(&mut self) -> I2cBus<'_, B> {
        I2cBus { bench: &mut self.bench }
    }

    fn output(&mut self, line: OutputLine) -> Line<'_, B> {
        Line { bench: &mut self.bench, line }
    }

    fn sequencer(&mut self) -> Edges<'_, B> {
        Edges { bench: &mut self.bench }
    }

    fn supply_good(&mut self) -> Result<bool, Self::Error> {
        self.bench.supply_good().map_err(BenchError::Bench)
    }
}

impl<B: Bench> Mounted for BenchHardware<B> {
    type Peripherals<'a>
        = Processor<'a, B>
    where
        Self: 'a;

    fn peripherals(&mut self) -> Processor<'_, B> {
        Processor { bench: &mut self.bench }
    }
}

impl<B: Bench> Persistent for BenchHardware<B> {
    type Flash<'a>
        = &'a mut Self
    where
        Self: 'a;

    fn flash(&mut self) -> &mut Self {
        self
    }
}

impl<B: Bench> Flash for BenchHardware<B> {
    type Error = BenchError<B::Error>;

    fn capacity(&self) -> u32 {
        self.info.flash_bytes
    }

    fn erase_bytes(&self) -> u32 {
        self.info.flash_erase_bytes
    }

    fn read(&mut self, offset: u32, into: &mut [u8]) -> Result<(), Self::Error> {
        self.bench.flash_read(offset, into).map_err(BenchError::Bench)
    }

    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), Self::Error> {
        self.bench.flash_write(offset, bytes).map_err(BenchError::Bench)
    }

    fn erase(&mut self, offset: u32) -> Result<(), Self::Error> {
        self.bench.flash_erase(offset).map_err(BenchError::Bench)
    }
}

/// One SPI chip of a bench.
#[derive(Debug)]
pub struct Chip<'a, B> {
    bench: &'a mut B,
    select: ChipSelect,
}

impl<B: Bench> spi::ErrorType for Chip<'_, B> {
    type Error = BenchError<B::Error>;
}

impl<B: Bench> spi::SpiDevice for Chip<'_, B> {
    /// All operations as one frame, at most [`FrameSize::MAX`] bytes.
    fn transaction(&mut self, operations: &mut [spi::Operation<'_, u8>]) -> Result<(), Self::Error> {
        let mut bytes = 0;
        let mut reads = false;
        for operation in operations.iter() {
            let (length, read) = match operation {
                spi::Operation::Write(out) => (out.len(), false),
                spi::Operation::Read(input) => (input.len(), true),
                spi::Operation::Transfer(input, out) => (input.len().max(out.len()), true),
                spi::Operation::TransferInPlace(both) => (both.len(), true),
                spi::Operation::DelayNs(ns) => return Err(BenchError::PauseInFrame { ns: *ns }),
            };
            bytes += length;
            reads |= read;
        }
        let mut out = [0; FrameSize::MAX];
        let mut input = [0; FrameSize::MAX];
        let (Some(out), Some(input)) = (out.get_mut(..bytes), input.get_mut(..bytes)) else {
            return Err(BenchError::FrameLength { bytes });
        };
        if bytes == 0 {
            return Ok(());
        }
        let mut rest = &mut *out;
        for operation in operations.iter() {
            rest = match operation {
                spi::Operation::Write(sent) => put(rest, sent, sent.len()),
                spi::Operation::Read(received) => put(rest, &[], received.len()),
                spi::Operation::Transfer(received, sent) => put(rest, sent, received.len().max(sent.len())),
                spi::Operation::TransferInPlace(both) => put(rest, both, both.len()),
                spi::Operation::DelayNs(_) => rest,
            };
        }
        if !reads {
            return self.write_frames(bytes, out);
        }
        self.transfer_frames(bytes, out, input)?;
        let mut rest = &*input;
        for operation in operations.iter_mut() {
            rest = match operation {
                spi::Operation::Write(sent) => get(&mut [], rest, sent.len()),
                spi::Operation::Read(received) => get(received, rest, received.len()),
                spi::Operation::Transfer(received, sent) => {
                    get(received, rest, received.len().max(sent.len()))
                }
                spi::Operation::TransferInPlace(both) => get(both, rest, both.len()),
                spi::Operation::DelayNs(_) => rest,
            };
        }
        Ok(())
    }
}

/// Copies `from` to the front of `to`, and returns what of `to` follows its first `length` bytes.
fn put<'a>(to: &'a mut [u8], from: &[u8], length: usize) -> &'a mut [u8] {
    to.iter_mut().zip(from).for_each(|(to, &from)| *to = from);
    to.get_mut(length..).unwrap_or_default()
}

/// Fills `to` from the front of `from`, and returns what of `from` follows its first `length` bytes.
fn get<'a>(to: &mut [u8], from: &'a [u8], length: usize) -> &'a [u8] {
    to.iter_mut().zip(from).for_each(|(to, &from)| *to = from);
    from.get(length..).unwrap_or_default()
}

impl<B: Bench> FramedSpi for Chip<'_, B> {
    fn write_frames(&mut self, frame: usize, out: &[u8]) -> Result<(), Self::Error> {
        self.bench.spi_write(self.select, frame, out).map_err(BenchError::Bench)
    }

    fn transfer_frames(&mut self, frame: usize, out: &[u8], input: &mut [u8]) -> Result<(), Self::Error> {
        self.bench.spi_transfer(self.select, frame, out, input).map_err(BenchError::Bench)
    }
}

/// The I²C bus of a bench.
#[derive(Debug)]
pub struct I2cBus<'a, B> {
    bench: &'a mut B,
}

impl<B: Bench> i2c::ErrorType for I2cBus<'_, B> {
    type Error = BenchError<B::Error>;
}

impl<B: Bench> i2c::I2c for I2cBus<'_, B> {
    /// Any writes, then any reads, at most [`MAX_I2C_BYTES`] each.
    fn transaction(&mut self, address: u8, operations: &mut [i2c::Operation<'_>]) -> Result<(), Self::Error> {
        let (mut write, mut read) = (0, 0);
        for operation in operations.iter() {
            match operation {
                i2c::Operation::Write(out) if read == 0 => write += out.len(),
                i2c::Operation::Write(_) => return Err(BenchError::I2cWriteAfterRead),
                i2c::Operation::Read(input) => read += input.len(),
            }
        }
        let mut out = [0; MAX_I2C_BYTES];
        let mut input = [0; MAX_I2C_BYTES];
        let (Some(out), Some(input)) = (out.get_mut(..write), input.get_mut(..read)) else {
            return Err(BenchError::I2cLength { bytes: write.max(read) });
        };
        let mut rest = &mut *out;
        for operation in operations.iter() {
            if let i2c::Operation::Write(bytes) = operation {
                rest = put(rest, bytes, bytes.len());
            }
        }
        if !self.bench.i2c(address, out, input).map_err(BenchError::Bench)? {
            return Err(BenchError::NoAcknowledge { address });
        }
        let mut rest = &*input;
        for operation in operations.iter_mut() {
            if let i2c::Operation::Read(bytes) = operation {
                rest = get(bytes, rest, bytes.len());
            }
        }
        Ok(())
    }
}

/// A reset line of a bench.
#[derive(Debug)]
pub struct Line<'a, B> {
    bench: &'a mut B,
    line: OutputLine,
}

impl<B: Bench> digital::ErrorType for Line<'_, B> {
    type Error = BenchError<B::Error>;
}

impl<B: Bench> digital::OutputPin for Line<'_, B> {
    fn set_low(&mut self) -> Result<(), Self::Error> {
        self.bench.set_output(self.line, false).map_err(BenchError::Bench)
    }

    fn set_high(&mut self) -> Result<(), Self::Error> {
        self.bench.set_output(self.line, true).map_err(BenchError::Bench)
    }
}

/// The timed edges of a bench.
#[derive(Debug)]
pub struct Edges<'a, B> {
    bench: &'a mut B,
}

impl<B: Bench> Sequencer for Edges<'_, B> {
    type Error = BenchError<B::Error>;

    fn start_pulse(&mut self, width_ns: u32) -> Result<(), Self::Error> {
        self.bench.start_pulse(width_ns).map_err(BenchError::Bench)
    }

    fn stop_pulse(&mut self) -> Result<(), Self::Error> {
        self.bench.stop_pulse().map_err(BenchError::Bench)
    }

    fn pulse_done(&mut self) -> Result<bool, Self::Error> {
        self.bench.pulse_done().map_err(BenchError::Bench)
    }

    fn start_conversion(&mut self) -> Result<(), Self::Error> {
        self.bench.start_conversion().map_err(BenchError::Bench)
    }

    fn conversion_done(&mut self) -> Result<bool, Self::Error> {
        self.bench.conversion_done().map_err(BenchError::Bench)
    }
}

/// Switch pins and converters of the microcontroller on a bench.
#[derive(Debug)]
pub struct Processor<'a, B> {
    bench: &'a mut B,
}

impl<B: Bench> Peripherals for Processor<'_, B> {
    type Error = BenchError<B::Error>;

    fn set_switches(&mut self, closed: u16) -> Result<(), Self::Error> {
        self.bench.set_switches(closed).map_err(BenchError::Bench)
    }

    fn arm_switches(&mut self, closed: u16) -> Result<(), Self::Error> {
        self.bench.arm_switches(closed).map_err(BenchError::Bench)
    }

    fn set_dac(&mut self, code: u16) -> Result<(), Self::Error> {
        self.bench.set_dac(code).map_err(BenchError::Bench)
    }

    fn read_adc(&mut self, first: u8, codes: &mut [u16]) -> Result<(), Self::Error> {
        self.bench.read_adc(first, codes).map_err(BenchError::Bench)
    }
}

#[cfg(test)]
#[allow(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;
    use embedded_hal::digital::OutputPin;
    use embedded_hal::i2c::{Error as _, I2c};
    use embedded_hal::spi::SpiDevice;
    use ohmrig_protocol::bench::ChipKind;
    use std::vec::Vec;
    use std::{format, string::String};

    /// Writes its calls down; chips and bus answer each byte with its complement, and only I²C address 0x48 answers.
    #[derive(Debug, Default)]
    struct Notes(Vec<String>);

    impl Notes {
        fn note(&mut self, call: String) -> Result<(), &'static str> {
            self.0.push(call);
            Ok(())
        }
    }

    impl Bench for Notes {
        type Error = &'static str;

        fn info(&mut self) -> Result<BenchInfo, Self::Error> {
            Ok(BenchInfo { rows: 16, columns: 16, flash_bytes: 8192, flash_erase_bytes: 4096, boot_nonce: 1 })
        }
        fn now_ns(&mut self) -> Result<u64, Self::Error> {
            Ok(77)
        }
        fn wait_until_ns(&mut self, at_ns: u64) -> Result<(), Self::Error> {
            self.note(format!("wait {at_ns}"))
        }
        fn spi_write(&mut self, select: ChipSelect, frame: usize, out: &[u8]) -> Result<(), Self::Error> {
            self.note(format!("write {:?} {} {frame} {out:02x?}", select.kind, select.index))
        }
        fn spi_transfer(
            &mut self,
            select: ChipSelect,
            frame: usize,
            out: &[u8],
            input: &mut [u8],
        ) -> Result<(), Self::Error> {
            input.iter_mut().zip(out).for_each(|(input, out)| *input = !out);
            self.note(format!("transfer {:?} {} {frame} {out:02x?}", select.kind, select.index))
        }
        fn i2c(&mut self, address: u8, out: &[u8], input: &mut [u8]) -> Result<bool, Self::Error> {
            input.iter_mut().zip(1..).for_each(|(input, n)| *input = n);
            self.note(format!("i2c {address:02x} {out:02x?} {}", input.len()))?;
            Ok(address == 0x48)
        }
        fn set_output(&mut self, line: OutputLine, high: bool) -> Result<(), Self::Error> {
            self.note(format!("{line:?} {high}"))
        }
        fn start_pulse(&mut self, width_ns: u32) -> Result<(), Self::Error> {
            self.note(format!("pulse {width_ns}"))
        }
        fn stop_pulse(&mut self) -> Result<(), Self::Error> {
            self.note("stop".into())
        }
        fn pulse_done(&mut self) -> Result<bool, Self::Error> {
            Err("no timer")
        }
        fn start_conversion(&mut self) -> Result<(), Self::Error> {
            self.note("convert".into())
        }
        fn supply_good(&mut self) -> Result<bool, Self::Error> {
            Ok(true)
        }
        fn conversion_done(&mut self) -> Result<bool, Self::Error> {
            Ok(true)
        }
        fn flash_read(&mut self, offset: u32, into: &mut [u8]) -> Result<(), Self::Error> {
            into.fill(0xFF);
            self.note(format!("flash read {offset} {}", into.len()))
        }
        fn flash_write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), Self::Error> {
            self.note(format!("flash write {offset} {bytes:?}"))
        }
        fn flash_erase(&mut self, offset: u32) -> Result<(), Self::Error> {
            self.note(format!("flash erase {offset}"))
        }
        fn set_switches(&mut self, closed: u16) -> Result<(), Self::Error> {
            self.note(format!("switches {closed:04x}"))
        }
        fn arm_switches(&mut self, closed: u16) -> Result<(), Self::Error> {
            self.note(format!("armed {closed:04x}"))
        }
        fn set_dac(&mut self, code: u16) -> Result<(), Self::Error> {
            self.note(format!("dac {code:03x}"))
        }
        fn read_adc(&mut self, first: u8, codes: &mut [u16]) -> Result<(), Self::Error> {
            codes.iter_mut().zip(u16::from(first)..).for_each(|(code, n)| *code = 100 * n);
            self.note(format!("adc {first} {}", codes.len()))
        }
    }

    const ADC: ChipSelect = ChipSelect { kind: ChipKind::Adc, index: 1 };

    fn hardware() -> BenchHardware<Notes> {
        BenchHardware::new(Notes::default()).unwrap()
    }

    #[test]
    fn one_transaction_is_one_frame_whatever_its_operations() {
        let mut hardware = hardware();
        let mut two = [0; 2];
        let mut three = [0; 3];
        let mut in_place = [0x55];
        hardware
            .chip(ADC)
            .transaction(&mut [
                spi::Operation::Write(&[0xF0]),
                spi::Operation::Read(&mut two),
                spi::Operation::Transfer(&mut three, &[1, 2]),
                spi::Operation::TransferInPlace(&mut in_place),
            ])
            .unwrap();
        assert_eq!(hardware.bench().0, ["transfer Adc 1 7 [f0, 00, 00, 01, 02, 00, 55]"]);
        assert_eq!((two, three, in_place), ([0xFF; 2], [0xFE, 0xFD, 0xFF], [0xAA]));
    }

    #[test]
    fn a_transaction_that_only_writes_is_posted() {
        let mut hardware = hardware();
        hardware.chip(ADC).write(&[1, 2, 3]).unwrap();
        hardware.chip(ADC).write(&[]).unwrap();
        assert_eq!(hardware.bench().0, ["write Adc 1 3 [01, 02, 03]"]);
    }

    #[test]
    fn what_no_frame_can_be_is_refused_before_it_reaches_the_bench() {
        let mut hardware = hardware();
        assert_eq!(hardware.chip(ADC).write(&[0; 33]), Err(BenchError::FrameLength { bytes: 33 }));
        assert_eq!(
            hardware.chip(ADC).transaction(&mut [spi::Operation::Write(&[1]), spi::Operation::DelayNs(50)]),
            Err(BenchError::PauseInFrame { ns: 50 })
        );
        assert_eq!(hardware.i2c().read(0x48, &mut [0; 33]), Err(BenchError::I2cLength { bytes: 33 }));
        assert_eq!(
            hardware
                .i2c()
                .transaction(0x48, &mut [i2c::Operation::Read(&mut [0]), i2c::Operation::Write(&[0])]),
            Err(BenchError::I2cWriteAfterRead)
        );
        assert!(hardware.bench().0.is_empty());
    }

    #[test]
    fn an_i2c_transaction_is_one_call_and_says_when_nothing_answers() {
        let mut hardware = hardware();
        let mut temperature = [0; 2];
        hardware.i2c().write_read(0x48, &[0x00], &mut temperature).unwrap();
        assert_eq!(temperature, [1, 2]);
        let error = hardware.i2c().write(0x49, &[0x01, 0x02]).unwrap_err();
        assert_eq!(error, BenchError::NoAcknowledge { address: 0x49 });
        assert_eq!(error.kind(), i2c::ErrorKind::NoAcknowledge(i2c::NoAcknowledgeSource::Unknown));
        assert_eq!(hardware.bench().0, ["i2c 48 [00] 2", "i2c 49 [01, 02] 0"]);
    }

    #[test]
    fn lines_edges_clock_and_flash_are_the_bench_s() {
        let mut hardware = hardware();
        hardware.output(OutputLine::SwitchReset).set_high().unwrap();
        hardware.output(OutputLine::DacClear).set_low().unwrap();
        hardware.sequencer().start_pulse(20_000).unwrap();
        hardware.sequencer().stop_pulse().unwrap();
        assert_eq!(hardware.sequencer().pulse_done(), Err(BenchError::Bench("no timer")));
        hardware.sequencer().start_conversion().unwrap();
        assert_eq!(hardware.sequencer().conversion_done(), Ok(true));
        assert_eq!(hardware.now_ns(), Ok(77));
        hardware.wait_until_ns(100).unwrap();
        assert_eq!(hardware.capacity(), 8192);
        let mut byte = [0];
        hardware.read(5, &mut byte).unwrap();
        hardware.write(6, &[7]).unwrap();
        hardware.erase(4096).unwrap();
        assert_eq!(byte, [0xFF]);
        assert_eq!(
            hardware.bench().0,
            [
                "SwitchReset true",
                "DacClear false",
                "pulse 20000",
                "stop",
                "convert",
                "wait 100",
                "flash read 5 1",
                "flash write 6 [7]",
                "flash erase 4096"
            ]
        );
    }
}
