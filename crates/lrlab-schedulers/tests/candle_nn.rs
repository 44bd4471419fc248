//! The example with candle-nn's own optimizer runs and learns.

#[path = "../examples/candle_nn.rs"]
mod example;

#[test]
fn schedules_drive_candle_nn() -> Result<(), Box<dyn std::error::Error>> {
    example::main()
}
