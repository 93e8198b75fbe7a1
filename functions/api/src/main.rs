//! The HTTP API, as a Lambda function behind API Gateway or as a standalone server.

use std::net::SocketAddr;
use std::sync::Arc;

use api::{Context, app};
use lambda_http::Error;
use landfall_runtime::{init_tracing, optional};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    init_tracing();
    let context = Arc::new(Context::from_environment().await?);
    let app = app(&context);
    if std::env::var_os("AWS_LAMBDA_RUNTIME_API").is_some() {
        return lambda_http::run(app).await;
    }
    let address: Option<SocketAddr> = optional("LANDFALL_API_ADDRESS")?;
    let address = address.unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 9000)));
    let listener = tokio::net::TcpListener::bind(address)
        .await
        .map_err(|error| format!("cannot listen at {address}: {error}"))?;
    tracing::info!(address = %listener.local_addr()?, "listening");
    let stop = async {
        // Without a signal handler there is nothing to wait for.
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    axum::serve(listener, app)
        .with_graceful_shutdown(stop)
        .await?;
    Ok(())
}
