//! A device behind a Unix socket that connected to us, as QEMU's serial ports do.

use super::tcp::{stream_error, stream_read};
use super::{Pace, Transport, TransportError};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// A connected Unix stream.
pub struct Unix {
    stream: UnixStream,
    name: String,
    pace: Pace,
}

impl Unix {
    /// Takes over a connected stream; `name` is for messages.
    #[must_use]
    pub fn new(stream: UnixStream, name: &str, pace: Pace) -> Self {
        Self { stream, name: name.to_owned(), pace }
    }
}

impl Transport for Unix {
    fn write_all(&mut self, bytes: &[u8]) -> Result<(), TransportError> {
        self.stream.write_all(bytes).map_err(|error| stream_error(&self.name, error))
    }

    fn read(&mut self, buffer: &mut [u8], timeout: Duration) -> Result<usize, TransportError> {
        let timeout = Some(timeout.max(Duration::from_millis(1)));
        self.stream.set_read_timeout(timeout).map_err(|error| stream_error(&self.name, error))?;
        stream_read(&self.name, self.stream.read(buffer))
    }

    fn pace(&self) -> Pace {
        self.pace
    }
}
