//! A CDC-ACM serial port whose bytes go through two pipes, so that the main loop never waits for USB. While the pipe
//! from the host is full, the host is held off.

use embassy_futures::join::join3;
use embassy_rp::peripherals::USB;
use embassy_rp::usb::{Driver, InterruptHandler};
use embassy_rp::{Peri, bind_interrupts};
use embassy_sync::blocking_mutex::raw::CriticalSectionRawMutex;
use embassy_sync::pipe::Pipe;
use embassy_usb::class::cdc_acm::{CdcAcmClass, Receiver, Sender, State};
use embassy_usb::{Builder, Config};

bind_interrupts!(struct Interrupts {
    USBCTRL_IRQ => InterruptHandler<USB>;
});

/// Bytes of a full-speed bulk packet.
const PACKET: usize = 64;
/// pid.codes' identifiers for tests: nobody has registered a number for this firmware.
const VENDOR: u16 = 0x1209;
const PRODUCT: u16 = 0x0001;

/// Bytes on their way from the host, and to it.
pub(crate) static FROM_HOST: Pipe<CriticalSectionRawMutex, 4096> = Pipe::new();
pub(crate) static TO_HOST: Pipe<CriticalSectionRawMutex, 2048> = Pipe::new();

/// The port, for ever. Its parts never leave this task, and so the executor's interrupt.
#[embassy_executor::task]
pub(crate) async fn port(usb: Peri<'static, USB>, product: &'static str, serial: &'static str) {
    let mut config = Config::new(VENDOR, PRODUCT);
    config.manufacturer = Some("ohmrig");
    config.product = Some(product);
    config.serial_number = Some(serial);
    let (mut configuration, mut bos, mut control) = ([0; 128], [0; 32], [0; 64]);
    let mut state = State::new();
    let driver = Driver::new(usb, Interrupts);
    let mut builder = Builder::new(driver, config, &mut configuration, &mut bos, &mut [], &mut control);
    let (sender, receiver) = CdcAcmClass::new(&mut builder, &mut state, PACKET as u16).split();
    let mut device = builder.build();
    join3(device.run(), to_host(sender), from_host(receiver)).await;
}

async fn from_host<'d>(mut receiver: Receiver<'d, Driver<'d, USB>>) -> ! {
    let mut packet = [0; PACKET];
    loop {
        receiver.wait_connection().await;
        while let Ok(count) = receiver.read_packet(&mut packet).await {
            FROM_HOST.write_all(packet.get(..count).unwrap_or_default()).await;
        }
    }
}

async fn to_host<'d>(mut sender: Sender<'d, Driver<'d, USB>>) -> ! {
    let mut packet = [0; PACKET];
    loop {
        sender.wait_connection().await;
        loop {
            let count = TO_HOST.read(&mut packet).await;
            if sender.write_packet(packet.get(..count).unwrap_or_default()).await.is_err() {
                break;
            }
            // A transfer that ends with a full packet is not over for the host: an empty one ends it.
            if count == PACKET && TO_HOST.is_empty() && sender.write_packet(&[]).await.is_err() {
                break;
            }
        }
    }
}
