//! A bench that writes down every call that could touch a chip, and answers like a board: converters that shift out
//! registers or their last input, a clock that moves with each bit, a flash.

use ohmrig_protocol::bench::{Bench, BenchInfo, ChipSelect, OutputLine};
use std::collections::HashMap;

/// A call as the board would see it: bursts by frame, flash by byte, so that splitting either is no difference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    Frame { at_ns: u64, select: ChipSelect, out: Vec<u8> },
    I2c { at_ns: u64, address: u8, out: Vec<u8>, read: usize },
    WaitUntil { at_ns: u64, until_ns: u64 },
    Output { at_ns: u64, line: OutputLine, high: bool },
    StartPulse { at_ns: u64, width_ns: u32 },
    StopPulse { at_ns: u64 },
    PulseDone { at_ns: u64 },
    StartConversion { at_ns: u64 },
    SupplyGood { at_ns: u64 },
    ConversionDone { at_ns: u64 },
    FlashRead { offset: u32 },
    FlashWrite { offset: u32, byte: u8 },
    FlashErase { offset: u32 },
    SetSwitches { at_ns: u64, closed: u16 },
    ArmSwitches { at_ns: u64, closed: u16 },
    SetDac { at_ns: u64, code: u16 },
    ReadAdc { at_ns: u64, first: u8, count: usize },
}

/// What a chip shifts out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shifts {
    /// A 24-bit register file: the reply to a read (top bit of the command) is the command and the register, one frame
    /// later; the reply to a write is what was written.
    RegistersAndEcho,
    /// As above, but the reply to a write is zeros.
    RegistersAndZeros,
    /// Bytes without any order.
    Noise,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum RecorderError {
    Absent(ChipSelect),
    BeyondFlash { offset: u32, length: usize },
}

pub(crate) const FLASH_BYTES: u32 = 16384;
/// Chips of a kind.
pub(crate) const CHIPS: u8 = 32;
/// LTC2688: a bit here moves the code address of its channel from register A to B. Address as in Linux
/// `drivers/iio/dac/ltc2688.c`.
pub(crate) const AB_SELECT: u8 = 0x72;
/// A 20 MHz SPI clock, and chip select high for 100 ns between frames.
const NS_PER_BYTE: u64 = 400;
const NS_PER_FRAME: u64 = 100;

#[derive(Clone, Debug)]
pub(crate) struct Recorder {
    pub(crate) calls: Vec<Call>,
    pub(crate) now_ns: u64,
    /// What each chip shifts out, if not noise.
    pub(crate) shifts: HashMap<ChipSelect, Shifts>,
    /// Registers by chip and address; register B of channel n (see [`AB_SELECT`]) is at `0x80 + n`.
    pub(crate) registers: HashMap<(ChipSelect, u8), u16>,
    reply: HashMap<ChipSelect, Vec<u8>>,
    noise: u64,
    pulse_end_ns: u64,
    conversion_end_ns: u64,
    flash: Vec<u8>,
}

impl Default for Recorder {
    fn default() -> Self {
        Self {
            calls: Vec::new(),
            now_ns: 0,
            shifts: HashMap::new(),
            registers: HashMap::new(),
            reply: HashMap::new(),
            noise: 0x0123_4567_89AB_CDEF,
            pulse_end_ns: 0,
            conversion_end_ns: 0,
            flash: vec![0xFF; FLASH_BYTES as usize],
        }
    }
}

impl Recorder {
    fn noise(&mut self) -> u8 {
        // xorshift64 (Marsaglia 2003, triple 13, 7, 17).
        self.noise ^= self.noise << 13;
        self.noise ^= self.noise >> 7;
        self.noise ^= self.noise << 17;
        (self.noise >> 32) as u8
    }

    fn burst(
        &mut self,
        select: ChipSelect,
        frame: usize,
        out: &[u8],
        mut input: Option<&mut [u8]>,
    ) -> Result<(), RecorderError> {
        if select.index >= CHIPS {
            return Err(RecorderError::Absent(select));
        }
        for (n, word) in out.chunks(frame).enumerate() {
            self.calls.push(Call::Frame { at_ns: self.now_ns, select, out: word.to_vec() });
            self.now_ns += NS_PER_BYTE * word.len() as u64 + NS_PER_FRAME;
            let back = self.shift(select, word);
            if let Some(input) = &mut input {
                input[n * frame..][..frame].copy_from_slice(&back);
            }
        }
        Ok(())
    }

    fn shift(&mut self, select: ChipSelect, word: &[u8]) -> Vec<u8> {
        let shifts = self.shifts.get(&select).copied().unwrap_or(Shifts::Noise);
        let (true, &[command, high, low]) = (shifts != Shifts::Noise, word) else {
            return word.iter().map(|_| self.noise()).collect();
        };
        let mut address = command & 0x7F;
        let ab_select = self.registers.get(&(select, AB_SELECT)).copied().unwrap_or_default();
        if address < 16 && ab_select >> address & 1 == 1 {
            address |= 0x80;
        }
        let reply = if command & 0x80 != 0 {
            let register = self.registers.get(&(select, address)).copied().unwrap_or_default();
            let [high, low] = register.to_be_bytes();
            vec![command, high, low]
        } else {
            self.registers.insert((select, address), u16::from_be_bytes([high, low]));
            if shifts == Shifts::RegistersAndEcho { word.to_vec() } else { vec![0; 3] }
        };
        self.reply.insert(select, reply).unwrap_or(vec![0; 3])
    }

    fn flash_range(offset: u32, length: usize) -> Result<std::ops::Range<usize>, RecorderError> {
        let start = offset as usize;
        let range = start..start + length;
        if range.end > FLASH_BYTES as usize {
            Err(RecorderError::BeyondFlash { offset, length })
        } else {
            Ok(range)
        }
    }
}

impl Bench for Recorder {
    type Error = RecorderError;

    fn info(&mut self) -> Result<BenchInfo, RecorderError> {
        Ok(BenchInfo {
            rows: 16,
            columns: 16,
            flash_bytes: FLASH_BYTES,
            flash_erase_bytes: 4096,
            boot_nonce: 0x1122_3344_5566_7788,
        })
    }

    fn now_ns(&mut self) -> Result<u64, RecorderError> {
        Ok(self.now_ns)
    }

    fn wait_until_ns(&mut self, at_ns: u64) -> Result<(), RecorderError> {
        self.calls.push(Call::WaitUntil { at_ns: self.now_ns, until_ns: at_ns });
        self.now_ns = self.now_ns.max(at_ns);
        Ok(())
    }

    fn spi_write(&mut self, select: ChipSelect, frame: usize, out: &[u8]) -> Result<(), RecorderError> {
        self.burst(select, frame, out, None)
    }

    fn spi_transfer(
        &mut self,
        select: ChipSelect,
        frame: usize,
        out: &[u8],
        input: &mut [u8],
    ) -> Result<(), RecorderError> {
        self.burst(select, frame, out, Some(input))
    }

    fn i2c(&mut self, address: u8, out: &[u8], input: &mut [u8]) -> Result<bool, RecorderError> {
        self.calls.push(Call::I2c { at_ns: self.now_ns, address, out: out.to_vec(), read: input.len() });
        self.now_ns += 22_500 * (1 + out.len() + input.len()) as u64;
        let acknowledged = address.is_multiple_of(2);
        if acknowledged {
            input.fill_with(|| self.noise());
        }
        Ok(acknowledged)
    }

    fn set_output(&mut self, line: OutputLine, high: bool) -> Result<(), RecorderError> {
        self.calls.push(Call::Output { at_ns: self.now_ns, line, high });
        Ok(())
    }

    fn start_pulse(&mut self, width_ns: u32) -> Result<(), RecorderError> {
        self.calls.push(Call::StartPulse { at_ns: self.now_ns, width_ns });
        self.pulse_end_ns = self.now_ns + u64::from(width_ns);
        Ok(())
    }

    fn stop_pulse(&mut self) -> Result<(), RecorderError> {
        self.calls.push(Call::StopPulse { at_ns: self.now_ns });
        self.pulse_end_ns = self.now_ns;
        Ok(())
    }

    fn pulse_done(&mut self) -> Result<bool, RecorderError> {
        self.calls.push(Call::PulseDone { at_ns: self.now_ns });
        Ok(self.now_ns >= self.pulse_end_ns)
    }

    fn start_conversion(&mut self) -> Result<(), RecorderError> {
        self.calls.push(Call::StartConversion { at_ns: self.now_ns });
        self.conversion_end_ns = self.now_ns + 1_000;
        Ok(())
    }

    fn supply_good(&mut self) -> Result<bool, RecorderError> {
        self.calls.push(Call::SupplyGood { at_ns: self.now_ns });
        Ok(self.now_ns.is_multiple_of(2))
    }

    fn conversion_done(&mut self) -> Result<bool, RecorderError> {
        self.calls.push(Call::ConversionDone { at_ns: self.now_ns });
        Ok(self.now_ns >= self.conversion_end_ns)
    }

    fn flash_read(&mut self, offset: u32, into: &mut [u8]) -> Result<(), RecorderError> {
        let range = Self::flash_range(offset, into.len())?;
        self.calls.extend(range.clone().map(|byte| Call::FlashRead { offset: byte as u32 }));
        into.copy_from_slice(&self.flash[range]);
        Ok(())
    }

    fn flash_write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), RecorderError> {
        let range = Self::flash_range(offset, bytes.len())?;
        for (at, &byte) in range.zip(bytes) {
            self.calls.push(Call::FlashWrite { offset: at as u32, byte });
            self.flash[at] &= byte;
        }
        Ok(())
    }

    fn flash_erase(&mut self, offset: u32) -> Result<(), RecorderError> {
        let range = Self::flash_range(offset, 4096)?;
        self.calls.push(Call::FlashErase { offset });
        self.flash[range].fill(0xFF);
        Ok(())
    }

    fn set_switches(&mut self, closed: u16) -> Result<(), RecorderError> {
        self.calls.push(Call::SetSwitches { at_ns: self.now_ns, closed });
        Ok(())
    }

    fn arm_switches(&mut self, closed: u16) -> Result<(), RecorderError> {
        self.calls.push(Call::ArmSwitches { at_ns: self.now_ns, closed });
        Ok(())
    }

    fn set_dac(&mut self, code: u16) -> Result<(), RecorderError> {
        self.calls.push(Call::SetDac { at_ns: self.now_ns, code });
        Ok(())
    }

    fn read_adc(&mut self, first: u8, codes: &mut [u16]) -> Result<(), RecorderError> {
        self.calls.push(Call::ReadAdc { at_ns: self.now_ns, first, count: codes.len() });
        codes.fill_with(|| u16::from_le_bytes([self.noise(), self.noise()]));
        Ok(())
    }
}
