//! The maintenance of tables as a Lambda function.

use landfall_runtime::{Deadline, Error, init_tracing, serve};
use maintenance::{Context, handle};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    init_tracing();
    let context = Context::from_environment().await?;
    serve(
        context,
        async |context: &Context, event, deadline: Deadline| {
            Ok::<_, Error>(handle(context, event, deadline).await)
        },
    )
    .await
}
