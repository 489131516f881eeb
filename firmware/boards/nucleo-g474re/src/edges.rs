//! Edges that timers own: write pulses by TIM2, measured back by TIM5, and CONVST by TIM4. All three run on when the
//! processor hangs or is halted by a debugger.
//!
//! Registers: ST RM0440, "General-purpose timers (TIM2/TIM3/TIM4/TIM5)".

use embassy_stm32::gpio::{AfType, Flex, Input, OutputType, Pull, Speed};
use embassy_stm32::pac::timer::vals::{CcmrInputCcs, Ocm, Sms, Ts, Urs};
use embassy_stm32::pac::{TIM2, TIM4, TIM5};
use embassy_stm32::{Peri, peripherals, rcc};
use ohmrig_firmware::board::pulse_timer::{WidthMismatch, WidthRange, check_width};
use ohmrig_firmware::hardware::Sequencer;

use crate::board::{CONVST_COUNTS, PULSES};

/// Alternate functions (DS12288, table "Alternate function"): TIM2_CH1 on PA0, TIM5_CH1 on PB2, TIM4_CH1 on PB6.
const AF_TGP0: u8 = 1;
const AF_SENSE: u8 = 2;
const AF_CONVST: u8 = 2;
/// Looks at the sense timer before a falling edge counts as missing: some 2 µs, for input filter and cable.
const LOOKS: u32 = 32;

/// What the edges take.
pub(crate) struct EdgeParts {
    pub(crate) tgp0: Peri<'static, peripherals::PA0>,
    pub(crate) tgp0_sense: Peri<'static, peripherals::PB2>,
    pub(crate) convst: Peri<'static, peripherals::PB6>,
    pub(crate) busy: [Input<'static>; 2],
}

/// The timers, set up.
pub(crate) struct Edges {
    busy: [Input<'static>; 2],
    /// The pins stay with their timers as long as this lives.
    _pins: [Flex<'static>; 3],
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
    pub(crate) fn new(parts: EdgeParts) -> Self {
        let EdgeParts { tgp0, tgp0_sense, convst, busy } = parts;
        rcc::enable_and_reset::<peripherals::TIM2>();
        rcc::enable_and_reset::<peripherals::TIM4>();
        rcc::enable_and_reset::<peripherals::TIM5>();

        // One-shots: from count 1 to the last count the output is high (PWM mode 2), then the counter stops at 0, where
        // it is low. Compare values take effect at once (no preload).
        TIM2.cr1().write(|w| {
            w.set_opm(true);
            w.set_urs(Urs::COUNTER_ONLY);
        });
        TIM2.ccr(0).write_value(1);
        TIM2.ccmr_output(0).write(|w| w.set_ocm(0, Ocm::FORCE_INACTIVE));
        TIM2.ccer().write(|w| w.set_cce(0, true));

        TIM4.cr1().write(|w| {
            w.set_opm(true);
            w.set_urs(Urs::COUNTER_ONLY);
        });
        TIM4.ccr(0).write(|w| w.set_ccr(1));
        TIM4.arr().write(|w| w.set_arr(CONVST_COUNTS));
        TIM4.ccmr_output(0).write(|w| w.set_ocm(0, Ocm::PWM_MODE2));
        TIM4.ccer().write(|w| w.set_cce(0, true));

        // PWM input: the rising edge on TI1 resets the counter, the falling one captures it in channel 2.
        TIM5.arr().write_value(u32::MAX);
        TIM5.ccmr_input(0).write(|w| {
            w.set_ccs(0, CcmrInputCcs::TI4);
            w.set_ccs(1, CcmrInputCcs::TI3);
        });
        TIM5.ccer().write(|w| {
            w.set_ccp(1, true);
            w.set_cce(0, true);
            w.set_cce(1, true);
        });
        TIM5.smcr().write(|w| {
            w.set_ts(Ts::TI1FP1);
            w.set_sms(Sms::RESET_MODE);
        });
        TIM5.cr1().write(|w| w.set_cen(true));

        // Only now: a pin never shows a timer that isn't set up.
        let driven = |mut pin: Flex<'static>, function| {
            pin.set_as_af_unchecked(function, AfType::output(OutputType::PushPull, Speed::VeryHigh));
            pin
        };
        let mut sense = Flex::new(tgp0_sense);
        sense.set_as_af_unchecked(AF_SENSE, AfType::input(Pull::Down));
        let pins = [driven(Flex::new(tgp0), AF_TGP0), driven(Flex::new(convst), AF_CONVST), sense];
        Self { busy, _pins: pins, asked_ns: None }
    }

    /// Width of the last pulse as measured back at the sense pin, ns; 0 without a falling edge since it began.
    fn measured_ns(&self) -> u32 {
        for _ in 0..LOOKS {
            if TIM5.sr().read().ccif(1) {
                return PULSES.width_ns(TIM5.ccr(1).read());
            }
        }
        0
    }
}

impl Sequencer for &mut Edges {
    type Error = EdgeError;

    fn start_pulse(&mut self, width_ns: u32) -> Result<(), EdgeError> {
        let counts = PULSES.counts(width_ns)?;
        if TIM2.cr1().read().cen() {
            return Err(EdgeError::Busy);
        }
        TIM5.sr().modify(|w| {
            w.set_ccif(0, false);
            w.set_ccif(1, false);
        });
        TIM2.arr().write_value(counts);
        TIM2.egr().write(|w| w.set_ug(true));
        TIM2.ccmr_output(0).write(|w| w.set_ocm(0, Ocm::PWM_MODE2));
        self.asked_ns = Some(width_ns);
        TIM2.cr1().modify(|w| w.set_cen(true));
        Ok(())
    }

    fn stop_pulse(&mut self) -> Result<(), EdgeError> {
        TIM2.ccmr_output(0).write(|w| w.set_ocm(0, Ocm::FORCE_INACTIVE));
        TIM2.cr1().modify(|w| w.set_cen(false));
        TIM2.egr().write(|w| w.set_ug(true));
        self.asked_ns = None;
        Ok(())
    }

    /// Done once the timer has stopped and what came back over the sense pin is the width that was asked for.
    fn pulse_done(&mut self) -> Result<bool, EdgeError> {
        if TIM2.cr1().read().cen() {
            return Ok(false);
        }
        if let Some(asked_ns) = self.asked_ns.take() {
            check_width(asked_ns, self.measured_ns())?;
        }
        Ok(true)
    }

    fn start_conversion(&mut self) -> Result<(), EdgeError> {
        TIM4.cr1().modify(|w| w.set_cen(true));
        Ok(())
    }

    fn conversion_done(&mut self) -> Result<bool, EdgeError> {
        Ok(!TIM4.cr1().read().cen() && self.busy.iter().all(Input::is_low))
    }
}
