//! Databases that are not there, and URLs that can't be used: told without what is secret.

use std::time::Duration;

use landfall_domain::Dataset;
use landfall_stores::{StoreError, StoreOptions, connect_mongodb, connect_sql};

const PASSWORD: &str = "hunter2";
const OPTIONS: StoreOptions = StoreOptions {
    connections: 1,
    timeout: Duration::from_secs(1),
};

fn assert_no_secret(error: &StoreError) {
    let told = format!("{error} {error:?}");
    assert!(!told.contains(PASSWORD), "{told}");
}

#[tokio::test]
async fn an_absent_database_is_worth_a_retry() {
    let dataset = r#"
name = "absent"
key = ["id"]
fields = [{ name = "id", type = "text" }]
"#;
    let dataset = Dataset::from_toml("absent.toml", dataset).unwrap();
    let directory = tempfile::TempDir::new().unwrap();
    // Nothing listens on port 1.
    for url in [
        format!("postgres://user:{PASSWORD}@127.0.0.1:1/landfall"),
        format!("mysql://user:{PASSWORD}@127.0.0.1:1/landfall"),
        format!("mongodb://user:{PASSWORD}@127.0.0.1:1/landfall"),
        format!("sqlite://{}/absent/landfall.db", directory.path().display()),
    ] {
        let store = if url.starts_with("mongodb") {
            connect_mongodb(&url, OPTIONS).await.unwrap()
        } else {
            connect_sql(&url, OPTIONS).await.unwrap()
        };
        let error = store.prepare(&dataset).await.unwrap_err();
        assert!(error.is_retryable(), "{url}: {error}");
        assert_no_secret(&error);
    }
}

#[tokio::test]
async fn a_url_that_cannot_be_used_is_told_at_once() {
    for url in [
        format!("redis://user:{PASSWORD}@localhost/landfall"),
        format!("user:{PASSWORD}@localhost"),
        format!("postgres://user:{PASSWORD}@local host:port/landfall"),
        format!("mysql://user:{PASSWORD}@localhost"),
        "sqlite://relative/landfall.db".to_owned(),
    ] {
        let Err(error) = connect_sql(&url, OPTIONS).await else {
            panic!("{url} can't be used");
        };
        assert!(matches!(error, StoreError::Config(_)), "{error}");
        assert_no_secret(&error);
    }
    let uri = format!("mongodb://user:{PASSWORD}@/landfall");
    let Err(error) = connect_mongodb(&uri, OPTIONS).await else {
        panic!("{uri} can't be used");
    };
    assert!(matches!(error, StoreError::Config(_)), "{error}");
    assert_no_secret(&error);
}
