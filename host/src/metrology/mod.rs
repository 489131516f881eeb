//! What measurements say about devices, with honest uncertainties: noise spectra, 1/f and telegraph noise, Allan
//! deviation, drift, current–voltage laws, endurance and disturb. Numbers in, numbers out; nothing here touches a device.
//!
//! Every fitted quantity is an [`Estimate`]: a value, its standard uncertainty, and the degrees of freedom that
//! uncertainty itself is known with, so that an interval means what it says.

pub mod allan;
pub mod current_voltage;
pub mod drift;
pub mod estimate;
pub mod flicker;
pub mod floor;
pub(crate) mod least_squares;
pub mod lifetime;
pub mod mains;
pub mod population;
pub mod spectrum;
mod synthetic;
pub mod telegraph;
pub mod temperature;

pub use estimate::Estimate;
pub use least_squares::FitError;
