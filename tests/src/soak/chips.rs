//! Chips that aren't in order, and how they are mended.

use super::campaign::Campaign;
use super::command::{Drawer, Spoil};
use ohmrig_emulator::chips::BitFlip;

impl Campaign {
    pub(super) fn spoil(&mut self, spoil: Spoil) {
        let mut rig = self.wire.rig();
        let board = rig.device.board();
        match spoil {
            Spoil::Dead(chip) => {
                if let Ok(faults) = board.faults(chip) {
                    faults.dead = true;
                }
            }
            Spoil::Flip { chip, frames_ahead, wire, bit } => {
                if let Ok(faults) = board.faults(chip) {
                    faults.flips.push(BitFlip { frames_ahead, wire, bit });
                }
            }
            Spoil::StuckBusy(index) => {
                if let Some(adc) = board.adc(index) {
                    adc.stuck_busy = true;
                }
            }
            Spoil::FaultRegister(chip, bits) => {
                if let Some(dac) = board.dac(chip) {
                    dac.set_fault(bits);
                }
            }
            Spoil::Thermometer => board.thermometer().unwrap().dead = true,
            Spoil::ThermometerFlip { frames_ahead, wire, bit } => {
                board.thermometer().unwrap().flips.push(BitFlip { frames_ahead, wire, bit });
            }
        }
    }

    /// Every chip in order again; what a flip has left in registers stays.
    pub(super) fn mend(&mut self) {
        let mut rig = self.wire.rig();
        let board = rig.device.board();
        let thermometer = board.thermometer().unwrap();
        thermometer.dead = false;
        thermometer.flips.clear();
        for index in 0..=u8::MAX {
            if let Some(adc) = board.adc(index) {
                adc.stuck_busy = false;
            }
            for kind in Drawer::KINDS {
                let select = ohmrig_protocol::bench::ChipSelect { kind, index };
                if let Ok(faults) = board.faults(select) {
                    faults.dead = false;
                    faults.flips.clear();
                }
                if let Some(dac) = board.dac(select) {
                    dac.set_fault(0);
                }
            }
        }
    }
}
