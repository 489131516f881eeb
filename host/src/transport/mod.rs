//! Ways to a device: a byte pipe each, and the names (`--port`) they go by.

mod in_process;
pub mod inject;
mod serial;
mod tcp;
#[cfg(unix)]
mod unix;

pub use in_process::InProcess;
pub use serial::{BAUD, SLOW_BAUD, Serial};
pub use tcp::Tcp;
#[cfg(unix)]
pub use unix::Unix;

use std::io;
use std::str::FromStr;
use std::time::Duration;
use thiserror::Error;

/// A byte pipe to a device. Bytes may get lost or damaged on the way; their order is kept.
pub trait Transport: Send {
    /// Sends all of `bytes`.
    ///
    /// # Errors
    /// [`TransportError::Closed`] or [`TransportError::Io`].
    fn write_all(&mut self, bytes: &[u8]) -> Result<(), TransportError>;

    /// Waits for bytes for at most `timeout` and returns how many it put into `buffer`; 0 if none came.
    ///
    /// # Errors
    /// As for [`write_all`](Self::write_all).
    fn read(&mut self, buffer: &mut [u8], timeout: Duration) -> Result<usize, TransportError>;

    /// How long answers may take on this way.
    fn pace(&self) -> Pace;

    /// Whether nothing can come any more before something is sent. Only a device in this process can be known to have
    /// dealt with everything; elsewhere only time tells.
    fn is_silent(&self) -> bool {
        false
    }

    /// Writes what the device is now to its state file, if it is an emulated one in this process that has one: a killed
    /// process takes it along, and what a run file says was done must not be undone by that.
    ///
    /// # Errors
    /// [`TransportError::Io`] if it can't be written.
    fn keep_state(&mut self) -> Result<(), TransportError> {
        Ok(())
    }

    /// Power-cycles the device at the other end, if it is in this process: same cells, same flash, another boot.
    ///
    /// # Errors
    /// [`TransportError::Io`] where nothing here can do that.
    fn power_cycle(&mut self) -> Result<(), TransportError> {
        let source =
            io::Error::new(io::ErrorKind::Unsupported, "only an emulated device in this process can");
        Err(TransportError::Io { port: "power cycle".to_owned(), source })
    }
}

/// How slow a way may be before its answers count as lost.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pace {
    /// For a request that asks for nothing but an answer. A device that is armed takes two seconds of silence for a
    /// lost link, so several attempts must fit into that.
    pub base: Duration,
    /// For a measurement, before what its bytes and conversions take: run again, it draws new noise.
    pub measuring: Duration,
    /// Bytes per second at least, both directions together.
    pub bytes_per_second: f64,
    /// For one conversion of every column of a 16-column array.
    pub conversion: Duration,
    /// For a device to answer a hello, its start included.
    pub hello: Duration,
    /// From one look at a running job to the next.
    pub poll: Duration,
}

impl Pace {
    /// A device on a USB serial port or a socket. A full-speed USB serial port carries above 100 kB/s, a UART at
    /// 115,200 baud 11 kB/s; a conversion of an AD7606C-16 with its read-out and DAC updates takes under 1 ms.
    pub const DEVICE: Self = Self {
        base: Duration::from_millis(150),
        measuring: Duration::from_millis(500),
        bytes_per_second: 8_000.0,
        conversion: Duration::from_millis(2),
        hello: Duration::from_secs(3),
        poll: Duration::from_millis(20),
    };

    /// An emulated device that runs while it is waited for; its conversions cost what the circuit costs to solve.
    pub const IN_PROCESS: Self = Self {
        base: Duration::from_millis(150),
        measuring: Duration::from_secs(2),
        bytes_per_second: 1e6,
        conversion: Duration::from_millis(5),
        hello: Duration::from_secs(3),
        poll: Duration::from_millis(5),
    };

    /// An ARM image in QEMU whose every chip access crosses a second UART of 13–40 kB/s.
    pub const QEMU: Self = Self {
        base: Duration::from_millis(200),
        measuring: Duration::from_secs(2),
        bytes_per_second: 5_000.0,
        conversion: Duration::from_millis(40),
        hello: Duration::from_secs(20),
        poll: Duration::from_millis(50),
    };
}

/// A port that can't be opened, or a pipe that broke.
#[derive(Debug, Error)]
pub enum TransportError {
    /// There is nothing of that name.
    #[error("there is no port {port}; `ohmrig list` shows what there is")]
    Unknown {
        /// As asked for.
        port: String,
    },
    /// Somebody else has it open.
    #[error("port {port} is in use by another program; close that one first")]
    Busy {
        /// As asked for.
        port: String,
    },
    /// It is there, and opening or using it fails.
    #[error("port {port}: {source}")]
    Io {
        /// As asked for.
        port: String,
        /// What the system says.
        source: io::Error,
    },
    /// The other end went away.
    #[error("port {port} was closed by the other end{}", .reason.as_deref().map(|r| format!(": {r}")).unwrap_or_default())]
    Closed {
        /// As asked for.
        port: String,
        /// What is known about why.
        reason: Option<String>,
    },
}

/// `--port`: where the device is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Port {
    /// An emulated board in this process: a profile's name or file, or the default profile.
    Emulated(Option<String>),
    /// The ARM image in QEMU with an emulated bench: a profile, or the default.
    Qemu(Option<String>),
    /// `HOST:PORT`.
    Tcp(String),
    /// A serial device.
    Serial(String),
}

impl Port {
    /// Whether its devices are emulated by this process, so that profile, seed, truth and state are ours to say.
    #[must_use]
    pub fn is_emulated_here(&self) -> bool {
        matches!(self, Self::Emulated(_) | Self::Qemu(_))
    }
}

impl FromStr for Port {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let with_profile = |kind: &str| -> Option<Option<String>> {
            if text == kind {
                return Some(None);
            }
            text.strip_prefix(kind)?.strip_prefix(':').map(|profile| Some(profile.to_owned()))
        };
        if let Some(profile) = with_profile("emulated").or_else(|| with_profile("qemu"))
            && profile.as_deref() == Some("")
        {
            return Err(format!("`{text}` has a colon but no profile; `ohmrig list` shows the profiles"));
        }
        if let Some(profile) = with_profile("emulated") {
            return Ok(Self::Emulated(profile));
        }
        if let Some(profile) = with_profile("qemu") {
            return Ok(Self::Qemu(profile));
        }
        if let Some(address) = text.strip_prefix("tcp://") {
            let port = address.rsplit_once(':').map(|(_, port)| port.parse::<u16>());
            return match port {
                Some(Ok(1..)) => Ok(Self::Tcp(address.to_owned())),
                _ => Err(format!("`{text}` is not of the form tcp://HOST:PORT")),
            };
        }
        if text.is_empty() {
            return Err("the port's name is empty".to_owned());
        }
        Ok(Self::Serial(text.to_owned()))
    }
}

impl std::fmt::Display for Port {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Emulated(None) => f.write_str("emulated"),
            Self::Emulated(Some(profile)) => write!(f, "emulated:{profile}"),
            Self::Qemu(None) => f.write_str("qemu"),
            Self::Qemu(Some(profile)) => write!(f, "qemu:{profile}"),
            Self::Tcp(address) => write!(f, "tcp://{address}"),
            Self::Serial(path) => f.write_str(path),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Port;

    #[test]
    fn a_port_name_says_which_way() {
        for (text, port) in [
            ("emulated", Port::Emulated(None)),
            ("emulated:ideal", Port::Emulated(Some("ideal".into()))),
            ("qemu", Port::Qemu(None)),
            ("qemu:rram-cmo", Port::Qemu(Some("rram-cmo".into()))),
            ("tcp://127.0.0.1:7000", Port::Tcp("127.0.0.1:7000".into())),
            ("tcp://[::1]:7000", Port::Tcp("[::1]:7000".into())),
            ("/dev/ttyACM0", Port::Serial("/dev/ttyACM0".into())),
            ("COM3", Port::Serial("COM3".into())),
        ] {
            assert_eq!(text.parse(), Ok(port.clone()));
            assert_eq!(port.to_string(), text);
        }
    }

    #[test]
    fn a_malformed_name_is_refused_with_its_form() {
        for text in
            ["", "tcp://host", "tcp://host:0", "tcp://host:x", "tcp://host:70000", "emulated:", "qemu:"]
        {
            assert!(text.parse::<Port>().is_err(), "{text}");
        }
    }
}
