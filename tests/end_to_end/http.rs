//! A client of the deployed HTTP API.

use landfall_local::Stack;
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, LINK};
use reqwest::multipart::{Form, Part};
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode, Url};
use serde_json::Value;

/// The most rows of a page.
pub const MOST_ROWS: usize = 1000;

pub struct Api {
    client: Client,
    url: String,
    bearer: String,
}

impl Api {
    /// With the token for everything.
    pub fn of(stack: &Stack) -> Self {
        Self::with_token(stack, stack.token())
    }

    pub fn with_token(stack: &Stack, token: &str) -> Self {
        Self {
            client: Client::new(),
            url: stack.outputs().api_url.clone(),
            bearer: format!("Bearer {token}"),
        }
    }

    /// A request to a path under the address of the API.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let url = format!("{}{}", self.url, path.trim_start_matches('/'));
        let request = self.client.request(method, url);
        request.header(AUTHORIZATION, &self.bearer)
    }

    pub fn get(&self, path: &str) -> RequestBuilder {
        self.request(Method::GET, path)
    }

    /// What a path answers with.
    pub async fn json(&self, path: &str) -> Value {
        let answer = self.get(path).send().await.unwrap();
        json_of(answer, StatusCode::OK).await
    }

    /// What a body is answered with.
    pub async fn post(&self, path: &str, body: &Value, status: StatusCode) -> Value {
        let request = self.request(Method::POST, path).json(body);
        json_of(request.send().await.unwrap(), status).await
    }

    /// A page of a question, and the cursor of the next one.
    pub async fn page(&self, question: &str, cursor: Option<&str>) -> (Vec<Value>, Option<String>) {
        let cursor = cursor.map_or_else(String::new, |cursor| format!("&cursor={cursor}"));
        let mut page = self.json(&format!("{question}{cursor}")).await;
        let next = page["next"].as_str().map(str::to_owned);
        let Value::Array(rows) = page["rows"].take() else {
            panic!("{page} has no rows");
        };
        (rows, next)
    }

    /// All rows that a question has, page by page.
    pub async fn rows(&self, question: &str) -> Vec<Value> {
        let (mut all, mut next) = self.page(question, None).await;
        while let Some(cursor) = next {
            let (rows, after) = self.page(question, Some(&cursor)).await;
            all.extend(rows);
            next = after;
        }
        all
    }

    /// The same as NDJSON, by the links from page to page.
    pub async fn lines(&self, question: &str) -> Vec<Value> {
        let mut all = Vec::new();
        let mut url = Url::parse(&format!("{}{question}", self.url)).unwrap();
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

/// The JSON of an answer that must have this status.
pub async fn json_of(answer: Response, status: StatusCode) -> Value {
    let (found, url) = (answer.status(), answer.url().clone());
    let text = answer.text().await.unwrap();
    assert_eq!(found, status, "{url}: {text}");
    serde_json::from_str(&text).unwrap()
}

/// Posts a file as the form that was answered.
pub async fn post_form(place: &Value, file: Vec<u8>) -> StatusCode {
    assert_eq!(place["kind"], "post", "{place}");
    let mut form = Form::new();
    for (name, value) in place["fields"].as_object().unwrap() {
        form = form.text(name.clone(), value.as_str().unwrap().to_owned());
    }
    let form = form.part("file", Part::bytes(file).file_name("products.csv"));
    let request = Client::new().post(place["url"].as_str().unwrap());
    request.multipart(form).send().await.unwrap().status()
}
