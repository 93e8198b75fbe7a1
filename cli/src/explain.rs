//! Where a row is from, by the HTTP API.

use std::fmt::{self, Write as _};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use landfall_domain::{KeyState, MAX_ORIGINS, Origin, OriginKind, Outcome, RowOrigin, Source};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::{Client, StatusCode};

/// Longer than the API takes for any request.
const TIMEOUT: Duration = Duration::from_mins(1);

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
        let url = self.url.trim_end_matches('/');
        let url = format!("{url}/datasets/{dataset}/rows/{key}/origin{store}");
        let client = Client::builder().timeout(TIMEOUT).build()?;
        let answer = client.get(url).bearer_auth(&self.token).send().await;
        let answer = answer.context("the API does not respond")?;
        let status = answer.status();
        let text = answer.text().await.context("the API does not respond")?;
        if status != StatusCode::OK {
            // An RFC 9457 problem, unless something else answers at this address.
            let problem: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
            let detail = problem["detail"].as_str();
            bail!(
                "{status}: {}",
                detail.unwrap_or("this is not Landfall's API")
            );
        }
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

/// An answer as text for people.
pub(crate) struct Explained<'a>(pub(crate) &'a RowOrigin);

impl fmt::Display for Explained<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let answer = self.0;
        let store = answer.store;
        match answer.state {
            KeyState::Present => writeln!(f, "{store} has a row of this key")?,
            KeyState::Deleted => {
                let at = answer.deleted_at.as_deref().unwrap_or("an unknown time");
                writeln!(
                    f,
                    "{store} has no row of this key: a record deleted it (applied {at})"
                )?;
            }
            KeyState::Absent => {
                writeln!(
                    f,
                    "{store} has no row of this key, and no record of a delete"
                )?;
            }
        }
        for origin in &answer.origins {
            write_origin(f, origin)?;
        }
        if answer.more > 0 {
            let more = answer.more;
            writeln!(
                f,
                "\nand from {more} older records: only {MAX_ORIGINS} are looked up"
            )?;
        }
        if answer.state != KeyState::Absent {
            return Ok(());
        }
        match &answer.pruned_by {
            None => writeln!(
                f,
                "No snapshot has deleted rows of the dataset. There never was such a row, or it was deleted more than \
                 30 days ago."
            ),
            Some(snapshot) => {
                writeln!(
                    f,
                    "If there ever was one, this snapshot or an earlier one has deleted it, or it was deleted more \
                     than 30 days ago. Which rows a snapshot has deleted is not kept."
                )?;
                write_origin(f, snapshot)
            }
        }
    }
}

fn write_origin(f: &mut fmt::Formatter<'_>, origin: &Origin) -> fmt::Result {
    writeln!(f)?;
    if !origin.columns.is_empty() {
        writeln!(f, "columns     {}", origin.columns.join(", "))?;
    }
    if let Some(source) = &origin.source {
        write_source(f, source, origin.offset)?;
    } else {
        let (time, offset) = (&origin.event_time, origin.offset);
        writeln!(f, "object      of {time}, the record at byte {offset}")?;
        writeln!(
            f,
            "job         not in the ledger, which keeps jobs for 90 days"
        )?;
    }
    if let Some(original) = &origin.original {
        writeln!(f, "the version is that of the first record:")?;
        write_source(f, original, origin.offset)?;
    }
    if origin.is_cut_short {
        writeln!(
            f,
            "note        too many jobs followed the object to look at all of them: another one may have fixed the \
             record"
        )?;
    }
    writeln!(f, "version     {}", origin.version)
}

fn write_source(f: &mut fmt::Formatter<'_>, source: &Source, offset: u64) -> fmt::Result {
    let object = &source.object;
    let version = object.version.as_deref();
    let version = version.map(|version| format!(" (version {version})"));
    let key = &object.key;
    writeln!(f, "object      {key}{}", version.unwrap_or_default())?;
    let mut place = match (source.line, source.kind) {
        (Some(line), OriginKind::FixedRejects) => format!("line {line}"),
        (Some(line), _) => format!("line {line}, byte {offset}"),
        (None, _) => format!("byte {offset}"),
    };
    if let Some(chunk) = source.chunk {
        let _ = write!(place, ", chunk {chunk}");
    }
    if source.record.is_some() || source.missing.is_some() {
        writeln!(f, "place       {place}")?;
    }
    if let Some(record) = &source.record {
        let (text, bytes) = (&record.text, record.bytes);
        let cut = if text.len() as u64 == bytes || text.contains('\u{fffd}') {
            String::new()
        } else {
            format!(" (the beginning of {bytes} bytes)")
        };
        // A record may have several lines.
        writeln!(
            f,
            "record      {}{cut}",
            text.replace('\n', "\n            ")
        )?;
        match (record.outcome, &record.reason) {
            (Outcome::Row, _) => {}
            (Outcome::Delete, _) => writeln!(f, "            which deletes its key")?,
            (Outcome::Reject, reason) => {
                let reason = reason.as_deref().unwrap_or_default();
                writeln!(f, "            which is rejected: {reason}")?;
            }
        }
    }
    if let Some(missing) = source.missing {
        writeln!(f, "record      {}", missing.as_text())?;
    }
    let kind = match source.kind {
        OriginKind::File => "",
        OriginKind::DeadChunks => ", dead chunks with a newer definition",
        OriginKind::FixedRejects => ", fixed rejects",
    };
    let (job, state, at) = (source.job, source.state.as_str(), &source.created_at);
    writeln!(f, "job         {job}, {state}, of {at}{kind}")?;
    let definition = source.definition.as_deref();
    writeln!(
        f,
        "definition  version {}",
        definition.unwrap_or("unknown: the configuration bucket had none")
    )?;
    match &source.release {
        Some(release) => writeln!(f, "release     {release}"),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use landfall_domain::{JobId, JobState, MissingRecord, OriginObject, OriginRecord, StoreKind};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    fn source() -> Source {
        Source {
            job: JobId::for_object("inbox", "products/1.csv", "v1"),
            kind: OriginKind::File,
            state: JobState::Succeeded,
            created_at: "2026-11-20T08:30:01Z".to_owned(),
            object: OriginObject {
                key: "products/1.csv".to_owned(),
                version: Some("v1".to_owned()),
                size: 99,
            },
            definition: Some("d7".to_owned()),
            release: Some("0.1.0".to_owned()),
            chunk: Some(0),
            line: Some(3),
            record: Some(OriginRecord {
                text: "A-1,Lamp".to_owned(),
                bytes: 8,
                outcome: Outcome::Row,
                reason: None,
            }),
            missing: None,
        }
    }

    fn origin(source: Option<Source>) -> Origin {
        Origin {
            version: "0199".to_owned(),
            columns: Vec::new(),
            event_time: "2026-11-20T08:30:00Z".to_owned(),
            offset: 21,
            source,
            original: None,
            is_cut_short: false,
        }
    }

    fn answer(state: KeyState, origins: Vec<Origin>) -> RowOrigin {
        RowOrigin {
            dataset: "products".to_owned(),
            store: StoreKind::Sqlite,
            state,
            origins,
            more: 0,
            deleted_at: None,
            pruned_by: None,
        }
    }

    fn text(answer: &RowOrigin) -> String {
        Explained(answer).to_string()
    }

    #[test]
    fn the_text_says_object_place_record_job_definition_and_release() {
        let found = text(&answer(KeyState::Present, vec![origin(Some(source()))]));
        let job = source().job;
        let expected = format!(
            "sqlite has a row of this key\n\n\
             object      products/1.csv (version v1)\n\
             place       line 3, byte 21, chunk 0\n\
             record      A-1,Lamp\n\
             job         {job}, succeeded, of 2026-11-20T08:30:01Z\n\
             definition  version d7\n\
             release     0.1.0\n\
             version     0199\n"
        );
        assert_eq!(found, expected);
    }

    #[test]
    fn the_text_says_what_is_not_kept() {
        let none = text(&answer(KeyState::Present, vec![origin(None)]));
        assert!(
            none.contains("of 2026-11-20T08:30:00Z, the record at byte 21"),
            "{none}"
        );
        assert!(none.contains("keeps jobs for 90 days"), "{none}");
        let gone = Source {
            record: None,
            missing: Some(MissingRecord::ObjectGone),
            ..source()
        };
        let gone = text(&answer(KeyState::Present, vec![origin(Some(gone))]));
        assert!(
            gone.contains("no longer exists, or the object has changed"),
            "{gone}"
        );
        let absent = answer(KeyState::Absent, Vec::new());
        assert!(text(&absent).contains("No snapshot has deleted rows"));
        let pruned = RowOrigin {
            pruned_by: Some(origin(Some(source()))),
            ..absent
        };
        let pruned = text(&pruned);
        assert!(
            pruned.contains("this snapshot or an earlier one"),
            "{pruned}"
        );
        assert!(pruned.contains("object      products/1.csv"), "{pruned}");
    }

    #[test]
    fn a_fixed_reject_is_shown_with_the_record_that_it_replaces() {
        let fixed = Source {
            kind: OriginKind::FixedRejects,
            ..source()
        };
        let mut original = source();
        if let Some(record) = &mut original.record {
            record.outcome = Outcome::Reject;
            record.reason = Some("not a decimal".to_owned());
        }
        let origin = Origin {
            original: Some(original),
            ..origin(Some(fixed))
        };
        let found = text(&answer(KeyState::Present, vec![origin]));
        assert!(found.contains(", fixed rejects\n"), "{found}");
        assert!(
            found.contains("which is rejected: not a decimal"),
            "{found}"
        );
    }

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
        let expected = answer(KeyState::Present, vec![origin(Some(source()))]);
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
