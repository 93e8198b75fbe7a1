//! The definitions and files of a world.

use bytes::Bytes;
use landfall_domain::Codec;
use landfall_packed::pack;
use landfall_tests::Products;
use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;

const DEFINITION: &str = r#"
name = "products"
key = KEY
[[fields]]
name = "sku"
type = "text"
required = true
[[fields]]
name = "name"
type = "text"
required = true
[[fields]]
name = "description"
type = "text"
"#;

/// The variants of the definition.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Plain,
    WithDeletes,
    Snapshots,
    Ordered,
    Merged,
    /// A row is identified by its place.
    Placed,
}

impl Kind {
    /// Returns the definition.
    pub fn definition(self) -> String {
        let settings = format!("{}[[fields]]", self.settings());
        let key = match self {
            Self::Placed => "\"position\"",
            _ => "[\"sku\"]",
        };
        let definition = DEFINITION.replacen("KEY", key, 1);
        definition.replacen("[[fields]]", &settings, 1) + self.fields()
    }

    /// Returns the lines that precede the fields.
    fn settings(self) -> &'static str {
        match self {
            Self::Plain | Self::Placed => "",
            Self::WithDeletes => "operation = { column = \"op\" }\n",
            Self::Snapshots => "mode = \"snapshot\"\n",
            Self::Ordered => "order = \"changed\"\n",
            Self::Merged => "mode = \"merge\"\n",
        }
    }

    /// Returns the fields that follow the others.
    fn fields(self) -> &'static str {
        match self {
            Self::Ordered => {
                "[[fields]]\nname = \"changed\"\ntype = \"integer\"\nrequired = true\n"
            }
            Self::Plain | Self::WithDeletes | Self::Snapshots | Self::Merged | Self::Placed => "",
        }
    }

    /// Applies a file to what the stores must have.
    pub fn read(self, reference: &mut Products, file: &File) {
        self.read_as(reference, file, &file.bytes);
    }

    /// Does the same for a file whose records have these bytes instead.
    pub fn read_as(self, reference: &mut Products, file: &File, bytes: &[u8]) {
        match self {
            Self::Placed => reference.read_places(bytes, &file.key, &file.bytes),
            Self::Merged => reference.read_columns(bytes),
            Self::Plain | Self::WithDeletes | Self::Ordered | Self::Snapshots => {
                reference.read(bytes);
            }
        }
    }
}

pub struct File {
    pub key: String,
    pub version: String,
    /// Its text.
    pub bytes: Bytes,
    /// How its object is compressed.
    pub codec: Option<Codec>,
    /// Position in the order of objects.
    pub time_ms: i64,
}

impl File {
    /// Returns the object that is put into the inbox.
    pub fn object(&self) -> Bytes {
        match self.codec {
            None => self.bytes.clone(),
            Some(codec) => pack(codec, &self.bytes).into(),
        }
    }
}

/// Chooses how a file is compressed, if at all.
pub fn codec(rng: &mut StdRng) -> Option<Codec> {
    let codecs = [Codec::Gzip, Codec::Zstd, Codec::Bzip2, Codec::Zip];
    rng.random_bool(0.4).then(|| *codecs.choose(rng).unwrap())
}

/// Generates small files with few keys: several objects, and several versions of one object.
pub fn files(rng: &mut StdRng, kind: Kind) -> Vec<File> {
    // A snapshot with rejects prunes nothing, so some files have no rejects.
    let worst = if rng.random_bool(0.5) { 0 } else { 2 };
    let last = match kind {
        Kind::WithDeletes => ",op\n",
        Kind::Ordered => ",changed\n",
        Kind::Plain | Kind::Snapshots | Kind::Merged | Kind::Placed => "\n",
    };
    // The first file is large, so that the prune of a later one is held back.
    let is_large = kind == Kind::Snapshots && rng.random_bool(0.8);
    (0..rng.random_range(1..4))
        .map(|index| {
            if kind == Kind::Merged {
                let text = some_columns(rng, index, worst);
                return file(index, rng, text);
            }
            let mut text = String::from("sku,name,description");
            text.push_str(last);
            if is_large && index == 0 {
                text.extend((0..120).map(|row| format!("l{row},large,\n")));
            }
            for row in 0..rng.random_range(0..14) {
                let sku = rng.random_range(0..8);
                let line = match rng.random_range(2 - worst..10) {
                    0 => ",nameless,".to_owned(),
                    1 => format!("s{sku},ragged"),
                    2 => format!("s{sku},\"two\nlines {index}.{row}\",x"),
                    // The same values in several files.
                    3 => format!("s{sku},same,same"),
                    _ => format!("s{sku},n{index}.{row},"),
                };
                text.push_str(&line);
                match kind {
                    Kind::WithDeletes if rng.random_bool(0.3) => text.push_str(",delete"),
                    Kind::WithDeletes => text.push(','),
                    Kind::Ordered => text.extend([',', *['1', '2', '3'].choose(rng).unwrap()]),
                    Kind::Plain | Kind::Snapshots | Kind::Merged | Kind::Placed => {}
                }
                text.push('\n');
            }
            file(index, rng, text)
        })
        .collect()
}

/// Returns the file of this number, one of the versions of an object.
fn file(index: i64, rng: &mut StdRng, text: String) -> File {
    File {
        key: format!("products/{}.csv", rng.random_range(0..2)),
        version: format!("v{index}"),
        bytes: text.into(),
        time_ms: 1_000 + index,
        codec: codec(rng),
    }
}

/// Generates a file that has some of the columns.
fn some_columns(rng: &mut StdRng, index: i64, worst: i32) -> String {
    let columns: [&[&str]; 3] = [&["name", "description"], &["name"], &["description"]];
    let columns = columns.choose(rng).unwrap();
    let mut text = format!("sku,{}\n", columns.join(","));
    for row in 0..rng.random_range(0..14) {
        let sku = rng.random_range(0..8);
        let kind = rng.random_range(2 - worst..10);
        let cells = columns.iter().map(|column| match (kind, *column) {
            (2, _) => format!("\"two\nlines {index}.{row}\""),
            (3, _) => "same".to_owned(),
            (4, "description") => String::new(),
            _ => format!("{column} {index}.{row}"),
        });
        let cells: Vec<_> = cells.collect();
        let cells = cells.join(",");
        let line = match kind {
            0 => format!(",{cells}\n"),
            1 => format!("s{sku}\n"),
            _ => format!("s{sku},{cells}\n"),
        };
        text.push_str(&line);
    }
    text
}
