//! Decodes fixed rejects: lines that hold a record, and its place in the object of the first job.

use landfall_domain::{Dataset, EXPORT_MARKER, FixedReject, RejectCode, RejectsOrigin};

use super::super::sink::{Fault, Sink};
use super::{Columns, Decoder, Members, each_record};

/// Decodes the lines of a chunk. Each row has the offset of its record in the object of the origin.
pub(in crate::decode) fn decode_fixed(
    dataset: &Dataset,
    origin: &RejectsOrigin,
    sink: &mut Sink<'_>,
) {
    let chunk = sink.chunk;
    let (exported, dataset) = (dataset.of_exports(), dataset.of_records());
    let (columns, cells) = (Columns::new(&dataset), Columns::of_cells(&dataset));
    let columns_of_exports = Columns::new(&exported);
    let decoder = |columns, has_cells, is_exported| Decoder {
        has_cells,
        is_exported,
        ..Decoder::new(columns, chunk)
    };
    let mut of_json = decoder(&columns, false, false);
    let mut of_cells = decoder(&cells, true, false);
    let mut of_exported_json = decoder(&columns_of_exports, false, true);
    let mut of_exported_cells = decoder(&columns_of_exports, true, true);
    each_record(chunk, |start, raw| {
        let parsed = match std::str::from_utf8(raw) {
            Err(_) => Err(Fault::not_utf8()),
            Ok(line) => FixedReject::parse(line, origin)
                .map_err(|error| Fault::in_record(RejectCode::Place, error.to_string())),
        };
        let fixed = match parsed {
            Ok(fixed) => fixed,
            Err(fault) => return sink.push(start, raw, |_, _| Err(fault), || None),
        };
        let decoder = match (fixed.has_cells(), is_exported(fixed.record())) {
            (false, false) => &mut of_json,
            (true, false) => &mut of_cells,
            (false, true) => &mut of_exported_json,
            (true, true) => &mut of_exported_cells,
        };
        let is_garbled = fixed.code == RejectCode::Encoding && fixed.record().contains('\u{fffd}');
        sink.push_fixed(start, (&fixed, origin), |row, truncated| {
            if is_garbled {
                let message = "the record still has U+FFFD instead of characters that are not valid in the encoding \
                               of the file; replace them";
                return Err(Fault::in_record(RejectCode::Encoding, message));
            }
            decoder.fill_row(fixed.record(), row, truncated)
        });
    });
}

/// Returns whether a record is from a file that the API has written.
fn is_exported(record: &str) -> bool {
    let members = record
        .contains(EXPORT_MARKER)
        .then(|| Members::of(record))
        .flatten();
    let mut names = members.into_iter().flatten().map(|(name, _)| name);
    names.any(|name| name == EXPORT_MARKER)
}
