//! The ARM image in QEMU with an emulated bench: QEMU's UART0 is the link, UART1 the bench. Everything ends with the
//! value: QEMU, the bench's thread, the sockets. Should this process be killed, the kernel kills QEMU.

use crate::bench::{Emulation, EmulationError, ServedBench};
use crate::image::ImageError;
use crate::transport::{Pace, Transport, TransportError, Unix};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use thiserror::Error;

/// The emulator.
const PROGRAM: &str = "qemu-system-arm";
/// The machine the image is for.
const MACHINE: &str = "mps2-an386";
/// How long QEMU may take to open its serial ports.
const START: Duration = Duration::from_secs(20);

/// Why there is no QEMU to talk to.
#[derive(Debug, Error)]
pub enum QemuError {
    /// No image.
    #[error("{0} (--firmware)")]
    NoImage(#[from] ImageError),
    /// The image that was named isn't there.
    #[error("--firmware {}: {source}", .path.display())]
    Image {
        /// As named.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// No QEMU.
    #[error("{PROGRAM} can't be started ({0}); on Debian: apt install qemu-system-arm")]
    NoQemu(io::Error),
    /// It ended before it opened its serial ports.
    #[error("QEMU ended at once ({status}): {said}")]
    Ended {
        /// How.
        status: String,
        /// What it printed.
        said: String,
    },
    /// It doesn't open its serial ports.
    #[error("QEMU did not open its serial ports within {} s", START.as_secs())]
    Silent,
    /// Sockets, threads, temporary files.
    #[error("QEMU: {0}")]
    Io(#[from] io::Error),
    /// The bench.
    #[error(transparent)]
    Bench(#[from] EmulationError),
}

/// Finds the image: named, or where images are.
fn image(named: Option<&Path>) -> Result<PathBuf, QemuError> {
    let environment = std::env::var_os("OHMRIG_QEMU_IMAGE").map(PathBuf::from);
    if let Some(path) = named.map(Path::to_owned).or(environment) {
        return match File::open(&path) {
            Ok(_) => Ok(path),
            Err(source) => Err(QemuError::Image { path, source }),
        };
    }
    Ok(crate::image::find(MACHINE, crate::image::folders())?)
}

/// Whether QEMU could be started.
///
/// # Errors
/// What is missing.
pub fn check(named: Option<&Path>) -> Result<(), QemuError> {
    let mut version = Command::new(PROGRAM);
    version.arg("--version").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    version.status().map_err(QemuError::NoQemu)?;
    image(named).map(|_| ())
}

/// A running QEMU with its bench.
pub struct Qemu {
    child: Arc<Mutex<Child>>,
    bench: Option<JoinHandle<()>>,
    fresh: bool,
    image: PathBuf,
    _folder: tempfile::TempDir,
}

impl Qemu {
    /// Starts the bench and QEMU, and returns them with the link.
    ///
    /// # Errors
    /// [`QemuError`]; nothing keeps running then.
    pub fn start(emulation: &Emulation, named: Option<&Path>) -> Result<(Self, QemuLink), QemuError> {
        let image = image(named)?;
        let (board, files) = emulation.power_up()?;
        let fresh = files.is_fresh();
        let bench = ServedBench::new(board, files);
        let folder = tempfile::Builder::new().prefix("ohmrig-qemu-").tempdir()?;
        let (link_path, bench_path) = (folder.path().join("link"), folder.path().join("bench"));
        let link = UnixListener::bind(&link_path)?;
        let tunnel = UnixListener::bind(&bench_path)?;
        let log = folder.path().join("log");
        let said = File::create(&log)?;
        let chardev = |id: &str, path: &Path| format!("socket,id={id},path={}", path.display());
        let mut command = Command::new(PROGRAM);
        command
            .args(["-machine", MACHINE, "-display", "none", "-monitor", "none"])
            .args(["-semihosting-config", "enable=on,target=native", "-kernel"])
            .arg(&image)
            .args(["-chardev", &chardev("a", &link_path), "-serial", "chardev:a"])
            .args(["-chardev", &chardev("b", &bench_path), "-serial", "chardev:b"])
            .stdin(Stdio::null())
            .stdout(said.try_clone()?)
            .stderr(said);
        die_with_parent(&mut command);
        let child = Arc::new(Mutex::new(command.spawn().map_err(QemuError::NoQemu)?));
        let mut qemu = Self { child: Arc::clone(&child), bench: None, fresh, image, _folder: folder };
        let end = Instant::now() + START;
        let link = accept(&link, &child, &log, end)?;
        let tunnel = accept(&tunnel, &child, &log, end)?;
        qemu.bench = Some(std::thread::Builder::new().name("bench".into()).spawn(|| serve(tunnel, bench))?);
        let link = QemuLink { link: Unix::new(link, "qemu", Pace::QEMU), child, log };
        Ok((qemu, link))
    }

    /// The image it runs.
    #[must_use]
    pub fn image(&self) -> &Path {
        &self.image
    }

    /// Whether its array began to be with it: no state file had it.
    #[must_use]
    pub fn is_fresh(&self) -> bool {
        self.fresh
    }
}

impl Drop for Qemu {
    fn drop(&mut self) {
        {
            let mut child = lock(&self.child);
            // Gone already, or about to be: either way it is waited for.
            let _ = child.kill();
            let _ = child.wait();
        }
        if let Some(bench) = self.bench.take() {
            // It ends with its socket, which QEMU's end has closed, and writes its files.
            let _ = bench.join();
        }
    }
}

fn lock(child: &Mutex<Child>) -> std::sync::MutexGuard<'_, Child> {
    child.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Has the kernel kill the child when this process dies without running destructors.
#[cfg(target_os = "linux")]
#[allow(unsafe_code)]
fn die_with_parent(command: &mut Command) {
    // SAFETY: the closure runs between fork and exec and makes one system call, which is async-signal-safe; it neither
    // allocates nor touches memory shared with the parent.
    unsafe {
        command.pre_exec(|| {
            rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?;
            Ok(())
        });
    }
}

#[cfg(not(target_os = "linux"))]
fn die_with_parent(_: &mut Command) {}

/// Waits for QEMU to connect to a socket.
fn accept(
    listener: &UnixListener,
    child: &Mutex<Child>,
    log: &Path,
    end: Instant,
) -> Result<UnixStream, QemuError> {
    listener.set_nonblocking(true)?;
    loop {
        match listener.accept() {
            Ok((stream, _)) => {
                stream.set_nonblocking(false)?;
                return Ok(stream);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error.into()),
        }
        if let Some(status) = lock(child).try_wait()? {
            return Err(QemuError::Ended { status: status.to_string(), said: last_words(log) });
        }
        if Instant::now() >= end || crate::interrupt::requested() {
            return Err(QemuError::Silent);
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// What QEMU and the image printed, in one line.
fn last_words(log: &Path) -> String {
    let text =
        std::fs::read(log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let last = lines[lines.len().saturating_sub(4)..].join("; ");
    if last.is_empty() { "it printed nothing".to_owned() } else { last }
}

/// The bench's thread: until the socket ends.
fn serve(mut stream: UnixStream, mut bench: ServedBench) {
    let mut buffer = [0; 4096];
    let mut out = Vec::new();
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return,
            Ok(bytes) => {
                out.clear();
                bench.feed(&buffer[..bytes], &mut out);
                if stream.write_all(&out).is_err() {
                    return;
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return,
        }
    }
}

/// The link to the image, which knows why QEMU ended if it has.
pub struct QemuLink {
    link: Unix,
    child: Arc<Mutex<Child>>,
    log: PathBuf,
}

impl QemuLink {
    fn explain(&self, error: TransportError) -> TransportError {
        if !matches!(error, TransportError::Closed { .. } | TransportError::Io { .. }) {
            return error;
        }
        // The socket closes a moment before the process is gone.
        let end = Instant::now() + Duration::from_secs(1);
        while Instant::now() < end {
            if let Ok(Some(status)) = lock(&self.child).try_wait() {
                let reason = Some(format!("QEMU ended ({status}): {}", last_words(&self.log)));
                return TransportError::Closed { port: "qemu".into(), reason };
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        error
    }
}

impl Transport for QemuLink {
    fn write_all(&mut self, bytes: &[u8]) -> Result<(), TransportError> {
        self.link.write_all(bytes).map_err(|error| self.explain(error))
    }

    fn read(&mut self, buffer: &mut [u8], timeout: Duration) -> Result<usize, TransportError> {
        self.link.read(buffer, timeout).map_err(|error| self.explain(error))
    }

    fn pace(&self) -> Pace {
        self.link.pace()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_that_is_not_there_is_told_with_what_to_do() {
        let error = image(Some(Path::new("/nowhere/image.elf"))).unwrap_err().to_string();
        assert!(error.contains("/nowhere/image.elf"), "{error}");
    }
}
