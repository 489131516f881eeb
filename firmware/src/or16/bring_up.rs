//! One part of the board at a time: set up after a reset, and asked later whether it still is as it was left.

use super::drive::{self, Burst, setting};
use super::faults;
use super::population::Part;
use crate::chips::ad7606c::Ad7606c;
use crate::chips::adgs1414d::Adgs1414d;
use crate::chips::ltc2688::{CHANNELS, Register};
use crate::chips::tmp117::{self, Tmp117};
use crate::front_end::FrontEndError;
use crate::hardware::Hardware;
use crate::log::words;
use ohmrig_protocol::bench::ChipSelect;

/// Sets up a part that comes out of reset. Switches must be found open: a reset line that doesn't open them is a fault
/// of its own. DACs end at 0 V, read back.
pub(super) fn set_up<H: Hardware>(hardware: &mut H, part: Part) -> Result<(), FrontEndError> {
    match part {
        Part::Switch(select) => {
            let mut chip = Adgs1414d::new(hardware.chip(select));
            chip.init().map_err(|error| faults::switch(select, error))?;
            match chip.get() {
                Ok(0) => Ok(()),
                Ok(_) => Err(faults::chip(select, words!("closed after reset"))),
                Err(error) => Err(faults::switch(select, error)),
            }
        }
        Part::Dac(select) => drive::set_up(hardware, select),
        Part::Adc(select) => {
            Ad7606c::new(hardware.chip(select)).init().map_err(|error| faults::adc(select, error))
        }
        Part::Thermometer => Tmp117::new(hardware.i2c(), tmp117::ADDRESS).init().map_err(faults::thermometer),
    }
}

/// The fault registers of a DAC: over-temperature and whatever else it says is wrong.
pub(super) fn check_faults<H: Hardware>(hardware: &mut H, select: ChipSelect) -> Result<(), FrontEndError> {
    let mut burst = Burst::new();
    burst.expect(Register::Fault, 0).expect(Register::ThermalStatus, 0).run(hardware, select)
}

/// Reads a part back: settings, identity where it has one, and error flags. `closed` are the switches of a switch
/// chip that must be closed; `driven` the codes that the channels of a DAC hold.
pub(super) fn check<H: Hardware>(
    hardware: &mut H,
    part: Part,
    closed: impl Fn(ChipSelect) -> u8,
    driven: impl Fn(ChipSelect) -> [u16; CHANNELS],
) -> Result<(), FrontEndError> {
    match part {
        Part::Switch(select) => {
            let mut chip = Adgs1414d::new(hardware.chip(select));
            let switches = chip.get().map_err(|error| faults::switch(select, error))?;
            let flags = chip.error_flags().map_err(|error| faults::switch(select, error))?;
            if switches != closed(select) {
                return Err(faults::chip(select, words!("switches have moved by themselves")));
            }
            if flags.is_clear() { Ok(()) } else { Err(faults::chip(select, words!("error flags"))) }
        }
        Part::Dac(select) => {
            let mut burst = Burst::new();
            burst
                .expect_each(Register::Code, &driven(select))
                .expect_all(Register::Setting, setting(select.kind).bits());
            for register in [
                Register::PowerDown,
                Register::AbSelect,
                Register::ToggleEnable,
                Register::Fault,
                Register::ThermalStatus,
            ] {
                burst.expect(register, 0);
            }
            burst.run(hardware, select)?;
            drive::expect_trims(hardware, select)
        }
        Part::Adc(select) => {
            // A register that has changed by itself shows in the memory map's CRC, which is one of these.
            match Ad7606c::new(hardware.chip(select)).diagnostic_errors() {
                Ok(errors) if errors.is_clear() => Ok(()),
                Ok(_) => Err(faults::chip(select, words!("diagnostics have failed"))),
                Err(error) => Err(faults::adc(select, error)),
            }
        }
        Part::Thermometer => set_up(hardware, part),
    }
}
