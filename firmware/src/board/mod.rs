//! What real boards need besides their registers, and can be tested without them: the loop that runs the core, the pin
//! table and its checks, timer and SPI clock arithmetic, the words of a panic kept across a reset, stack use, ways for log records.

pub mod cycle_clock;
pub mod frame_timer;
pub mod last_words;
pub mod log_ring;
pub mod memory;
pub mod pins;
pub mod pulse_timer;
pub mod rtt;
pub mod serve;
pub mod spi_clock;
pub mod stack;
