//! The example with an optimizer of candle-nn learns.

#[path = "../examples/candle_nn.rs"]
mod example;

#[test]
fn schedules_drive_candle_nn() -> Result<(), Box<dyn std::error::Error>> {
    example::main()
}
