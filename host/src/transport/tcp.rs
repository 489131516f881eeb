//! A device behind a TCP port (`ohmrig emulate --listen tcp:…`, a network-attached board, a port forwarder).

use super::{Pace, Transport, TransportError};
use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

/// How long a connection may take to come about.
const CONNECT: Duration = Duration::from_secs(3);

/// A connected TCP stream without Nagle's delay.
pub struct Tcp {
    stream: TcpStream,
    name: String,
}

impl Tcp {
    /// Connects to `HOST:PORT`.
    ///
    /// # Errors
    /// [`TransportError`]; `Unknown` if nothing listens there or the host has no address.
    pub fn connect(address: &str) -> Result<Self, TransportError> {
        let name = format!("tcp://{address}");
        let unknown = || TransportError::Unknown { port: name.clone() };
        let addresses = address.to_socket_addrs().map_err(|_| unknown())?;
        let mut last = None;
        for address in addresses {
            match TcpStream::connect_timeout(&address, CONNECT) {
                Ok(stream) => {
                    stream
                        .set_nodelay(true)
                        .map_err(|source| TransportError::Io { port: name.clone(), source })?;
                    return Ok(Self { stream, name });
                }
                Err(error) => last = Some(error),
            }
        }
        match last {
            Some(source) if source.kind() != io::ErrorKind::ConnectionRefused => {
                Err(TransportError::Io { port: name, source })
            }
            _ => Err(unknown()),
        }
    }

    fn error(&self, source: io::Error) -> TransportError {
        stream_error(&self.name, source)
    }
}

/// What an error on a connected stream means.
pub(super) fn stream_error(name: &str, source: io::Error) -> TransportError {
    let port = name.to_owned();
    match source.kind() {
        io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted => {
            TransportError::Closed { port, reason: None }
        }
        _ => TransportError::Io { port, source },
    }
}

/// Bytes read from a stream with a time-out set, by what `read` returned.
pub(super) fn stream_read(name: &str, read: io::Result<usize>) -> Result<usize, TransportError> {
    match read {
        Ok(0) => Err(TransportError::Closed { port: name.to_owned(), reason: None }),
        Ok(bytes) => Ok(bytes),
        Err(error) => match error.kind() {
            io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => Ok(0),
            _ => Err(stream_error(name, error)),
        },
    }
}

impl Transport for Tcp {
    fn write_all(&mut self, bytes: &[u8]) -> Result<(), TransportError> {
        self.stream.write_all(bytes).map_err(|error| self.error(error))
    }

    fn read(&mut self, buffer: &mut [u8], timeout: Duration) -> Result<usize, TransportError> {
        let timeout = Some(timeout.max(Duration::from_millis(1)));
        self.stream.set_read_timeout(timeout).map_err(|error| self.error(error))?;
        stream_read(&self.name, self.stream.read(buffer))
    }

    fn pace(&self) -> Pace {
        Pace::DEVICE
    }
}
