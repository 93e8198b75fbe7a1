//! Where a row is from, by the HTTP API.

mod text;

use anyhow::{Context, Result};
use landfall_cli::api::{Api as Client, Request};
use landfall_domain::RowOrigin;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::Method;

pub(crate) use text::Explained;

/// The API of a stack.
#[derive(clap::Args)]
pub(crate) struct Api {
    /// Address of the HTTP API, the output `ApiUrl` of the stack
    #[arg(long = "api", env = "LANDFALL_API_URL")]
    url: String,
    /// Token with the scope read
    #[arg(long, env = "LANDFALL_TOKEN", hide_env_values = true)]
    token: String,
}

/// Which of the stores to read.
#[derive(Clone, Copy, clap::ValueEnum)]
pub(crate) enum StoreChoice {
    Sql,
    Mongodb,
}

impl Api {
    /// Returns where the row of a key is from: the API's answer, which is that JSON.
    pub(crate) async fn origin(
        &self,
        dataset: &str,
        key: &[String],
        store: Option<StoreChoice>,
    ) -> Result<(RowOrigin, String)> {
        let store = match store {
            None => "",
            Some(StoreChoice::Sql) => "?store=sql",
            Some(StoreChoice::Mongodb) => "?store=mongodb",
        };
        let (dataset, key) = (encoded(dataset), key_segment(key));
        let path = format!("datasets/{dataset}/rows/{key}/origin{store}");
        let api = Client::new(&self.url, &self.token)?;
        let text = api.send(&Method::GET, &path, Request::default()).await?;
        let origin = serde_json::from_str(&text);
        let origin = origin.context("the API is of another release, or this is not Landfall's")?;
        Ok((origin, text))
    }
}

fn encoded(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

/// Returns the segment of a path with the values of a key, which are encoded twice: an HTTP API decodes a path once.
fn key_segment(key: &[String]) -> String {
    let values: Vec<String> = key.iter().map(|value| encoded(value)).collect();
    encoded(&values.join(","))
}

#[cfg(test)]
mod tests {
    use landfall_domain::{KeyState, StoreKind};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    /// Answers one request with this status and body, and returns the request.
    async fn answer_once(listener: TcpListener, status: &str, body: String) -> String {
        let (mut connection, _) = listener.accept().await.unwrap();
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            request.push(connection.read_u8().await.unwrap());
        }
        let length = body.len();
        let head =
            format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n");
        connection
            .write_all((head + &body).as_bytes())
            .await
            .unwrap();
        String::from_utf8(request).unwrap()
    }

    async fn api() -> (Api, TcpListener) {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let api = Api {
            url: format!("http://{}/", listener.local_addr().unwrap()),
            token: "secret".to_owned(),
        };
        (api, listener)
    }

    #[tokio::test]
    async fn the_answer_of_the_api_is_returned_as_it_is() {
        let (api, listener) = api().await;
        let expected = RowOrigin {
            dataset: "products".to_owned(),
            store: StoreKind::Sqlite,
            state: KeyState::Absent,
            origins: Vec::new(),
            more: 0,
            deleted_at: None,
            pruned_by: None,
        };
        let body = serde_json::to_string(&expected).unwrap();
        let key = ["a,b".to_owned(), "c/d".to_owned()];
        let asked = api.origin("products", &key, Some(StoreChoice::Mongodb));
        let (answered, request) =
            tokio::join!(asked, answer_once(listener, "200 OK", body.clone()));
        assert_eq!(answered.unwrap(), (expected, body));
        let path =
            "GET /datasets/products/rows/a%252Cb%2Cc%252Fd/origin?store=mongodb HTTP/1.1\r\n";
        assert!(request.starts_with(path), "{request}");
        assert!(
            request.contains("authorization: Bearer secret\r\n"),
            "{request}"
        );
    }

    #[tokio::test]
    async fn a_refusal_says_what_to_do() {
        let (api, listener) = api().await;
        let body = r#"{"detail":"there is no dataset \"x\""}"#.to_owned();
        let key = ["a".to_owned()];
        let asked = api.origin("x", &key, None);
        let (answered, _) = tokio::join!(asked, answer_once(listener, "404 Not Found", body));
        let message = answered.unwrap_err().to_string();
        assert_eq!(message, "404 Not Found: there is no dataset \"x\"");
    }
}
