//! `landfall-local`: runs the whole stack on this machine and ingests files.
//!
//! Exit codes: 0 if all jobs succeeded, 2 if one did not, 1 on errors, 130 if interrupted before the jobs closed.

mod command;

use std::process::ExitCode;

use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};

use command::Arguments;

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(message) => {
            // clap's exit code for wrong arguments, 2, means a failed job here.
            let code = u8::from(message.use_stderr());
            return message
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
