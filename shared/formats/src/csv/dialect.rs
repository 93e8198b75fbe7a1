use landfall_domain::{CsvOptions, Format, Quote, Reading};

/// How the records of an object are written: the options of its dataset, and what was decided from its first bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "the settings are independent"
)]
pub(crate) struct Dialect {
    /// Text between cells; not empty.
    pub(crate) delimiter: Vec<u8>,
    pub(crate) quote: Option<u8>,
    pub(crate) escape: Option<u8>,
    pub(crate) comment: Option<u8>,
    pub(crate) lenient: bool,
    pub(crate) trim: bool,
    pub(crate) flexible: bool,
    pub(crate) quoted_empty: bool,
}

impl Dialect {
    pub(crate) fn new(options: &CsvOptions, reading: &Reading) -> Self {
        let usual = if reading.format == Format::Tsv {
            "\t"
        } else {
            ","
        };
        let delimiter = options
            .delimiter
            .as_deref()
            .or(reading.delimiter.as_deref());
        Self {
            delimiter: delimiter.unwrap_or(usual).as_bytes().to_vec(),
            quote: match options.quote {
                Quote::Usual => (!reading.unquoted).then_some(b'"'),
                Quote::None => None,
                Quote::Byte(byte) => Some(byte),
            },
            escape: options.escape,
            comment: options.comment,
            lenient: options.lenient,
            trim: options.trim,
            flexible: options.flexible,
            quoted_empty: options.quoted_empty,
        }
    }

    /// Returns the delimiter if records without quotes are just lines that it splits.
    pub(crate) fn plain_delimiter(&self) -> Option<u8> {
        match *self.delimiter {
            [delimiter] if self.escape.is_none() && !self.trim => Some(delimiter),
            _ => None,
        }
    }

    /// Returns what a byte after the escape stands for: itself, or a control character, as databases write them.
    pub(crate) fn escaped(&self, byte: u8) -> u8 {
        match byte {
            _ if self.escape != Some(b'\\') => byte,
            b'b' => 0x08,
            b't' => b'\t',
            b'n' => b'\n',
            b'v' => 0x0b,
            b'f' => 0x0c,
            b'r' => b'\r',
            _ => byte,
        }
    }

    /// Returns whether this byte is white space that `trim` removes.
    pub(crate) fn is_trimmed(&self, byte: u8) -> bool {
        self.trim && matches!(byte, b' ' | b'\t') && !self.delimiter.contains(&byte)
    }
}
