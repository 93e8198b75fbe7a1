//! Pages by cursor while a load runs.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};

use futures::future::join_all;
use landfall_domain::JobState;
use landfall_local::Sql;
use serde_json::Value;

use crate::http::{Api, MOST_ROWS};
use crate::support::{completions, drop_object, land, start};

/// As `infra/datasets/products.toml`, with deletes and the file that a row is of.
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
/// The files that come while pages are read.
const LATER: [u32; 2] = [2, 3];

/// Spread over the range of the key.
fn sku(number: u32) -> String {
    format!("{:08X}", number.wrapping_mul(2_654_435_761))
}

/// Many products have the same name.
fn name(number: u32) -> String {
    format!("Name {}", number % 97)
}

fn is_deleted_by(number: u32, file: u32) -> bool {
    number % 10 == file
}

fn is_renamed_by(number: u32, file: u32) -> bool {
    number % 7 == file
}

/// Name and file, by sku.
type Products = BTreeMap<String, (String, u32)>;

/// Every product again, but for those that go, and new ones before, between and after.
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

/// What one walk over all pages saw.
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

    /// Takes the next page, if there is one.
    async fn step(&mut self, api: &Api, question: &str, next: &mut Option<String>) -> bool {
        let Some(cursor) = next.take() else {
            return false;
        };
        let (rows, after) = api.page(question, Some(&cursor)).await;
        self.add(&rows);
        *next = after;
        true
    }

    fn assert_once_each(&self, question: &str, stable: &[String]) {
        let wrong: Vec<_> = stable
            .iter()
            .map(|sku| (sku, self.seen.get(sku).copied().unwrap_or_default()))
            .filter(|(_, times)| *times != 1)
            .collect();
        let few = &wrong[..wrong.len().min(5)];
        assert!(
            wrong.is_empty(),
            "{question}: {} not once: {few:?}",
            wrong.len()
        );
    }
}

/// Pages of one question, from before the files are dropped until they have landed.
struct Reader {
    question: String,
    /// Products that are there all the time, in the same place.
    stable: Vec<String>,
    slow: Walk,
    next: Option<String>,
}

impl Reader {
    async fn start(api: &Api, question: String, stable: Vec<String>) -> Self {
        let (rows, next) = api.page(&format!("{question}&limit=200"), None).await;
        let mut slow = Walk::default();
        slow.add(&rows);
        Self {
            question,
            stable,
            slow,
            next,
        }
    }

    /// Walks again and again until the files have landed, and says how many of the walks saw rows of before and
    /// of later. One more walk has a page of before, then one for each of the others, and its last pages after.
    async fn read(mut self, api: &Api, landed: &AtomicBool) -> usize {
        let fast = format!("{}&limit={MOST_ROWS}", self.question);
        let slow = format!("{}&limit=200", self.question);
        let mut of_both = 0;
        while !landed.load(Ordering::Relaxed) {
            assert!(self.slow.step(api, &slow, &mut self.next).await);
            let mut walk = Walk::default();
            let (rows, mut next) = api.page(&fast, None).await;
            walk.add(&rows);
            while walk.step(api, &fast, &mut next).await {}
            walk.assert_once_each(&fast, &self.stable);
            of_both += usize::from(walk.files.contains(&1) && walk.files.len() > 1);
        }
        let during = self.slow.pages;
        while self.slow.step(api, &slow, &mut self.next).await {}
        assert!(
            during > 1 && self.slow.pages > during,
            "{slow}: {during} pages"
        );
        self.slow.assert_once_each(&slow, &self.stable);
        of_both
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_stays_is_seen_once_by_cursor_while_files_land() {
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

    let api = Api::of(&stack);
    let mut readers = Vec::new();
    for store in ["sql", "mongodb"] {
        for (sort, stable) in [
            ("", &by_key),
            ("&sort=name", &by_name),
            ("&sort=-name", &by_name),
        ] {
            let question = format!("datasets/products/rows?store={store}{sort}");
            readers.push(Reader::start(&api, question, stable.clone()).await);
        }
    }
    let landed = AtomicBool::new(false);
    let land_them = async {
        let mut jobs = Vec::new();
        for (file, csv) in LATER.iter().zip(files) {
            let key = format!("products/{file}.csv");
            jobs.push(drop_object(&stack, &key, csv.into_bytes()).await);
        }
        let events = completions(&stack, &jobs).await;
        landed.store(true, Ordering::Relaxed);
        events
    };
    let read = readers.into_iter().map(|reader| reader.read(&api, &landed));
    let (events, of_both) = tokio::join!(land_them, join_all(read));
    for event in events.values() {
        assert_eq!(event.state, JobState::Succeeded, "{:?}", event.problem);
    }
    assert!(
        of_both.iter().sum::<usize>() > 0,
        "no walk was under way while rows changed"
    );

    // In the end all is there, in its order.
    let by_key: Vec<(String, String, u32)> = products
        .iter()
        .map(|(sku, (name, file))| (name.clone(), sku.clone(), *file))
        .collect();
    let mut by_name = by_key.clone();
    by_name.sort();
    for store in ["sql", "mongodb"] {
        for (sort, expected) in [("", &by_key), ("&sort=name", &by_name)] {
            let question = format!("datasets/products/rows?store={store}&limit={MOST_ROWS}{sort}");
            let rows = api.rows(&question).await;
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
            assert_eq!((differs, found.len()), (None, expected.len()), "{question}");
        }
    }
}
