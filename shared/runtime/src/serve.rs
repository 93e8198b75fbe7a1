use std::sync::Arc;

use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::Deadline;

/// Sets up logging as Lambda's advanced logging controls configure it. Call it first.
pub fn init_tracing() {
    lambda_runtime::tracing::init_default_subscriber();
}

/// Runs a handler for each event until the Lambda environment shuts down.
pub async fn serve<C, P, R, E>(
    context: C,
    handle: impl AsyncFn(&C, P, Deadline) -> Result<R, E>,
) -> Result<(), Error>
where
    P: DeserializeOwned,
    R: Serialize,
    E: Into<Error>,
{
    let shared = Arc::new((context, handle));
    run(service_fn(move |event: LambdaEvent<P>| {
        let shared = Arc::clone(&shared);
        async move {
            let (context, handle) = &*shared;
            let deadline = Deadline::new(event.context.deadline());
            let result = handle(context, event.payload, deadline).await;
            result.map_err(Into::into)
        }
    }))
    .await
}
