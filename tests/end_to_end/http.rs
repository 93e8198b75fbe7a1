//! A client of the deployed HTTP API.

use landfall_local::Stack;
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, LINK};
use reqwest::multipart::{Form, Part};
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode, Url};
use serde_json::Value;

/// The maximum number of rows in a page.
pub const MAX_PAGE_ROWS: usize = 1000;

pub struct Api {
    client: Client,
    url: String,
    bearer: String,
}

impl Api {
    /// Creates a client that uses the token with all permissions.
    pub fn new(stack: &Stack) -> Self {
        Self::with_token(stack, stack.token())
    }

    pub fn with_token(stack: &Stack, token: &str) -> Self {
        Self {
            client: Client::new(),
            url: stack.outputs().api_url.clone(),
            bearer: format!("Bearer {token}"),
        }
    }

    /// Returns a request for a path below the address of the API.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let url = format!("{}{}", self.url, path.trim_start_matches('/'));
        let request = self.client.request(method, url);
        request.header(AUTHORIZATION, &self.bearer)
    }

    pub fn get(&self, path: &str) -> RequestBuilder {
        self.request(Method::GET, path)
    }

    /// Returns the JSON response of a path.
    pub async fn json(&self, path: &str) -> Value {
        let answer = self.get(path).send().await.unwrap();
        json_of(answer, StatusCode::OK).await
    }

    /// Posts a body, and returns the JSON response, which must have this status.
    pub async fn post(&self, path: &str, body: &Value, status: StatusCode) -> Value {
        let request = self.request(Method::POST, path).json(body);
        json_of(request.send().await.unwrap(), status).await
    }

    /// Returns a page of a query, and the cursor of the next one.
    pub async fn page(&self, query: &str, cursor: Option<&str>) -> (Vec<Value>, Option<String>) {
        let cursor = cursor.map_or_else(String::new, |cursor| format!("&cursor={cursor}"));
        let mut page = self.json(&format!("{query}{cursor}")).await;
        let next = page["next"].as_str().map(str::to_owned);
        let Value::Array(rows) = page["rows"].take() else {
            panic!("{page} has no rows");
        };
        (rows, next)
    }

    /// Returns all rows of a query, page by page.
    pub async fn rows(&self, query: &str) -> Vec<Value> {
        let (mut all, mut next) = self.page(query, None).await;
        while let Some(cursor) = next {
            let (rows, after) = self.page(query, Some(&cursor)).await;
            all.extend(rows);
            next = after;
        }
        all
    }

    /// Returns all rows of a query as NDJSON, following the links from page to page.
    pub async fn lines(&self, query: &str) -> Vec<Value> {
        let mut all = Vec::new();
        let mut url = Url::parse(&format!("{}{query}", self.url)).unwrap();
        loop {
            let request = self.client.get(url.clone());
            let request = request
                .header(AUTHORIZATION, &self.bearer)
                .header(ACCEPT, "application/x-ndjson");
            let answer = request.send().await.unwrap();
            assert_eq!(answer.status(), StatusCode::OK);
            assert_eq!(answer.headers()[CONTENT_TYPE], "application/x-ndjson");
            let link = answer.headers().get(LINK).cloned();
            let text = answer.text().await.unwrap();
            all.extend(
                text.lines()
                    .map(|line| serde_json::from_str::<Value>(line).unwrap()),
            );
            let Some(link) = link else {
                return all;
            };
            let link = link.to_str().unwrap();
            let next = link.strip_prefix('<').unwrap().split_once('>').unwrap().0;
            url = url.join(next).unwrap();
        }
    }
}

/// Returns the JSON of a response, which must have this status.
pub async fn json_of(answer: Response, status: StatusCode) -> Value {
    let (found, url) = (answer.status(), answer.url().clone());
    let text = answer.text().await.unwrap();
    assert_eq!(found, status, "{url}: {text}");
    serde_json::from_str(&text).unwrap()
}

/// Posts a file with the form of an upload.
pub async fn post_form(upload: &Value, file: Vec<u8>) -> StatusCode {
    assert_eq!(upload["kind"], "post", "{upload}");
    let mut form = Form::new();
    for (name, value) in upload["fields"].as_object().unwrap() {
        form = form.text(name.clone(), value.as_str().unwrap().to_owned());
    }
    let form = form.part("file", Part::bytes(file).file_name("products.csv"));
    let request = Client::new().post(upload["url"].as_str().unwrap());
    request.multipart(form).send().await.unwrap().status()
}
