use std::future::ready;
use std::net::Ipv4Addr;
use std::sync::Arc;

use anyhow::{Context, Result};
use axum::Router;
use axum::body::Bytes;
use axum::extract::Query;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde::Deserialize;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// An HTTP API with pages of JSON, to measure how fast and with how much memory they are fetched. Dropping it stops it.
#[derive(Debug)]
pub struct PageServer {
    url: String,
    server: JoinHandle<()>,
}

#[derive(Deserialize)]
struct Requested {
    #[serde(default)]
    page: u64,
}

impl PageServer {
    /// Starts a server that answers `?page=N` with `page(N)`, from 0, which is also the default. A page that does not
    /// exist is 404.
    pub async fn start(
        page: impl Fn(u64) -> Option<Bytes> + Send + Sync + 'static,
    ) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
        let listener = listener.context("cannot start the server of pages")?;
        let url = format!("http://{}/records", listener.local_addr()?);
        let page = Arc::new(page);
        let answer =
            move |Query(Requested { page: number }): Query<Requested>| ready(answer(page(number)));
        let routes = Router::new().route("/records", get(answer));
        let server = tokio::spawn(async move {
            // It ends when it is aborted.
            let _ = axum::serve(listener, routes).await;
        });
        Ok(Self { url, server })
    }

    /// Returns the URL of the first page.
    pub fn url(&self) -> &str {
        &self.url
    }
}

impl Drop for PageServer {
    fn drop(&mut self) {
        self.server.abort();
    }
}

fn answer(page: Option<Bytes>) -> Response {
    let Some(page) = page else {
        return StatusCode::NOT_FOUND.into_response();
    };
    ([(header::CONTENT_TYPE, "application/json")], page).into_response()
}
