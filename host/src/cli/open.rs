//! From the global options to a connected instrument.

use super::output::Output;
use super::{Failure, Global};
use crate::bench::{Emulation, profile};
use crate::calibration::on_board;
use crate::client::Client;
use crate::device::EmulatedDevice;
use crate::instrument::Instrument;
#[cfg(unix)]
use crate::qemu::Qemu;
use crate::recipe::Recipe;
use crate::run_file::{ClaimedFile, RunFile, RunIdentity};
use crate::transport::inject::{Fault, Faulty};
use crate::transport::{InProcess, Port, Serial, Tcp, Transport};
use ohmrig_emulator::profile::Profile;

/// A connected instrument with what belongs to it. Fields are dropped in this order: the link first, then QEMU.
pub(super) struct Opened {
    pub(super) instrument: Instrument,
    /// Where measurements are written, if anywhere.
    pub(super) run: Option<RunFile>,
    /// The emulated board's profile; `None` for a device that isn't emulated here.
    pub(super) profile: Option<Profile>,
    /// The array began to be with this process and ends with it, or with its state file.
    pub(super) fresh: bool,
    /// Ends when this is dropped.
    #[cfg(unix)]
    #[cfg_attr(not(feature = "probe"), allow(dead_code))]
    // Without device logs nobody asks for its image.
    qemu: Option<Qemu>,
}

/// Refuses options that only emulated boards have, for a device that isn't emulated here.
fn require_emulated(global: &Global) -> Result<(), Failure> {
    for (given, name) in [
        (global.seed.is_some(), "--seed"),
        (global.truth.is_some(), "--truth"),
        (global.state.is_some(), "--state"),
    ] {
        if given {
            return Err(Failure::usage(format!(
                "{name} is for boards emulated here; --port {} is not one",
                global.port
            )));
        }
    }
    Ok(())
}

/// The board a profile and the global options describe.
pub(super) fn emulation(name: Option<&str>, global: &Global) -> Result<Emulation, Failure> {
    let mut emulation = Emulation::new(profile(name)?, global.seed());
    emulation.truth.clone_from(&global.truth);
    emulation.state.clone_from(&global.state);
    Ok(emulation)
}

/// Opens the port and says what is there. What the device logs joins this process's own log.
pub(super) fn open(global: &Global, output: &mut Output) -> Result<Opened, Failure> {
    let opened = open_without_log(global, output)?;
    #[cfg(feature = "probe")]
    let opened = opened.with_log(global);
    Ok(opened)
}

/// As [`open`], for who reads the device's log.
pub(super) fn open_without_log(global: &Global, output: &mut Output) -> Result<Opened, Failure> {
    if !global.port.is_emulated_here() {
        require_emulated(global)?;
    }
    if let Some(inject) = &global.inject
        && inject.rate(Fault::Reset) > 0.0
        && !matches!(global.port, Port::Emulated(_))
    {
        return Err(Failure::usage(format!(
            "--inject reset={}: only a device in this process can be power-cycled; --port {} is not one",
            inject.rate(Fault::Reset),
            global.port
        )));
    }
    // A file that can't be used is told before any device is touched.
    let claimed = global.run.as_deref().map(ClaimedFile::claim).transpose()?;
    #[cfg(unix)]
    let mut qemu = None;
    let mut found = None;
    let mut fresh = false;
    let mut transport: Box<dyn Transport> = match &global.port {
        Port::Emulated(name) => {
            let emulation = emulation(name.as_deref(), global)?;
            let device = EmulatedDevice::power_up(&emulation)?;
            fresh = device.is_fresh();
            found = Some(emulation.profile);
            Box::new(InProcess::new(device))
        }
        Port::Tcp(address) => Box::new(Tcp::connect(address)?),
        Port::Serial(path) => Box::new(Serial::open(path)?),
        #[cfg(unix)]
        Port::Qemu(name) => {
            let emulation = emulation(name.as_deref(), global)?;
            let (started, transport) = Qemu::start(&emulation, global.firmware.as_deref())?;
            fresh = started.is_fresh();
            qemu = Some(started);
            found = Some(emulation.profile);
            Box::new(transport)
        }
        #[cfg(not(unix))]
        Port::Qemu(_) => return Err(Failure::usage("--port qemu needs a Unix system")),
    };
    if let Some(inject) = global.inject {
        let faulty = Faulty::new(transport, inject);
        output.injecting(inject, faulty.tally());
        transport = Box::new(faulty);
    }
    let client = Client::connect(transport, &global.port.to_string())?;
    let mut instrument = Instrument::new(client);
    // Every record says by which calibration it was made.
    let calibration = match claimed {
        Some(_) => on_board::in_force(&mut instrument)?.map(|kept| kept.id()),
        None => None,
    };
    let device = instrument.device();
    let seed = found.as_ref().map(|_| global.seed());
    output.set("port", global.port.to_string());
    output.set("board", &device.board);
    let emulated = device.emulated;
    output.set("emulated", emulated);
    output.set("profile", found.as_ref().map(|profile| &profile.name));
    output.set("seed", seed);
    output.set("rows", device.rows);
    output.set("columns", device.columns);
    let size = format!("{} rows × {} columns", device.rows, device.columns);
    match &found {
        Some(profile) => output.say(format_args!(
            "board    {}, {size}: EMULATED ({}), nothing here is measured on hardware\nprofile  {}, seed {}: {}",
            device.board,
            global.port,
            profile.name,
            global.seed(),
            profile.description
        )),
        None if emulated => output.say(format_args!(
            "board    {}, {size}: EMULATED behind {}, nothing here is measured on hardware",
            device.board, global.port
        )),
        None => output.say(format_args!("board    {}, {size}, on {}", device.board, global.port)),
    }
    let run = match claimed {
        None => None,
        Some(claimed) => Some(claimed.enter(&RunIdentity {
            board: device.board.clone(),
            emulated,
            profile: found.as_ref().map(|profile| profile.name.clone()),
            seed,
            firmware: device.firmware.clone(),
            git: device.git.clone(),
            rows: device.rows,
            columns: device.columns,
            boot_nonce: instrument.client().welcome().boot_nonce,
            session: instrument.client().welcome().sessions,
            calibration,
        })?),
    };
    Ok(Opened {
        instrument,
        run,
        profile: found,
        fresh,
        #[cfg(unix)]
        qemu,
    })
}

impl Opened {
    /// The image that runs in QEMU.
    #[cfg(feature = "probe")]
    pub(super) fn image(&self) -> Option<std::path::PathBuf> {
        #[cfg(unix)]
        return self.qemu.as_ref().map(|qemu| qemu.image().to_owned());
        #[cfg(not(unix))]
        None
    }

    /// Has what the device logs appear among this process's own log lines, if its image is here.
    #[cfg(feature = "probe")]
    fn with_log(mut self, global: &Global) -> Self {
        use crate::device_log::{DeviceLog, DeviceLogError};
        // A device in this process logs there itself.
        if matches!(global.port, Port::Emulated(_)) || log::max_level() == log::LevelFilter::Off {
            return self;
        }
        match DeviceLog::open(self.instrument.device(), self.image().as_deref()) {
            Ok((log, _)) => self.instrument.client_mut().listen_to_log(Box::new(move |batch| {
                for line in log.lines(&batch) {
                    log::log!(target: "device", line.log_level(), "{} {}", line.time_s, line.message);
                }
            })),
            Err(error @ DeviceLogError::NoImage { .. }) => log::debug!("{error}"),
            Err(error) => log::info!("what the device logs isn't shown: {error}"),
        }
        self
    }

    /// The devices' profile: the one asked for, else the emulated board's, else the default.
    pub(super) fn recipe_profile(&self, asked: Option<&str>) -> Result<Profile, Failure> {
        match (asked, &self.profile) {
            (None, Some(own)) => Ok(own.clone()),
            (asked, _) => Ok(profile(asked)?),
        }
    }

    /// How the devices are programmed, by that profile.
    pub(super) fn recipe(&self, asked: Option<&str>) -> Result<Recipe, Failure> {
        Ok(Recipe::for_profile(&self.recipe_profile(asked)?)?)
    }

    /// Writes a measurement to the run file, if there is one.
    pub(super) fn record(
        &mut self,
        kind: &str,
        settings: &serde_json::Value,
        values: &serde_json::Value,
        arrays: &[(&str, ndarray::ArrayView2<'_, f64>)],
    ) -> Result<(), Failure> {
        match &mut self.run {
            Some(run) => Ok(run.measurement(kind, settings, values, arrays)?),
            None => Ok(()),
        }
    }
}
