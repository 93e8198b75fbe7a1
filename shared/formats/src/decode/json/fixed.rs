//! Decodes fixed rejects: lines that hold a record, and its place in the object of the first job.

use landfall_domain::{Dataset, FixedReject, RejectCode, RejectsOrigin};

use super::super::sink::{Fault, Sink};
use super::{Columns, Decoder, each_record};

/// Decodes the lines of a chunk. Each row has the offset of its record in the object of the origin.
pub(in crate::decode) fn decode_fixed(
    dataset: &Dataset,
    origin: &RejectsOrigin,
    sink: &mut Sink<'_>,
) {
    let (columns, cells) = (Columns::new(dataset), Columns::of_cells(dataset));
    let mut of_json = Decoder::new(&columns, sink.chunk);
    let mut of_cells = Decoder {
        has_cells: true,
        ..Decoder::new(&cells, sink.chunk)
    };
    each_record(sink.chunk, |start, raw| {
        let parsed = match std::str::from_utf8(raw) {
            Err(_) => Err(Fault::not_utf8()),
            Ok(line) => FixedReject::parse(line, origin)
                .map_err(|error| Fault::in_record(RejectCode::Place, error.to_string())),
        };
        let fixed = match parsed {
            Ok(fixed) => fixed,
            Err(fault) => return sink.push(start, raw, |_, _| Err(fault), || None),
        };
        let decoder = if fixed.has_cells() {
            &mut of_cells
        } else {
            &mut of_json
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
