//! The `ringmain` program.
fn main() {}
