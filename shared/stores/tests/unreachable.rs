//! Databases that cannot be reached, and invalid URLs: the errors contain no secrets.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::time::Duration;

use landfall_domain::{Dataset, RowQuery, Start};
use landfall_stores::{
    ReadOptions, StoreError, StoreOptions, connect_changes, connect_mongodb, connect_sql,
    read_mongodb, read_sql,
};

const PASSWORD: &str = "hunter2";
const DATASET: &str = r#"
name = "absent"
key = ["id"]
fields = [{ name = "id", type = "text" }]
"#;
const OPTIONS: StoreOptions = StoreOptions {
    connections: 1,
    timeout: Duration::from_secs(1),
    step_rows: 1,
    small_table_rows: 1,
};

fn assert_no_secret(error: &StoreError) {
    let message = format!("{error} {error:?}");
    assert!(!message.contains(PASSWORD), "{message}");
}

#[tokio::test]
async fn an_absent_database_is_down() {
    let dataset = Dataset::from_toml("absent.toml", DATASET).unwrap();
    let directory = tempfile::TempDir::new().unwrap();
    // Nothing listens on port 1.
    for url in [
        format!("postgres://user:{PASSWORD}@127.0.0.1:1/landfall"),
        format!("mysql://user:{PASSWORD}@127.0.0.1:1/landfall"),
        format!("mongodb://user:{PASSWORD}@127.0.0.1:1/landfall"),
        format!("sqlite://{}/absent/landfall.db", directory.path().display()),
    ] {
        let store = if url.starts_with("mongodb") {
            connect_mongodb(&url, OPTIONS, None).await.unwrap()
        } else {
            connect_sql(&url, OPTIONS, None).await.unwrap()
        };
        let error = store.prepare(&dataset).await.unwrap_err();
        assert!(matches!(error, StoreError::Down { .. }), "{url}: {error}");
        assert!(error.is_retryable());
        assert_no_secret(&error);
        let is_mongodb = url.starts_with("mongodb");
        let (uri, sql) = (is_mongodb.then_some(&*url), (!is_mongodb).then_some(&*url));
        let changes = connect_changes(uri, sql, OPTIONS, None).await.unwrap();
        let error = changes.track(&dataset, &["shop".to_owned()]).await;
        let error = error.unwrap_err();
        assert!(matches!(error, StoreError::Down { .. }), "{url}: {error}");
        assert_no_secret(&error);
    }
}

#[tokio::test]
async fn nothing_is_sent_to_another_machine_without_tls() {
    let dataset = Dataset::from_toml("absent.toml", DATASET).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = std::thread::spawn(move || {
        let (mut client, _) = listener.accept().unwrap();
        client.read_exact(&mut [0; 8]).unwrap();
        // PostgreSQL's answer if it has no TLS.
        client.write_all(b"N").unwrap();
        let mut sent = Vec::new();
        client.read_to_end(&mut sent).unwrap();
        sent
    });
    // Leads to this machine, but is no loopback address.
    let url = format!("postgres://user:{PASSWORD}@0.0.0.0:{port}/landfall");
    let store = connect_sql(&url, OPTIONS, None).await.unwrap();
    let error = store.prepare(&dataset).await.unwrap_err();
    assert_no_secret(&error);
    assert!(server.join().unwrap().is_empty());
}

#[tokio::test]
async fn a_read_of_an_absent_database_is_worth_a_retry_and_no_narrower_query() {
    let dataset = Dataset::from_toml("absent.toml", DATASET).unwrap();
    let query = RowQuery {
        filters: Vec::new(),
        search: None,
        sort: None,
        by_relevance: false,
        start: Start::First,
        limit: 1,
    };
    let options = ReadOptions {
        timeout: Duration::from_secs(1),
        ..ReadOptions::default()
    };
    // Accepts connections and never responds.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let silent_address = silent.local_addr().unwrap().to_string();
    for server in ["127.0.0.1:1", &silent_address] {
        for scheme in ["postgres", "mysql", "mongodb"] {
            let url = format!("{scheme}://user:{PASSWORD}@{server}/landfall");
            let reader = if scheme == "mongodb" {
                read_mongodb(&url, options).await.unwrap()
            } else {
                read_sql(&url, options).await.unwrap()
            };
            let error = reader.rows(&dataset, &query).await.unwrap_err();
            assert!(
                matches!(error, StoreError::Down { .. }),
                "{scheme} at {server}: {error}"
            );
            assert_no_secret(&error);
        }
    }
}

#[tokio::test]
async fn an_invalid_url_is_refused_at_once() {
    for url in [
        format!("redis://user:{PASSWORD}@localhost/landfall"),
        format!("user:{PASSWORD}@localhost"),
        format!("postgres://user:{PASSWORD}@local host:port/landfall"),
        format!("mysql://user:{PASSWORD}@localhost"),
        "sqlite://relative/landfall.db".to_owned(),
    ] {
        let Err(error) = connect_sql(&url, OPTIONS, None).await else {
            panic!("{url} can't be used");
        };
        assert!(matches!(error, StoreError::Config(_)), "{error}");
        assert_no_secret(&error);
        let Err(error) = connect_changes(None, Some(&url), OPTIONS, None).await else {
            panic!("{url} can't be used");
        };
        assert_no_secret(&error);
    }
    let uri = format!("mongodb://user:{PASSWORD}@/landfall");
    let Err(error) = connect_mongodb(&uri, OPTIONS, None).await else {
        panic!("{uri} can't be used");
    };
    assert!(matches!(error, StoreError::Config(_)), "{error}");
    assert_no_secret(&error);
    let Err(error) = connect_changes(Some(&uri), None, OPTIONS, None).await else {
        panic!("{uri} can't be used");
    };
    assert_no_secret(&error);
}
