//! As for every board, plus the script of the second-stage boot loader.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    ohmrig_board_build::image(&["link.x", "link-rp.x"])
}
