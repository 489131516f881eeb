//! What a chip's complaint means to whoever called the front end.

use crate::chips::{ad7606c, adgs1414d, ltc2688, tmp117};
use crate::front_end::FrontEndError;
use crate::log::{Words, log, words};
use ohmrig_protocol::bench::ChipSelect;
use ohmrig_protocol::message::FaultCode;

/// Called out of order or with an argument no board could take. Nothing was touched.
pub(super) fn misuse(what: Words) -> FrontEndError {
    log!(warn, "refused: {}", what);
    FrontEndError { code: FaultCode::Chip, chip: None }
}

/// A chip that is wrong.
pub(super) fn chip(chip: ChipSelect, what: Words) -> FrontEndError {
    log!(warn, "chip {} of kind {}: {}", chip.index, chip.kind as u8, what);
    FrontEndError { code: FaultCode::Chip, chip: Some(chip) }
}

/// The supervisor has seen the supplies dip.
pub(super) fn brown_out() -> FrontEndError {
    log!(warn, "the supplies have dipped");
    FrontEndError { code: FaultCode::BrownOut, chip: None }
}

/// A bus, a pin or a timer that doesn't work.
pub(super) fn bus(chip: Option<ChipSelect>) -> FrontEndError {
    log!(warn, "bus or pin failed");
    FrontEndError { code: FaultCode::Bus, chip }
}

/// From a DAC.
pub(super) fn dac<E>(select: ChipSelect, error: ltc2688::Error<E>) -> FrontEndError {
    match error {
        ltc2688::Error::Bus(_) => bus(Some(select)),
        ltc2688::Error::ReadBack { .. } => chip(select, words!("a register reads back wrong")),
        ltc2688::Error::Script(_) => chip(select, words!("a burst that doesn't fit")),
    }
}

/// From a switch chip.
pub(super) fn switch<E>(select: ChipSelect, error: adgs1414d::Error<E>) -> FrontEndError {
    match error {
        adgs1414d::Error::Bus(_) => bus(Some(select)),
        adgs1414d::Error::Alignment { .. } => chip(select, words!("no answer or out of step")),
        adgs1414d::Error::Crc { .. } => chip(select, words!("an answer with a wrong CRC")),
        adgs1414d::Error::ReadBack { .. } => chip(select, words!("a register reads back wrong")),
    }
}

/// From an ADC.
pub(super) fn adc<E>(select: ChipSelect, error: ad7606c::Error<E>) -> FrontEndError {
    match error {
        ad7606c::Error::Bus(_) => bus(Some(select)),
        ad7606c::Error::Identity { .. } => chip(select, words!("not an AD7606C-16")),
        ad7606c::Error::DataCrc { .. } => chip(select, words!("samples with a wrong CRC")),
        ad7606c::Error::RegisterCrc { .. } => chip(select, words!("a register with a wrong CRC")),
        ad7606c::Error::ReadBack { .. } => chip(select, words!("a register reads back wrong")),
    }
}

/// From the thermometer, which has no chip select.
pub(super) fn thermometer<E>(error: tmp117::Error<E>) -> FrontEndError {
    let code = match error {
        tmp117::Error::Bus(_) => FaultCode::Bus,
        tmp117::Error::Identity { .. } | tmp117::Error::ReadBack { .. } | tmp117::Error::Result { .. } => {
            FaultCode::Chip
        }
    };
    log!(warn, "thermometer doesn't answer as it must");
    FrontEndError { code, chip: None }
}
