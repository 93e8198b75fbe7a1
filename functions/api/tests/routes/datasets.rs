//! Datasets that are created, and previews of files.

use axum::body::Body;
use axum::http::{Method, StatusCode};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use landfall_domain::Codec;
use landfall_packed::pack;
use serde_json::{Value as Json, json};

use crate::fakes::{Api, ApiResponse};

async fn send(api: &Api, token: &str, path: &str, body: Json) -> ApiResponse {
    let bearer = format!("Bearer {}", api.others[token].reveal());
    let request = axum::http::Request::builder()
        .method(Method::POST)
        .uri(path)
        .header("authorization", bearer)
        .header("content-type", "application/json");
    api.send(request.body(Body::from(body.to_string())).unwrap())
        .await
}

async fn preview(api: &Api, token: &str, file: Json) -> ApiResponse {
    send(api, token, "/previews", file).await
}

async fn create(api: &Api, token: &str, definition: &str) -> ApiResponse {
    send(api, token, "/datasets", json!({ "definition": definition })).await
}

fn file(content: &str) -> Json {
    json!({
        "dataset": "flights", "name": "flights.csv", "size": content.len(), "start": STANDARD.encode(content),
    })
}

#[tokio::test]
async fn an_inferred_definition_can_be_changed_checked_and_stored() {
    let api = Api::new();
    let file = file("flight_no,delay\n7,3\n8,x\n");
    let first = preview(&api, "operator", file.clone()).await;
    assert_eq!(first.status, StatusCode::OK, "{}", first.text());
    let first = first.json();
    let definition = first["definition"].as_str().unwrap();
    assert!(definition.contains("key = [\"flight_no\"]"), "{definition}");
    assert_eq!(
        (&first["report"]["rows"], &first["report"]["rejected"]),
        (&json!(2), &json!(0))
    );

    let (before, delay) = definition.rsplit_once("text").unwrap();
    let changed = format!("{before}integer{delay}");
    let mut with_definition = file;
    with_definition["definition"] = changed.as_str().into();
    let second = preview(&api, "operator", with_definition).await.json();
    assert_eq!(second["definition"], changed);
    assert_eq!(second["report"]["rejects"][0]["first"][0]["line"], 3);
    assert_eq!(
        second["report"]["first_rows"][0]["row"],
        json!({"flight_no": 7, "delay": 3})
    );

    let created = create(&api, "operator", &changed).await;
    assert_eq!(created.status, StatusCode::CREATED, "{}", created.text());
    assert_eq!(created.json()["key"], json!(["flight_no"]));
    let found = api.get("/datasets/flights").await.json();
    assert_eq!(found, created.json());
    let again = create(&api, "operator", &changed).await;
    assert_eq!(again.status, StatusCode::CONFLICT);
}

#[tokio::test]
async fn the_preview_of_a_compressed_file_is_that_of_its_text() {
    let api = Api::new();
    let rows = (0..10_000).map(|row| format!("{row},{}\n", row % 7));
    let text = format!("flight_no,delay\n{}", rows.collect::<String>());
    for codec in [Codec::Gzip, Codec::Zstd, Codec::Bzip2, Codec::Zip] {
        let packed = pack(codec, text.as_bytes());
        let file = json!({
            "dataset": "flights", "name": "flights.csv.gz", "size": packed.len(), "start": STANDARD.encode(&packed),
        });
        let preview = preview(&api, "operator", file).await;
        assert_eq!(preview.status, StatusCode::OK, "{}", preview.text());
        let preview = preview.json();
        let definition = preview["definition"].as_str().unwrap();
        assert!(definition.contains("key = [\"flight_no\"]"), "{definition}");
        let report = &preview["report"];
        assert_eq!(
            (&report["format"], &report["rows"]),
            (&json!("csv"), &json!(10_000))
        );
        assert_eq!(preview["report"]["problem"], Json::Null);
    }
}

#[tokio::test]
async fn a_definition_is_rewritten_for_the_choices_in_a_form() {
    let api = Api::new();
    let file = file("flight_no,day,delay\n7,05.01.2026,3\n8,06.01.2026,NA\n9,07.01.2026,x\n");
    let first = preview(&api, "operator", file.clone()).await.json();
    let form = &first["form"];
    let of_form = (&form["key"], &form["fields"][1]["type"]);
    assert_eq!(of_form, (&json!(["flight_no"]), &json!("date")));
    assert_eq!(
        form["fields"][2]["note"],
        "\"NA\" in 1 rows is text: name it in nulls if it stands for no value"
    );

    let field = |name: &str, kind: &str| json!({"name": name, "type": kind, "required": false});
    let choose = async |definition: &Json, key: Json, fields: Json| {
        let mut file = file.clone();
        file["definition"] = definition.clone();
        file["choices"] = json!({"name": "flights", "key": key, "fields": fields});
        preview(&api, "operator", file).await
    };
    let fields = json!([
        field("flight_no", "text"),
        field("day", "text"),
        field("late", "integer")
    ]);
    let second = choose(&first["definition"], json!([]), fields).await;
    assert_eq!(second.status, StatusCode::OK, "{}", second.text());
    let second = second.json();
    let rows = &second["report"]["first_rows"];
    let first_row = &rows[0]["row"];
    assert_eq!(first_row["flight_no"], "7");
    assert_eq!(first_row["day"], "05.01.2026");
    assert_eq!(first_row["late"], 3);
    assert_eq!(rows[1]["row"]["late"], Json::Null);
    assert_eq!(second["report"]["rejects"][0]["first"][0]["line"], 4);
    let definition = second["definition"].as_str().unwrap();
    assert!(
        definition.starts_with("# 1 of 3 rows of flights.csv do not fit"),
        "{definition}"
    );
    assert!(definition.contains("key = \"position\""), "{definition}");

    // The way in which days are written is found again.
    let fields = json!([
        field("flight_no", "text"),
        field("day", "date"),
        field("late", "text")
    ]);
    let third = choose(&second["definition"], json!(["day"]), fields)
        .await
        .json();
    assert_eq!(third["form"]["key"], json!(["day"]));
    assert_eq!(third["report"]["first_rows"][2]["row"]["day"], "2026-01-07");

    let one = json!([field("flight_no", "text")]);
    let refused = choose(&third["definition"], json!([]), one).await;
    assert_eq!(refused.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn only_operators_create_datasets() {
    let api = Api::new();
    let definition =
        "name = \"flights\"\nkey = \"position\"\nfields = [{ name = \"a\", type = \"text\" }]\n";
    for token in ["reader", "writer", "stranger"] {
        let refused = create(&api, token, definition).await;
        assert_eq!(refused.status, StatusCode::FORBIDDEN, "{token}");
    }
    let invalid = create(&api, "operator", &definition.replace("text", "money")).await;
    assert_eq!(invalid.status, StatusCode::BAD_REQUEST);
    assert!(
        invalid.detail().contains("definition:3"),
        "{}",
        invalid.detail()
    );
    assert_eq!(
        create(&api, "operator", definition).await.status,
        StatusCode::CREATED
    );
}

#[tokio::test]
async fn a_preview_that_is_not_possible_says_why() {
    let api = Api::new();
    let with = |name: &str, value: Json| {
        let mut file = file("a,b\n1,2\n");
        file[name] = value;
        file
    };
    for (file, detail) in [
        (with("dataset", "My flights".into()), "no name of a dataset"),
        (with("start", "?".into()), "start: "),
        (with("size", 1.into()), "no more than the file has"),
        (with("definition", "name = 1".into()), "definition:1"),
        (file(""), "the file is empty"),
    ] {
        let refused = preview(&api, "operator", file).await;
        assert_eq!(refused.status, StatusCode::BAD_REQUEST);
        assert!(refused.detail().contains(detail), "{}", refused.detail());
    }
    let reader = preview(&api, "reader", file("a\n1\n")).await;
    assert_eq!(reader.status, StatusCode::FORBIDDEN);
}
