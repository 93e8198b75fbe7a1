//! `landfall-local`: runs the whole stack on this machine and ingests files.
//!
//! Exit codes: 0 if all jobs succeeded, 2 if one did not, 1 on errors, 130 if interrupted before the jobs closed.

mod command;

use std::process::ExitCode;

use clap::Parser;
use landfall_setup::processes::shutdown_signal;

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
    let run = async { command::run(arguments, shutdown_signal()?).await };
    run.await.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}
