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
///
/// The store above asks for reads of any size and place, for writes of whole multiples of 32 bytes at multiples of 32
/// (so that flash with error correction over up to 32 bytes is never written twice in one word), and for erases of one
/// unit. Calls block until the chip is done: an erase, for tens of milliseconds.
pub trait Flash {
    /// What can go wrong.
    type Error: core::fmt::Debug;
    /// Bytes in all; a multiple of the erase unit, 0 for none.
    fn capacity(&self) -> u32;
    /// Bytes erased at once.
    fn erase_bytes(&self) -> u32;
    /// Reads `into.len()` bytes from `offset`.
    fn read(&mut self, offset: u32, into: &mut [u8]) -> Result<(), Self::Error>;
    /// Programs `bytes` at `offset`.
    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), Self::Error>;
    /// Erases the unit that starts at `offset`.
    fn erase(&mut self, offset: u32) -> Result<(), Self::Error>;
}

impl<F: Flash> Flash for &mut F {
    type Error = F::Error;

    fn capacity(&self) -> u32 {
        F::capacity(self)
    }

    fn erase_bytes(&self) -> u32 {
        F::erase_bytes(self)
    }

    fn read(&mut self, offset: u32, into: &mut [u8]) -> Result<(), Self::Error> {
        F::read(self, offset, into)
    }

    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), Self::Error> {
        F::write(self, offset, bytes)
    }

    fn erase(&mut self, offset: u32) -> Result<(), Self::Error> {
        F::erase(self, offset)
    }
}

/// The flash of a board that has none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoFlash;

impl Flash for NoFlash {
    type Error = NoFlash;

    fn capacity(&self) -> u32 {
        0
    }

    fn erase_bytes(&self) -> u32 {
        0
    }

    fn read(&mut self, _offset: u32, _into: &mut [u8]) -> Result<(), NoFlash> {
        Err(NoFlash)
    }

    fn write(&mut self, _offset: u32, _bytes: &[u8]) -> Result<(), NoFlash> {
        Err(NoFlash)
    }

    fn erase(&mut self, _offset: u32) -> Result<(), NoFlash> {
        Err(NoFlash)
    }
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

/// What a microcontroller lends an analog board that has no switch chips and converters of its own: switches on its
/// pins, its DAC and its ADC. Rows are the low byte of a word of switches, columns the high one.
///
/// [`Sequencer::start_pulse`] closes what was [armed](Self::arm_switches), [`Sequencer::start_conversion`] samples one
/// column after the other.
pub trait Peripherals {
    /// What can go wrong on the way to the pins.
    type Error: core::fmt::Debug;

    /// Opens what isn't in `closed`, then closes what is.
    fn set_switches(&mut self, closed: u16) -> Result<(), Self::Error>;

    /// Which are closed during the next pulse, in place of the others; it uses that up.
    fn arm_switches(&mut self, closed: u16) -> Result<(), Self::Error>;

    /// Code of the DAC, which is at its pin when this returns, but for settling.
    fn set_dac(&mut self, code: u16) -> Result<(), Self::Error>;

    /// Codes of the last conversion, from column `first` on.
    fn read_adc(&mut self, first: u8, codes: &mut [u16]) -> Result<(), Self::Error>;
}

/// Hardware whose microcontroller is part of the analog board.
pub trait Mounted: Hardware {
    /// The microcontroller's switch pins and converters.
    type Peripherals<'a>: Peripherals
    where
        Self: 'a;

    /// The microcontroller's switch pins and converters.
    fn peripherals(&mut self) -> Self::Peripherals<'_>;
}

/// Hardware with a flash beside it.
pub trait Persistent: Hardware {
    /// What survives power loss.
    type Flash<'a>: Flash
    where
        Self: 'a;

    /// What survives power loss.
    fn flash(&mut self) -> Self::Flash<'_>;
}

/// Hardware, and a flash that comes from elsewhere: the processor's own, on boards.
#[derive(Debug)]
pub struct WithFlash<H, F> {
    /// The hardware.
    pub hardware: H,
    /// The flash.
    pub flash: F,
}

impl<H: Hardware, F: Flash> Persistent for WithFlash<H, F> {
    type Flash<'a>
        = &'a mut F
    where
        Self: 'a;

    fn flash(&mut self) -> &mut F {
        &mut self.flash
    }
}

impl<H: Hardware, F> Hardware for WithFlash<H, F> {
    type Error = H::Error;
    type Spi<'a>
        = H::Spi<'a>
    where
        Self: 'a;
    type I2c<'a>
        = H::I2c<'a>
    where
        Self: 'a;
    type Output<'a>
        = H::Output<'a>
    where
        Self: 'a;
    type Sequencer<'a>
        = H::Sequencer<'a>
    where
        Self: 'a;

    fn chip(&mut self, select: ChipSelect) -> H::Spi<'_> {
        self.hardware.chip(select)
    }

    fn i2c(&mut self) -> H::I2c<'_> {
        self.hardware.i2c()
    }

    fn output(&mut self, line: OutputLine) -> H::Output<'_> {
        self.hardware.output(line)
    }

    fn sequencer(&mut self) -> H::Sequencer<'_> {
        self.hardware.sequencer()
    }

    fn supply_good(&mut self) -> Result<bool, H::Error> {
        self.hardware.supply_good()
    }
}

impl<H: Mounted, F> Mounted for WithFlash<H, F> {
    type Peripherals<'a>
        = H::Peripherals<'a>
    where
        Self: 'a;

    fn peripherals(&mut self) -> H::Peripherals<'_> {
        self.hardware.peripherals()
    }
}

/// A hardware watchdog: resets processor and board unless it is fed in time. Only the loop that runs the core feeds it,
/// and only while [`Liveness`](crate::core::Liveness) says that the loop gets somewhere.
pub trait Watchdog {
    /// Starts it, or its time anew.
    fn feed(&mut self);
}
