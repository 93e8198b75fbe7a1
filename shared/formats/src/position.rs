//! Names of columns that a file identifies by position only.

use landfall_domain::Dataset;

/// Returns the name of the column with this index: that of its field or of the operation, or a generated one.
pub(crate) fn name_at(dataset: &Dataset, index: usize) -> String {
    let fields = dataset.fields.iter();
    let fields = fields.map(|field| (&field.column, field.position));
    let operation = dataset.operation.iter();
    let operation = operation.map(|operation| (&operation.column, operation.position));
    let mut named = fields.chain(operation).filter_map(|(column, position)| {
        let position = index_of(position?);
        (position == index).then_some(column)
    });
    let name = named.next().cloned();
    name.unwrap_or_else(|| nameless(dataset, index))
}

/// Returns a name for the column with this index, which no field has: `column_1` for the first one.
pub(crate) fn nameless(dataset: &Dataset, index: usize) -> String {
    let mut name = format!("column_{}", index + 1);
    while dataset.fields.iter().any(|field| field.column == name) {
        name.push('_');
    }
    name
}

/// Returns the index of a position, which is counted from 1.
pub(crate) fn index_of(position: u32) -> usize {
    position as usize - 1
}
