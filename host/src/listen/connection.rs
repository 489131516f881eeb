//! Byte streams that never block: TCP, Unix sockets, the master side of a pseudo-terminal.

#[cfg(unix)]
use std::io;
use std::io::{Read, Write};
use std::net::TcpStream;
#[cfg(unix)]
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// A client's byte stream that never blocks.
pub(super) trait Connection: Read + Write {
    /// Sleeps until there is something to read, at most `time`.
    fn wait(&self, time: Duration);
}

#[cfg(unix)]
fn wait_readable(fd: &impl std::os::fd::AsFd, time: Duration) {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let time = Timespec { tv_sec: 0, tv_nsec: i64::from(time.subsec_nanos()) as _ };
    // A signal that interrupts is noticed by whoever loops.
    let _ = poll(&mut [PollFd::new(fd, PollFlags::IN)], Some(&time));
}

impl Connection for TcpStream {
    #[cfg(unix)]
    fn wait(&self, time: Duration) {
        wait_readable(self, time);
    }

    #[cfg(not(unix))]
    fn wait(&self, time: Duration) {
        std::thread::sleep(time.min(Duration::from_micros(500)));
    }
}

#[cfg(unix)]
impl Connection for UnixStream {
    fn wait(&self, time: Duration) {
        wait_readable(self, time);
    }
}

/// The master side of a pseudo-terminal. The other side is held open too, so that clients may come and go.
#[cfg(unix)]
pub(super) struct Pty {
    master: std::fs::File,
    _peer: rustix::fd::OwnedFd,
    pub(super) name: String,
}

#[cfg(unix)]
impl Pty {
    pub(super) fn open() -> io::Result<Self> {
        use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, ptsname, unlockpt};
        use rustix::termios::{OptionalActions, tcgetattr, tcsetattr};
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
        grantpt(&master)?;
        unlockpt(&master)?;
        let name = ptsname(&master, Vec::new())?.to_string_lossy().into_owned();
        let peer =
            ioctl_tiocgptpeer(&master, OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
        // No echo, no line editing, no translation: frames must pass as they are.
        let mut settings = tcgetattr(&peer)?;
        settings.make_raw();
        tcsetattr(&peer, OptionalActions::Now, &settings)?;
        rustix::io::ioctl_fionbio(&master, true)?;
        Ok(Self { master: master.into(), _peer: peer, name })
    }
}

#[cfg(unix)]
impl Read for Pty {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.master.read(buffer)
    }
}

#[cfg(unix)]
impl Write for Pty {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.master.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(unix)]
impl Connection for Pty {
    fn wait(&self, time: Duration) {
        wait_readable(&self.master, time);
    }
}
