//! The relay as a Lambda function.

use landfall_runtime::{Error, init_tracing, serve};
use relay::{Context, handle};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    init_tracing();
    let context = Context::from_environment().await?;
    serve(context, handle).await
}
