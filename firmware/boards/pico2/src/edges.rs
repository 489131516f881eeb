//! Edges that PIO owns: write pulses whose width the program itself counts, measured back by a second one, and CONVST by a
//! third. They run on when the processor hangs or is halted by a debugger.
//!
//! Cycle counts: RP2350 datasheet, "PIO", every instruction one cycle.

use embassy_rp::gpio::{Input, Level, Pull};
use embassy_rp::peripherals::PIO0;
use embassy_rp::pio::program::pio_asm;
use embassy_rp::pio::{Common, Config, Direction, InterruptHandler, Pin, Pio, PioPin, StateMachine};
use embassy_rp::{Peri, bind_interrupts};
use ohmrig_firmware::board::pulse_timer::{WidthMismatch, WidthRange, check_width};
use ohmrig_firmware::hardware::Sequencer;

use crate::board::{PULSE_OVERHEAD, PULSES, SENSE};

bind_interrupts!(struct Interrupts {
    PIO0_IRQ_0 => InterruptHandler<PIO0>;
});

/// Looks at the measuring program before a falling edge counts as missing: some 2 µs, for synchroniser and cable.
const LOOKS: u32 = 32;

/// The state machines, set up.
pub(crate) struct Edges {
    pulse: StateMachine<'static, PIO0, 0>,
    pulse_config: Config<'static, PIO0>,
    sense: StateMachine<'static, PIO0, 1>,
    convst: StateMachine<'static, PIO0, 2>,
    tgp0: Pin<'static, PIO0>,
    _common: Common<'static, PIO0>,
    busy: [Input<'static>; 2],
    /// Width of the pulse on its way, ns.
    asked_ns: Option<u32>,
}

/// Why an edge didn't come as asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum EdgeError {
    #[error(transparent)]
    Range(#[from] WidthRange),
    #[error(transparent)]
    Mismatch(#[from] WidthMismatch),
    #[error("a pulse while one is on its way")]
    Busy,
}

impl Edges {
    pub(crate) fn new(
        pio: Peri<'static, PIO0>,
        tgp0: Peri<'static, impl PioPin + 'static>,
        tgp0_sense: Peri<'static, impl PioPin + 'static>,
        convst: Peri<'static, impl PioPin + 'static>,
        busy: [Input<'static>; 2],
    ) -> Self {
        let Pio { mut common, sm0: mut pulse, sm1: mut sense, sm2: mut start, .. } =
            Pio::new(pio, Interrupts);

        // High from the end of `set pins, 1` to the end of `set pins, 0`: X + 1 times `jmp`, and the second `set`.
        let program = pio_asm!(
            ".wrap_target",
            "pull block",
            "mov x, osr",
            "set pins, 1",
            "high:",
            "jmp x-- high",
            "set pins, 0",
            "push block",
            ".wrap",
        );
        let tgp0 = common.make_pio_pin(tgp0);
        let mut pulse_config = Config::default();
        pulse_config.use_program(&common.load_program(&program.program), &[]);
        pulse_config.set_set_pins(&[&tgp0]);
        pulse.set_config(&pulse_config);
        pulse.set_pins(Level::Low, &[&tgp0]);
        pulse.set_pin_dirs(Direction::Out, &[&tgp0]);

        // Two cycles per count, from all ones downwards. What isn't fetched is overwritten by nothing: one pulse, one word.
        let program = pio_asm!(
            ".wrap_target",
            "wait 0 pin 0",
            "wait 1 pin 0",
            "mov x, ~null",
            "high:",
            "jmp x-- more",
            "more:",
            "jmp pin high",
            "mov isr, ~x",
            "push noblock",
            ".wrap",
        );
        let mut tgp0_sense = common.make_pio_pin(tgp0_sense);
        tgp0_sense.set_pull(Pull::Down);
        let mut config = Config::default();
        config.use_program(&common.load_program(&program.program), &[]);
        config.set_in_pins(&[&tgp0_sense]);
        config.set_jmp_pin(&tgp0_sense);
        sense.set_config(&config);
        sense.set_pin_dirs(Direction::In, &[&tgp0_sense]);

        // 16 cycles of 6.7 ns: more than the AD7606C-16 asks for, less than a conversion.
        let program = pio_asm!(".wrap_target", "pull block", "set pins, 1 [15]", "set pins, 0", ".wrap");
        let convst = common.make_pio_pin(convst);
        let mut config = Config::default();
        config.use_program(&common.load_program(&program.program), &[]);
        config.set_set_pins(&[&convst]);
        start.set_config(&config);
        start.set_pins(Level::Low, &[&convst]);
        start.set_pin_dirs(Direction::Out, &[&convst]);

        pulse.set_enable(true);
        sense.set_enable(true);
        start.set_enable(true);
        Self { pulse, pulse_config, sense, convst: start, tgp0, _common: common, busy, asked_ns: None }
    }

    /// Width of the last pulse as measured back at the sense pin, ns; 0 without a falling edge since it began.
    fn measured_ns(&mut self) -> u32 {
        for _ in 0..LOOKS {
            if let Some(counts) = self.sense.rx().try_pull() {
                return SENSE.width_ns(counts);
            }
        }
        0
    }
}

impl Sequencer for &mut Edges {
    type Error = EdgeError;

    fn start_pulse(&mut self, width_ns: u32) -> Result<(), EdgeError> {
        let counts = PULSES.counts(width_ns)?;
        if self.asked_ns.is_some() {
            return Err(EdgeError::Busy);
        }
        while self.sense.rx().try_pull().is_some() {}
        while self.pulse.rx().try_pull().is_some() {}
        self.asked_ns = Some(width_ns);
        self.pulse.tx().push(counts - PULSE_OVERHEAD);
        Ok(())
    }

    /// The program is stopped, the pin lowered, and the program is back at its start for the next pulse.
    fn stop_pulse(&mut self) -> Result<(), EdgeError> {
        self.pulse.set_enable(false);
        self.pulse.set_pins(Level::Low, &[&self.tgp0]);
        self.pulse.clear_fifos();
        self.pulse.restart();
        // This puts it to the program's first instruction.
        self.pulse.set_config(&self.pulse_config);
        self.pulse.set_enable(true);
        self.asked_ns = None;
        Ok(())
    }

    /// Done once the program says so and what came back over the sense pin is the width that was asked for.
    fn pulse_done(&mut self) -> Result<bool, EdgeError> {
        let Some(asked_ns) = self.asked_ns else { return Ok(true) };
        if self.pulse.rx().try_pull().is_none() {
            return Ok(false);
        }
        self.asked_ns = None;
        check_width(asked_ns, self.measured_ns())?;
        Ok(true)
    }

    fn start_conversion(&mut self) -> Result<(), EdgeError> {
        self.convst.tx().push(0);
        Ok(())
    }

    fn conversion_done(&mut self) -> Result<bool, EdgeError> {
        Ok(self.convst.tx().empty() && self.busy.iter().all(Input::is_low))
    }
}
