//! A device on a serial port: USB CDC, a UART adapter, or a pseudo-terminal.

use super::{Pace, Transport, TransportError};
use serialport::{ErrorKind, SerialPort};
use std::io::{self, Read, Write};
use std::time::Duration;

/// USB CDC ports ignore the rate; UART adapters need one.
const BAUD: u32 = 115_200;

/// An open serial port.
pub struct Serial {
    port: Box<dyn SerialPort>,
    name: String,
    #[cfg(unix)]
    _lock: std::fs::File,
}

impl Serial {
    /// Opens a serial device for this process alone.
    ///
    /// # Errors
    /// [`TransportError`]; `Busy` also if another ohmrig has it, which on Unix holds for root too.
    pub fn open(path: &str) -> Result<Self, TransportError> {
        #[cfg(unix)]
        let lock = lock(path)?;
        let mut port = serialport::new(path, BAUD).timeout(Duration::from_millis(10)).open().map_err(|error| {
            let busy = error.to_string().to_lowercase();
            match error.kind() {
                _ if busy.contains("busy") || busy.contains("access is denied") => {
                    TransportError::Busy { port: path.to_owned() }
                }
                ErrorKind::NoDevice | ErrorKind::Io(io::ErrorKind::NotFound) => {
                    TransportError::Unknown { port: path.to_owned() }
                }
                _ => TransportError::Io { port: path.to_owned(), source: error.into() },
            }
        })?;
        // Boards with USB CDC send only when DTR says that somebody listens. Pseudo-terminals have neither line.
        for line in [SerialPort::write_data_terminal_ready, SerialPort::write_request_to_send] {
            if let Err(error) = line(port.as_mut(), true) {
                log::debug!("{path}: no DTR or RTS here ({error})");
            }
        }
        Ok(Self {
            port,
            name: path.to_owned(),
            #[cfg(unix)]
            _lock: lock,
        })
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

/// An advisory lock on the device file, taken before the port is opened: TIOCEXCL doesn't stop root.
#[cfg(unix)]
fn lock(path: &str) -> Result<std::fs::File, TransportError> {
    use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
    let port = path.to_owned();
    let flags = rustix::fs::OFlags::NOCTTY | rustix::fs::OFlags::NONBLOCK;
    let opened = std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(i32::try_from(flags.bits()).unwrap_or_default())
        .open(path);
    let file = match opened {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(TransportError::Unknown { port }),
        Err(error) if error.kind() == io::ErrorKind::ResourceBusy => return Err(TransportError::Busy { port }),
        Err(source) => return Err(TransportError::Io { port, source }),
    };
    if !file.metadata().is_ok_and(|data| data.file_type().is_char_device()) {
        let source = io::Error::new(io::ErrorKind::InvalidInput, "not a serial device");
        return Err(TransportError::Io { port, source });
    }
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => Err(TransportError::Busy { port }),
        Err(std::fs::TryLockError::Error(source)) => Err(TransportError::Io { port, source }),
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
            Err(error) if matches!(error.kind(), io::ErrorKind::TimedOut | io::ErrorKind::Interrupted) => Ok(0),
            Err(error) => Err(self.error(error)),
        }
    }

    fn pace(&self) -> Pace {
        Pace::DEVICE
    }
}
