//! LTC2688: 16-channel, 16-bit SoftSpan voltage DAC with two input registers (A and B) per channel that the pin TGP0
//! can toggle between.
//!
//! Sources: Linux `drivers/iio/dac/ltc2688.c` and Analog Devices no-OS `drivers/dac/ltc268x`, both "the drivers" below.
//! A frame is 24 bits: read bit, 7-bit address, 16 data bits, most significant first. The reply to a read is the data
//! half of the *next* frame; neither driver says what the first byte of a reply holds, so it is not looked at.
//! The part has no CRC and no identity register: read back what matters ([`Script`]),
//! and see [`Ltc2688::check`].

use crate::hardware::FramedSpi;

mod script;
mod span;
#[cfg(test)]
mod tests;

pub use script::{Script, ScriptError};
pub use span::{DacCode, OutOfSpan, Setting, Span, ToggleSource};

/// Bytes of a frame.
pub const FRAME: usize = 3;
/// Channels of the part.
pub const CHANNELS: usize = 16;
/// How long the part may take to come out of a reset, ms (Linux sleeps 10 ms after either kind).
pub const RESET_MS: u32 = 10;

/// Bit of an address byte that makes the frame a read (`LTC2688_READ_OPERATION`).
const READ: u8 = 0x80;
/// A frame that does nothing (`LTC2688_CMD_NOOP`), to clock out the reply to a last read.
const NO_OP: [u8; FRAME] = [0xFF, 0, 0];
/// CONFIG: software reset (`LTC2688_CONFIG_RST`).
const CONFIG_RESET: u16 = 1 << 15;

/// A channel number, 0 to 15.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Channel(u8);

/// There is no such channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no channel {0}: an LTC2688 has channels 0 to 15")]
pub struct NoSuchChannel(pub u8);

impl Channel {
    /// Channel 12.
    pub const C12: Self = Self(12);

    /// All channels, ascending.
    pub fn all() -> impl DoubleEndedIterator<Item = Self> + ExactSizeIterator {
        (0..CHANNELS as u8).map(Self)
    }

    /// The number, 0 to 15, as an index.
    pub fn index(self) -> usize {
        usize::from(self.0)
    }

    /// This channel's bit in the mask registers.
    pub fn mask(self) -> u16 {
        1 << self.0
    }
}

impl TryFrom<u8> for Channel {
    type Error = NoSuchChannel;

    fn try_from(number: u8) -> Result<Self, NoSuchChannel> {
        if usize::from(number) < CHANNELS { Ok(Self(number)) } else { Err(NoSuchChannel(number)) }
    }
}

/// A register or command, named as in no-OS `ltc268x.h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Register {
    /// Input register A or B, whichever [`AbSelect`](Self::AbSelect) picks; a write does not move the output.
    Code(Channel),
    /// Span and toggle source, see [`Setting`].
    Setting(Channel),
    /// Offset trim, upper 14 bits.
    Offset(Channel),
    /// Gain trim.
    Gain(Channel),
    /// Write only: the selected input register, then the output from it.
    CodeUpdate(Channel),
    /// Write only: the selected input register, then all outputs.
    CodeUpdateAll(Channel),
    /// Write only: the output from the input register.
    Update(Channel),
    /// Reset and reference.
    Config,
    /// One bit per channel: powered down.
    PowerDown,
    /// One bit per channel: input register B (1) or A (0) is written, read and updated from.
    AbSelect,
    /// One bit per channel: software toggle state.
    SoftwareToggle,
    /// One bit per channel: the output follows the toggle source (or dithers), not updates.
    ToggleEnable,
    /// Analog monitor.
    MuxControl,
    /// Fault flags (no-OS `FAULT_REG`).
    Fault,
    /// Read only: thermal status (Linux `THERMAL_STAT`).
    ThermalStatus,
    /// Write only: the selected input register of every channel.
    CodeAll,
    /// Write only: as [`CodeAll`](Self::CodeAll), then all outputs.
    CodeAllUpdateAll,
    /// Write only: the setting of every channel.
    SettingAll,
    /// Write only: as [`SettingAll`](Self::SettingAll), then all outputs.
    SettingAllUpdateAll,
    /// Write only: every output that isn't in toggle mode.
    UpdateAll,
}

impl Register {
    /// The 7-bit address (no-OS `ltc268x.h`; `ThermalStatus` from Linux).
    pub fn address(self) -> u8 {
        match self {
            Self::Code(channel) => channel.0,
            Self::Setting(channel) => 0x10 | channel.0,
            Self::Offset(channel) => 0x20 | channel.0,
            Self::Gain(channel) => 0x30 | channel.0,
            Self::CodeUpdate(channel) => 0x40 | channel.0,
            Self::CodeUpdateAll(channel) => 0x50 | channel.0,
            Self::Update(channel) => 0x60 | channel.0,
            Self::Config => 0x70,
            Self::PowerDown => 0x71,
            Self::AbSelect => 0x72,
            Self::SoftwareToggle => 0x73,
            Self::ToggleEnable => 0x74,
            Self::MuxControl => 0x75,
            Self::Fault => 0x76,
            Self::ThermalStatus => 0x77,
            Self::CodeAll => 0x78,
            Self::CodeAllUpdateAll => 0x79,
            Self::SettingAll => 0x7A,
            Self::SettingAllUpdateAll => 0x7B,
            Self::UpdateAll => 0x7C,
        }
    }

    /// Whether it can be read: per-channel registers up to GAIN, and CONFIG to THERMAL_STAT
    /// (Linux `ltc2688_reg_readable`).
    pub fn is_readable(self) -> bool {
        matches!(self.address(), 0x00..=0x3F | 0x70..=0x77)
    }

    /// Whether it can be written: everything but THERMAL_STAT (Linux `ltc2688_reg_writable`).
    pub fn is_writable(self) -> bool {
        self != Self::ThermalStatus
    }

    fn write_frame(self, value: u16) -> [u8; FRAME] {
        let [high, low] = value.to_be_bytes();
        [self.address(), high, low]
    }

    fn read_frame(self) -> [u8; FRAME] {
        [READ | self.address(), 0, 0]
    }
}

/// One of a channel's two input registers. That symbol N of the toggle source puts out register N is Linux'
/// `Documentation/ABI/testing/sysfs-bus-iio-dac` (`out_voltageY_symbol`, `out_voltageY_rawN`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InputRegister {
    /// Put out while the toggle source is low (0).
    A,
    /// Put out while the toggle source is high (1).
    B,
}

impl InputRegister {
    /// What [`Register::AbSelect`] holds with this one selected on every channel.
    pub fn select_mask(self) -> u16 {
        match self {
            Self::A => 0,
            Self::B => 0xFFFF,
        }
    }
}

/// What the chip says is wrong with it. The drivers name the two registers but no single bit of them, so a bit that is set
/// is reported as it stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// FAULT, 0x76.
    pub fault: u16,
    /// THERMAL_STAT, 0x77.
    pub thermal: u16,
}

impl Faults {
    /// Whether nothing is wrong.
    pub fn is_clear(self) -> bool {
        self == Self::default()
    }
}

/// What can go wrong with an LTC2688.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error<E> {
    /// The SPI bus failed.
    #[error("SPI: {0:?}")]
    Bus(E),
    /// A register didn't keep what was written to it.
    #[error("{register:?} reads {read:#06x} after {wrote:#06x} was written")]
    ReadBack {
        /// Which register.
        register: Register,
        /// What was written.
        wrote: u16,
        /// What came back.
        read: u16,
    },
    /// A script could not be built.
    #[error(transparent)]
    Script(#[from] ScriptError),
}

/// The driver. It keeps input register A selected on every channel between calls.
#[derive(Debug)]
pub struct Ltc2688<S> {
    spi: S,
}

impl<S: FramedSpi> Ltc2688<S> {
    /// Takes the chip; sends nothing.
    pub fn new(spi: S) -> Self {
        Self { spi }
    }

    /// Gives the bus handle back.
    pub fn release(self) -> S {
        self.spi
    }

    /// Runs `script` as one burst and hands each read's address and value to `deliver`, in the script's order.
    pub fn run<const N: usize>(
        &mut self,
        script: &Script<N>,
        mut deliver: impl FnMut(u8, u16),
    ) -> Result<(), Error<S::Error>> {
        let frames = script.frames();
        if !script.has_reads() {
            return self.spi.write_frames(FRAME, frames.as_flattened()).map_err(Error::Bus);
        }
        let mut replies = Script::<N>::EMPTY;
        let Some(replies) = replies.get_mut(..frames.len()) else {
            return Err(ScriptError::Full { capacity: N }.into());
        };
        self.spi
            .transfer_frames(FRAME, frames.as_flattened(), replies.as_flattened_mut())
            .map_err(Error::Bus)?;
        let mut replies = replies.iter();
        let _ = replies.next();
        for &frame in frames {
            let Some(&[_, high, low]) = replies.next() else { break };
            if script::is_read(frame) {
                let [address, ..] = frame;
                deliver(address & !READ, u16::from_be_bytes([high, low]));
            }
        }
        Ok(())
    }

    /// Back to the reset state: span 0–5 V, codes 0, toggle off. Wait [`RESET_MS`] before the next call.
    pub fn software_reset(&mut self) -> Result<(), Error<S::Error>> {
        self.write(&[(Register::Config, CONFIG_RESET)])
    }

    /// There is no identity register, so: two complementary patterns must survive in A_B_SELECT, which moves no
    /// output by itself. Leaves A selected.
    pub fn check(&mut self) -> Result<(), Error<S::Error>> {
        let patterns = [0x5AA5, 0xA55A, InputRegister::A.select_mask()];
        let mut script = Script::<7>::new();
        for wrote in patterns {
            script.write(Register::AbSelect, wrote)?.read(Register::AbSelect)?;
        }
        let mut expected = patterns.into_iter();
        let mut outcome = Ok(());
        self.run(&script, |_, read| {
            if let (Ok(()), Some(wrote)) = (outcome, expected.next())
                && wrote != read
            {
                outcome = Err((wrote, read));
            }
        })?;
        outcome.map_err(|(wrote, read)| Error::ReadBack { register: Register::AbSelect, wrote, read })
    }

    /// Sets span and toggle source of a channel. The *code* stays, so the voltage changes with the span (code 0 is −5 V
    /// in ±5 V), at the latest with the next update: write mid-scale into A and B first.
    pub fn set_setting(&mut self, channel: Channel, setting: Setting) -> Result<(), Error<S::Error>> {
        self.write(&[(Register::Setting(channel), setting.bits())])
    }

    /// Writes one input register of a channel; the output stays.
    pub fn write_code(
        &mut self,
        input: InputRegister,
        channel: Channel,
        code: DacCode,
    ) -> Result<(), Error<S::Error>> {
        let select_a = (Register::AbSelect, InputRegister::A.select_mask());
        let write = (Register::Code(channel), code.0);
        match input {
            InputRegister::A => self.write(&[select_a, write]),
            InputRegister::B => {
                self.write(&[(Register::AbSelect, InputRegister::B.select_mask()), write, select_a])
            }
        }
    }

    /// The output of a channel from its input register A. No effect on a channel in toggle mode.
    pub fn update(&mut self, channel: Channel) -> Result<(), Error<S::Error>> {
        self.write(&[(Register::AbSelect, InputRegister::A.select_mask()), (Register::Update(channel), 0)])
    }

    /// Every output that isn't in toggle mode from its input register A, together.
    pub fn update_all(&mut self) -> Result<(), Error<S::Error>> {
        self.write(&[(Register::AbSelect, InputRegister::A.select_mask()), (Register::UpdateAll, 0)])
    }

    /// Writes input register A of a channel and puts it out. In toggle mode the output stays with the pin.
    pub fn write_and_update(&mut self, channel: Channel, code: DacCode) -> Result<(), Error<S::Error>> {
        self.write(&[
            (Register::AbSelect, InputRegister::A.select_mask()),
            (Register::CodeUpdate(channel), code.0),
        ])
    }

    /// Channels (one bit each) whose output follows their toggle source.
    pub fn set_toggle_enable(&mut self, mask: u16) -> Result<(), Error<S::Error>> {
        self.write(&[(Register::ToggleEnable, mask)])
    }

    /// Channels (one bit each) whose input register B is selected; the others have A. The other methods here select for
    /// themselves and leave A selected.
    pub fn set_ab_select(&mut self, mask: u16) -> Result<(), Error<S::Error>> {
        self.write(&[(Register::AbSelect, mask)])
    }

    /// The fault flags.
    pub fn faults(&mut self) -> Result<Faults, Error<S::Error>> {
        let mut script = Script::<3>::new();
        script.read(Register::Fault)?.read(Register::ThermalStatus)?;
        let mut faults = Faults::default();
        self.run(&script, |address, value| {
            if address == Register::Fault.address() {
                faults.fault = value;
            } else {
                faults.thermal = value;
            }
        })?;
        Ok(faults)
    }

    fn write<const N: usize>(&mut self, writes: &[(Register, u16); N]) -> Result<(), Error<S::Error>> {
        let frames = writes.map(|(register, value)| register.write_frame(value));
        self.spi.write_frames(FRAME, frames.as_flattened()).map_err(Error::Bus)
    }
}
