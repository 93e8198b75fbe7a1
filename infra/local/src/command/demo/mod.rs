//! What `--demo` starts beside the stack: services, and the sources or destinations that have to do with them.

mod faults;
mod orders;
mod sources;
mod variables;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use landfall_local::{Lines, Stack, StackOptions, workspace};

use super::{Arguments, report};
use orders::Erp;
use variables::Variables;

/// The interval between runs of the puller and the relay, which is a minute on AWS.
const EVERY: Duration = Duration::from_secs(2);
/// The default number of orders.
const ORDERS: u64 = 10_000;

/// A demo.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Demo {
    /// Two services, and two sources that follow them
    Sources,
    /// Orders, and a service that follows them
    Orders,
}

/// The services of a demo, which stop with this process.
pub(crate) enum Services {
    Sources,
    Orders(Erp),
}

/// A demo that runs.
pub(crate) struct Running {
    services: Services,
    _variables: Variables,
}

fn directory(name: &str) -> Result<PathBuf> {
    Ok(workspace()?.join("infra/demo").join(name))
}

impl Demo {
    /// Adds what the demo needs to the options of the stack.
    pub(crate) fn configure(self, options: &mut StackOptions) -> Result<()> {
        if self == Self::Sources {
            options.datasets.insert(0, directory("datasets")?);
        }
        options.pull_every = Some(EVERY);
        Ok(())
    }

    /// Starts the services.
    pub(crate) async fn serve(self) -> Result<Services> {
        Ok(match self {
            Self::Sources => {
                sources::serve_both().await?;
                Services::Sources
            }
            Self::Orders => Services::Orders(Erp::serve().await?),
        })
    }
}

impl Services {
    /// Starts what has to do with the services.
    pub(crate) async fn start(
        self,
        stack: &Stack,
        arguments: &Arguments,
        progress: &Lines,
    ) -> Result<Running> {
        let variables = Variables::write(stack).await?;
        match &self {
            Self::Sources => {
                sources::start(stack, progress).await?;
                report::sources_demo(variables.path());
            }
            Self::Orders(erp) => {
                let number = arguments.rows.unwrap_or(ORDERS);
                let is_kept = arguments.keep.is_some();
                orders::start(stack, erp, number, is_kept, progress).await?;
                report::orders_demo(&Erp::url(), variables.path());
            }
        }
        Ok(Running {
            services: self,
            _variables: variables,
        })
    }
}

impl Running {
    /// Shows what happens until it is dropped.
    pub(crate) async fn watch(&self, stack: &Stack, progress: &Lines) -> Result<()> {
        match &self.services {
            Services::Sources => std::future::pending().await,
            Services::Orders(erp) => orders::watch(stack, erp, progress).await,
        }
    }
}
