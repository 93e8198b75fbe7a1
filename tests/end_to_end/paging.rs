//! Paging by cursor while files are ingested.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};

use futures::future::join_all;
use landfall_domain::JobState;
use landfall_local::Sql;
use serde_json::Value;

use crate::http::{Api, MAX_PAGE_ROWS};
use crate::support::{completions, land, start, upload};

/// Like `infra/datasets/products.toml`, with deletes and the number of the file that contains a row.
const PRODUCTS: &str = r#"
name = "products"
key = ["sku"]
operation = { column = "op" }
fields = [
    { name = "sku", type = "text" },
    { name = "name", type = "text", index = true },
    { name = "file", type = "integer" },
]
"#;
const PRODUCTS_IN_FIRST: u32 = 20_000;
/// The files that are ingested while pages are read.
const LATER: [u32; 2] = [2, 3];

/// Returns a sku; they are spread over the range of the key.
fn sku(number: u32) -> String {
    format!("{:08X}", number.wrapping_mul(2_654_435_761))
}

/// Returns a name, which many products share.
fn name(number: u32) -> String {
    format!("Name {}", number % 97)
}

fn is_deleted_by(number: u32, file: u32) -> bool {
    number % 10 == file
}

fn is_renamed_by(number: u32, file: u32) -> bool {
    number % 7 == file
}

/// Name and file by sku.
type Products = BTreeMap<String, (String, u32)>;

/// Returns a file with all products but the deleted ones, and new products before, between and after them.
fn later_file(file: u32, products: &mut Products) -> String {
    let mut csv = "sku,name,file,op\n".to_owned();
    let mut put = |products: &mut Products, sku: String, name: String| {
        writeln!(csv, "{sku},{name},{file},").unwrap();
        products.insert(sku, (name, file));
    };
    let mut deleted = Vec::new();
    for number in 0..PRODUCTS_IN_FIRST {
        let old = sku(number);
        if is_deleted_by(number, file) {
            deleted.push(old);
            continue;
        }
        if !products.contains_key(&old) {
            continue;
        }
        let moved = if is_renamed_by(number, file) { file } else { 0 };
        put(products, old, name(number + moved));
        let new = match number % 20 {
            0 => Some(format!("!{file} {number}")),
            1 => Some(format!("{}+{file}", sku(number))),
            4 => Some(format!("~{file} {number}")),
            _ => None,
        };
        if let Some(new) = new {
            put(products, new, name(number / 20));
        }
    }
    for sku in deleted {
        products.remove(&sku);
        writeln!(csv, "{sku},,,delete").unwrap();
    }
    csv
}

/// The rows seen in one walk over all pages.
#[derive(Default)]
struct Walk {
    pages: usize,
    seen: HashMap<String, usize>,
    files: BTreeSet<u64>,
}

impl Walk {
    fn add(&mut self, rows: &[Value]) {
        self.pages += 1;
        for row in rows {
            *self
                .seen
                .entry(row["sku"].as_str().unwrap().to_owned())
                .or_default() += 1;
            self.files.insert(row["file"].as_u64().unwrap());
        }
    }

    /// Reads the next page, and returns whether there was one.
    async fn step(&mut self, api: &Api, query: &str, next: &mut Option<String>) -> bool {
        let Some(cursor) = next.take() else {
            return false;
        };
        let (rows, after) = api.page(query, Some(&cursor)).await;
        self.add(&rows);
        *next = after;
        true
    }

    fn assert_once_each(&self, query: &str, stable: &[String]) {
        let failed: Vec<_> = stable
            .iter()
            .map(|sku| (sku, self.seen.get(sku).copied().unwrap_or_default()))
            .filter(|(_, times)| *times != 1)
            .collect();
        let few = &failed[..failed.len().min(5)];
        assert!(
            failed.is_empty(),
            "{query}: {} rows were not seen exactly once: {few:?}",
            failed.len()
        );
    }
}

/// Reads the pages of one query, from before the upload of the files until their completion.
struct Reader {
    query: String,
    /// Products that exist all the time, at the same position.
    stable: Vec<String>,
    slow: Walk,
    next: Option<String>,
}

impl Reader {
    async fn start(api: &Api, query: String, stable: Vec<String>) -> Self {
        let (rows, next) = api.page(&format!("{query}&limit=200"), None).await;
        let mut slow = Walk::default();
        slow.add(&rows);
        Self {
            query,
            stable,
            slow,
            next,
        }
    }

    /// Walks over all pages repeatedly until the files have landed, and returns how many walks saw both old and
    /// new rows. One slow walk reads its first page before the upload, one page during each of the other walks,
    /// and its last pages afterwards.
    async fn read(mut self, api: &Api, landed: &AtomicBool) -> usize {
        let fast = format!("{}&limit={MAX_PAGE_ROWS}", self.query);
        let slow = format!("{}&limit=200", self.query);
        let mut mixed = 0;
        while !landed.load(Ordering::Relaxed) {
            assert!(self.slow.step(api, &slow, &mut self.next).await);
            let mut walk = Walk::default();
            let (rows, mut next) = api.page(&fast, None).await;
            walk.add(&rows);
            while walk.step(api, &fast, &mut next).await {}
            walk.assert_once_each(&fast, &self.stable);
            mixed += usize::from(walk.files.contains(&1) && walk.files.len() > 1);
        }
        let during = self.slow.pages;
        while self.slow.step(api, &slow, &mut self.next).await {}
        assert!(
            during > 1 && self.slow.pages > during,
            "{slow}: {during} pages"
        );
        self.slow.assert_once_each(&slow, &self.stable);
        mixed
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn paging_by_cursor_sees_unchanged_rows_once_while_files_land() {
    let parameters = [
        ("ChunkBytes", "16384"),
        ("TokenRequestsPerSecond", "100000"),
    ];
    let stack = start(Sql::Postgres, &parameters).await;
    stack.put_dataset("products", PRODUCTS).await.unwrap();
    let mut products = Products::new();
    let mut first = "sku,name,file,op\n".to_owned();
    for number in 0..PRODUCTS_IN_FIRST {
        writeln!(first, "{},{},1,", sku(number), name(number)).unwrap();
        products.insert(sku(number), (name(number), 1));
    }
    let event = land(&stack, "products/1.csv", first.into_bytes()).await;
    assert_eq!(event.state, JobState::Succeeded, "{:?}", event.problem);
    let files = LATER.map(|file| later_file(file, &mut products));
    let stays = |number: &u32| !LATER.iter().any(|&file| is_deleted_by(*number, file));
    let keeps_its_name = |number: &u32| !LATER.iter().any(|&file| is_renamed_by(*number, file));
    let staying = (0..PRODUCTS_IN_FIRST).filter(stays);
    let by_key: Vec<String> = staying.clone().map(sku).collect();
    let by_name: Vec<String> = staying.filter(keeps_its_name).map(sku).collect();
    assert!(by_name.len() > 10_000);

    let api = Api::new(&stack);
    let mut readers = Vec::new();
    for store in ["sql", "mongodb"] {
        for (sort, stable) in [
            ("", &by_key),
            ("&sort=name", &by_name),
            ("&sort=-name", &by_name),
        ] {
            let query = format!("datasets/products/rows?store={store}{sort}");
            readers.push(Reader::start(&api, query, stable.clone()).await);
        }
    }
    let landed = AtomicBool::new(false);
    let land_files = async {
        let mut jobs = Vec::new();
        for (file, csv) in LATER.iter().zip(files) {
            let key = format!("products/{file}.csv");
            jobs.push(upload(&stack, &key, csv.into_bytes()).await);
        }
        let events = completions(&stack, &jobs).await;
        landed.store(true, Ordering::Relaxed);
        events
    };
    let read = readers.into_iter().map(|reader| reader.read(&api, &landed));
    let (events, mixed) = tokio::join!(land_files, join_all(read));
    for event in events.values() {
        assert_eq!(event.state, JobState::Succeeded, "{:?}", event.problem);
    }
    assert!(
        mixed.iter().sum::<usize>() > 0,
        "no walk overlapped with a change of rows"
    );

    // Afterwards, all rows are present and in order.
    let by_key: Vec<(String, String, u32)> = products
        .iter()
        .map(|(sku, (name, file))| (name.clone(), sku.clone(), *file))
        .collect();
    let mut by_name = by_key.clone();
    by_name.sort();
    for store in ["sql", "mongodb"] {
        for (sort, expected) in [("", &by_key), ("&sort=name", &by_name)] {
            let query = format!("datasets/products/rows?store={store}&limit={MAX_PAGE_ROWS}{sort}");
            let rows = api.rows(&query).await;
            let found: Vec<(String, String, u32)> = rows
                .iter()
                .map(|row| {
                    let text = |field: &str| row[field].as_str().unwrap().to_owned();
                    let file = row["file"].as_u64().unwrap();
                    (text("name"), text("sku"), u32::try_from(file).unwrap())
                })
                .collect();
            let differs = found
                .iter()
                .zip(expected)
                .find(|(found, expected)| found != expected);
            assert_eq!((differs, found.len()), (None, expected.len()), "{query}");
        }
    }
}
