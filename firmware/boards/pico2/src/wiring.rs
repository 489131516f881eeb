//! The OR-16 on the headers, as the firmware's hardware traits: which bus and which chip select a chip is behind.

use embassy_rp::gpio::{Input, Level, Output, Pull};
use embassy_rp::i2c::{self, I2c};
use embassy_rp::pac::IO_BANK0;
use embassy_rp::peripherals::{I2C0, SPI0, SPI1};
use embassy_rp::spi::{self, Blocking, Phase, Polarity, Spi};
use embassy_time::Instant;
use embedded_hal::spi::{ErrorKind, ErrorType, Operation, SpiBus, SpiDevice};
use ohmrig_firmware::board::serve::InstrumentClock;
use ohmrig_firmware::hardware::{ChipSelect, Hardware, OutputLine, PerFrame};
use ohmrig_protocol::bench::ChipKind;

use crate::board::{ADC_HZ, AnalogParts, CLOCK_HZ, DAC_HZ, I2C_HZ, SWITCH_HZ};
use crate::edges::Edges;

/// The analog board.
pub(crate) struct Wiring {
    adcs: Spi<'static, SPI0, Blocking>,
    adc_selects: [Output<'static>; 2],
    drive: Spi<'static, SPI1, Blocking>,
    dac_selects: [Output<'static>; 3],
    decoder: Decoder,
    i2c: I2c<'static, I2C0, i2c::Blocking>,
    /// In the order of [`OutputLine`].
    resets: [Output<'static>; 3],
    edges: Edges,
    supply: Input<'static>,
}

/// Where IO_BANK0 latches the edges of GP13: eight pins to a register.
const SUPPLY_PIN: usize = 13;

/// The loop comes round at least this often while it waits, ns.
const LONGEST_WAIT_NS: u64 = 50_000;
/// The clock's step, ns: a wait ends a step late rather than early.
const TICK_NS: u64 = 1_000;

impl Wiring {
    /// Sets the pins to a board in DEAD with nothing selected.
    pub(crate) fn new(parts: AnalogParts) -> Self {
        macro_rules! output {
            ($pin:ident, $level:ident) => {
                Output::new(parts.$pin, Level::$level)
            };
        }
        // The reset lines first: what the other pins do on their way doesn't matter to a board that is DEAD.
        let resets = [output!(dac_clear, Low), output!(switch_reset, Low), output!(adc_reset, Low)];
        // Data is valid on the rising edge of LTC2688 and ADGS1414D, on the falling edge of a clock that idles high of the
        // AD7606C (no-OS `ltc268x`, `adgs5412`, `ad7606` examples: SPI modes 0, 0, 2).
        let bus = |hz, polarity| {
            let mut config = spi::Config::default();
            (config.frequency, config.polarity, config.phase) =
                (hz, polarity, Phase::CaptureOnFirstTransition);
            config
        };
        let mut i2c_config = i2c::Config::default();
        i2c_config.frequency = I2C_HZ;
        Self {
            resets,
            adc_selects: [output!(select_adc0, High), output!(select_adc1, High)],
            dac_selects: [
                output!(select_rows, High),
                output!(select_bias, High),
                output!(select_gates, High),
            ],
            decoder: Decoder {
                enable: output!(decoder_enable, High),
                address: [
                    output!(decoder_a0, Low),
                    output!(decoder_a1, Low),
                    output!(decoder_a2, Low),
                    output!(decoder_a3, Low),
                ],
            },
            adcs: Spi::new_blocking(
                parts.adc_spi,
                parts.adc_sck,
                parts.adc_mosi,
                parts.adc_miso,
                bus(ADC_HZ, Polarity::IdleHigh),
            ),
            drive: Spi::new_blocking(
                parts.drive_spi,
                parts.drive_sck,
                parts.drive_mosi,
                parts.drive_miso,
                bus(DAC_HZ, Polarity::IdleLow),
            ),
            i2c: I2c::new_blocking(parts.i2c, parts.i2c_scl, parts.i2c_sda, i2c_config),
            edges: Edges::new(
                parts.pio,
                parts.tgp0,
                parts.tgp0_sense,
                parts.convst,
                Input::new(parts.busy, Pull::Down),
            ),
            supply: Input::new(parts.supply_good, Pull::Down),
        }
    }
}

/// A 4-to-16 decoder: one of sixteen outputs low while enabled.
struct Decoder {
    enable: Output<'static>,
    address: [Output<'static>; 4],
}

impl Decoder {
    fn address(&mut self, number: u8) {
        for (bit, pin) in self.address.iter_mut().enumerate() {
            pin.set_level(Level::from(number >> bit & 1 == 1));
        }
    }
}

/// One chip: its bus, and how it is selected.
pub(crate) struct Chip<'a> {
    bus: Bus<'a>,
    select: Select<'a>,
}

enum Bus<'a> {
    Adcs(&'a mut Spi<'static, SPI0, Blocking>),
    Drive(&'a mut Spi<'static, SPI1, Blocking>),
}

enum Select<'a> {
    Pin(&'a mut Output<'static>),
    Decoder(&'a mut Decoder, u8),
    Absent,
}

impl Select<'_> {
    fn set(&mut self, selected: bool) -> Result<(), WiringError> {
        let level = Level::from(!selected);
        match self {
            Self::Pin(pin) => pin.set_level(level),
            Self::Decoder(decoder, number) => {
                // The address only moves while no output is enabled.
                if selected {
                    decoder.address(*number);
                }
                decoder.enable.set_level(level);
            }
            Self::Absent => return Err(WiringError::Absent),
        }
        Ok(())
    }
}

/// Why a transaction failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum WiringError {
    #[error("this board has no such chip")]
    Absent,
    #[error("SPI: {0:?}")]
    Spi(spi::Error),
}

impl embedded_hal::spi::Error for WiringError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Other
    }
}

impl ErrorType for Chip<'_> {
    type Error = WiringError;
}

/// The operations of one transaction on one bus.
fn operate(
    bus: &mut impl SpiBus<u8, Error = spi::Error>,
    operations: &mut [Operation<'_, u8>],
) -> Result<(), spi::Error> {
    operations.iter_mut().try_for_each(|operation| match operation {
        Operation::Write(out) => bus.write(out),
        Operation::Read(input) => bus.read(input),
        Operation::Transfer(input, out) => bus.transfer(input, out),
        Operation::TransferInPlace(both) => bus.transfer_in_place(both),
        Operation::DelayNs(ns) => {
            cortex_m::asm::delay(ns.div_ceil(1_000_000_000 / CLOCK_HZ));
            Ok(())
        }
    })
}

impl SpiDevice for Chip<'_> {
    fn transaction(&mut self, operations: &mut [Operation<'_, u8>]) -> Result<(), WiringError> {
        self.select.set(true)?;
        let done = match &mut self.bus {
            Bus::Adcs(bus) => operate(*bus, operations),
            Bus::Drive(bus) => operate(*bus, operations),
        };
        self.select.set(false)?;
        done.map_err(WiringError::Spi)
    }
}

impl Hardware for Wiring {
    type Error = WiringError;
    type Spi<'a> = PerFrame<Chip<'a>>;
    type I2c<'a> = &'a mut I2c<'static, I2C0, i2c::Blocking>;
    type Output<'a> = &'a mut Output<'static>;
    type Sequencer<'a> = &'a mut Edges;

    fn chip(&mut self, select: ChipSelect) -> PerFrame<Chip<'_>> {
        let Self { adcs, adc_selects, drive, dac_selects, decoder, .. } = self;
        let ChipSelect { kind, index } = select;
        let pin = |pin: Option<_>| pin.map_or(Select::Absent, Select::Pin);
        PerFrame(match (kind, index) {
            // The three kinds of DAC are numbered from 0, as their selects are.
            (ChipKind::RowDac | ChipKind::BiasDac | ChipKind::GateDac, 0) => {
                drive.set_frequency(DAC_HZ);
                Chip { bus: Bus::Drive(drive), select: pin(dac_selects.get_mut(usize::from(kind as u8))) }
            }
            (ChipKind::Adc, _) => {
                Chip { bus: Bus::Adcs(adcs), select: pin(adc_selects.get_mut(usize::from(index))) }
            }
            (ChipKind::RowDac | ChipKind::BiasDac | ChipKind::GateDac, _) | (_, 2..) => {
                Chip { bus: Bus::Drive(drive), select: Select::Absent }
            }
            // Switch groups by their numbers, two chips each.
            (kind, 0 | 1) => {
                drive.set_frequency(SWITCH_HZ);
                let number = (kind as u8 - ChipKind::RowConnect as u8) * 2 + index;
                Chip { bus: Bus::Drive(drive), select: Select::Decoder(decoder, number) }
            }
        })
    }

    fn i2c(&mut self) -> Self::I2c<'_> {
        &mut self.i2c
    }

    fn output(&mut self, line: OutputLine) -> Self::Output<'_> {
        let [dac_clear, switch_reset, adc_reset] = &mut self.resets;
        match line {
            OutputLine::DacClear => dac_clear,
            OutputLine::SwitchReset => switch_reset,
            OutputLine::AdcReset => adc_reset,
        }
    }

    fn supply_good(&mut self) -> Result<bool, WiringError> {
        let latch = IO_BANK0.intr(SUPPLY_PIN / 8);
        let dipped = latch.read().edge_low(SUPPLY_PIN % 8);
        if dipped {
            latch.write(|w| w.set_edge_low(SUPPLY_PIN % 8, true));
        }
        Ok(!dipped && self.supply.is_high())
    }

    fn sequencer(&mut self) -> Self::Sequencer<'_> {
        &mut self.edges
    }
}

impl InstrumentClock for Wiring {
    type Error = core::convert::Infallible;

    fn now_ns(&mut self) -> Result<u64, Self::Error> {
        Ok(Instant::now().as_micros() * 1_000)
    }

    /// Waits short times out; of a longer one, as much as the link can do without.
    fn wait_towards_ns(&mut self, at_ns: u64) -> Result<(), Self::Error> {
        let start = self.now_ns()?;
        while self.now_ns()? < at_ns.saturating_add(TICK_NS).min(start + LONGEST_WAIT_NS) {}
        Ok(())
    }
}
