//! A board for the front end's own tests: registers that read back, lines that follow, and a witness who notes what no
//! board may do. Converters, settling and the array are the emulator's business, not this one's.

use crate::hardware::{FramedSpi, Hardware, NoFlash, Persistent, Sequencer};
use core::convert::Infallible;
use crc::{CRC_8_SMBUS, CRC_16_OPENSAFETY_B, Crc};
use embedded_hal::digital::{self, OutputPin};
use embedded_hal::i2c::{self, I2c};
use embedded_hal::spi::{self, Operation, SpiDevice};
use ohmrig_protocol::bench::{ChipKind, ChipSelect, OutputLine};
use std::collections::BTreeMap;
use std::vec::Vec;

const CRC8: Crc<u8> = Crc::<u8>::new(&CRC_8_SMBUS);
const CRC16: Crc<u16> = Crc::<u16>::new(&CRC_16_OPENSAFETY_B);

/// One transaction with a chip: bytes per frame, what was sent, what came back (empty for a write).
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Transaction {
    pub(super) select: ChipSelect,
    pub(super) frame: usize,
    pub(super) sent: Vec<u8>,
    pub(super) back: Vec<u8>,
}

/// A register of a DAC, for a test to spoil.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Spoilt {
    A(usize),
    B(usize),
    Setting(usize),
    ToggleEnable,
}

/// An LTC2688 that, pessimistically, puts out on leaving toggle mode what an update would, and may apply a new span at once.
#[derive(Clone, Default)]
struct Dac {
    input: [[u16; 16]; 2],
    put_out: [u16; 16],
    setting: [u16; 16],
    /// Span that the output runs on.
    span: [u16; 16],
    span_at_once: bool,
    /// Offset and gain of each channel.
    trims: [[u16; 16]; 2],
    a_b: u16,
    toggle: u16,
    reply: [u8; 3],
    /// Channels whose setting was read since it was last written.
    seen: u16,
}

impl Dac {
    fn volts(&self, channel: usize) -> f32 {
        let code = f32::from(self.put_out[channel]);
        match self.span[channel] & 7 {
            0 => code * 5.0 / 65536.0,
            1 => code * 10.0 / 65536.0,
            2 => code * 10.0 / 65536.0 - 5.0,
            3 => code * 20.0 / 65536.0 - 10.0,
            _ => code * 30.0 / 65536.0 - 15.0,
        }
    }

    fn load(&mut self, channel: usize, high: bool) {
        let high = high && self.setting[channel] >> 4 & 3 == 1;
        self.put_out[channel] = self.input[usize::from(high)][channel];
        self.span[channel] = self.setting[channel];
    }

    fn set(&mut self, channel: usize, setting: u16) {
        self.setting[channel] = setting;
        self.seen &= !(1 << channel);
        if self.span_at_once {
            self.span[channel] = setting;
        }
    }

    fn update(&mut self, channel: usize) {
        if self.toggle >> channel & 1 == 0 {
            self.put_out[channel] = self.input[usize::from(self.a_b >> channel & 1)][channel];
            self.span[channel] = self.setting[channel];
        }
    }

    fn code(&mut self, channel: usize, code: u16) {
        self.input[usize::from(self.a_b >> channel & 1)][channel] = code;
    }

    fn write(&mut self, address: u8, data: u16, tgp: bool) {
        let channel = usize::from(address & 0xF);
        match address {
            0x00..=0x0F => self.code(channel, data),
            0x40..=0x4F => {
                self.code(channel, data);
                self.update(channel);
            }
            0x50..=0x5F => {
                self.code(channel, data);
                (0..16).for_each(|channel| self.update(channel));
            }
            0x10..=0x1F => self.set(channel, data),
            0x60..=0x6F => self.update(channel),
            0x70 if data >> 15 != 0 => {
                *self = Self { reply: self.reply, span_at_once: self.span_at_once, ..Self::default() };
            }
            0x72 => self.a_b = data,
            0x20..=0x2F => self.trims[0][channel] = data,
            0x30..=0x3F => self.trims[1][channel] = data,
            0x74 => {
                let left = self.toggle & !data;
                self.toggle = data;
                (0..16).filter(|channel| left >> channel & 1 != 0).for_each(|channel| self.update(channel));
                (0..16)
                    .filter(|channel| data >> channel & 1 != 0)
                    .for_each(|channel| self.load(channel, tgp));
            }
            0x78 => (0..16).for_each(|channel| self.code(channel, data)),
            0x79 => {
                (0..16).for_each(|channel| self.code(channel, data));
                (0..16).for_each(|channel| self.update(channel));
            }
            0x7A | 0x7B => {
                (0..16).for_each(|channel| self.set(channel, data));
                if address == 0x7B {
                    (0..16).for_each(|channel| self.update(channel));
                }
            }
            0x7C => (0..16).for_each(|channel| self.update(channel)),
            // Power-down, monitor: nothing here follows them.
            _ => {}
        }
    }

    fn read(&mut self, address: u8, spoilt: Option<Spoilt>) -> u16 {
        let channel = usize::from(address & 0xF);
        let high = self.a_b >> channel & 1 != 0;
        let (value, name) = match address {
            0x00..=0x0F => (
                self.input[usize::from(high)][channel],
                if high { Spoilt::B(channel) } else { Spoilt::A(channel) },
            ),
            0x10..=0x1F => {
                self.seen |= 1 << channel;
                (self.setting[channel], Spoilt::Setting(channel))
            }
            0x74 => (self.toggle, Spoilt::ToggleEnable),
            0x72 => return self.a_b,
            0x20..=0x2F => return self.trims[0][channel],
            0x30..=0x3F => return self.trims[1][channel],
            _ => return 0,
        };
        if spoilt == Some(name) { value ^ 0x0100 } else { value }
    }

    fn frame(&mut self, out: [u8; 3], tgp: bool, spoilt: Option<Spoilt>) -> [u8; 3] {
        let reply = self.reply;
        self.reply = out;
        let [address, high, low] = out;
        if address != 0xFF && address & 0x80 != 0 {
            let [high, low] = self.read(address & 0x7F, spoilt).to_be_bytes();
            self.reply = [address, high, low];
        } else {
            self.write(address, u16::from_be_bytes([high, low]), tgp);
        }
        reply
    }
}

#[derive(Clone, Default)]
struct Switch {
    closed: u8,
    checks: u8,
    flags: u8,
}

impl Switch {
    fn frame(&mut self, out: &[u8]) -> Vec<u8> {
        let mut back = std::vec![0x25, 0];
        match (out, self.checks) {
            (&[0x02, checks], 0) => self.checks = checks,
            (&[_, _], _) => self.flags |= 2,
            (&[first, data, crc], 7) => {
                assert_eq!(CRC8.checksum(&[first, data]), crc);
                match (first, data) {
                    (0x6C, 0xA9) => self.flags = 0,
                    (0x01, data) => self.closed = data,
                    (0x81, _) => back[1] = self.closed,
                    (0x82, _) => back[1] = self.checks,
                    (0x83, _) => back[1] = self.flags,
                    _ => panic!("switch frame {out:02x?}"),
                }
                back.push(CRC8.checksum(&[first, back[1]]));
            }
            _ => panic!("switch frame {out:02x?}"),
        }
        back
    }
}

#[derive(Clone, Default)]
struct Adc {
    registers: BTreeMap<u8, u8>,
    reply: [u8; 2],
    samples: [i16; 8],
}

impl Adc {
    fn frame(&mut self, out: &[u8]) -> Vec<u8> {
        if out.len() == 18 {
            let mut back: Vec<u8> = self.samples.iter().flat_map(|sample| sample.to_be_bytes()).collect();
            back.extend(CRC16.checksum(&back).to_be_bytes());
            return back;
        }
        let mut back = self.reply.to_vec();
        if out.len() == 3 {
            back.push(CRC8.checksum(&back));
        }
        if out[0] & 0x40 != 0 {
            let fallback = if out[0] == 0x6F { 0x22 } else { 0 };
            self.reply = [out[0], *self.registers.get(&(out[0] & 0x3F)).unwrap_or(&fallback)];
        } else {
            self.registers.insert(out[0], out[1]);
        }
        back
    }
}

/// What the witness has noted.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Witness {
    /// A column's sense and bias switch were closed together.
    pub(super) sense_on_bias: bool,
    /// A switch was closed before the setting of every channel of every DAC had been read.
    pub(super) closed_unseen: bool,
    /// A driver was below 0 V while a setting of its DAC was still unread.
    pub(super) negative_unseen: bool,
    /// Largest voltage between a connected row and a connected column while TGP0 was low and no row was to be driven.
    pub(super) worst_v: f32,
}

/// The board. Chips are made when first addressed.
#[derive(Default)]
pub(super) struct Board {
    pub(super) rows: u16,
    pub(super) columns: u16,
    dacs: BTreeMap<(u8, u8), Dac>,
    switches: BTreeMap<(u8, u8), Switch>,
    adcs: BTreeMap<u8, Adc>,
    sensor: [u16; 16],
    tgp: bool,
    pub(super) pulses: u32,
    pub(super) conversions: u32,
    pub(super) transactions: Vec<Transaction>,
    pub(super) witness: Witness,
    /// Rows and columns during the last pulse, V; `None` is disconnected.
    pub(super) pulse_rows: Vec<Option<f32>>,
    pub(super) pulse_columns: Vec<Option<f32>>,
    pub(super) spoilt: Option<(ChipSelect, Spoilt)>,
    /// A chip that will not hear a frame, and how many frames before that it will.
    pub(super) deaf: Option<(ChipSelect, usize)>,
    /// A chip that will hear one bit wrong, after how many frames, and which bit of the frame, the first is 0.
    pub(super) flip: Option<(ChipSelect, usize, usize)>,
    /// That bit made a write of a read.
    pub(super) read_became_write: bool,
    /// Switches of this chip stay open.
    pub(super) stuck: Option<ChipSelect>,
    /// The supplies have dipped, nobody has asked yet.
    pub(super) dipped: bool,
    /// A new span takes effect before the next update, too.
    pub(super) span_at_once: bool,
    /// Voltages on rows are meant (reads), so the witness does not look at them.
    pub(super) reading: bool,
}

impl Board {
    pub(super) fn new(rows: u16, columns: u16) -> Self {
        Self { rows, columns, ..Self::default() }
    }

    fn has(&self, kind: ChipKind, line: u16) -> bool {
        let chip = self.switches.get(&(kind as u8, (line / 8) as u8));
        chip.is_some_and(|chip| chip.closed >> (line % 8) & 1 != 0)
    }

    fn driver(&self, kind: ChipKind, line: u16) -> f32 {
        self.dacs.get(&(kind as u8, (line / 16) as u8)).map_or(0.0, |dac| dac.volts(usize::from(line % 16)))
    }

    /// What row `row` is connected to, V.
    pub(super) fn row_volts(&self, row: u16) -> Option<f32> {
        self.has(ChipKind::RowConnect, row).then(|| self.driver(ChipKind::RowDac, row))
    }

    /// What column `column` is connected to, V.
    pub(super) fn column_volts(&self, column: u16) -> Option<f32> {
        if self.has(ChipKind::ColumnSense, column) {
            Some(0.0)
        } else {
            self.has(ChipKind::ColumnBias, column).then(|| self.driver(ChipKind::BiasDac, column))
        }
    }

    /// Lines of a switch group that are closed, ascending.
    pub(super) fn closed(&self, kind: ChipKind) -> Vec<u16> {
        (0..256).filter(|&line| self.has(kind, line)).collect()
    }

    pub(super) fn set_samples(&mut self, index: u8, samples: [i16; 8]) {
        self.adcs.entry(index).or_default().samples = samples;
    }

    /// Whether a trim of any DAC is other than after a reset.
    pub(super) fn is_trimmed(&self) -> bool {
        self.dacs.values().any(|dac| dac.trims != [[0; 16]; 2])
    }

    /// The one-shot ends.
    pub(super) fn end_pulse(&mut self) {
        self.set_tgp(false);
    }

    fn set_tgp(&mut self, high: bool) {
        if self.tgp == high {
            return;
        }
        self.tgp = high;
        for dac in self.dacs.values_mut() {
            (0..16)
                .filter(|channel| dac.toggle >> channel & 1 != 0)
                .collect::<Vec<_>>()
                .into_iter()
                .for_each(|channel| dac.load(channel, high));
        }
        self.watch();
    }

    fn watch(&mut self) {
        let unseen = self.dacs.values().any(|dac| dac.seen != 0xFFFF);
        let any_closed = self.switches.values().any(|chip| chip.closed != 0);
        self.witness.closed_unseen |= unseen && any_closed;
        self.witness.negative_unseen |= self
            .dacs
            .values()
            .any(|dac| dac.seen != 0xFFFF && (0..16).any(|channel| dac.volts(channel) < 0.0));
        self.witness.sense_on_bias |= (0..self.columns)
            .any(|column| self.has(ChipKind::ColumnSense, column) && self.has(ChipKind::ColumnBias, column));
        if self.tgp || self.reading {
            return;
        }
        let span = |volts: &mut dyn Iterator<Item = f32>| {
            volts.fold((f32::INFINITY, f32::NEG_INFINITY), |(low, high), volts| {
                (low.min(volts), high.max(volts))
            })
        };
        let rows = span(&mut (0..self.rows).filter_map(|row| self.row_volts(row)));
        let columns = span(&mut (0..self.columns).filter_map(|column| self.column_volts(column)));
        self.witness.worst_v = self.witness.worst_v.max(rows.1 - columns.0).max(columns.1 - rows.0);
    }

    fn frame(&mut self, select: ChipSelect, out: &[u8]) -> Vec<u8> {
        let key = (select.kind as u8, select.index);
        if let Some((chip, left)) = self.deaf
            && chip == select
        {
            self.deaf = left.checked_sub(1).map(|left| (chip, left));
            if left == 0 {
                return std::vec![0; out.len()];
            }
        }
        let mut out = out.to_vec();
        if let Some((chip, left, bit)) = self.flip
            && chip == select
        {
            self.flip = left.checked_sub(1).map(|left| (chip, left, bit));
            if left == 0 {
                self.read_became_write = bit == 0 && out[0] & 0x80 != 0;
                out[bit / 8] ^= 0x80 >> (bit % 8);
            }
        }
        let out = &out[..];
        let spoilt = self.spoilt.filter(|(chip, _)| *chip == select).map(|(_, register)| register);
        let back = match select.kind {
            ChipKind::RowDac | ChipKind::BiasDac | ChipKind::GateDac => {
                let dac = self.dacs.entry(key).or_default();
                dac.span_at_once = self.span_at_once;
                dac.frame(out.try_into().unwrap(), self.tgp, spoilt).to_vec()
            }
            ChipKind::Adc => self.adcs.entry(select.index).or_default().frame(out),
            _ => {
                let switch = self.switches.entry(key).or_default();
                let back = switch.frame(out);
                if self.stuck == Some(select) {
                    switch.closed = 0;
                }
                back
            }
        };
        // Reads of DACs move nothing.
        if select.kind as u8 > ChipKind::Adc as u8 || out[0] & 0x80 == 0 {
            self.watch();
        }
        back
    }
}

pub(super) struct Handle<'a>(&'a mut Board, ChipSelect);

impl spi::ErrorType for Handle<'_> {
    type Error = Infallible;
}

impl SpiDevice for Handle<'_> {
    fn transaction(&mut self, _: &mut [Operation<'_, u8>]) -> Result<(), Infallible> {
        panic!("not as frames");
    }
}

impl FramedSpi for Handle<'_> {
    fn write_frames(&mut self, frame: usize, out: &[u8]) -> Result<(), Infallible> {
        out.chunks(frame).for_each(|word| drop(self.0.frame(self.1, word)));
        let (sent, back) = (out.to_vec(), Vec::new());
        self.0.transactions.push(Transaction { select: self.1, frame, sent, back });
        Ok(())
    }

    fn transfer_frames(&mut self, frame: usize, out: &[u8], input: &mut [u8]) -> Result<(), Infallible> {
        for (word, back) in out.chunks(frame).zip(input.chunks_mut(frame)) {
            back.copy_from_slice(&self.0.frame(self.1, word));
        }
        let (sent, back) = (out.to_vec(), input.to_vec());
        self.0.transactions.push(Transaction { select: self.1, frame, sent, back });
        Ok(())
    }
}

pub(super) struct Bus<'a>(&'a mut Board);

impl i2c::ErrorType for Bus<'_> {
    type Error = Infallible;
}

impl I2c for Bus<'_> {
    fn transaction(&mut self, address: u8, operations: &mut [i2c::Operation<'_>]) -> Result<(), Infallible> {
        assert_eq!(address, 0x48);
        match operations {
            [i2c::Operation::Write([register, high, low])] => {
                self.0.sensor[usize::from(*register)] = u16::from_be_bytes([*high, *low]);
            }
            [i2c::Operation::Write([register]), i2c::Operation::Read(into)] => {
                let value = match *register {
                    0x00 => 25 * 128,
                    // Data are always ready.
                    0x01 => self.0.sensor[1] | 1 << 13,
                    0x0F => 0x1117,
                    register => panic!("sensor register {register}"),
                };
                into.copy_from_slice(&u16::to_be_bytes(value));
            }
            _ => panic!("{operations:?}"),
        }
        Ok(())
    }
}

pub(super) struct Line<'a>(&'a mut Board, OutputLine);

impl digital::ErrorType for Line<'_> {
    type Error = Infallible;
}

impl OutputPin for Line<'_> {
    fn set_low(&mut self) -> Result<(), Infallible> {
        match self.1 {
            OutputLine::DacClear => self.0.dacs.values_mut().for_each(|dac| *dac = Dac::default()),
            OutputLine::SwitchReset => self.0.switches.clear(),
            OutputLine::AdcReset => self.0.adcs.values_mut().for_each(|adc| adc.registers.clear()),
        }
        self.0.watch();
        Ok(())
    }

    fn set_high(&mut self) -> Result<(), Infallible> {
        Ok(())
    }
}

pub(super) struct Edges<'a>(&'a mut Board);

impl Sequencer for Edges<'_> {
    type Error = Infallible;

    fn start_pulse(&mut self, _width_ns: u32) -> Result<(), Infallible> {
        self.0.set_tgp(true);
        self.0.pulses += 1;
        self.0.pulse_rows = (0..self.0.rows).map(|row| self.0.row_volts(row)).collect();
        self.0.pulse_columns = (0..self.0.columns).map(|column| self.0.column_volts(column)).collect();
        Ok(())
    }

    fn stop_pulse(&mut self) -> Result<(), Infallible> {
        self.0.set_tgp(false);
        Ok(())
    }

    fn pulse_done(&mut self) -> Result<bool, Infallible> {
        Ok(!self.0.tgp)
    }

    fn start_conversion(&mut self) -> Result<(), Infallible> {
        self.0.conversions += 1;
        Ok(())
    }

    fn conversion_done(&mut self) -> Result<bool, Infallible> {
        Ok(true)
    }
}

impl Persistent for Board {
    type Flash<'a> = NoFlash;

    fn flash(&mut self) -> NoFlash {
        NoFlash
    }
}

impl Hardware for Board {
    type Error = Infallible;
    type Spi<'a> = Handle<'a>;
    type I2c<'a> = Bus<'a>;
    type Output<'a> = Line<'a>;
    type Sequencer<'a> = Edges<'a>;
    fn chip(&mut self, select: ChipSelect) -> Handle<'_> {
        Handle(self, select)
    }

    fn i2c(&mut self) -> Bus<'_> {
        Bus(self)
    }

    fn output(&mut self, line: OutputLine) -> Line<'_> {
        Line(self, line)
    }

    fn sequencer(&mut self) -> Edges<'_> {
        Edges(self)
    }

    fn supply_good(&mut self) -> Result<bool, Infallible> {
        Ok(!core::mem::take(&mut self.dipped))
    }
}
