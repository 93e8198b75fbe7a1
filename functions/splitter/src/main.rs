//! The splitter as a Lambda function.

use std::sync::Arc;

use lambda_runtime::{Error, LambdaEvent, run, service_fn, tracing};
use splitter::{Context, handle};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    tracing::init_default_subscriber();
    let context = Arc::new(Context::from_environment().await?);
    run(service_fn(move |event: LambdaEvent<serde_json::Value>| {
        let context = Arc::clone(&context);
        async move { handle(&context, event.payload).await.map_err(Error::from) }
    }))
    .await
}
