//! The socket as a Lambda function.

use std::sync::Arc;

use lambda_runtime::{Error, LambdaEvent, run, service_fn, tracing};
use socket::{Context, handle};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    tracing::init_default_subscriber();
    let context = Arc::new(Context::from_environment().await?);
    run(service_fn(move |event: LambdaEvent<_>| {
        let context = Arc::clone(&context);
        async move {
            let deadline = event.context.deadline();
            handle(&context, event.payload, deadline)
                .await
                .map_err(Error::from)
        }
    }))
    .await
}
