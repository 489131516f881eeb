//! OR-16's netlist: `docs/hardware/or16.toml` written out pin by pin, held against itself and the boards' pin tables,
//! and made into a list to draw from and the tables of `docs/hardware.md`.

mod check;
mod source;
mod tables;

use std::{fs, path::Path};

use crate::Result;
use source::Source;

/// What is written by hand.
const SOURCE: &str = "docs/hardware/or16.toml";
/// One line per pin.
const PINS: &str = "docs/hardware/or16.csv";
/// The page with tables between markers.
const PAGE: &str = "docs/hardware.md";

/// One pin of one part on the board.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Connection {
    reference: String,
    value: String,
    package: String,
    number: String,
    name: String,
    kind: String,
    /// Nothing for a pin that stays open.
    net: Option<String>,
}

/// Checks the netlist and rewrites what is made of it.
pub(crate) fn write(root: &Path) -> Result<()> {
    let source: Source = toml::from_str(&fs::read_to_string(root.join(SOURCE))?)?;
    let pins = source.connections()?;
    let complaints = check::complaints(&source, &pins);
    if !complaints.is_empty() {
        return Err(format!("{SOURCE}:\n  {}", complaints.join("\n  ")).into());
    }
    fs::write(root.join(PINS), tables::csv(&pins))?;
    let page = fs::read_to_string(root.join(PAGE))?;
    fs::write(root.join(PAGE), tables::into_page(&page, &source, &pins)?)?;
    println!("{} pins of {} parts", pins.len(), source.references(&pins));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = include_str!("../../../docs/hardware/or16.toml");

    fn committed() -> (Source, Vec<Connection>) {
        let source: Source = toml::from_str(TEXT).unwrap();
        let pins = source.connections().unwrap();
        (source, pins)
    }

    #[test]
    fn the_netlist_has_no_loose_pin_no_lonely_net_and_no_supply_pin_without_its_capacitor() {
        let (source, pins) = committed();
        assert_eq!(check::complaints(&source, &pins), Vec::<String>::new());
    }

    #[test]
    fn the_list_of_pins_and_the_page_s_tables_are_those_of_the_netlist() {
        let (source, pins) = committed();
        assert!(tables::csv(&pins) == include_str!("../../../docs/hardware/or16.csv"), "cargo xtask netlist");
        let page = include_str!("../../../docs/hardware.md");
        assert!(tables::into_page(page, &source, &pins).unwrap() == page, "cargo xtask netlist");
    }

    #[test]
    fn the_processors_pins_are_those_of_the_boards_pin_tables() {
        let (source, pins) = committed();
        for (host, text) in [
            ("nucleo-g474re", include_str!("../../../firmware/boards/nucleo-g474re/src/board.rs")),
            ("pico2", include_str!("../../../firmware/boards/pico2/src/board.rs")),
        ] {
            assert_eq!(source.hosts[host], check::pin_table(text), "{host}");
            // Whatever the connector has, the board drives or hears, but for the BUSY lines it may take either way.
            for net in check::host_nets(&pins) {
                let used = source.hosts[host].values().flatten().any(|has| *has == net);
                assert!(used || net.starts_with("BUSY"), "{host}: {net}");
            }
        }
    }

    #[test]
    fn lines_and_selects_are_in_the_order_the_drivers_count_them() {
        use ohmrig_protocol::bench::ChipKind;
        let (source, pins) = committed();
        let net = |reference: &str, name: &str| {
            let pin = pins.iter().find(|pin| pin.reference == reference && pin.name == name);
            pin.and_then(|pin| pin.net.clone()).unwrap_or_default()
        };
        let kinds = [
            (ChipKind::RowConnect, "ROW"),
            (ChipKind::ColumnSense, "TIA_IN"),
            (ChipKind::ColumnBias, "COL"),
            (ChipKind::Calibrate, "TIA_IN"),
            (ChipKind::Feedback10k, "TIA_OUT"),
            (ChipKind::Feedback1k, "TIA_OUT"),
            (ChipKind::RowCalibrate, "CAL_BUS"),
            (ChipKind::FormingBypass, "ROW_FORM"),
        ];
        for (kind, drain) in kinds {
            let name = format!("{kind:?}");
            let group = source.parts.iter().find(|part| part.select.as_deref() == Some(name.as_str()));
            let references = group.unwrap().references().unwrap();
            assert_eq!(references.len(), 2, "{name}");
            for (chip, reference) in references.iter().enumerate() {
                // Switch n of chip k is line 8k + n − 1 (`or16/switches.rs`), and bit n − 1 of SW_DATA.
                for switch in 1..=8 {
                    let line = 8 * chip + switch - 1;
                    let expected =
                        if drain == "CAL_BUS" { drain.to_owned() } else { format!("{drain}_{line}") };
                    assert_eq!(net(reference, &format!("D{switch}")), expected, "{name} {chip}");
                }
                // The decoder's output is twice the group's number and the chip (`boards/*/src/wiring.rs`), for the
                // select and for the data that come back.
                let number = (kind as usize - ChipKind::RowConnect as usize) * 2 + chip;
                assert_eq!(net(reference, "CS"), net("U40", &format!("Y{number}")), "{name} {chip}");
                assert_eq!(net(reference, "SDO"), net("U41", &format!("I{number}")), "{name} {chip}");
            }
        }
        for line in 0..16 {
            assert_eq!(net("U1", &format!("VOUT{line}")), format!("ROW_DAC_{line}"));
            assert_eq!(net("U2", &format!("VOUT{line}")), format!("BIAS_{line}"));
            let adc = ["U4", "U5"][line / 8];
            assert_eq!(net(adc, &format!("V{}", line % 8 + 1)), format!("ADC_IN_{line}"));
        }
        for bit in 0..4 {
            assert_eq!(net("U40", &format!("A{bit}")), format!("DECODER_A{bit}"));
            assert_eq!(net("U41", &format!("S{bit}")), format!("DECODER_A{bit}"));
        }
    }

    #[test]
    fn what_is_dead_without_a_processor_is_pulled_to_where_dead_is() {
        let (_, pins) = committed();
        let pulled = |net: &str, to: &str| {
            pins.iter().any(|pin| {
                let ends = || pins.iter().filter(|other| other.reference == pin.reference);
                pin.reference.starts_with('R')
                    && pin.net.as_deref() == Some(net)
                    && ends().any(|other| other.net.as_deref() == Some(to))
            })
        };
        for net in ["DAC_CLEAR", "SWITCH_RESET", "ADC_RESET", "TGP0", "CONVST", "SWITCH_VL_ON"] {
            assert!(pulled(net, "DGND"), "{net}");
        }
        for net in
            ["DECODER_ENABLE", "SELECT_ROWS", "SELECT_BIAS", "SELECT_GATES", "SELECT_ADC0", "SELECT_ADC1"]
        {
            assert!(pulled(net, "+3V3"), "{net}");
        }
    }

    #[test]
    fn a_pin_left_out_a_net_of_one_pin_and_a_bare_supply_pin_are_found() {
        let spoilt = |from: &str, to: &str| {
            assert!(TEXT.contains(from), "{from}");
            let source: Source = toml::from_str(&TEXT.replacen(from, to, 1)).unwrap();
            match source.connections() {
                Ok(pins) => check::complaints(&source, &pins).join("\n"),
                Err(error) => error.to_string(),
            }
        };
        let said = spoilt("CONVST = \"CONVST\"\n", "");
        assert!(said.contains("U4 pin 9 (CONVST)"), "{said}");
        let said = spoilt("nets = { 1 = \"P15_IN\", 2 = \"+15V\" }", "nets = { 1 = \"P15\", 2 = \"+15V\" }");
        assert!(said.contains("net P15 has one pin"), "{said}");
        let said = spoilt("supplies = { AVCC = \"100 nF\", ", "supplies = { ");
        assert!(said.contains("AVCC of AD7606C-16"), "{said}");
        let said = spoilt("refs = [\"U2\"]", "refs = [\"U1\"]");
        assert!(said.contains("U1 is there twice"), "{said}");
        let said = spoilt("VCC = \"+5V\"\nIOVCC", "VCC = \"SDO00\"\nIOVCC");
        assert!(said.contains("supply pin VCC of U1 is on SDO00"), "{said}");
    }
}
