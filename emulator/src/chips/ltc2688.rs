//! LTC2688: sixteen 16-bit voltage-output DACs with software-selected spans and A/B toggling.
//!
//! Registers: Linux `drivers/iio/dac/ltc2688.c`, ADI no-OS `drivers/dac/ltc268x`, and ADI's Python class `ltc2688`.
//!
//! What those sources leave open, as modelled: a new span takes effect with the channel's next update; updates load
//! the input register that A_B_SELECT points to; a reserved span code leaves the span as it was; writing the fault
//! register clears it; enabling toggling loads the register of the present pin level. The channels' gain and offset
//! registers and the monitor multiplexer are stored and read back without effect; dither (setting bit 11) puts out
//! register A.

use super::SpiChip;
use libm::{exp, fabs};

/// Channels of one chip.
pub const CHANNELS: usize = 16;

/// Registers (Linux `LTC2688_CMD_*`, no-OS `LTC268X_CMD_*`); `x..` ones are followed by 15 more channels.
mod register {
    pub(super) const CODE: u8 = 0x00;
    pub(super) const SETTING: u8 = 0x10;
    pub(super) const OFFSET: u8 = 0x20;
    pub(super) const GAIN: u8 = 0x30;
    pub(super) const CODE_UPDATE: u8 = 0x40;
    pub(super) const CODE_UPDATE_ALL_CHANNELS: u8 = 0x50;
    pub(super) const UPDATE: u8 = 0x60;
    pub(super) const CONFIG: u8 = 0x70;
    pub(super) const POWERDOWN: u8 = 0x71;
    pub(super) const A_B_SELECT: u8 = 0x72;
    pub(super) const SW_TOGGLE: u8 = 0x73;
    pub(super) const TOGGLE_DITHER_EN: u8 = 0x74;
    pub(super) const MUX: u8 = 0x75;
    pub(super) const FAULT: u8 = 0x76;
    pub(super) const THERMAL_STAT: u8 = 0x77;
    pub(super) const CODE_ALL: u8 = 0x78;
    pub(super) const CODE_ALL_UPDATE: u8 = 0x79;
    pub(super) const SETTING_ALL: u8 = 0x7a;
    pub(super) const SETTING_ALL_UPDATE: u8 = 0x7b;
    pub(super) const UPDATE_ALL: u8 = 0x7c;
}

/// Reads have this bit set (Linux `LTC2688_READ_OPERATION`).
const READ: u8 = 0x80;
/// Software reset, clears itself (Linux `LTC2688_CONFIG_RST`).
const CONFIG_RESET: u16 = 1 << 15;
/// 5 % more than the nominal span (Linux `LTC2688_CH_OVERRANGE_MSK`).
const OVERRANGE: u16 = 1 << 3;
/// Dither instead of toggle (Linux `LTC2688_CH_MODE_MSK`).
const DITHER: u16 = 1 << 11;

/// Slope limit of an output, V/s. Neither driver source gives it; the board's design takes "a few V/µs".
pub const SLEW_V_PER_S: f64 = 5e6;
/// Time constant of the final approach, s. With the slope limit it puts a 5 V step within 1 LSB of 16 bit at 8.9 µs.
pub const SETTLING_S: f64 = 0.8e-6;

/// How an output gets from one voltage to another: at the slope limit while the exponential would be steeper, then
/// exponentially. No overshoot.
#[derive(Clone, Copy, Debug)]
struct Trajectory {
    from: f64,
    to: f64,
    since_ns: u64,
}

impl Trajectory {
    const ZERO: Self = Self { from: 0.0, to: 0.0, since_ns: 0 };

    fn at(&self, at_ns: u64) -> f64 {
        let step = self.to - self.from;
        let direction = if step < 0.0 { -1.0 } else { 1.0 };
        let size = fabs(step);
        let left = size.min(SLEW_V_PER_S * SETTLING_S);
        let slewing = (size - left) / SLEW_V_PER_S;
        let t = at_ns.saturating_sub(self.since_ns) as f64 * 1e-9;
        if t < slewing {
            self.from + direction * SLEW_V_PER_S * t
        } else {
            self.to - direction * left * exp(-(t - slewing) / SETTLING_S)
        }
    }

    fn turn_to(&mut self, to: f64, at_ns: u64) {
        if to != self.to {
            *self = Self { from: self.at(at_ns), to, since_ns: at_ns };
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Channel {
    /// Input registers A and B.
    input: [u16; 2],
    setting: u16,
    offset: u16,
    gain: u16,
    /// What the converter runs on: loaded from input register and setting by an update or a toggle edge.
    code: u16,
    span_v: (f64, f64),
    output: Trajectory,
}

impl Channel {
    const RESET: Self = Self {
        input: [0; 2],
        setting: 0,
        offset: 0,
        gain: 0,
        code: 0,
        span_v: (0.0, 5.0),
        output: Trajectory::ZERO,
    };

    fn load(&mut self, register: usize, at_ns: u64) {
        self.code = self.input[register];
        if let Some(span) = span_v(self.setting) {
            self.span_v = span;
        }
        let (low, high) = self.span_v;
        self.output.turn_to(low + (high - low) * f64::from(self.code) / 65536.0, at_ns);
    }
}

/// Ends of the span a channel setting asks for, V (Linux `ltc2688_span_helper`); nothing for reserved codes.
fn span_v(setting: u16) -> Option<(f64, f64)> {
    let (low, high) = match setting & 7 {
        0 => (0.0, 5.0),
        1 => (0.0, 10.0),
        2 => (-5.0, 5.0),
        3 => (-10.0, 10.0),
        4 => (-15.0, 15.0),
        _ => return None,
    };
    let stretch = if setting & OVERRANGE == 0 { 1.0 } else { 1.05 };
    Some((low * stretch, high * stretch))
}

/// One chip.
#[derive(Clone, Debug)]
pub struct Ltc2688 {
    channels: [Channel; CHANNELS],
    config: u16,
    powerdown: u16,
    a_b_select: u16,
    software_toggle: u16,
    toggle_enable: u16,
    mux: u16,
    fault: u16,
    thermal: u16,
    tgp0: bool,
    clear: bool,
    /// What the next frame shifts out: the last frame, with the data of a read in place.
    reply: [u8; 3],
}

impl Default for Ltc2688 {
    fn default() -> Self {
        Self::new()
    }
}

impl Ltc2688 {
    /// As after power-on: 0–5 V span, code 0, TGP0 low, CLR high.
    pub fn new() -> Self {
        Self {
            channels: [Channel::RESET; CHANNELS],
            config: 0,
            powerdown: 0,
            a_b_select: 0,
            software_toggle: 0,
            toggle_enable: 0,
            mux: 0,
            fault: 0,
            thermal: 0,
            tgp0: false,
            clear: false,
            reply: [0; 3],
        }
    }

    /// The CLR pin, `low` being active: every register goes to its reset value (Linux uses the pin as reset) and
    /// writes have no effect while it lasts.
    pub fn set_clear(&mut self, low: bool, at_ns: u64) {
        self.clear = low;
        if low {
            self.reset(at_ns);
        }
    }

    /// The TGP0 pin. Channels toggled by it load B on the rising and A on the falling edge. Returns whether any did.
    pub fn set_tgp0(&mut self, high: bool, at_ns: u64) -> bool {
        let edge = high != self.tgp0;
        self.tgp0 = high;
        let mut any = false;
        for channel in 0..CHANNELS {
            if edge && self.toggles(channel) && self.source(channel) == 1 {
                self.load_by_level(channel, at_ns);
                any = true;
            }
        }
        any
    }

    /// Latches fault register bits and shows them in the thermal status, as an over-temperature would.
    pub fn set_fault(&mut self, bits: u16) {
        self.fault |= bits;
        self.thermal = bits;
    }

    /// Voltage that output `channel` (0–15) is at or on its way to, V; nothing while the channel is powered down.
    pub fn target(&self, channel: usize) -> Option<f64> {
        self.powered(channel).then(|| self.channels[channel].output.to)
    }

    /// Code that `channel` (0–15) puts out, and the span's step, V.
    pub fn conversion(&self, channel: usize) -> (u16, f64) {
        let Channel { code, span_v: (low, high), .. } = self.channels[channel];
        (code, (high - low) / 65536.0)
    }

    /// Voltage of output `channel` (0–15) at `at_ns`, no earlier than its last change, V; nothing while powered down.
    pub fn output(&self, channel: usize, at_ns: u64) -> Option<f64> {
        self.powered(channel).then(|| self.channels[channel].output.at(at_ns))
    }

    fn powered(&self, channel: usize) -> bool {
        self.powerdown & (1 << channel) == 0
    }

    fn reset(&mut self, at_ns: u64) {
        for channel in &mut self.channels {
            let mut output = channel.output;
            output.turn_to(0.0, at_ns);
            *channel = Channel { output, ..Channel::RESET };
        }
        let fresh = Self::new();
        *self =
            Self { channels: self.channels, tgp0: self.tgp0, clear: self.clear, reply: self.reply, ..fresh };
    }

    fn toggles(&self, channel: usize) -> bool {
        self.toggle_enable & (1 << channel) != 0
    }

    /// Toggle source of a channel: 0 software, 1–3 pins TGP0–TGP2 (no-OS `ltc268x_clk_input`).
    fn source(&self, channel: usize) -> u16 {
        (self.channels[channel].setting >> 4) & 3
    }

    fn load_by_level(&mut self, channel: usize, at_ns: u64) {
        let high = match self.source(channel) {
            0 => self.software_toggle & (1 << channel) != 0,
            1 => self.tgp0,
            // TGP1 and TGP2 are tied low on the board.
            _ => false,
        };
        let dither = self.channels[channel].setting & DITHER != 0;
        self.channels[channel].load(usize::from(high && !dither), at_ns);
    }

    fn selected(&self, channel: usize) -> usize {
        usize::from(self.a_b_select & (1 << channel) != 0)
    }

    fn write_code(&mut self, channel: usize, code: u16) {
        let register = self.selected(channel);
        self.channels[channel].input[register] = code;
    }

    fn write_setting(&mut self, channel: usize, setting: u16, at_ns: u64) {
        let source = self.source(channel);
        self.channels[channel].setting = setting;
        if self.toggles(channel) && self.source(channel) != source {
            self.load_by_level(channel, at_ns);
        }
    }

    fn update(&mut self, channel: usize, at_ns: u64) {
        if !self.toggles(channel) {
            let register = self.selected(channel);
            self.channels[channel].load(register, at_ns);
        }
    }

    fn update_all(&mut self, at_ns: u64) {
        (0..CHANNELS).for_each(|channel| self.update(channel, at_ns));
    }

    /// Returns whether an output may have changed.
    fn write(&mut self, address: u8, data: u16, at_ns: u64) -> bool {
        let channel = usize::from(address & 0x0f);
        match address & 0xf0 {
            register::CODE => {
                self.write_code(channel, data);
                return false;
            }
            register::SETTING => self.write_setting(channel, data, at_ns),
            register::OFFSET => self.channels[channel].offset = data,
            register::GAIN => self.channels[channel].gain = data,
            register::CODE_UPDATE => {
                self.write_code(channel, data);
                self.update(channel, at_ns);
            }
            register::CODE_UPDATE_ALL_CHANNELS => {
                self.write_code(channel, data);
                self.update_all(at_ns);
            }
            register::UPDATE => self.update(channel, at_ns),
            _ => self.write_common(address, data, at_ns),
        }
        true
    }

    fn write_common(&mut self, address: u8, data: u16, at_ns: u64) {
        match address {
            register::CONFIG if data & CONFIG_RESET != 0 => self.reset(at_ns),
            register::CONFIG => self.config = data,
            register::POWERDOWN => self.powerdown = data,
            register::A_B_SELECT => self.a_b_select = data,
            register::SW_TOGGLE => {
                let edges = self.software_toggle ^ data;
                self.software_toggle = data;
                for channel in 0..CHANNELS {
                    if edges & (1 << channel) != 0 && self.toggles(channel) && self.source(channel) == 0 {
                        self.load_by_level(channel, at_ns);
                    }
                }
            }
            register::TOGGLE_DITHER_EN => {
                let newly = data & !self.toggle_enable;
                self.toggle_enable = data;
                for channel in 0..CHANNELS {
                    if newly & (1 << channel) != 0 {
                        self.load_by_level(channel, at_ns);
                    }
                }
            }
            register::MUX => self.mux = data,
            register::FAULT => self.fault = 0,
            register::CODE_ALL | register::CODE_ALL_UPDATE => {
                (0..CHANNELS).for_each(|channel| self.write_code(channel, data));
                if address == register::CODE_ALL_UPDATE {
                    self.update_all(at_ns);
                }
            }
            register::SETTING_ALL | register::SETTING_ALL_UPDATE => {
                (0..CHANNELS).for_each(|channel| self.write_setting(channel, data, at_ns));
                if address == register::SETTING_ALL_UPDATE {
                    self.update_all(at_ns);
                }
            }
            register::UPDATE_ALL => self.update_all(at_ns),
            _ => {}
        }
    }

    fn read(&self, address: u8) -> u16 {
        let index = usize::from(address & 0x0f);
        let channel = &self.channels[index];
        match address {
            0x00..=0x0f => channel.input[self.selected(index)],
            0x10..=0x1f => channel.setting,
            0x20..=0x2f => channel.offset,
            0x30..=0x3f => channel.gain,
            register::CONFIG => self.config,
            register::POWERDOWN => self.powerdown,
            register::A_B_SELECT => self.a_b_select,
            register::SW_TOGGLE => self.software_toggle,
            register::TOGGLE_DITHER_EN => self.toggle_enable,
            register::MUX => self.mux,
            register::FAULT => self.fault,
            register::THERMAL_STAT => self.thermal,
            _ => 0,
        }
    }
}

impl SpiChip for Ltc2688 {
    /// 24-bit frames; one of another length shifts out the reply and does nothing.
    fn frame(&mut self, sdi: &[u8], sdo: &mut [u8], at_ns: u64) -> bool {
        sdo.fill(0);
        for (out, reply) in sdo.iter_mut().zip(self.reply) {
            *out = reply;
        }
        let &[command, high, low] = sdi else { return false };
        self.reply = [command, high, low];
        if command & READ != 0 {
            let [high, low] = self.read(command & !READ).to_be_bytes();
            self.reply = [command, high, low];
            false
        } else if self.clear {
            false
        } else {
            self.write(command, u16::from_be_bytes([high, low]), at_ns)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LATER: u64 = 1_000_000;

    fn write(chip: &mut Ltc2688, address: u8, data: u16) {
        let [high, low] = data.to_be_bytes();
        chip.frame(&[address, high, low], &mut [0; 3], 0);
    }

    fn read(chip: &mut Ltc2688, address: u8) -> u16 {
        chip.frame(&[address | READ, 0, 0], &mut [0; 3], 0);
        let mut back = [0; 3];
        chip.frame(&[0xff, 0, 0], &mut back, 0);
        assert_eq!(back[0], address | READ);
        u16::from_be_bytes([back[1], back[2]])
    }

    #[test]
    fn outputs_are_at_zero_volts_in_the_0_to_5_v_span_after_power_on() {
        let mut chip = Ltc2688::new();
        assert_eq!(chip.output(7, LATER), Some(0.0));
        assert_eq!(read(&mut chip, 0x17), 0);
    }

    #[test]
    fn a_span_change_with_code_0_puts_out_minus_5_v_once_updated() {
        let mut chip = Ltc2688::new();
        write(&mut chip, register::SETTING + 3, 2);
        assert_eq!(chip.target(3), Some(0.0));
        write(&mut chip, register::UPDATE_ALL, 0);
        assert_eq!(chip.target(3), Some(-5.0));
    }

    #[test]
    fn midscale_before_the_span_change_keeps_0_v() {
        let mut chip = Ltc2688::new();
        write(&mut chip, register::CODE_ALL, 0x8000);
        write(&mut chip, register::SETTING_ALL, 2);
        write(&mut chip, register::UPDATE_ALL, 0);
        for channel in 0..CHANNELS {
            assert_eq!(chip.target(channel), Some(0.0));
        }
    }

    #[test]
    fn updating_midscale_before_the_span_is_written_puts_out_2_5_v() {
        let mut chip = Ltc2688::new();
        write(&mut chip, register::CODE_ALL_UPDATE, 0x8000);
        assert_eq!(chip.target(0), Some(2.5));
    }

    #[test]
    fn codes_reach_the_output_only_with_an_update() {
        let mut chip = Ltc2688::new();
        write(&mut chip, register::CODE + 5, 0x4000);
        assert_eq!(chip.target(5), Some(0.0));
        write(&mut chip, register::UPDATE + 5, 0);
        assert_eq!(chip.target(5), Some(1.25));
        write(&mut chip, register::CODE_UPDATE + 5, 0x8000);
        assert_eq!(chip.target(5), Some(2.5));
    }

    #[test]
    fn a_b_select_steers_writes_and_read_back() {
        let mut chip = Ltc2688::new();
        write(&mut chip, register::CODE + 1, 0x1111);
        write(&mut chip, register::A_B_SELECT, 1 << 1);
        write(&mut chip, register::CODE + 1, 0x2222);
        assert_eq!(read(&mut chip, register::CODE + 1), 0x2222);
        write(&mut chip, register::A_B_SELECT, 0);
        assert_eq!(read(&mut chip, register::CODE + 1), 0x1111);
    }

    fn toggling() -> Ltc2688 {
        let mut chip = Ltc2688::new();
        write(&mut chip, register::SETTING, 1 << 4);
        write(&mut chip, register::CODE, 0x2000);
        write(&mut chip, register::A_B_SELECT, 1);
        write(&mut chip, register::CODE, 0x8000);
        write(&mut chip, register::A_B_SELECT, 0);
        write(&mut chip, register::TOGGLE_DITHER_EN, 1);
        chip
    }

    #[test]
    fn a_toggled_channel_is_at_a_while_tgp0_is_low_and_at_b_while_it_is_high() {
        let mut chip = toggling();
        assert_eq!(chip.target(0), Some(0.625));
        assert!(chip.set_tgp0(true, 0));
        assert_eq!(chip.target(0), Some(2.5));
        assert!(!chip.set_tgp0(true, 0));
        chip.set_tgp0(false, 0);
        assert_eq!(chip.target(0), Some(0.625));
    }

    #[test]
    fn a_toggled_channel_ignores_code_updates_until_the_next_edge() {
        let mut chip = toggling();
        write(&mut chip, register::CODE_UPDATE, 0x4000);
        write(&mut chip, register::UPDATE_ALL, 0);
        assert_eq!(chip.target(0), Some(0.625));
        chip.set_tgp0(true, 0);
        chip.set_tgp0(false, 0);
        assert_eq!(chip.target(0), Some(1.25));
    }

    #[test]
    fn the_software_toggle_register_moves_only_channels_that_use_it() {
        let mut chip = toggling();
        write(&mut chip, register::SW_TOGGLE, 1);
        assert_eq!(chip.target(0), Some(0.625));
        write(&mut chip, register::SETTING, 0);
        assert_eq!(chip.target(0), Some(2.5));
        write(&mut chip, register::SW_TOGGLE, 0);
        assert_eq!(chip.target(0), Some(0.625));
    }

    #[test]
    fn a_frame_of_another_length_than_24_bit_does_nothing() {
        let mut chip = Ltc2688::new();
        for frame in [&[0x40, 0x80][..], &[0x40, 0x80, 0, 0], &[0, 0x40, 0x80, 0, 0, 0]] {
            let mut back = [0; 6];
            chip.frame(frame, &mut back[..frame.len()], 0);
        }
        assert_eq!(chip.target(0), Some(0.0));
        assert_eq!(read(&mut chip, register::CODE), 0);
    }

    #[test]
    fn clear_takes_everything_to_reset_and_blocks_writes_while_low() {
        let mut chip = toggling();
        chip.set_clear(true, 0);
        write(&mut chip, register::CODE_UPDATE, 0xffff);
        assert_eq!(chip.target(0), Some(0.0));
        assert_eq!(read(&mut chip, register::TOGGLE_DITHER_EN), 0);
        chip.set_clear(false, 0);
        write(&mut chip, register::CODE_UPDATE, 0x8000);
        assert_eq!(chip.target(0), Some(2.5));
    }

    #[test]
    fn software_reset_clears_itself_and_everything_else() {
        let mut chip = toggling();
        write(&mut chip, register::CONFIG, CONFIG_RESET);
        assert_eq!(read(&mut chip, register::CONFIG), 0);
        assert_eq!(read(&mut chip, register::SETTING), 0);
        assert_eq!(chip.target(0), Some(0.0));
    }

    #[test]
    fn a_channel_powered_down_drives_nothing() {
        let mut chip = Ltc2688::new();
        write(&mut chip, register::POWERDOWN, 1 << 9);
        assert_eq!(chip.output(9, 0), None);
        assert_eq!(chip.output(8, 0), Some(0.0));
    }

    #[test]
    fn faults_stay_until_the_fault_register_is_written() {
        let mut chip = Ltc2688::new();
        chip.set_fault(4);
        assert_eq!(read(&mut chip, register::FAULT), 4);
        assert_eq!(read(&mut chip, register::THERMAL_STAT), 4);
        write(&mut chip, register::FAULT, 0);
        assert_eq!(read(&mut chip, register::FAULT), 0);
    }

    #[test]
    fn an_output_slews_then_approaches_exponentially_without_overshoot() {
        let mut chip = Ltc2688::new();
        write(&mut chip, register::CODE_UPDATE, 0xffff);
        let to = chip.target(0).unwrap();
        // 4 V (slope limit × time constant) are left when slewing ends.
        let slewing_s = (to - 4.0) / SLEW_V_PER_S;
        let half = chip.output(0, (slewing_s * 0.5e9) as u64).unwrap();
        assert!((half - 0.5 * (to - 4.0)).abs() < 0.01, "1 ns of slewing is 5 mV");
        let mut last = 0.0;
        for ns in (0..40_000).step_by(10) {
            let v = chip.output(0, ns).unwrap();
            assert!(v >= last && v <= to);
            last = v;
        }
        let lsb = 5.0 / 65536.0;
        assert!(to - chip.output(0, 8_000).unwrap() > lsb);
        assert!(to - chip.output(0, 9_000).unwrap() < lsb);
    }

    #[test]
    fn a_step_on_the_way_starts_from_where_the_output_is() {
        let mut chip = Ltc2688::new();
        write(&mut chip, register::CODE_UPDATE, 0xffff);
        let there = chip.output(0, 500).unwrap();
        chip.frame(&[register::CODE_UPDATE, 0, 0], &mut [0; 3], 500);
        assert_eq!(chip.output(0, 500), Some(there));
        assert!(chip.output(0, 600).unwrap() < there);
    }
}
