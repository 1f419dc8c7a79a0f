//! The `thinkgate` command.

fn main() {}
