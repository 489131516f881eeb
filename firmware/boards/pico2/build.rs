//! As for every board, plus defmt's linker script.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    ohmrig_board_build::image(&["link.x", "defmt.x"])
}
