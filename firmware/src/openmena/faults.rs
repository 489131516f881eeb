//! What a complaint of the shield means to whoever called the front end. No chip of it has a chip select to be named by.

use super::parts::{ZERO_CODE, ZERO_TOLERANCE};
use crate::chips::ad5593r::Error;
use crate::front_end::FrontEndError;
use crate::log::{Words, log};
use ohmrig_protocol::message::FaultCode;

fn fault(code: FaultCode) -> FrontEndError {
    FrontEndError { code, chip: None }
}

/// Called out of order or with an argument no board could take. Nothing was touched.
pub(super) fn misuse(what: Words) -> FrontEndError {
    log!(warn, "refused: {}", what);
    fault(FaultCode::Chip)
}

/// A bus, a pin or a timer that doesn't work.
pub(super) fn bus<E>(_: E) -> FrontEndError {
    log!(warn, "bus or pin failed");
    fault(FaultCode::Bus)
}

/// From the DACs.
pub(super) fn dac<E>(error: Error<E>) -> FrontEndError {
    match error {
        Error::Bus(error) => bus(error),
        Error::Register { .. } | Error::Code { .. } => {
            log!(warn, "the AD5593R reads back wrong");
            fault(FaultCode::Chip)
        }
    }
}

/// From the DACs, asked whether they still are what they were set up as.
pub(super) fn supply<E>(error: Error<E>) -> FrontEndError {
    match error {
        Error::Bus(error) => bus(error),
        Error::Register { .. } | Error::Code { .. } => {
            log!(warn, "the AD5593R has started anew");
            fault(FaultCode::BrownOut)
        }
    }
}

/// An amplifier that says this of no current.
pub(super) fn zero(code: u16) -> FrontEndError {
    log!(
        warn,
        "an amplifier without current is at code {}, not {} to within {}",
        code,
        ZERO_CODE,
        ZERO_TOLERANCE
    );
    fault(FaultCode::Chip)
}

/// A conversion that hasn't ended.
pub(super) fn late() -> FrontEndError {
    log!(warn, "a conversion hasn't ended");
    fault(FaultCode::Timeout)
}

/// A code that no 12-bit converter has.
pub(super) fn beyond() -> FrontEndError {
    log!(warn, "an ADC code beyond 12 bits");
    fault(FaultCode::Chip)
}
