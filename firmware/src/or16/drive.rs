//! The DACs at rest and in reads: bursts that check themselves, 0 V everywhere, and codes on rows.

use super::faults;
use super::population::{MAX_DACS, dac_channel};
use crate::chips::ltc2688::{
    Channel, DacCode, InputRegister, Ltc2688, Register, Script, ScriptError, Setting, Span, ToggleSource,
};
use crate::front_end::FrontEndError;
use crate::hardware::Hardware;
use crate::log::log;
use heapless::Vec;
use ohmrig_protocol::bench::{ChipKind, ChipSelect};

/// Frames of the longest burst: seven writes, 48 reads of channels, toggle-enable, a no-op, and some room.
const BURST: usize = 64;

/// Span and toggle source of a group of DACs. TGP0 of all is one net, so rows and columns move together.
pub(super) fn setting(kind: ChipKind) -> Setting {
    let span = if kind == ChipKind::GateDac { Span::Unipolar5 } else { Span::Bipolar5 };
    Setting { span, toggle: ToggleSource::Tgp0 }
}

/// Code of 0 V in the span of a group of DACs.
pub(super) fn zero(kind: ChipKind) -> DacCode {
    if kind == ChipKind::GateDac { DacCode(0) } else { DacCode::MID_SCALE }
}

/// Writes and reads of one DAC in one transfer, with what each read must give.
#[derive(Debug)]
pub(super) struct Burst {
    script: Script<BURST>,
    expected: Vec<u16, BURST>,
}

impl Burst {
    pub(super) fn new() -> Self {
        Self { script: Script::new(), expected: Vec::new() }
    }

    pub(super) fn write(&mut self, register: Register, value: u16) -> Result<&mut Self, ScriptError> {
        self.script.write(register, value)?;
        Ok(self)
    }

    pub(super) fn expect(&mut self, register: Register, value: u16) -> Result<&mut Self, ScriptError> {
        self.script.read(register)?;
        self.expected.push(value).map_err(|_| ScriptError::Full { capacity: BURST })?;
        Ok(self)
    }

    /// A register of every channel, ascending so that a run-coding link moves the scan as one run.
    pub(super) fn expect_all(
        &mut self,
        register: impl Fn(Channel) -> Register,
        value: impl Fn(Channel) -> u16,
    ) -> Result<&mut Self, ScriptError> {
        for channel in Channel::all() {
            self.expect(register(channel), value(channel))?;
        }
        Ok(self)
    }

    /// Sends it and compares every read.
    pub(super) fn run<H: Hardware>(&self, hardware: &mut H, select: ChipSelect) -> Result<(), FrontEndError> {
        let mut expected = self.expected.iter();
        let mut wrong = None;
        Ltc2688::new(hardware.chip(select))
            .run(&self.script, |register, read| {
                let wanted = expected.next().copied();
                if wanted != Some(read) && wrong.is_none() {
                    wrong = Some((register, read, wanted.unwrap_or_default()));
                }
            })
            .map_err(|error| faults::dac(select, error))?;
        match wrong {
            None => Ok(()),
            Some((register, read, wanted)) => {
                log!(warn, "register {} reads {}, must be {}", register.address(), read, wanted);
                Err(faults::chip(select, "a register reads back wrong"))
            }
        }
    }
}

/// Builds a burst and runs it.
pub(super) fn burst<H: Hardware>(
    hardware: &mut H,
    select: ChipSelect,
    build: impl FnOnce(&mut Burst) -> Result<(), ScriptError>,
) -> Result<(), FrontEndError> {
    let mut burst = Burst::new();
    build(&mut burst).map_err(|error| faults::dac::<core::convert::Infallible>(select, error.into()))?;
    burst.run(hardware, select)
}

/// After a reset, with every switch open: 0 V into A and B of every channel, the span, everything put out, all read back.
///
/// The codes come before the span, because code 0 is −5 V in ±5 V; and the span comes with an update in the same frame,
/// because a part that applied it at once to what it puts out would else show −5 V until the update.
pub(super) fn set_up<H: Hardware>(hardware: &mut H, select: ChipSelect) -> Result<(), FrontEndError> {
    let DacCode(zero) = zero(select.kind);
    let setting = setting(select.kind).bits();
    zero_all(
        hardware,
        select,
        &[(Register::CodeAll, zero), (Register::SettingAllUpdateAll, setting), (Register::UpdateAll, 0)],
    )
}

/// From whatever state since then: toggling off, 0 V in A and B of every channel and put out, all read back. Spans are
/// read back but not written: with lines connected, a frame gone wrong there could put volts on them.
pub(super) fn to_zero<H: Hardware>(hardware: &mut H, select: ChipSelect) -> Result<(), FrontEndError> {
    let DacCode(zero) = zero(select.kind);
    zero_all(hardware, select, &[(Register::CodeAllUpdateAll, zero)])
}

/// `into_a` writes 0 V into A of every channel and puts it out.
fn zero_all<H: Hardware>(
    hardware: &mut H,
    select: ChipSelect,
    into_a: &[(Register, u16)],
) -> Result<(), FrontEndError> {
    let DacCode(zero) = zero(select.kind);
    let setting = setting(select.kind).bits();
    burst(hardware, select, |burst| {
        burst
            .write(Register::ToggleEnable, 0)?
            .write(Register::AbSelect, InputRegister::B.select_mask())?
            .write(Register::CodeAll, zero)?
            .expect_all(Register::Code, |_| zero)?
            .write(Register::AbSelect, InputRegister::A.select_mask())?;
        for &(register, value) in into_a {
            burst.write(register, value)?;
        }
        burst
            .expect_all(Register::Code, |_| zero)?
            .expect_all(Register::Setting, |_| setting)?
            .expect(Register::ToggleEnable, 0)?;
        Ok(())
    })
}

/// Row channels that are not at 0 V, one bit each.
#[derive(Debug)]
pub(super) struct Driven {
    channels: [u16; MAX_DACS],
}

impl Driven {
    /// All at 0 V.
    pub(super) const NONE: Self = Self { channels: [0; MAX_DACS] };

    /// Those of one DAC; none of a DAC that doesn't drive rows.
    pub(super) fn of(&self, select: ChipSelect) -> u16 {
        if select.kind != ChipKind::RowDac {
            return 0;
        }
        self.channels.get(usize::from(select.index)).copied().unwrap_or(0)
    }

    /// A DAC has been put to 0 V.
    pub(super) fn clear(&mut self, select: ChipSelect) {
        if select.kind == ChipKind::RowDac
            && let Some(channels) = self.channels.get_mut(usize::from(select.index))
        {
            *channels = 0;
        }
    }

    fn note(&mut self, select: ChipSelect, channel: Channel, code: u16) {
        if let Some(channels) = self.channels.get_mut(usize::from(select.index)) {
            *channels &= !channel.mask();
            if DacCode(code) != DacCode::MID_SCALE {
                *channels |= channel.mask();
            }
        }
    }

    /// Puts one row at a code: one frame, as A is selected unless a pulse is loaded.
    pub(super) fn drive_row<H: Hardware>(
        &mut self,
        hardware: &mut H,
        row: u16,
        code: u16,
    ) -> Result<(), FrontEndError> {
        let (index, channel) = dac_channel(row);
        let select = ChipSelect { kind: ChipKind::RowDac, index };
        let channel = Channel::try_from(channel).map_err(|_| faults::misuse("no such row"))?;
        burst(hardware, select, |burst| burst.write(Register::CodeUpdate(channel), code).map(drop))?;
        self.note(select, channel, code);
        Ok(())
    }

    /// Puts the rows of one DAC at `codes`, little-endian, together: the last frame updates all.
    pub(super) fn drive_dac<H: Hardware>(
        &mut self,
        hardware: &mut H,
        select: ChipSelect,
        codes: &[[u8; 2]],
    ) -> Result<(), FrontEndError> {
        let codes = codes.iter().map(|&code| u16::from_le_bytes(code));
        let last = codes.len().saturating_sub(1);
        burst(hardware, select, |burst| {
            for (channel, code) in Channel::all().zip(codes.clone()) {
                let register = if channel.index() == last {
                    Register::CodeUpdateAll(channel)
                } else {
                    Register::Code(channel)
                };
                burst.write(register, code)?;
            }
            Ok(())
        })?;
        for (channel, code) in Channel::all().zip(codes) {
            self.note(select, channel, code);
        }
        Ok(())
    }

    /// Puts a row DAC at 0 V in one frame. Free if it is; whether it was not.
    pub(super) fn ground<H: Hardware>(
        &mut self,
        hardware: &mut H,
        select: ChipSelect,
    ) -> Result<bool, FrontEndError> {
        if self.of(select) == 0 {
            return Ok(false);
        }
        let DacCode(zero) = zero(select.kind);
        burst(hardware, select, |burst| burst.write(Register::CodeAllUpdateAll, zero).map(drop))?;
        self.clear(select);
        Ok(true)
    }
}
