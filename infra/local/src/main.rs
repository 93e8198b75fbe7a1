//! `cargo local`: the whole stack on this machine, with files dropped into it.
//!
//! Exit codes: 0 when all jobs of the call succeeded, 2 when one did not, 1 on errors, 130 when
//! interrupted before the jobs were closed.

mod command;

use std::process::ExitCode;

use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};

use command::Arguments;

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(told) => {
            // clap's own code for a wrong call, 2, means a failed job here.
            let code = u8::from(told.use_stderr());
            return told
                .print()
                .map_or(ExitCode::FAILURE, |()| ExitCode::from(code));
        }
    };
    let (Ok(mut interrupt), Ok(mut terminate)) = (
        signal(SignalKind::interrupt()),
        signal(SignalKind::terminate()),
    ) else {
        eprintln!("error: cannot listen for signals");
        return ExitCode::FAILURE;
    };
    let interrupted = async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    };
    match command::run(arguments, interrupted).await {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
