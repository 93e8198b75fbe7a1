//! Values in files that the API has written.

use landfall_domain::{Dataset, EXTRA_COLUMN, Field, FieldType, RejectCode, Row, Value};

use super::sink::Fault;

/// Returns the text of a cell of a text or JSON field, or `None` if it means null.
pub(super) fn text_of(cell: &str) -> Option<&str> {
    (!cell.is_empty()).then(|| cell.strip_prefix('\'').unwrap_or(cell))
}

/// Returns whether cells of the field are escaped texts.
pub(super) fn is_text(field: &Field) -> bool {
    matches!(field.kind, FieldType::Text | FieldType::Json)
}

/// Moves the unknown columns from the last values of a row to where they belong, and removes the marker.
pub(super) fn finish(dataset: &Dataset, row: &mut Row) -> Result<(), Fault> {
    row.values.pop();
    let mut fields = dataset.fields.iter().rev();
    if fields.nth(1).is_none_or(|field| field.name != EXTRA_COLUMN) {
        return Ok(());
    }
    match row.values.pop() {
        Some(Value::Json(text)) if text == "{}" => {}
        Some(Value::Json(text)) if text.starts_with('{') => row.extra = Some(text),
        None | Some(Value::Null) => {}
        Some(_) => {
            let message = "it is not a JSON object";
            return Err(Fault::in_column(EXTRA_COLUMN, RejectCode::Type, message));
        }
    }
    Ok(())
}
