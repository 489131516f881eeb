//! The DACs at rest and in reads: bursts that check themselves, 0 V everywhere, and codes on rows.

use super::faults;
use super::population::{MAX_DACS, dac_channel};
use crate::chips::ltc2688::{
    CHANNELS, Channel, DacCode, InputRegister, Ltc2688, Register, Script, ScriptError, Setting, Span,
    ToggleSource,
};
use crate::front_end::FrontEndError;
use crate::hardware::Hardware;
use crate::log::{log, words};
use heapless::Vec;
use ohmrig_protocol::bench::{ChipKind, ChipSelect};

/// Frames of the longest burst: six writes, 48 reads of channels, three more, a no-op, and some room.
const BURST: usize = 64;

/// Trims after a reset: none. Neither driver writes them.
const TRIM: u16 = 0;
/// The channel whose code, with an update of all, has an address one bit from that of an update of all (0x5C, 0x7C) …
const NEAR_UPDATE_ALL: Channel = Channel::C12;
/// … and whose gain has one (0x3C).
const GAIN_NEAR_UPDATE_ALL: Register = Register::Gain(NEAR_UPDATE_ALL);

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
    /// The first entry that it couldn't take: then it isn't sent.
    refused: Option<ScriptError>,
}

impl Burst {
    #[inline(always)]
    pub(super) fn new() -> Self {
        Self { script: Script::new(), expected: Vec::new(), refused: None }
    }

    pub(super) fn write(&mut self, register: Register, value: u16) -> &mut Self {
        let written = self.script.write(register, value).err();
        self.refused = self.refused.or(written);
        self
    }

    /// Codes of the channels, where they differ from what is `held`.
    fn write_changed(&mut self, held: &[u16; CHANNELS], codes: &[u16; CHANNELS]) -> &mut Self {
        let written = self.script.write_changed(held, codes).err();
        self.refused = self.refused.or(written);
        self
    }

    pub(super) fn expect(&mut self, register: Register, value: u16) -> &mut Self {
        let read = self.script.read_held(register, value).err();
        self.expect_reads(read, &[value])
    }

    /// A register of every channel, ascending so that a run-coding link moves the scan as one run.
    pub(super) fn expect_all(&mut self, register: fn(Channel) -> Register, value: u16) -> &mut Self {
        self.expect_each(register, &[value; CHANNELS])
    }

    /// The same, each with a value of its own; of settings there is one.
    pub(super) fn expect_each(
        &mut self,
        register: fn(Channel) -> Register,
        values: &[u16; CHANNELS],
    ) -> &mut Self {
        let [first, ..] = *values;
        let read = self.script.read_all(register, first).err();
        self.expect_reads(read, values)
    }

    fn expect_reads(&mut self, read: Option<ScriptError>, values: &[u16]) -> &mut Self {
        let expected = self.expected.extend_from_slice(values);
        let full = expected.err().map(|_| ScriptError::Full { capacity: BURST });
        self.refused = self.refused.or(read).or(full);
        self
    }

    /// Sends it and compares every read.
    pub(super) fn run<H: Hardware>(
        &mut self,
        hardware: &mut H,
        select: ChipSelect,
    ) -> Result<(), FrontEndError> {
        if let Some(error) = self.refused {
            return Err(faults::dac::<core::convert::Infallible>(select, error.into()));
        }
        let mut expected = self.expected.iter();
        let mut wrong = None;
        Ltc2688::new(hardware.chip(select))
            .run(&self.script, |address, read| {
                let wanted = expected.next().copied();
                if wanted != Some(read) && wrong.is_none() {
                    wrong = Some((address, read, wanted.unwrap_or_default()));
                }
            })
            .map_err(|error| faults::dac(select, error))?;
        match wrong {
            None => Ok(()),
            Some((address, read, wanted)) => {
                log!(warn, "register {} reads {}, must be {}", address, read, wanted);
                Err(faults::chip(select, words!("a register reads back wrong")))
            }
        }
    }
}

/// After a reset, with every switch open: 0 V into B and A of every channel, the span, everything put out, all read back,
/// the trims too, which are never written.
///
/// The codes come before the span, because code 0 is −5 V in ±5 V; and the span comes with an update in the same frame,
/// because a part that applied it at once to what it puts out would else show −5 V until the update.
pub(super) fn set_up<H: Hardware>(hardware: &mut H, select: ChipSelect) -> Result<(), FrontEndError> {
    let DacCode(zero) = zero(select.kind);
    let setting = setting(select.kind).bits();
    let b = InputRegister::B.select_mask();
    let mut burst = Burst::new();
    burst
        .write(Register::AbSelect, b)
        .expect(Register::AbSelect, b)
        .write(Register::CodeAll, zero)
        .expect_all(Register::Code, zero)
        .write(Register::AbSelect, InputRegister::A.select_mask())
        .write(Register::CodeAll, zero)
        .write(Register::SettingAllUpdateAll, setting)
        .write(Register::UpdateAll, 0);
    expect_rest(&mut burst, &[zero; CHANNELS], setting)
        .expect(Register::AbSelect, 0)
        .run(hardware, select)?;
    expect_trims(hardware, select)
}

/// What is read of a DAC at rest, where `codes` are in A.
fn expect_rest<'b>(burst: &'b mut Burst, codes: &[u16; CHANNELS], setting: u16) -> &'b mut Burst {
    burst
        .expect_each(Register::Code, codes)
        .expect_all(Register::Setting, setting)
        .expect(Register::ToggleEnable, 0)
}

/// Offset and gain of every channel as a reset leaves them: nothing here writes them, but a bit turned over in the address
/// of another write can.
pub(super) fn expect_trims<H: Hardware>(hardware: &mut H, select: ChipSelect) -> Result<(), FrontEndError> {
    let mut burst = Burst::new();
    burst.expect_all(Register::Offset, TRIM).expect_all(Register::Gain, TRIM).run(hardware, select)
}

/// Puts out what has been read back to be in A, which is to be [confirmed](Driven::confirm).
///
/// Frames carry no CRC, so one of them may do something else than it should. The update comes twice, that one of the two
/// does it; what a bit turned over in the other can make of it (an update of one channel, a code of 0 V, a toggle mask, the
/// gain of a channel, all with 0 V for data) is no voltage above what is asked, and shows in what is read.
pub(super) fn update<H: Hardware>(hardware: &mut H, select: ChipSelect) -> Result<(), FrontEndError> {
    let DacCode(zero) = zero(select.kind);
    let mut burst = Burst::new();
    burst.write(Register::UpdateAll, zero).write(Register::UpdateAll, zero).run(hardware, select)
}

/// Puts out what has been read back to be in A, `codes` of the channels, and reads everything back once more.
fn put_out<H: Hardware>(
    hardware: &mut H,
    select: ChipSelect,
    codes: &[u16; CHANNELS],
) -> Result<(), FrontEndError> {
    let DacCode(zero) = zero(select.kind);
    let mut burst = Burst::new();
    burst.write(Register::UpdateAll, zero).write(Register::UpdateAll, zero);
    expect_put_out(&mut burst, select, codes);
    burst.run(hardware, select)
}

/// What is read after an update: all of it.
fn expect_put_out(burst: &mut Burst, select: ChipSelect, codes: &[u16; CHANNELS]) {
    burst.expect(GAIN_NEAR_UPDATE_ALL, TRIM);
    expect_rest(burst, codes, setting(select.kind).bits());
    // Also makes grounding another burst than driving, which a link that remembers bursts tells apart by length.
    if codes == &[zero(select.kind).0; CHANNELS] {
        burst.expect(Register::AbSelect, 0);
    }
}

/// What one bit turned over in an update can have done, and whether the part has been reset since: a code of 0 V in the
/// channel beside the update's address or in all, a gain, a toggle mask; codes and settings of a reset.
fn expect_updated(burst: &mut Burst, select: ChipSelect, codes: &[u16; CHANNELS]) {
    let DacCode(zero) = zero(select.kind);
    let telling = Channel::all().zip(codes).find(|&(_, &code)| code != zero);
    let telling = telling.map_or(NEAR_UPDATE_ALL, |(channel, _)| channel);
    for channel in [telling, NEAR_UPDATE_ALL] {
        burst.expect(Register::Code(channel), codes.get(channel.index()).copied().unwrap_or_default());
    }
    burst
        .expect(Register::Setting(telling), setting(select.kind).bits())
        .expect(GAIN_NEAR_UPDATE_ALL, TRIM)
        .expect(Register::ToggleEnable, 0);
}

/// Codes in A of every channel: of a row's, and of a column's bias driver, of which at most one is not at 0 V.
#[derive(Debug)]
pub(super) struct Driven {
    codes: [[u16; CHANNELS]; MAX_DACS],
    bias: Option<(ChipSelect, Channel, u16)>,
}

impl Driven {
    /// All at 0 V.
    pub(super) const NONE: Self = Self { codes: [[DacCode::MID_SCALE.0; CHANNELS]; MAX_DACS], bias: None };

    /// What the channels of a DAC hold.
    pub(super) fn of(&self, select: ChipSelect) -> [u16; CHANNELS] {
        if select.kind == ChipKind::RowDac
            && let Some(rows) = self.codes.get(usize::from(select.index))
        {
            return *rows;
        }
        let mut codes = [zero(select.kind).0; CHANNELS];
        if let Some((biased, channel, code)) = self.bias
            && biased == select
            && let Some(place) = codes.get_mut(channel.index())
        {
            *place = code;
        }
        codes
    }

    fn note(&mut self, select: ChipSelect, codes: &[u16; CHANNELS]) {
        if select.kind == ChipKind::RowDac
            && let Some(held) = self.codes.get_mut(usize::from(select.index))
        {
            *held = *codes;
        }
        if select.kind == ChipKind::BiasDac {
            let zero = zero(select.kind).0;
            let driven = Channel::all().zip(codes).find(|&(_, &code)| code != zero);
            self.bias = driven.map(|(channel, &code)| (select, channel, code));
        }
    }

    /// Writes `codes` into A of a DAC and reads them back: nothing moves yet. Free if they are there; whether they
    /// were not.
    ///
    /// Only what changes is written, so that a write that went anywhere else shows as one that is missing.
    pub(super) fn stage<H: Hardware>(
        &mut self,
        hardware: &mut H,
        select: ChipSelect,
        codes: &[u16; CHANNELS],
    ) -> Result<bool, FrontEndError> {
        let held = self.of(select);
        if &held == codes {
            return Ok(false);
        }
        let [first, ..] = *codes;
        let mut burst = Burst::new();
        if codes.iter().all(|&code| code == first) {
            burst.write(Register::CodeAll, first).expect(Register::AbSelect, 0);
        } else {
            burst.write_changed(&held, codes);
        }
        burst.expect_each(Register::Code, codes).expect(Register::ToggleEnable, 0).run(hardware, select)?;
        self.note(select, codes);
        Ok(true)
    }

    /// Every channel to 0 V, if it isn't, and everything read back. Nothing is written that needn't be, spans least of all:
    /// with lines connected, a frame gone wrong could put volts on them.
    pub(super) fn ground<H: Hardware>(
        &mut self,
        hardware: &mut H,
        select: ChipSelect,
    ) -> Result<(), FrontEndError> {
        let zeros = [zero(select.kind).0; CHANNELS];
        if self.stage(hardware, select, &zeros)? {
            return put_out(hardware, select, &zeros);
        }
        let mut burst = Burst::new();
        expect_rest(&mut burst, &zeros, setting(select.kind).bits())
            .expect(Register::AbSelect, 0)
            .run(hardware, select)
    }

    /// Puts out what was staged, and reads everything back.
    pub(super) fn put_out<H: Hardware>(
        &self,
        hardware: &mut H,
        select: ChipSelect,
    ) -> Result<(), FrontEndError> {
        put_out(hardware, select, &self.of(select))
    }

    /// Reads back what says that an update did what it should: everything, or what one frame gone wrong would show in.
    pub(super) fn confirm<H: Hardware>(
        &self,
        hardware: &mut H,
        select: ChipSelect,
        everything: bool,
    ) -> Result<(), FrontEndError> {
        let codes = self.of(select);
        let expect = if everything { expect_put_out } else { expect_updated };
        let mut burst = Burst::new();
        expect(&mut burst, select, &codes);
        burst.run(hardware, select)
    }

    /// The codes of a DAC with that of one line changed, and which DAC it is.
    pub(super) fn with(&self, kind: ChipKind, line: u16, code: u16) -> (ChipSelect, [u16; CHANNELS]) {
        let (index, channel) = dac_channel(line);
        let select = ChipSelect { kind, index };
        let mut codes = self.of(select);
        if let Some(place) = codes.get_mut(usize::from(channel)) {
            *place = code;
        }
        (select, codes)
    }
}
