//! doc
fn main() {
    println!(
        "{}",
        serde_json::to_string_pretty(&api::document()).unwrap_or_default()
    );
}
