//! The splitter as a Lambda function.

use landfall_runtime::{Deadline, Error, init_tracing, serve};
use splitter::{Context, handle};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    init_tracing();
    let context = Context::from_environment().await?;
    serve(
        context,
        async |context: &Context, event, deadline: Deadline| handle(context, event, deadline).await,
    )
    .await
}
