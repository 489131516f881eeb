//! As for every board, plus the scripts of the second-stage boot loader and of defmt.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    ohmrig_board_build::image(&["link.x", "link-rp.x", "defmt.x"])
}
