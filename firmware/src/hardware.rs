//! What the instrument stands on: SPI chips behind chip selects, one I²C bus, a few reset lines, pulse and
//! conversion edges, and a flash. Boards, the bench tunnel and nothing else implement these traits.
//!
//! Everything plain embedded-hal can say is said in its traits. Two things it can't: many chip-select-framed
//! words as one burst ([`FramedSpi`], so that DMA or a tunnel can move them together), and edges whose timing
//! hardware must own ([`Sequencer`]).

use embedded_hal::spi::{ErrorType, SpiDevice};
pub use ohmrig_protocol::bench::{ChipSelect, OutputLine};

/// An SPI chip that takes its words one per chip-select assertion, and can be handed a burst of them.
pub trait FramedSpi: SpiDevice<u8> {
    /// Sends `out` as consecutive frames of `frame` bytes, chip select released between frames.
    /// Nothing comes back, so an implementation may return before the frames are on the wire, as long as
    /// their order against everything that follows is kept. `out.len()` is a multiple of `frame`.
    fn write_frames(&mut self, frame: usize, out: &[u8]) -> Result<(), Self::Error>;

    /// As [`write_frames`](Self::write_frames), and puts what the chip shifted out into `input`,
    /// which has the length of `out`.
    fn transfer_frames(&mut self, frame: usize, out: &[u8], input: &mut [u8]) -> Result<(), Self::Error>;
}

/// Any [`SpiDevice`] as a [`FramedSpi`]: one transaction per frame. For boards without burst DMA and for tests.
#[derive(Debug)]
pub struct PerFrame<D>(pub D);

impl<D: ErrorType> ErrorType for PerFrame<D> {
    type Error = D::Error;
}

impl<D: SpiDevice> SpiDevice for PerFrame<D> {
    fn transaction(
        &mut self,
        operations: &mut [embedded_hal::spi::Operation<'_, u8>],
    ) -> Result<(), Self::Error> {
        self.0.transaction(operations)
    }
}

impl<D: SpiDevice> FramedSpi for PerFrame<D> {
    fn write_frames(&mut self, frame: usize, out: &[u8]) -> Result<(), Self::Error> {
        out.chunks(frame.max(1)).try_for_each(|word| self.0.write(word))
    }

    fn transfer_frames(&mut self, frame: usize, out: &[u8], input: &mut [u8]) -> Result<(), Self::Error> {
        let frame = frame.max(1);
        out.chunks(frame)
            .zip(input.chunks_mut(frame))
            .try_for_each(|(word, back)| self.0.transfer(back, word))
    }
}

/// Edges that hardware must time: the write pulse on TGP0 of all DACs, and the converters' CONVST and BUSY.
///
/// Both are split-phase: start, then ask. Neither call blocks.
pub trait Sequencer {
    /// What can go wrong on the way to the pins.
    type Error: core::fmt::Debug;

    /// Raises TGP0 now; hardware lowers it `width_ns` later (1 s is 10⁹), even if the CPU hangs.
    fn start_pulse(&mut self, width_ns: u32) -> Result<(), Self::Error>;

    /// Lowers TGP0 at once, ending a pulse early.
    fn stop_pulse(&mut self) -> Result<(), Self::Error>;

    /// Whether TGP0 is low again.
    fn pulse_done(&mut self) -> Result<bool, Self::Error>;

    /// Gives every ADC its CONVST edge.
    fn start_conversion(&mut self) -> Result<(), Self::Error>;

    /// Whether every ADC's BUSY is low again.
    fn conversion_done(&mut self) -> Result<bool, Self::Error>;
}

/// Non-volatile storage in NOR-flash terms: erased bytes read `0xFF`, a write only clears bits.
pub trait Flash {
    /// What can go wrong.
    type Error: core::fmt::Debug;
    /// Bytes in all; a multiple of `ERASE_SIZE`.
    fn capacity(&self) -> u32;
    /// Reads `into.len()` bytes from `offset`.
    fn read(&mut self, offset: u32, into: &mut [u8]) -> Result<(), Self::Error>;
    /// Programs `bytes` at `offset`.
    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), Self::Error>;
    /// Erases the sector that starts at `offset`.
    fn erase(&mut self, offset: u32) -> Result<(), Self::Error>;
}

/// Everything a front end touches, one handle at a time (a handle borrows the bus it shares with the others).
pub trait Hardware {
    /// The error of every handle.
    type Error: core::fmt::Debug;
    /// One SPI chip.
    type Spi<'a>: FramedSpi<Error: core::fmt::Debug>
    where
        Self: 'a;
    /// The I²C bus of the temperature sensor.
    type I2c<'a>: embedded_hal::i2c::I2c<Error: core::fmt::Debug>
    where
        Self: 'a;
    /// A reset line.
    type Output<'a>: embedded_hal::digital::OutputPin<Error: core::fmt::Debug>
    where
        Self: 'a;
    /// Pulse and conversion edges.
    type Sequencer<'a>: Sequencer
    where
        Self: 'a;

    /// The chip behind `select`.
    fn chip(&mut self, select: ChipSelect) -> Self::Spi<'_>;
    /// The I²C bus.
    fn i2c(&mut self) -> Self::I2c<'_>;
    /// A reset line; all are active low.
    fn output(&mut self, line: OutputLine) -> Self::Output<'_>;
    /// Pulse and conversion edges.
    fn sequencer(&mut self) -> Self::Sequencer<'_>;

    /// Whether the analog supplies have been good ever since this was last asked, or since power-on: the supervisor's
    /// flag, latched by hardware until it is read. The supervisor has pulled the reset lines by itself.
    ///
    /// # Errors
    /// The flag can't be read.
    fn supply_good(&mut self) -> Result<bool, Self::Error>;
}

/// A hardware watchdog: resets processor and board unless it is fed in time. Only the loop that runs the core feeds it,
/// and only while [`Liveness`](crate::core::Liveness) says that the loop gets somewhere.
pub trait Watchdog {
    /// Starts it, or its time anew.
    fn feed(&mut self);
}
