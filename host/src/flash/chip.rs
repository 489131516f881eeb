//! What chips say about themselves to a debug probe: who they are, and whether they are locked. Read before anything is
//! written.

/// A value in a register of a chip.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sign {
    /// The register's address.
    pub register: u32,
    /// Bits that count.
    pub mask: u32,
    /// What they must be.
    pub value: u32,
}

impl Sign {
    /// Whether a reading of the register shows the sign.
    #[must_use]
    pub const fn is_in(&self, reading: u32) -> bool {
        reading & self.mask == self.value
    }
}

/// A chip that ohmrig has images for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chip {
    /// How the names begin that probe-rs has for it, without regard to case.
    pub prefix: &'static str,
    /// What it shows no other chip does.
    pub identity: Sign,
    /// What it shows while its flash can be read and written by a probe, and what to do when it doesn't.
    pub unlocked: Option<(Sign, &'static str)>,
}

/// The chips.
pub const CHIPS: [Chip; 3] = [
    Chip {
        prefix: "STM32G474",
        // RM0440, DBGMCU_IDCODE: DEV_ID 0x469 for category 3 (G471, G473, G474, G483, G484).
        identity: Sign { register: 0xE004_2000, mask: 0xFFF, value: 0x469 },
        // RM0440, FLASH_OPTR: RDP 0xAA is level 0. Going back to it from level 1 erases all of the flash.
        unlocked: Some((
            Sign { register: 0x4002_2020, mask: 0xFF, value: 0xAA },
            "read-out protection is on; STM32CubeProgrammer takes it off (option byte RDP = AA), which erases everything in \
             it, counted pulses and calibration included",
        )),
    },
    Chip {
        prefix: "RP2040",
        // RP2040 datasheet, SYSINFO CHIP_ID: manufacturer 0x927, part 2; revision in the upper four bits. It can't be locked.
        identity: Sign { register: 0x4000_0000, mask: 0x0FFF_FFFF, value: 0x0000_2927 },
        unlocked: None,
    },
    Chip {
        prefix: "RP235",
        // RP2350 datasheet, SYSINFO CHIP_ID: manufacturer 0x493 with its stop bit, part 4. Debug locks of its OTP let no
        // probe in at all.
        identity: Sign { register: 0x4000_0000, mask: 0x0FFF_FFFF, value: 0x0000_4927 },
        unlocked: None,
    },
];

/// The chip that probe-rs calls `name`.
#[must_use]
pub fn chip(name: &str) -> Option<&'static Chip> {
    let name = name.to_ascii_uppercase();
    CHIPS.iter().find(|chip| name.starts_with(chip.prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chip_is_known_by_whatever_package_it_is_in() {
        assert_eq!(chip("STM32G474RETx").map(|chip| chip.prefix), Some("STM32G474"));
        assert_eq!(chip("rp235x").map(|chip| chip.prefix), Some("RP235"));
        assert_eq!(chip("nRF52840_xxAA"), None);
    }

    #[test]
    fn no_chip_shows_another_s_sign_in_the_same_register() {
        for (index, one) in CHIPS.iter().enumerate() {
            for other in CHIPS.iter().skip(index + 1).filter(|c| c.identity.register == one.identity.register)
            {
                assert!(!one.identity.is_in(other.identity.value), "{} {}", one.prefix, other.prefix);
            }
        }
    }
}
