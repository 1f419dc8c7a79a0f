//! The `thinkgate` command: command line → configuration → app → exit code.

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    match cli::run() {
        Ok(code) => code,
        Err(error) => {
            cli::complain(&format_args!("{error:#}"));
            ExitCode::from(cli::INTERNAL)
        }
    }
}
