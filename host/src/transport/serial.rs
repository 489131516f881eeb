//! A device on a serial port: USB CDC, a UART adapter, or a pseudo-terminal.

use super::{Pace, Transport, TransportError};
use serialport::{ErrorKind, SerialPort};
use std::io::{self, Read, Write};
use std::time::Duration;

/// What boards with a UART start with; USB CDC ports and pseudo-terminals ignore the rate.
pub const BAUD: u32 = 2_000_000;
/// What those boards fall back to on request: behind the port's name, `PATH@115200`.
pub const SLOW_BAUD: u32 = 115_200;

/// An open serial port.
pub struct Serial {
    port: Box<dyn SerialPort>,
    name: String,
}

impl Serial {
    /// Opens a serial device for this process alone: a path, or `PATH@BAUD` for another rate than [`BAUD`].
    ///
    /// # Errors
    /// [`TransportError`]; `Busy` if another program has it (exclusive access and an advisory lock, by serialport).
    pub fn open(name: &str) -> Result<Self, TransportError> {
        let (path, baud) = split(name);
        require_device(path)?;
        let mut port = serialport::new(path, baud)
            .timeout(Duration::from_millis(10))
            .open()
            .map_err(|error| explain(path, error))?;
        // Boards with USB CDC send only when DTR says that somebody listens. Pseudo-terminals have neither line.
        for line in [SerialPort::write_data_terminal_ready, SerialPort::write_request_to_send] {
            if let Err(error) = line(port.as_mut(), true) {
                log::debug!("{path}: no DTR or RTS here ({error})");
            }
        }
        Ok(Self { port, name: path.to_owned() })
    }

    fn error(&self, source: io::Error) -> TransportError {
        // EIO is what a terminal says whose other end is gone.
        let gone = source.kind() == io::ErrorKind::BrokenPipe || source.raw_os_error() == Some(5);
        if gone {
            TransportError::Closed { port: self.name.clone(), reason: None }
        } else {
            TransportError::Io { port: self.name.clone(), source }
        }
    }
}

/// Path and rate of a port's name.
fn split(name: &str) -> (&str, u32) {
    let rate = name.rsplit_once('@').and_then(|(path, rate)| Some((path, rate.parse().ok()?)));
    rate.filter(|(path, rate)| !path.is_empty() && *rate > 0).unwrap_or((name, BAUD))
}

/// Refuses a file that can't be a serial port before it is opened.
#[cfg(unix)]
fn require_device(path: &str) -> Result<(), TransportError> {
    use std::os::unix::fs::FileTypeExt;
    match std::fs::metadata(path) {
        Ok(data) if !data.file_type().is_char_device() => Err(TransportError::Io {
            port: path.to_owned(),
            source: io::Error::new(
                io::ErrorKind::InvalidInput,
                "not a serial device; `ohmrig list` shows what there is",
            ),
        }),
        // Whatever else is wrong, opening it says so.
        _ => Ok(()),
    }
}

#[cfg(not(unix))]
fn require_device(_: &str) -> Result<(), TransportError> {
    Ok(())
}

/// What an error on opening means.
fn explain(path: &str, error: serialport::Error) -> TransportError {
    let port = path.to_owned();
    let text = error.to_string().to_lowercase();
    // `NoDevice` is what serialport calls a port that is locked, and on Windows one that isn't there.
    let busy = ["busy", "exclusive lock", "access is denied"].iter().any(|sign| text.contains(sign));
    match error.kind() {
        _ if busy => TransportError::Busy { port },
        ErrorKind::NoDevice | ErrorKind::Io(io::ErrorKind::NotFound) => TransportError::Unknown { port },
        _ => TransportError::Io { port, source: error.into() },
    }
}

impl Transport for Serial {
    fn write_all(&mut self, bytes: &[u8]) -> Result<(), TransportError> {
        let mut rest = bytes;
        let mut patience = 500;
        while !rest.is_empty() {
            match self.port.write(rest) {
                Ok(taken) => rest = &rest[taken..],
                // The other end doesn't read: up to 500 time-outs of 10 ms.
                Err(error) if error.kind() == io::ErrorKind::TimedOut && patience > 0 => patience -= 1,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.error(error)),
            }
        }
        Ok(())
    }

    fn read(&mut self, buffer: &mut [u8], timeout: Duration) -> Result<usize, TransportError> {
        self.port
            .set_timeout(timeout.max(Duration::from_millis(1)))
            .map_err(|error| self.error(error.into()))?;
        match self.port.read(buffer) {
            Ok(bytes) => Ok(bytes),
            Err(error) if matches!(error.kind(), io::ErrorKind::TimedOut | io::ErrorKind::Interrupted) => {
                Ok(0)
            }
            Err(error) => Err(self.error(error)),
        }
    }

    fn pace(&self) -> Pace {
        Pace::DEVICE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_may_follow_the_name() {
        assert_eq!(split("/dev/ttyACM0"), ("/dev/ttyACM0", BAUD));
        assert_eq!(split("/dev/ttyACM0@115200"), ("/dev/ttyACM0", SLOW_BAUD));
        // A name may have the sign itself.
        assert_eq!(split("/dev/serial/by-path/usb@1.2"), ("/dev/serial/by-path/usb@1.2", BAUD));
    }
}
