//! Serving: an emulated device or bench behind a pseudo-terminal, a TCP port or a Unix socket, one client at a time,
//! on one thread, until Ctrl-C.

mod connection;
mod faulty_lanes;

use crate::bench::{BenchFiles, ServedBench};
use crate::device::{EmulatedDevice, Wish};
use crate::interrupt;
use connection::Connection;
#[cfg(unix)]
use connection::Pty;
pub use faulty_lanes::FaultyLanes;
use ohmrig_emulator::board::Board;
use std::io;
use std::net::{TcpListener, ToSocketAddrs};
#[cfg(unix)]
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::{Duration, Instant};

/// Longest sleep while nothing happens, so that Ctrl-C and the watchdogs are seen.
const NAP: Duration = Duration::from_millis(10);

/// Bytes that may wait in either direction before the other side has to catch up.
const BACKLOG: usize = 1 << 16;

/// `--listen`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// A new pseudo-terminal.
    Pty,
    /// `HOST:PORT`.
    Tcp(String),
    /// A socket file.
    Unix(PathBuf),
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "pty" {
            return Ok(Self::Pty);
        }
        if let Some(path) = text.strip_prefix("unix:").filter(|path| !path.is_empty()) {
            return Ok(Self::Unix(PathBuf::from(path)));
        }
        if let Some(address) = text.strip_prefix("tcp:")
            && let Some((host, port)) = address.rsplit_once(':')
            && !host.is_empty()
            && port.parse::<u16>().is_ok()
        {
            return Ok(Self::Tcp(address.to_owned()));
        }
        Err(format!("`{text}` is none of pty, tcp:HOST:PORT, unix:PATH"))
    }
}

impl Address {
    /// Refuses addresses that other machines can reach, unless that is asked for; then it warns.
    ///
    /// # Errors
    /// One line that says what to do.
    pub fn require_local(&self, allow_remote: bool) -> Result<(), String> {
        let Self::Tcp(address) = self else { return Ok(()) };
        let addresses = address.to_socket_addrs().map_err(|error| format!("tcp:{address}: {error}"))?;
        for found in addresses {
            if found.ip().is_loopback() {
                continue;
            }
            if !allow_remote {
                return Err(format!(
                    "tcp:{address} can be reached from other machines and there is no authentication; use tcp:127.0.0.1:PORT, \
                     or say --allow-remote"
                ));
            }
            log::warn!(
                "{found} can be reached from other machines, and whoever reaches it is in charge: no authentication"
            );
        }
        Ok(())
    }
}

enum Kind {
    #[cfg(unix)]
    Pty {
        name: String,
        waiting: Option<Pty>,
    },
    Tcp(TcpListener),
    #[cfg(unix)]
    Unix {
        listener: UnixListener,
        path: PathBuf,
    },
}

/// Longest wait of a second client for the first one to be gone.
const GRACE: Duration = Duration::from_millis(250);

/// An open address.
pub struct Listener {
    kind: Kind,
    /// A client that has come while there is one, and since when it waits.
    next: Option<(Box<dyn Connection>, Instant)>,
}

impl Listener {
    /// Starts to listen.
    ///
    /// # Errors
    /// One line that names the address.
    pub fn open(address: &Address) -> Result<Self, String> {
        let kind = match address {
            #[cfg(unix)]
            Address::Pty => {
                let pty = Pty::open().map_err(|error| format!("no pseudo-terminal: {error}"))?;
                Kind::Pty { name: pty.name.clone(), waiting: Some(pty) }
            }
            Address::Tcp(address) => {
                let listener =
                    TcpListener::bind(address).map_err(|error| format!("tcp:{address}: {error}"))?;
                listener.set_nonblocking(true).map_err(|error| format!("tcp:{address}: {error}"))?;
                Kind::Tcp(listener)
            }
            #[cfg(unix)]
            Address::Unix(path) => {
                let failed = |error: io::Error| format!("unix:{}: {error}", path.display());
                if UnixStream::connect(path).is_err_and(|e| e.kind() == io::ErrorKind::ConnectionRefused) {
                    // Left behind by a process that is gone.
                    std::fs::remove_file(path).map_err(failed)?;
                }
                let listener = UnixListener::bind(path).map_err(failed)?;
                listener.set_nonblocking(true).map_err(failed)?;
                Kind::Unix { listener, path: path.clone() }
            }
            #[cfg(not(unix))]
            Address::Pty | Address::Unix(_) => {
                return Err("this needs a Unix system; use tcp:HOST:PORT".to_owned());
            }
        };
        Ok(Self { kind, next: None })
    }

    /// The name under which clients open it.
    #[must_use]
    pub fn port(&self) -> String {
        match &self.kind {
            #[cfg(unix)]
            Kind::Pty { name, .. } => name.clone(),
            Kind::Tcp(listener) => listener
                .local_addr()
                .map_or_else(|error| error.to_string(), |address| format!("tcp://{address}")),
            #[cfg(unix)]
            Kind::Unix { path, .. } => format!("unix:{}", path.display()),
        }
    }

    /// The next client, if one waits.
    fn accept(&mut self) -> io::Result<Option<Box<dyn Connection>>> {
        fn waiting<T>(accepted: io::Result<T>) -> io::Result<Option<T>> {
            match accepted {
                Ok(connection) => Ok(Some(connection)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(None),
                Err(error) => Err(error),
            }
        }
        match &mut self.kind {
            #[cfg(unix)]
            Kind::Pty { waiting, .. } => Ok(waiting.take().map(|pty| Box::new(pty) as Box<dyn Connection>)),
            Kind::Tcp(listener) => match waiting(listener.accept())? {
                None => Ok(None),
                Some((stream, _)) => {
                    stream.set_nonblocking(true)?;
                    stream.set_nodelay(true)?;
                    Ok(Some(Box::new(stream)))
                }
            },
            #[cfg(unix)]
            Kind::Unix { listener, .. } => match waiting(listener.accept())? {
                None => Ok(None),
                Some((stream, _)) => {
                    stream.set_nonblocking(true)?;
                    Ok(Some(Box::new(stream)))
                }
            },
        }
    }

    /// Runs an emulated device for whoever connects, until Ctrl-C; by way of `lanes`, if the link is to be damaged.
    ///
    /// # Errors
    /// One line: the listener or the emulation failed.
    pub fn serve_device(
        &mut self,
        device: &mut EmulatedDevice,
        mut lanes: Option<FaultyLanes>,
    ) -> Result<(), String> {
        let start = Instant::now();
        let mut client = Client::default();
        while !interrupt::requested() {
            self.attend(&mut client)?;
            let (incoming, outgoing) = (client.incoming.len(), client.outgoing.len());
            let received = client.read();
            if let Some(lanes) = &mut lanes {
                lanes.damage_incoming(&mut client.incoming, incoming);
            }
            let mut wish = Wish::Bytes;
            if client.outgoing.len() < BACKLOG {
                let link_ns = start.elapsed().as_nanos() as u64;
                let (taken, next) = device
                    .step(&client.incoming, link_ns, &mut client.outgoing)
                    .map_err(|error| error.to_string())?;
                client.incoming.drain(..taken);
                wish = next;
            }
            if let Some(lanes) = &mut lanes {
                lanes.damage_outgoing(&mut client.outgoing, outgoing);
            }
            let sent = client.write();
            if wish == Wish::Bytes && !received && !sent {
                client.wait();
            }
        }
        Ok(())
    }

    /// Runs an emulated bench for the firmware that connects, until Ctrl-C. Each connection is a power cycle.
    ///
    /// # Errors
    /// One line: the listener or the emulation failed.
    pub fn serve_bench(&mut self, board: Board, files: BenchFiles) -> Result<(), String> {
        let mut bench = ServedBench::new(board, files);
        let mut client = Client::default();
        while !interrupt::requested() {
            if self.attend(&mut client)? {
                bench.power_cycle().map_err(|error| error.to_string())?;
            }
            let received = client.read();
            let incoming = std::mem::take(&mut client.incoming);
            bench.feed(&incoming, &mut client.outgoing);
            if !client.write() && !received {
                client.wait();
            }
        }
        Ok(())
    }

    /// Takes a waiting client if there is none, and turns others away; true for a new one. A client that was killed is
    /// noticed a moment after its successor has come, so the successor is given that moment.
    fn attend(&mut self, client: &mut Client) -> Result<bool, String> {
        if let Some((connection, since)) = self.next.take() {
            if client.connection.is_none() {
                *client = Client { connection: Some(connection), looked: client.looked, ..Client::default() };
                return Ok(true);
            }
            if since.elapsed() < GRACE {
                self.next = Some((connection, since));
            } else {
                log::warn!("a second client was turned away");
            }
        }
        if client.looked.is_some_and(|at| at.elapsed() < NAP) || self.next.is_some() {
            return Ok(false);
        }
        client.looked = Some(Instant::now());
        if let Some(connection) = self.accept().map_err(|error| format!("{}: {error}", self.port()))? {
            self.next = Some((connection, Instant::now()));
            return self.attend(client);
        }
        Ok(false)
    }
}

#[cfg(unix)]
impl Drop for Listener {
    fn drop(&mut self) {
        if let Kind::Unix { path, .. } = &self.kind {
            let _ = std::fs::remove_file(path);
        }
    }
}

/// The present client, if any, with the bytes on their way.
#[derive(Default)]
struct Client {
    connection: Option<Box<dyn Connection>>,
    incoming: Vec<u8>,
    outgoing: Vec<u8>,
    looked: Option<Instant>,
}

impl Client {
    /// Reads what is there; true if anything was.
    fn read(&mut self) -> bool {
        let mut buffer = [0; 4096];
        let Some(connection) = &mut self.connection else { return false };
        if self.incoming.len() >= BACKLOG {
            return false;
        }
        match connection.read(&mut buffer) {
            Ok(0) => self.leave(),
            Ok(bytes) => {
                self.incoming.extend_from_slice(&buffer[..bytes]);
                return true;
            }
            Err(error) if is_patience(&error) => {}
            Err(_) => self.leave(),
        }
        false
    }

    /// Writes what goes; true if anything did.
    fn write(&mut self) -> bool {
        let Some(connection) = &mut self.connection else {
            self.outgoing.clear();
            return false;
        };
        if self.outgoing.is_empty() {
            return false;
        }
        match connection.write(&self.outgoing) {
            Ok(bytes) => {
                self.outgoing.drain(..bytes);
                return bytes > 0;
            }
            Err(error) if is_patience(&error) => {}
            Err(_) => self.leave(),
        }
        false
    }

    fn wait(&self) {
        match &self.connection {
            Some(connection) => connection.wait(NAP),
            None => std::thread::sleep(NAP),
        }
    }

    fn leave(&mut self) {
        *self = Self { looked: self.looked, ..Self::default() };
    }
}

fn is_patience(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_says_where_to_listen() {
        assert_eq!("pty".parse(), Ok(Address::Pty));
        assert_eq!("tcp:127.0.0.1:0".parse(), Ok(Address::Tcp("127.0.0.1:0".into())));
        assert_eq!("unix:/run/b".parse(), Ok(Address::Unix("/run/b".into())));
        for wrong in ["", "unix:", "tcp:7000", "tcp::7000", "tcp:host:x", "udp:1:2"] {
            assert!(wrong.parse::<Address>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn other_machines_are_let_in_only_when_asked_for() {
        let open: Address = "tcp:0.0.0.0:0".parse().unwrap();
        assert!(open.require_local(false).unwrap_err().contains("--allow-remote"));
        assert!(open.require_local(true).is_ok());
        assert!("tcp:127.0.0.1:0".parse::<Address>().unwrap().require_local(false).is_ok());
    }
}
