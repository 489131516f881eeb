//! Host side of ohmrig: transports, a blocking client, the instrument in SI units, and the command line.
//!
//! ```
//! use ohmrig::bench::{Emulation, profile};
//! use ohmrig::client::Client;
//! use ohmrig::device::EmulatedDevice;
//! use ohmrig::instrument::{Instrument, ReadSettings};
//! use ohmrig::transport::InProcess;
//!
//! let emulation = Emulation::new(profile(Some("ideal"))?, 1);
//! let transport = InProcess::new(EmulatedDevice::power_up(&emulation)?);
//! let mut instrument = Instrument::new(Client::connect(Box::new(transport), "emulated")?);
//! let settings = ReadSettings { volts: 0.2, range: None, conversions: 4 };
//! let cells = instrument.read_cells(instrument.whole(), &settings)?;
//! assert_eq!(cells.conductance.dim(), (16, 16));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![deny(unsafe_code)]

pub mod arrays;
pub mod bench;
pub mod calibration;
pub mod cli;
pub mod client;
pub mod device;
#[cfg(feature = "probe")]
pub mod device_log;
pub mod digits;
pub mod error_metrics;
pub mod export;
pub mod flash;
pub mod image;
pub mod instrument;
pub mod interrupt;
pub mod listen;
pub mod mapping;
pub mod metrology;
pub mod noise_model;
pub mod product_noise;
#[cfg(unix)]
pub mod qemu;
pub mod recipe;
pub mod report;
pub mod run_file;
pub mod transport;
