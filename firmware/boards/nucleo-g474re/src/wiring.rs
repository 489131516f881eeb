//! The OR-16 on the headers, as the firmware's hardware traits: which bus and which chip select a chip is behind.

use embassy_stm32::gpio::{Input, Level, Output, Pull, Speed};
use embassy_stm32::i2c::{self, I2c};
use embassy_stm32::mode::Blocking;
use embassy_stm32::pac::EXTI;
use embassy_stm32::spi::{self, MODE_0, MODE_2, Spi, mode::Master};
use embassy_stm32::time::Hertz;
use embassy_time::Duration;
use embedded_hal::spi::{ErrorKind, ErrorType, Operation, SpiDevice};
use ohmrig_firmware::board::cycle_clock::{CycleClock, to_ns};
use ohmrig_firmware::board::serve::InstrumentClock;
use ohmrig_firmware::hardware::{ChipSelect, FramedSpi, Hardware, OutputLine};
use ohmrig_protocol::bench::ChipKind;

use crate::board::{ADC_HZ, AnalogParts, CLOCK_HZ, DAC_HZ, I2C_HZ, SWITCH_HZ};
use crate::burst::{self, Burst};
use crate::edges::{EdgeParts, Edges};

type Bus = Spi<'static, Blocking, Master>;

/// The analog board.
pub(crate) struct Wiring {
    dacs: Bus,
    dac_selects: [Output<'static>; 3],
    burst: Burst,
    adcs: Bus,
    adc_selects: [Output<'static>; 2],
    switches: Bus,
    decoder: Decoder,
    i2c: I2c<'static, Blocking, i2c::Master>,
    /// In the order of [`OutputLine`].
    resets: [Output<'static>; 3],
    edges: Edges,
    supply: Input<'static>,
    clock: CycleClock,
}

/// EXTI line of the supervisor's pin, PA11. Port A is what EXTICR selects at reset.
const SUPPLY_LINE: usize = 11;

/// An I²C transaction of the TMP117 takes 0.1 ms.
const I2C_TIMEOUT: Duration = Duration::from_millis(2);
/// The loop comes round at least this often while it waits, ns.
const LONGEST_WAIT_NS: u64 = 50_000;

/// Pin of port C, for bursts: in the order of `Wiring::dac_selects`.
const DAC_SELECT_PINS: [u8; 3] = [5, 6, 7];

impl Wiring {
    /// Sets the pins to a board in DEAD with nothing selected. `None` the second time.
    pub(crate) fn new(parts: AnalogParts) -> Option<Self> {
        macro_rules! output {
            ($pin:ident, $level:ident) => {
                Output::new(parts.$pin, Level::$level, Speed::VeryHigh)
            };
        }
        // The reset lines first: what the other pins do on their way doesn't matter to a board that is DEAD.
        let resets = [output!(dac_clear, Low), output!(switch_reset, Low), output!(adc_reset, Low)];
        let mut core = cortex_m::Peripherals::take()?;
        core.DCB.enable_trace();
        core.DWT.enable_cycle_counter();
        // An edge is kept in the pending register even though no interrupt is enabled (RM0440, "EXTI": the mask comes
        // behind it).
        let supply = Input::new(parts.supply_good, Pull::Down);
        EXTI.ftsr(0).modify(|w| w.set_line(SUPPLY_LINE, true));
        let bus = |hz, mode| {
            let mut config = spi::Config::default();
            (config.mode, config.frequency, config.gpio_speed) = (mode, Hertz(hz), Speed::VeryHigh);
            config
        };
        let mut i2c_config = i2c::Config::default();
        i2c_config.frequency = Hertz(I2C_HZ);
        i2c_config.timeout = I2C_TIMEOUT;
        Some(Self {
            resets,
            dac_selects: [
                output!(select_rows, High),
                output!(select_bias, High),
                output!(select_gates, High),
            ],
            adc_selects: [output!(select_adc0, High), output!(select_adc1, High)],
            decoder: Decoder {
                enable: output!(decoder_enable, High),
                address: [
                    output!(decoder_a0, Low),
                    output!(decoder_a1, Low),
                    output!(decoder_a2, Low),
                    output!(decoder_a3, Low),
                ],
            },
            // Data is valid on the rising edge of LTC2688 and ADGS1414D, on the falling edge of a clock that idles high of
            // the AD7606C (no-OS `ltc268x`, `adgs5412`, `ad7606` examples: SPI modes 0, 0, 2).
            dacs: Spi::new_blocking(
                parts.dac_spi,
                parts.dac_sck,
                parts.dac_mosi,
                parts.dac_miso,
                bus(DAC_HZ, MODE_0),
            ),
            adcs: Spi::new_blocking(
                parts.adc_spi,
                parts.adc_sck,
                parts.adc_mosi,
                parts.adc_miso,
                bus(ADC_HZ, MODE_2),
            ),
            switches: Spi::new_blocking(
                parts.switch_spi,
                parts.switch_sck,
                parts.switch_mosi,
                parts.switch_miso,
                bus(SWITCH_HZ, MODE_0),
            ),
            i2c: I2c::new_blocking(parts.i2c, parts.i2c_scl, parts.i2c_sda, i2c_config),
            burst: Burst::new()?,
            edges: Edges::new(EdgeParts {
                tgp0: parts.tgp0,
                tgp0_sense: parts.tgp0_sense,
                convst: parts.convst,
                busy: [Input::new(parts.busy0, Pull::Down), Input::new(parts.busy1, Pull::Down)],
            }),
            supply,
            clock: CycleClock::new(),
        })
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
    bus: &'a mut Bus,
    select: Select<'a>,
    /// Only for the DACs: the engine, and the select's pin of port C.
    burst: Option<(&'a mut Burst, u8)>,
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

impl SpiDevice for Chip<'_> {
    fn transaction(&mut self, operations: &mut [Operation<'_, u8>]) -> Result<(), WiringError> {
        if let Some((burst, _)) = &mut self.burst {
            burst.finish();
        }
        self.select.set(true)?;
        let done = operations.iter_mut().try_for_each(|operation| match operation {
            Operation::Write(out) => self.bus.blocking_write(out),
            Operation::Read(input) => self.bus.blocking_read(input),
            Operation::Transfer(input, out) => self.bus.blocking_transfer(input, out),
            Operation::TransferInPlace(both) => self.bus.blocking_transfer_in_place(both),
            Operation::DelayNs(ns) => {
                cortex_m::asm::delay(ns.div_ceil(1_000_000_000 / CLOCK_HZ));
                Ok(())
            }
        });
        self.select.set(false)?;
        done.map_err(WiringError::Spi)
    }
}

impl FramedSpi for Chip<'_> {
    /// DAC frames leave by DMA while the caller goes on; whatever depends on them waits for the last.
    fn write_frames(&mut self, frame: usize, out: &[u8]) -> Result<(), WiringError> {
        match &mut self.burst {
            Some((burst, pin)) if frame == 3 => {
                out.chunks(3 * burst::CAPACITY).for_each(|frames| burst.start(*pin, frames));
                Ok(())
            }
            _ => out.chunks(frame.max(1)).try_for_each(|word| self.write(word)),
        }
    }

    fn transfer_frames(&mut self, frame: usize, out: &[u8], input: &mut [u8]) -> Result<(), WiringError> {
        if let (Some((burst, pin)), 3) = (&mut self.burst, frame) {
            burst.exchange(*pin, out, input);
            return Ok(());
        }
        let frame = frame.max(1);
        out.chunks(frame).zip(input.chunks_mut(frame)).try_for_each(|(word, back)| self.transfer(back, word))
    }
}

impl Hardware for Wiring {
    type Error = WiringError;
    type Spi<'a> = Chip<'a>;
    type I2c<'a> = &'a mut I2c<'static, Blocking, i2c::Master>;
    type Output<'a> = &'a mut Output<'static>;
    type Sequencer<'a> = &'a mut Edges;

    fn chip(&mut self, select: ChipSelect) -> Chip<'_> {
        let Self { dacs, dac_selects, burst, adcs, adc_selects, switches, decoder, .. } = self;
        let ChipSelect { kind, index } = select;
        match (kind, index) {
            (ChipKind::RowDac | ChipKind::BiasDac | ChipKind::GateDac, _) => {
                // The three kinds of DAC are numbered from 0, as their selects are.
                let place = usize::from(kind as u8);
                match dac_selects.get_mut(place).zip(DAC_SELECT_PINS.get(place)).filter(|_| index == 0) {
                    Some((pin, number)) => {
                        Chip { bus: dacs, select: Select::Pin(pin), burst: Some((burst, *number)) }
                    }
                    None => Chip { bus: dacs, select: Select::Absent, burst: None },
                }
            }
            (ChipKind::Adc, _) => {
                let select = adc_selects.get_mut(usize::from(index)).map_or(Select::Absent, Select::Pin);
                Chip { bus: adcs, select, burst: None }
            }
            // Switch groups by their numbers, two chips each.
            (kind, 0 | 1) => {
                let number = (kind as u8 - ChipKind::RowConnect as u8) * 2 + index;
                Chip { bus: switches, select: Select::Decoder(decoder, number), burst: None }
            }
            _ => Chip { bus: switches, select: Select::Absent, burst: None },
        }
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
        let dipped = EXTI.pr(0).read().line(SUPPLY_LINE);
        if dipped {
            EXTI.pr(0).write(|w| w.set_line(SUPPLY_LINE, true));
        }
        Ok(!dipped && self.supply.is_high())
    }

    /// Edges come after every frame that was sent before.
    fn sequencer(&mut self) -> Self::Sequencer<'_> {
        self.burst.finish();
        &mut self.edges
    }
}

impl InstrumentClock for Wiring {
    type Error = core::convert::Infallible;

    /// Time since the start. A burst still on its way is waited for: what needs settling does so from its end.
    fn now_ns(&mut self) -> Result<u64, Self::Error> {
        self.burst.finish();
        Ok(to_ns(self.clock.counts(cortex_m::peripheral::DWT::cycle_count()), CLOCK_HZ))
    }

    /// Waits short times out; of a longer one, as much as the link can do without.
    fn wait_towards_ns(&mut self, at_ns: u64) -> Result<(), Self::Error> {
        let start = self.now_ns()?;
        while self.now_ns()? < at_ns.min(start + LONGEST_WAIT_NS) {}
        Ok(())
    }
}
