//! As for every board.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    ohmrig_board_build::image(&["link.x"])
}
